"""README.md says what is there: its questions are those of copier.yml, its commands exist."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.rendering import ROOT, questions

README = (ROOT / "README.md").read_text(encoding="utf-8")

# Answers that are free text: what the table says instead of a literal default.
COMPUTED_DEFAULTS = {
    "project_slug": "from `project_name`",
    "author_name": "The `project_name` authors",
}


def table() -> dict[str, tuple[str, list[str]]]:
    """Return default and choices of each question, as README.md has them."""
    text = README.partition("<!-- questions -->")[2].partition("<!-- /questions -->")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.strip().splitlines()
    ]
    return {
        name.strip("`"): (default, re.findall(r"`([^`]+)`", choices))
        for name, default, choices in rows[2:]
    }


def asked() -> list[str]:
    """Return the questions that are put to a person."""
    return [
        key
        for key, question in questions().items()
        if question.get("when") is not False and question.get("ask") is not False
    ]


def test_the_table_has_every_question_in_order() -> None:
    assert list(table()) == asked()


@pytest.mark.parametrize("key", asked())
def test_default_and_choices_are_those_of_the_question(key: str) -> None:
    question = questions()[key]
    default, choices = table()[key]
    assert default == COMPUTED_DEFAULTS.get(key, question["default"])
    if "choices" in question:
        assert choices == list(question["choices"].values())


def test_the_first_choice_is_the_default() -> None:
    with_choices = {key: row for key, row in table().items() if "choices" in questions()[key]}
    assert {key: row[0] for key, row in with_choices.items()} == {
        key: row[1][0] for key, row in with_choices.items()
    }


def test_every_make_target_that_is_named_exists() -> None:
    named = set(re.findall(r"(?m)(?:^|`)make ([a-z]+)", README))
    assert {"demo", "test", "render", "help", "setup"} <= named
    for target in named:
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_the_readme_is_one_screen() -> None:
    assert len(README.splitlines()) <= 70
