"""Environments that many variants share, and what each variant may find in one.

Installing every variant would take minutes. All variants with the same Django share one environment
with the production dependencies of all of them, and what a variant did not ask for is refused to
it, also where another package needs it.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.rendering import SharedFolders
from tests.service import MEDIA_ENVIRONMENT, SEED_ENVIRONMENT, Bootstrap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.trees import Tree

Report = dict[str, Any]
"""What tests/examination.py has found."""

# Complete, but leading nowhere: nothing that is examined asks a server.
VARIABLES = {
    **SEED_ENVIRONMENT,
    "CACHE_URL": "redis://127.0.0.1:1/0",
    "DATABASE_URL": "postgres://user@127.0.0.1:1/name",
    "PATH": "/usr/bin:/bin",
}
BROKERS = {"redis": "redis://127.0.0.1:1/1", "rabbitmq": "amqp://127.0.0.1:1//"}
DEVELOPMENT = {"DATABASE_URL": "sqlite:///:memory:", "PATH": "/usr/bin:/bin"}

# Built drivers instead of those that are compiled for a minute: the same modules to import.
BUILT = {"psycopg[c,": "psycopg[binary,", "psycopg2>": "psycopg2-binary>"}

# Modules that cannot be imported as they are, and why.
LEFT_OUT = {"common.gevent": "needs gunicorn[gevent], which a team adds when it wants it"}

# Settings that hold text with dots which is no path of Python.
NO_PATHS = {
    "ALLOWED_HOSTS": "names of hosts",
    "AUTH_USER_MODEL": "an app and its model",
    "SILENCED_SYSTEM_CHECKS": "ids of checks",
}


def production_requirements(tree: Tree) -> list[str]:
    """Return what a variant installs in production, as it is declared."""
    if "requirements/production.txt" in tree.texts:
        return list(_from_files(tree, "production.txt"))
    groups = tomllib.loads(tree.texts["pyproject.toml"])["dependency-groups"]
    return list(_from_group(groups, "production"))


def testing_requirements(tree: Tree) -> list[str]:
    """Return what a variant's own tests are run with, as it is declared."""
    if "requirements/development.txt" in tree.texts:
        declared = _from_files(tree, "development.txt")
    else:
        groups = tomllib.loads(tree.texts["pyproject.toml"])["dependency-groups"]
        declared = _from_group(groups, "dev")
    tools = ("pytest", "gunicorn", "moto")
    return [text for text in declared if Requirement(text).name.startswith(tools)]


def as_built(requirement: str) -> str:
    """Return a requirement, or what stands for it in a shared environment."""
    for compiled, built in BUILT.items():
        if requirement.startswith(compiled):
            return requirement.replace(compiled, built, 1)
    return requirement


def _from_files(tree: Tree, name: str) -> Iterator[str]:
    for line in tree.texts[f"requirements/{name}"].splitlines():
        if line.startswith("-r "):
            yield from _from_files(tree, line.removeprefix("-r "))
        elif line and not line.startswith(("#", "-e ")):
            yield line


def _from_group(groups: dict[str, list[str | dict[str, str]]], name: str) -> Iterator[str]:
    for item in groups[name]:
        if isinstance(item, str):
            yield item
        else:
            yield from _from_group(groups, item["include-group"])


@dataclass(frozen=True)
class SharedEnvironment:
    """An environment with the production dependencies of many variants."""

    path: Path

    @property
    def packages(self) -> Path:
        """Where its packages are."""
        return next(self.path.glob("lib/python*/site-packages"))

    def refused(self, requirements: Iterable[str]) -> frozenset[str]:
        """Return the modules in here that these requirements do not bring."""
        wanted = self._closure(requirements)
        every = {dist for dists in self._owners().values() for dist in dists}
        if missing := wanted - every:
            raise LookupError(f"{', '.join(sorted(missing))} is not in {self.path}.")
        return frozenset(name for name, dists in self._owners().items() if not dists & wanted)

    def modules(self, distribution: str) -> frozenset[str]:
        """Return the top-level modules of a distribution."""
        wanted = canonicalize_name(distribution)
        return frozenset(name for name, dists in self._owners().items() if wanted in dists)

    def every_module(self) -> frozenset[str]:
        """Return all top-level modules."""
        return frozenset(self._owners())

    @cache  # noqa: B019 (there are two environments, and they live as long as the run)
    def _distributions(self) -> dict[str, metadata.Distribution]:
        return {
            canonicalize_name(dist.name): dist
            for dist in metadata.distributions(path=[str(self.packages)])
        }

    @cache  # noqa: B019 (as above)
    def _owners(self) -> dict[str, frozenset[str]]:
        owners: dict[str, set[str]] = {}
        for name, distribution in self._distributions().items():
            for file in distribution.files or ():
                module = file.parts[0].partition(".")[0]
                if module.isidentifier():
                    owners.setdefault(module, set()).add(name)
        return {module: frozenset(names) for module, names in owners.items()}

    def _closure(self, requirements: Iterable[str]) -> frozenset[str]:
        reached: set[tuple[str, str]] = set()
        waiting = [Requirement(text) for text in requirements]
        while waiting:
            requirement = waiting.pop()
            name = canonicalize_name(requirement.name)
            for extra in ("", *requirement.extras):
                if (name, extra) in reached:
                    continue
                reached.add((name, extra))
                distribution = self._distributions().get(name)
                for text in (distribution.requires or ()) if distribution else ():
                    needed = Requirement(text)
                    if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                        waiting.append(needed)
        return frozenset(name for name, _ in reached)


def pretend_to_install(tree: Tree, target: Path) -> None:
    """Write what tells importlib.metadata of a project, as its installation would."""
    name = tree.answers["project_slug"]
    folder = target / f"{name.replace('-', '_')}-0.1.0.dist-info"
    folder.mkdir(parents=True)
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n"
    (folder / "METADATA").write_text(text, encoding="utf-8")


class Examiner:
    """Examines trees, each with what it may import.

    SHIPSHAPE_ENVIRONMENTS is a folder in which several runs of the tests share environments.
    """

    def __init__(self, shared: SharedFolders, trees: Sequence[Tree]) -> None:
        borrowed = os.environ.get("SHIPSHAPE_ENVIRONMENTS")
        self.shared = SharedFolders(Path(borrowed)) if borrowed else shared
        self.together: dict[str, set[str]] = {}
        self.tools: set[str] = set()
        for tree in trees:
            requirements = self.requirements(tree)
            self.together.setdefault(self._django(requirements), set()).update(requirements)
            self.tools.update(testing_requirements(tree))
        self.tree = trees[0]

    @staticmethod
    def requirements(tree: Tree) -> list[str]:
        """Return what a variant finds in the shared environment."""
        return [as_built(text) for text in production_requirements(tree)]

    @staticmethod
    def _django(requirements: Iterable[str]) -> str:
        return next(text for text in requirements if Requirement(text).name == "django")

    def environment(self, requirements: Sequence[str]) -> SharedEnvironment:
        """Return the environment for a variant with these requirements, installed when needed."""
        union = sorted(self.together[self._django(requirements)] | self.tools)
        key = hashlib.sha256("\n".join(union).encode()).hexdigest()[:16]

        def install(target: Path) -> None:
            bootstrap = Bootstrap(self.tree.path)
            uv = bootstrap.find("find-uv")
            bootstrap.call(uv, "venv", "--quiet", "--python", sys.executable, str(target))
            bootstrap.call(
                uv,
                "pip",
                "install",
                "--quiet",
                "--compile-bytecode",
                "--python",
                f"{target}/bin/python",
                *union,
            )

        return SharedEnvironment(self.shared.get(f"environment-{key}", install))

    def examine(self, trees: Sequence[Tree], settings: str) -> list[Report]:
        """Return what tests/examination.py finds in each tree with the settings of an environment.

        Raises RuntimeError for a tree that cannot be examined at all.
        """
        reports: dict[str, Report] = {}
        by_environment: dict[Path, list[Tree]] = {}
        for tree in trees:
            folder = self.environment(self.requirements(tree)).path
            by_environment.setdefault(folder, []).append(tree)
        for folder, group in by_environment.items():
            script = Path(__file__).with_name("examination.py")
            done = subprocess.run(
                [folder / "bin/python", "-I", script],
                input="".join(f"{json.dumps(self._request(tree, settings))}\n" for tree in group),
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            found = [json.loads(line) for line in done.stdout.splitlines()]
            if len(found) < len(group):
                tree = group[len(found)]
                raise RuntimeError(f"{tree} cannot be examined ({settings}):\n{done.stderr}")
            reports |= {str(tree.path): report for tree, report in zip(group, found, strict=True)}
        return [reports[str(tree.path)] for tree in trees]

    def run_tests(self, tree: Tree) -> subprocess.CompletedProcess[str]:
        """Run a variant's own tests, as `run` does it."""
        return self.run(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider")

    def run(
        self, tree: Tree, *arguments: str, settings: str = "development"
    ) -> subprocess.CompletedProcess[str]:
        """Run Python in a variant's folder, where every variant's dependencies are installed.

        `settings` are those that manage.py takes.
        The tree is left as it is. What another variant's dependencies would hide, `examine` finds.
        """
        project = self.shared.get(
            f"metadata-{tree.answers['project_slug']}", partial(pretend_to_install, tree)
        )
        return subprocess.run(
            [self.environment(self.requirements(tree)).path / "bin/python", *arguments],
            cwd=tree.path,
            env={
                **self._variables(tree, settings),
                "DJANGO_SETTINGS_MODULE": f"{tree.package}.settings.{settings}",
                "PYTHONPATH": f"{tree.path / 'src'}:{project}",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def _request(self, tree: Tree, settings: str) -> dict[str, Any]:
        requirements = self.requirements(tree)
        refused = self.environment(requirements).refused(requirements)
        return {
            "project": str(tree.path),
            "package": tree.package,
            "name": tree.answers["project_slug"],
            "settings": settings,
            "refused": sorted(refused),
            "left_out": sorted(LEFT_OUT),
            "no_paths": sorted(NO_PATHS),
            "environment": self._variables(tree, settings),
        }

    @staticmethod
    def _variables(tree: Tree, settings: str) -> dict[str, str]:
        if settings != "production":
            return DEVELOPMENT
        broker = tree.answers.get("broker")
        return {
            **VARIABLES,
            **MEDIA_ENVIRONMENT[tree.answers["media_storage"]],
            **({"CELERY_BROKER_URL": BROKERS[broker]} if broker else {}),
        }
