"""Look at rendered projects from inside, each with nothing to import but what it asks for.

Run by the Python of an environment that has the dependencies of many variants. Each line of
standard input is a request as JSON: the project's folder, its name, the settings to load,
variables, and the modules to refuse, which belong to no dependency of this variant. Each line of
standard output is what was found, as JSON. Nothing is written into a project, no server is asked.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import logging
import os
import pkgutil
import re
import runpy
import sys
import traceback
from functools import cache, partial
from importlib.abc import MetaPathFinder
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
from django.conf import global_settings
from django.core.management import call_command
from django.template.loader import get_template
from django.test import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

Problems = dict[str, str]


class Refusal(MetaPathFinder):
    """Make modules missing that are installed for other variants."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise ModuleNotFoundError for a refused module; leave the others to Python."""
        del path, target
        if fullname.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


class Project(importlib.metadata.Distribution):
    """The project as if it were installed."""

    def __init__(self, name: str) -> None:
        self.text = f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n"

    def read_text(self, filename: str) -> str | None:
        """Return the metadata."""
        return self.text if filename == "METADATA" else None

    def locate_file(self, path: object) -> Path:
        """Return where a file would be; none is asked for."""
        raise NotImplementedError(path)


class Installation(importlib.metadata.DistributionFinder):
    """Tell importlib.metadata of the project."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, *_: object) -> None:
        """Find no module: sys.path does."""

    def find_distributions(
        self, context: importlib.metadata.DistributionFinder.Context | None = None
    ) -> Iterator[importlib.metadata.Distribution]:
        """Find the project by its name."""
        if context and context.name == self.name:
            yield Project(self.name)


def problem(action: Callable[[], object]) -> str:
    """Return what an action raises, or nothing."""
    try:
        action()
    except (Exception, SystemExit) as error:  # noqa: BLE001 (any error is the finding)
        return f"{type(error).__name__}: {error}"
    return ""


def found(problems: Problems) -> Problems:
    """Leave out what is no problem."""
    return {name: text for name, text in problems.items() if text}


def strings(value: object) -> Iterator[str]:
    """Yield every text in a setting; keys are names that the setting itself gives."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from strings(item)


def resolve(path: str) -> None:
    """Import what a dotted path names: a module, or something in one."""
    try:
        importlib.import_module(path)
    except ModuleNotFoundError as error:
        parent, _, attribute = path.rpartition(".")
        if not parent or error.name not in {path, parent}:
            raise
        getattr(importlib.import_module(parent), attribute)


DOTTED = re.compile(r"(?:ext://)?([a-z_]\w*(?:[.:]\w+)+)")


def unresolved(settings: dict[str, Any], no_paths: Iterable[str]) -> Problems:
    """Return the dotted paths in the settings that lead nowhere, with what Python says."""
    paths = dict.fromkeys(settings["INSTALLED_APPS"], "INSTALLED_APPS")
    for name, value in settings.items():
        if name not in no_paths:
            for text in strings(value):
                if match := DOTTED.fullmatch(text):
                    paths[match[1].replace(":", ".")] = name
    return found({f"{path} in {paths[path]}": problem(partial(resolve, path)) for path in paths})


# How a setting is asked for, by attribute or by name; and how the project asks for Celery's.
ASKED_FOR = re.compile(r"settings\.([A-Z][A-Z0-9_]+)|[\"']([A-Z][A-Z0-9_]+)[\"']|\.(task_[a-z_]+)")


@cache
def asked_for(file: Path) -> frozenset[str]:
    """Return the names of settings that a module may ask for."""
    found = ASKED_FOR.findall(file.read_text(encoding="utf-8"))
    return frozenset(name for names in found for name in names if name)


def unread(settings: dict[str, Any], source: Path) -> list[str]:
    """Return the settings that nothing reads: neither Django, nor an installed app, nor the code.

    Django and Celery have lists of theirs; others ask for their settings somewhere in what is
    loaded.
    """
    celery = sys.modules.get("celery.app.defaults")
    loaded = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    files = {Path(file) for file in loaded if file and file.endswith(".py")}
    names = {
        name
        for file in files | set(source.rglob("*.py"))
        if not (file.is_relative_to(source) and "settings" in file.parts)
        for name in asked_for(file)
    }
    known = {*dir(global_settings), *names}
    if celery:
        known |= {f"CELERY_{name.upper()}" for name in (*celery.DEFAULTS, *names)}
    return sorted(settings.keys() - known)


def unimportable(source: Path, left_out: Iterable[str]) -> Problems:
    """Return the modules of the project that cannot be imported."""
    names = [
        module.name
        for module in pkgutil.walk_packages([str(source)], onerror=lambda _: None)
        if module.name not in left_out and ".settings" not in module.name
    ]
    return found({name: problem(partial(importlib.import_module, name)) for name in names})


def unfit_templates(source: Path) -> Problems:
    """Return the HTML templates that Django cannot read."""
    names = [
        path.relative_to(folder).as_posix()
        for folder in source.rglob("templates")
        for path in folder.rglob("*.html")
    ]
    return found({name: problem(partial(get_template, name)) for name in names})


def checks(*, deploy: bool) -> str:
    """Return what `manage.py check` complains of, or nothing."""
    return problem(
        lambda: call_command("check", deploy=deploy, fail_level="WARNING", stderr=StringIO())
    )


def missing_migrations() -> str:
    """Return the migrations that the models want and have not, or nothing."""
    output = StringIO()
    said = problem(lambda: call_command("makemigrations", check=True, dry_run=True, stdout=output))
    return said and output.getvalue()


def answers() -> dict[str, int | str]:
    """Return how a probe and a page are answered that are asked for by plain HTTP."""
    wanted = {
        "probe by address": ("/health/", "10.1.2.3:8000"),
        "page": ("/", "yourdomain.com"),
        "page of another host": ("/", "elsewhere.org"),
    }
    found: dict[str, int | str] = {}
    for name, (path, host) in wanted.items():
        try:
            found[name] = Client().get(path, HTTP_HOST=host).status_code
        except Exception as error:  # noqa: BLE001 (any error is the finding)
            found[name] = f"{type(error).__name__}: {error}"
    return found


def documented(package: str) -> list[str]:
    """Return the rows of the table of variables, from what reads them."""
    rows = runpy.run_path(str(Path(__file__).with_name("configuration_table.py")))["rows"]
    settings = importlib.import_module(f"{package}.settings.defaults.environment")
    gunicorn = runpy.run_path("gunicorn.conf.py")
    return [*rows(settings.env.variables), *rows(gunicorn["env"].variables)]


def examine(request: dict[str, Any]) -> dict[str, Any]:
    """Return what was found; of a project that does not load, that alone."""
    package, module = request["package"], request["settings"]
    source = Path("src").resolve()
    try:
        settings_module = importlib.import_module(f"{package}.settings.{module}")
        django.setup()
    except (Exception, SystemExit) as error:  # noqa: BLE001 (any error is the finding)
        return {"failure": f"{type(error).__name__}: {error}"}
    logging.disable()
    settings = {name: value for name, value in vars(settings_module).items() if name.isupper()}
    report: dict[str, Any] = {"failure": "", "checks": checks(deploy=module == "production")}
    if module == "production":
        report |= {
            "modules": unimportable(source, request["left_out"]),
            "paths": unresolved(settings, request["no_paths"]),
            "unread": unread(settings, source),
            "templates": unfit_templates(source),
            "answers": answers(),
            "variables": documented(package),
            "loaded": sorted({name.partition(".")[0] for name in sys.modules}),
        }
    else:
        report["migrations"] = missing_migrations()
    return report


def answer(line: str) -> None:
    """Answer one request; this ends the process's use for another."""
    request = json.loads(line)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.environ["DJANGO_SETTINGS_MODULE"] = f"{request['package']}.settings.{request['settings']}"
    os.chdir(request["project"])
    sys.path.insert(0, str(Path("src").resolve()))
    sys.meta_path.insert(0, Refusal(request["refused"]))
    sys.meta_path.append(Installation(request["name"]))
    output, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps(examine(request)), file=output, flush=True)


def main() -> None:
    """Answer the requests on standard input, each in a process of its own."""
    sys.dont_write_bytecode = True
    # What every variant has, once for all: Django.
    for module in list(sys.modules.values()):
        if (file := getattr(module, "__file__", None)) and file.endswith(".py"):
            asked_for(Path(file))
    for line in sys.stdin:
        sys.stdout.flush()
        if (child := os.fork()) == 0:
            try:
                answer(line)
            except BaseException:  # noqa: BLE001 (it is shown, and must not reach the loop)
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            sys.exit(1)


if __name__ == "__main__":
    main()
