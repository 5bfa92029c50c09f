"""The rules that every file of the template keeps, so that people and their tools can read it."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import jinja2
import jinja2.meta
import pytest
import yaml
from jinja2_ansible_filters import AnsibleCoreFiltersExtension

from tests.rendering import ROOT, questions
from tests.trees import misread

if TYPE_CHECKING:
    from pathlib import Path

TEMPLATE = ROOT / "template"

# What Copier itself adds to the answers.
FROM_COPIER = {"_copier_answers", "_copier_conf"}

# Names that Windows keeps for devices, whatever their ending.
DEVICES = {
    "aux",
    "con",
    "nul",
    "prn",
    *(f"{name}{n}" for name in ("com", "lpt") for n in range(10)),
}

SETTINGS = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
TEAMS = [
    row.replace("package_name | default('*')", "package_name")
    for row in SETTINGS["_skip_if_exists"]
]


def names(folder: Path) -> list[str]:
    """Return the paths in a folder that git knows, or would if they were added."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "."]
    listed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return sorted({name for name in listed.stdout.split("\0") if (folder / name).is_file()})


NAMES = names(TEMPLATE)
TEXTS = {name: (TEMPLATE / name).read_text(encoding="utf-8") for name in NAMES}


@pytest.fixture(scope="module")
def engine() -> jinja2.Environment:
    """Return Jinja as Copier sets it up, to look at templates without rendering them."""
    options = dict(SETTINGS["_envops"])
    options.pop("undefined")
    return jinja2.Environment(  # noqa: S701 (nothing is rendered)
        extensions=[AnsibleCoreFiltersExtension],
        loader=jinja2.FileSystemLoader(ROOT),
        **options,
    )


def test_the_settings_are_ones_that_copier_knows() -> None:
    known = {
        "_envops", "_exclude", "_message_after_copy", "_message_after_update",
        "_min_copier_version", "_skip_if_exists", "_subdirectory", "_templates_suffix",
    }  # fmt: skip

    assert {key for key in SETTINGS if key.startswith("_")} <= known


@pytest.mark.parametrize("key", questions())
def test_the_keys_of_a_question_are_ones_that_copier_knows(key: str) -> None:
    known = {"ask", "choices", "default", "help", "placeholder", "type", "validator", "when"}

    assert questions()[key].keys() <= known
    assert questions()[key].keys() >= {"default", "help", "type"}


def variables(engine: jinja2.Environment, *sources: str) -> set[str]:
    """Return the names that the rendering of these texts asks for."""
    return {
        name
        for source in sources
        for name in jinja2.meta.find_undeclared_variables(engine.parse(source))
    }


def test_every_variable_is_a_question(engine: jinja2.Environment) -> None:
    known = questions().keys() | FROM_COPIER

    unknown = {name: variables(engine, name, text) - known for name, text in TEXTS.items()}

    assert {name: found for name, found in unknown.items() if found} == {}


def test_every_question_is_used(engine: jinja2.Environment) -> None:
    manifest = "\n".join(SETTINGS["_exclude"])
    included = [*(ROOT / "licenses").iterdir(), ROOT / "hooks/bootstrap.py"]
    sources = [path.read_text(encoding="utf-8") for path in included]

    used = variables(engine, *NAMES, *TEXTS.values(), manifest, *sources)

    # The first is a validator's list; the second is recorded at birth for the servers to come.
    assert questions().keys() - used <= {"reserved_names", "postgres_version"}


# Their whole text is an answer, or other answers than a file of that kind has.
MADE_OF_ANSWERS = {".python-version", "{@ _copier_conf.answers_file @}"}


def test_unrendered_files_are_of_their_language() -> None:
    """This also keeps variables inside strings and comments: anywhere else they are no Python.

    No key stands in two branches of a condition, either: a reader of YAML or TOML refuses it.
    """
    problems = {name: misread(name, text) for name, text in TEXTS.items()}

    assert {name for name, found in problems.items() if found} == MADE_OF_ANSWERS, problems


def test_values_of_yaml_that_hold_a_variable_are_quoted() -> None:
    """Otherwise an answer may be a number, a truth value, or a comment from its first # on."""
    assert [
        f"{name}: {token.value}"
        for name, text in TEXTS.items()
        if name.endswith((".yaml", ".yml"))
        for token in yaml.scan(text)
        if isinstance(token, yaml.ScalarToken) and token.plain and "{@" in token.value
    ] == []


def test_unrendered_modules_are_formatted() -> None:
    """But for blank lines before a statement, which the formatter wants and the rendering not."""
    settings = ["--config", str(TEMPLATE / "ruff.defaults.toml")]
    command = ["ruff", "format", "--no-cache", "--diff", *settings, str(TEMPLATE)]
    diff = subprocess.run(command, capture_output=True, text=True, check=False).stdout

    changed = [line for line in diff.splitlines() if re.match(r"[+-](?!\+\+|--)", line)]
    assert [line for line in changed if line != "+"] == []


def test_no_blank_line_follows_a_statement() -> None:
    """It would be swallowed, and what it keeps apart would stand together."""
    assert [
        f"{name}: {found[0].strip()}"
        for name, text in TEXTS.items()
        for found in re.finditer(r"(?m)^[ \t]*# @.*\n(?=\n)", text)
    ] == []


def test_languages_without_comments_have_no_statements() -> None:
    without = [name for name in NAMES if name.endswith((".html", ".css", ".svg", ".json"))]

    assert [name for name in without if re.search(r"\{@%|^\s*# @", TEXTS[name], re.MULTILINE)] == []


def test_conditions_are_few() -> None:
    conditions = sum(text.count("# @if") for text in TEXTS.values())

    assert conditions <= len(NAMES)


def test_files_are_tidy() -> None:
    untidy = re.compile(r"\r|[ \t]+\n|\n\n\Z|[^\n]\Z")

    assert [name for name, text in TEXTS.items() if untidy.search(text)] == []


def test_windows_can_check_every_path_out() -> None:
    """In the whole repository, as Copier clones it."""
    every = names(ROOT)
    parts = {part for name in every for part in PurePosixPath(name).parts}

    assert [part for part in parts if re.search(r'[<>:"|?*\\]|[. ]$', part)] == []
    assert [part for part in parts if part.split(".")[0].lower() in DEVICES] == []
    assert [name for name in every if len(name) > 120] == []


def test_no_two_paths_differ_in_case_alone() -> None:
    twice = [name for name, count in Counter(map(str.lower, names(ROOT))).items() if count > 1]

    assert twice == []


def test_no_path_holds_a_condition() -> None:
    written = {part for name in NAMES for part in re.findall(r"\{@.*?@\}", name)}

    assert written <= {"{@ package_name @}", "{@ _copier_conf.answers_file @}"}


def test_the_gitignore_of_the_template_hides_none_of_its_files() -> None:
    """template/.gitignore is the project's, but git obeys it in this repository, too."""
    command = ["git", "check-ignore", "--no-index", "-z", "--stdin"]
    paths = "\0".join(f"template/{name}" for name in NAMES)
    done = subprocess.run(
        command, cwd=ROOT, input=paths, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1, f"git ignores {done.stdout}"


def test_nothing_needs_trust() -> None:
    assert not SETTINGS.keys() & {"_tasks", "_jinja_extensions", "_migrations"}


def test_every_path_of_the_manifest_exists() -> None:
    """A misspelt row would leave nothing out, and say so to nobody."""
    lists = "\n".join([*SETTINGS["_exclude"][1:], *TEAMS])
    rows = [line.strip() for line in lists.splitlines() if line.strip().startswith("/")]

    assert [row for row in rows if not (TEMPLATE / row.removeprefix("/")).exists()] == []


def test_managed_files_say_so_in_their_first_lines() -> None:
    theirs = tuple(row.removeprefix("/") for row in TEAMS)
    # These have no comments, or are read whole by a tool.
    silent = ("{@ _copier_conf.answers_file @}", ".python-version", "LICENSE")
    sources = {**TEXTS, "scripts/bootstrap.py": (ROOT / "hooks/bootstrap.py").read_text("utf-8")}

    said = {
        name for name, text in sources.items()
        if "Maintained by the template" in "".join(text.splitlines()[:3])
    }  # fmt: skip
    managed = {
        name for name in NAMES if not f"{name}/".startswith(tuple(f"{row}/" for row in theirs))
    }

    assert said ^ (managed - {*silent}) == set()
