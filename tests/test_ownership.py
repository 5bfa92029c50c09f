"""docs/updating.md of a project says whose each file is, and says what copier.yml does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.history import MANAGED, is_below, team_rows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rendering import Render

VARIANTS = {
    "default": {},
    "pip": {"package_manager": "pip", "task_queue": "none", "media_storage": "s3"},
}
each_variant = pytest.mark.parametrize("variant", VARIANTS)

# Whole files that have no place for a comment, or in which one would be read as content.
SILENT = {".copier-answers.yml", ".python-version", "LICENSE"}


def files(tree: Path) -> list[str]:
    """Return the path of every file."""
    return [path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()]


def section(tree: Path, heading: str) -> list[str]:
    """Return the paths that a section of docs/updating.md names, folders without their slash."""
    text = (tree / "docs/updating.md").read_text(encoding="utf-8")
    body = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    prose = re.sub(r"(?s)```.*?```", "", body)
    # A table's first column says what, not where.
    named = re.findall(r"`([^`\s]+)`", re.sub(r"(?m)^\|[^|]*\|", "", prose))
    return [name.rstrip("/") for name in named if (tree / name).exists()]


@each_variant
def test_the_extension_points_are_those_of_copier_yml(render: Render, variant: str) -> None:
    tree = render(**VARIANTS[variant])
    points, _ = team_rows("my_service")

    named = section(tree, "Yours, and read by the template's files")

    # One that has also a part of the template's is named beside.
    assert set(named) - {".dockerignore"} == {name for name in points if (tree / name).exists()}


@each_variant
def test_the_starter_files_are_those_of_copier_yml(render: Render, variant: str) -> None:
    _, starters = team_rows("my_service")

    assert set(section(render(**VARIANTS[variant]), "Yours alone")) == set(starters)


@each_variant
def test_every_other_file_is_named_as_maintained(render: Render, variant: str) -> None:
    tree = render(**VARIANTS[variant])
    points, starters = team_rows("my_service")
    named = section(tree, "Maintained by the template")

    others = [name for name in files(tree) if not is_below(name, points + starters)]

    assert [name for name in others if not is_below(name, named)] == []
    assert [name for name in named if not any(is_below(other, [name]) for other in others)] == []


@each_variant
def test_exactly_the_maintained_files_say_so(render: Render, variant: str) -> None:
    tree = render(**VARIANTS[variant])
    points, starters = team_rows("my_service")

    said = {
        name for name in files(tree)
        if MANAGED in "".join((tree / name).read_text(encoding="utf-8").splitlines()[:3])
    }  # fmt: skip

    assert said == {
        name for name in files(tree) if not is_below(name, [*points, *starters, *SILENT])
    }


@each_variant
def test_a_part_of_the_teams_is_told_from_the_rest(render: Render, variant: str) -> None:
    tree = render(**VARIANTS[variant])
    for name in (
        ".dockerignore",
        ".editorconfig",
        ".gitattributes",
        ".gitignore",
        "pyproject.toml",
    ):
        head, mark, tail = (
            (tree / name).read_text(encoding="utf-8").partition("\n# Yours from here")
        )
        # The blank line keeps what the template adds from what the team adds.
        assert mark, name
        assert head.endswith("\n"), name
        assert [line for line in tail.splitlines()[1:] if not line.startswith("#")] == []


def test_no_file_of_the_team_depends_on_an_answer_that_can_be_switched(render: Render) -> None:
    """A switch would leave it behind as it was, or never bring it."""
    points, starters = team_rows("my_service")
    default = render()
    switched: dict[str, str] = {
        "task_queue": "none",
        "package_manager": "pip",
        "django_version": "5.2",
        "postgres_driver": "psycopg2",
        "media_storage": "s3",
        "python_version": "3.14",
        "license": "MIT",
    }
    for tree in (render(**{key: value}) for key, value in switched.items()):
        for name in files(default):
            if is_below(name, points + starters):
                mine, other = (default / name).read_bytes(), (tree / name).read_bytes()
                assert mine == other, f"{name} in {tree}"
