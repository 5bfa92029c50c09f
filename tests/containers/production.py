"""A project's production image, built once in a run for all tests that look at it."""

from __future__ import annotations

import json
import re
import shutil
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

from tests.service import Bootstrap

if TYPE_CHECKING:
    from pathlib import Path

    from tests.containers.engine import Engine
    from tests.rendering import SharedFolders

# What lies beside the source on a developer's machine, and must not get into an image.
PLANTED = "planted-by-the-tests-4f1c"
PLACES = (
    ".env",
    ".env.production",
    ".git/config",
    ".venv/bin/activate",
    "backups/monday.dump",
    "db.sqlite3",
    "media/receipt.txt",
    "secrets/secret_key",
    "src/.env",
    "src/db.sqlite3",
    "src/pages/__pycache__/views.cpython-313.pyc",
    "staticfiles/old.css",
    "tests/.env",
)


@dataclass(frozen=True)
class Cost:
    """What a build has taken."""

    seconds: float
    steps: int
    cached: int

    def __str__(self) -> str:
        """Say it to people."""
        return f"{self.seconds:.0f} s, {self.cached} of {self.steps} steps cached"


@dataclass(frozen=True)
class Image:
    """An image, the project it was built from, and what that has taken."""

    tag: str
    project: Path
    cost: Cost


class GetImage(Protocol):
    """The name of a variant in, its production image out."""

    def __call__(self, variant: str = "default") -> Image:
        """Return the image."""


def locked_project(folders: SharedFolders, tree: Path, target: Path) -> None:
    """Copy a rendered tree and write its lock, which is all that a build needs."""
    shutil.copytree(tree, target)
    with folders.exclusive("uv"):
        Bootstrap(target, folders).run("--lock")


def build_image(engine: Engine, project: Path, tag: str, *options: str) -> None:
    """Build the image of a project that has all sorts of things beside its source."""
    for place in PLACES:
        (project / place).parent.mkdir(parents=True, exist_ok=True)
        (project / place).write_text(f"{PLANTED}\n", encoding="utf-8")
    cost = timed_build(engine, project, tag, *options)
    cost_of(project).write_text(json.dumps(asdict(cost)), encoding="utf-8")


def timed_build(engine: Engine, project: Path, tag: str, *options: str) -> Cost:
    """Build an image; how long it takes to get its bases does not count."""
    engine.variables(project)
    started = time.monotonic()
    said = engine.build(project, tag, *options).stderr
    seconds = time.monotonic() - started
    numbers = {*re.findall(r"(?m)^#(\d+) \[.*\] (?:RUN|COPY|WORKDIR) ", said)}
    cached = {*re.findall(r"(?m)^#(\d+) CACHED$", said)}
    return Cost(seconds, len(numbers), len(numbers & cached))


def cost_of(project: Path) -> Path:
    """Return the file beside a project that keeps what its image has taken."""
    return project.with_name(f"{project.name}-cost.json")
