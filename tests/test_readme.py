"""README.md says what is there: its questions are those of copier.yml, its commands exist."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from hooks.questions import END, START, main, table
from tests.combinations import default_of
from tests.rendering import ROOT, questions

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_questions_is_what_make_questions_writes() -> None:
    written = README.partition(START)[2].partition(END)[0]

    assert written == f"\n{table()}\n"


def test_the_table_is_written_into_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hooks.questions.ROOT", tmp_path)
    monkeypatch.setattr("hooks.questions.table", lambda: "| fresh |\n")
    (tmp_path / "README.md").write_text(f"# A\n\n{START}\n| old |\n\n{END}\nB\n", "utf-8")

    main()

    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text == f"# A\n\n{START}\n| fresh |\n\n{END}\nB\n"


def test_the_first_choice_is_the_default() -> None:
    with_choices = {key: each for key, each in questions().items() if "choices" in each}

    assert {key: default_of(each) for key, each in with_choices.items()} == {
        key: next(iter(each["choices"].values())) for key, each in with_choices.items()
    }


def test_every_make_target_that_is_named_exists() -> None:
    named = set(re.findall(r"(?m)(?:^|`)make ([a-z]+)", README))
    assert {"demo", "test", "render", "help", "setup"} <= named
    for target in named:
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_the_readme_is_one_screen() -> None:
    assert len(README.splitlines()) <= 75
