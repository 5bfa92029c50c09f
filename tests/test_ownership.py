"""docs/updating.md of a project says whose each file is, and says what copier.yml does."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.history import MANAGED, is_below, team_rows
from tests.team import example, extension_edits

if TYPE_CHECKING:
    from tests.rendering import Render

VARIANTS = {
    "default": {},
    "pip": {"package_manager": "pip", "task_queue": "none", "media_storage": "s3", "ci": "gitlab"},
}
each_variant = pytest.mark.parametrize("variant", VARIANTS)

# Whole files that have no place for a comment, or in which one would be read as content.
SILENT = {".copier-answers.yml", ".python-version", "LICENSE"}

EVERY_RULE = """
[lint]
extend-select = ["ALL"]

[lint.per-file-ignores]
"src/orders/**" = ["D"]
"""


def files(tree: Path) -> list[str]:
    """Return the path of every file."""
    return [path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()]


def findings(tree: Path) -> dict[str, set[str]]:
    """Return the rules that ruff finds broken, by the file."""
    command = ["ruff", "check", "--no-cache", "--output-format=json"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    found: dict[str, set[str]] = {}
    for finding in json.loads(done.stdout):
        name = Path(finding["filename"]).relative_to(tree).as_posix()
        found.setdefault(name, set()).add(finding["code"])
    return found


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
def test_every_extension_point_is_edited_in_the_update_drill(render: Render, variant: str) -> None:
    tree = render(**VARIANTS[variant])
    points, _ = team_rows("my_service")
    answers = yaml.safe_load((tree / ".copier-answers.yml").read_text(encoding="utf-8"))

    edited = {edit.path for edit in extension_edits(tree, {**answers, **answers["locked"]})}

    assert {name for name in points if (tree / name).exists()} - edited == set()


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
    """A switch would leave it behind as it was, or never bring it; it may be absent, though."""
    points, starters = team_rows("my_service")
    default = render()
    switched: dict[str, str] = {
        "task_queue": "none",
        "package_manager": "pip",
        "django_version": "5.2",
        "postgres_driver": "psycopg2",
        "media_storage": "s3",
        "deploy": "none",
        "python_version": "3.14",
        "license": "MIT",
        "ci": "gitlab",
    }
    for tree in (render(**{key: value}) for key, value in switched.items()):
        for name in files(default):
            if is_below(name, points + starters) and (tree / name).exists():
                mine, other = (default / name).read_bytes(), (tree / name).read_bytes()
                assert mine == other, f"{name} in {tree}"


@each_variant
def test_the_team_selects_rules_for_its_own_code_alone(
    render: Render, tmp_path: Path, variant: str
) -> None:
    tree = shutil.copytree(render(**VARIANTS[variant]), tmp_path / "project")
    points, starters = team_rows("my_service")
    with (tree / "ruff.toml").open("a", encoding="utf-8") as file:
        file.write(EVERY_RULE)
    (tree / "src/common/cpu.py").write_text("import os\n\nprint(lambda: os.x)\n")
    (tree / "src/common/probe.py").write_text("import os\nimport sys\n")

    found = findings(tree)

    # The rules of the template hold there as before.
    assert found.pop("src/common/cpu.py") == {"T201"}
    assert found.pop("src/common/probe.py") == {"F401"}
    assert {"D103"} <= found["tests/pages/test_index.py"]
    assert {name for name in found if not is_below(name, points + starters)} == set()


def test_what_the_template_keeps_out_of_its_files_is_no_rule_of_its_own(render: Render) -> None:
    """Together they are all families of rules, those of a new release of ruff, too."""
    lint = tomllib.loads((render() / "ruff.defaults.toml").read_text(encoding="utf-8"))["lint"]
    kept_out = next(
        rules
        for files, rules in lint["extend-per-file-ignores"].items()
        if "src/common/**" in files
    )
    command = ["ruff", "linter", "--output-format=json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    families = {
        linter["prefix"] + category["prefix"]
        for linter in json.loads(done.stdout)
        for category in linter.get("categories") or [{"prefix": ""}]
    }

    assert not {*kept_out} & {*lint["select"]}
    assert {rule for rule in kept_out if rule not in families} == {*lint["ignore"]}
    known = (*kept_out, *lint["select"])
    assert [family for family in families if not family.startswith(known)] == []


def test_the_example_of_a_rule_finds_nothing_in_a_new_project(
    render: Render, tmp_path: Path
) -> None:
    tree = shutil.copytree(render(), tmp_path / "project")

    example(tree, "ruff.toml").apply(tree)

    assert tomllib.loads((tree / "ruff.toml").read_text(encoding="utf-8"))["lint"]
    assert findings(tree) == {}
