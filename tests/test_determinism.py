"""The same answers give the same bytes, whoever asks, wherever, and on whatever day.

What differs for no reason would be a conflict in every update.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.combinations import by_position, complete, given
from tests.rendering import take_snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.combinations import Answers
    from tests.rendering import SharedFolders

# The command line of Copier, on another day.
COPIER = """
import sys
import time_machine
from copier.__main__ import CopierApp

with time_machine.travel(sys.argv.pop(1), tick=True):
    CopierApp.run()
"""
TODAY, ANOTHER_DAY = "2026-06-15T12:00:00+00:00", "2031-12-31T23:59:58+00:00"

# A machine that is set up in another way than those of developers and of continuous integration.
ANOTHER_WORLD = {
    "COLUMNS": "40",
    "GIT_AUTHOR_NAME": "Somebody Else",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "user.name",
    "GIT_CONFIG_VALUE_0": "Somebody Else",
    "LANG": "C",
    "LC_ALL": "C",
    "LOGNAME": "somebody",
    "PYTHONHASHSEED": "4711",
    "TZ": "Pacific/Kiritimati",
    "USER": "somebody",
    "USERNAME": "somebody",
}

FIRST: Answers = {}
LAST = given(complete({}, lambda *answer: -by_position(*answer)) or {})
each_end = pytest.mark.parametrize("answers", [FIRST, LAST], ids=["first", "last"])


def copier(
    *arguments: str | Path,
    cwd: Path,
    day: str = TODAY,
    env: Mapping[str, str] | None = None,
    umask: int = 0o022,
) -> None:
    """Run the command line of Copier."""
    done = subprocess.run(
        [sys.executable, "-c", COPIER, day, *arguments],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        umask=umask,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def data(answers: Answers) -> list[str]:
    """Return answers as arguments."""
    return [f"--data={key}={value}" for key, value in answers.items()]


def content(folder: Path) -> dict[str, tuple[bool, bytes]]:
    """Return whether it can be run, and its bytes, for each file but those of git."""
    return {
        str(path.relative_to(folder)): (os.access(path, os.X_OK), path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


@each_end
def test_another_day_place_user_and_locale_give_the_same_bytes(
    shared: SharedFolders, tmp_path: Path, answers: Answers
) -> None:
    template = shared.get("template", take_snapshot)
    here, elsewhere = tmp_path / "here", tmp_path / "else where" / "ünder" / "my project"
    elsewhere.parent.mkdir(parents=True)
    home = tmp_path / "home"
    home.mkdir()

    copier("copy", "--defaults", *data(answers), template, here, cwd=tmp_path)
    copier(
        "copy",
        "--defaults",
        *reversed(data(answers)),
        template,
        elsewhere,
        cwd=elsewhere.parent,
        day=ANOTHER_DAY,
        env={**ANOTHER_WORLD, "HOME": str(home), "TMPDIR": str(home)},
        umask=0o077,
    )

    first, second = content(here), content(elsewhere)
    assert len(first) > 50
    assert first == second


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder and return what it prints."""
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    command = ["git", *identity, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def test_a_recopy_is_a_copy(shared: SharedFolders, tmp_path: Path) -> None:
    """Of a release, as a team has it: under git, and with its own command line."""
    template, project = tmp_path / "template", tmp_path / "project"
    shutil.copytree(shared.get("template", take_snapshot), template)
    commit(template)
    git(template, "tag", "1.0.0")
    copier("copy", "--defaults", *data(LAST), template, project, cwd=tmp_path)
    before = content(project)
    commit(project)

    copier("recopy", "--defaults", "--overwrite", cwd=project, day=ANOTHER_DAY)
    assert git(project, "status", "--porcelain", "--ignored") == ""

    for path in project.iterdir():
        if path.is_dir() and path.name != ".git":
            shutil.rmtree(path)
        elif path.name not in {".git", ".copier-answers.yml"}:
            path.unlink()
    copier("recopy", "--defaults", "--overwrite", cwd=project, day=ANOTHER_DAY)
    assert content(project) == before


def commit(folder: Path) -> None:
    """Put a folder under git, with everything in it."""
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "All")
