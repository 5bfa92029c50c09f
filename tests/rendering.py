"""Rendering the template, once for each set of answers in a run of the tests."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import yaml
from copier import run_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The tests of the tests point this to a copy of the repository that they have broken.
ROOT = Path(os.environ.get("SHIPSHAPE_ROOT") or Path(__file__).resolve().parents[1])

# The variants whose services are installed and started. Between them they choose everything that
# changes a dependency.
VARIANTS: dict[str, dict[str, str]] = {
    "default": {},
    "pip": {
        "package_manager": "pip",
        "postgres_driver": "psycopg2",
        "django_version": "5.2",
        "user_identifier": "email",
    },
    "no-tasks": {"task_queue": "none"},
    "rabbitmq": {"broker": "rabbitmq", "media_storage": "local"},
    "s3": {"media_storage": "s3", "task_queue": "none"},
}
# Those of which images are built and servers are started, one with each of these choices.
IN_CONTAINERS: dict[str, dict[str, str]] = {
    "default": {},
    "rabbitmq": {**VARIANTS["rabbitmq"], "package_manager": "pip", "django_version": "5.2"},
    "s3": {**VARIANTS["s3"], "postgres_driver": "psycopg2"},
}


class Render(Protocol):
    """Answers in, rendered tree out."""

    def __call__(self, **answers: object) -> Path:
        """Return the tree that these answers give; to write into it, copy it."""


def questions() -> dict[str, dict[str, Any]]:
    """Return the questions of copier.yml, with those that are derived and never asked."""
    settings = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    return {key: value for key, value in settings.items() if not key.startswith("_")}


class SharedFolders:
    """Folders that are built once in a run, whichever worker process of pytest-xdist comes first.

    The others wait for it. A build that failed is not tried again: everybody gets its error.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)

    def get(self, name: str, build: Callable[[Path], None]) -> Path:
        """Return the folder `name`, which `build` has filled."""
        folder, error = self.root / name, self.root / f"{name}.error"
        done = self.root / f"{name}.done"
        with self.exclusive(name):
            if error.exists():
                raise RuntimeError(error.read_text(encoding="utf-8"))
            if not done.exists():
                if folder.exists():  # a build was interrupted
                    shutil.rmtree(folder)
                try:
                    build(folder)
                except Exception as reason:
                    error.write_text(f"{name} could not be built: {reason}", encoding="utf-8")
                    raise
                done.touch()
        return folder

    @contextlib.contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Keep every other worker process out of what has this name."""
        with (self.root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def render(self, **answers: object) -> Path:
        """Return the tree that these answers give; it is shared, so to write into it, copy it."""
        if unknown := answers.keys() - questions().keys():
            raise ValueError(f"No question is called {', '.join(sorted(unknown))}.")
        source = self.get("template", take_snapshot)
        key = hashlib.sha256(json.dumps(answers, sort_keys=True).encode()).hexdigest()[:16]

        def build(target: Path) -> None:
            run_copy(str(source), target, data=answers, defaults=True, quiet=True, unsafe=False)

        return self.get(f"rendered-{key}", build)


def take_snapshot(target: Path) -> None:
    """Copy what git knows of the work tree, or would if it were added.

    Rendering from a plain folder saves a clone each time, and a file that is edited during a run of
    the tests does not make one half of them test something else than the other.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.split("\0"):
        source = ROOT / name
        if name and source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


def isolated_copier_settings(folder: Path) -> dict[str, str]:
    """Return variables that keep a developer's own defaults for Copier out of the tests."""
    settings = folder / "copier-settings.yml"
    settings.write_text("{}\n", encoding="utf-8")  # an empty file is refused
    return {"COPIER_SETTINGS_PATH": os.fspath(settings)}
