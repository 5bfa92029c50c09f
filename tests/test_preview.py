"""`make render` and `make diff` show a variant, and what a change to the template does to it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.rendering import take_snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rendering import SharedFolders


@pytest.fixture(scope="module")
def repository(shared: SharedFolders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the template under git, with a release, one commit since and one change since that."""
    folder = tmp_path_factory.mktemp("preview") / "shipshape"
    shutil.copytree(shared.get("template", take_snapshot), folder)
    git(folder, "init", "--quiet")
    commit(folder)
    git(folder, "tag", "0.0.1")
    edit(folder / "template/AGENTS.md", "# Working on", "# Released: working on")
    commit(folder)
    edit(folder / "template/docs/operations.md", "# ", "# Uncommitted: ")
    edit(folder / "template/src/common/rabbitmq.py", "RabbitMQ", "Rabbit MQ")
    return folder


def edit(path: Path, old: str, new: str) -> None:
    """Change the first such words in a file."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def git(folder: Path, *arguments: str) -> None:
    """Run git in a folder."""
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    """Commit everything."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "All")


def preview(
    repository: Path, *arguments: str, answers: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the script as make does."""
    return subprocess.run(
        [sys.executable, "hooks/preview.py", *arguments],
        cwd=repository,
        env={**os.environ, "ANSWERS": answers},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_difference_is_what_is_not_committed(repository: Path) -> None:
    done = preview(repository, "diff")

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("+++")] == ["+++ after/docs/operations.md"]
    assert any(line.startswith("+# Uncommitted: ") for line in lines)
    assert any("1 file changed" in line for line in lines)


def test_a_difference_since_a_release_is_all_that_has_changed(repository: Path) -> None:
    done = preview(repository, "diff", "0.0.1", answers="broker=rabbitmq 'project_name=Order Desk'")

    assert done.returncode == 0, done.stderr
    changed = [line for line in done.stdout.splitlines() if line.startswith("+++")]
    assert changed == [
        "+++ after/AGENTS.md",
        "+++ after/docs/operations.md",
        "+++ after/src/common/rabbitmq.py",
    ]


def test_a_variant_that_is_not_touched_has_no_difference(repository: Path) -> None:
    git(repository, "stash", "--quiet")
    try:
        done = preview(repository, "diff")
    finally:
        git(repository, "stash", "pop")

    assert done.stdout == "With these answers the work tree gives the same project as HEAD.\n"


def test_a_variant_can_be_looked_at(repository: Path) -> None:
    (repository / "rendered").mkdir(exist_ok=True)
    (repository / "rendered/old").touch()

    done = preview(repository, "render", answers='license=MIT project_name="Order Desk"')

    assert done.returncode == 0, done.stderr
    files = [path for path in (repository / "rendered").rglob("*") if path.is_file()]
    assert done.stdout == f"rendered/ has {len(files)} files.\n"
    assert repository / "rendered/src/order_desk/urls.py" in files
    assert "MIT License" in (repository / "rendered/LICENSE").read_text(encoding="utf-8")
    assert not (repository / "rendered/old").exists()


def test_a_mistake_in_a_file_is_told_with_its_line(repository: Path) -> None:
    file = repository / "template/AGENTS.md"
    text = file.read_text(encoding="utf-8")
    file.write_text(f"# Agents\n\n{{@ project_nam @}}\n{text}", encoding="utf-8")

    done = preview(repository, "render")

    file.write_text(text, encoding="utf-8")
    assert done.returncode == 1
    assert " at template/AGENTS.md:3: " in done.stderr
    assert "'project_nam' is undefined" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "answers", "sentence"),
    [
        (["render"], "brokr=rabbitmq", "brokr=rabbitmq answers no question: write one of "),
        (["render"], "broker", "broker answers no question: write one of "),
        (["render"], "'broker", "ANSWERS cannot be read (No closing quotation): check its quotes."),
        (["diff", "0.9"], "", "0.9 is no revision of this repository: give another BASE."),
        (
            ["diff"],
            "project_slug=X",
            "cannot be rendered with these answers: ValueError: Validation error for question",
        ),
        ([], "", "Usage: preview.py render | diff [BASE]"),
    ],
)
def test_what_cannot_be_shown_is_told_in_a_sentence(
    repository: Path, arguments: list[str], answers: str, sentence: str
) -> None:
    done = preview(repository, *arguments, answers=answers)

    assert done.returncode in {1, 2}
    assert sentence in done.stderr
    assert "reserved_names" not in done.stderr  # a list of the template's own
    assert len(done.stderr.splitlines()) == 1
