"""Releases: the list is true, one command cuts one, another publishes its tag."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from hooks.release import releases
from tests.history import commit_all, git
from tests.rendering import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CHANGELOG = "# Changelog\n\n## Unreleased\n\n### Added\n\n- Orders.\n"


def test_the_history_is_whole() -> None:
    assert git(ROOT, "rev-parse", "--is-shallow-repository").strip() == "false", (
        "The history is shallow, so former releases are missing: fetch all of it (fetch-depth: 0)."
    )


def test_every_release_that_is_listed_is_in_the_history() -> None:
    for release in releases(ROOT):
        git(ROOT, "merge-base", "--is-ancestor", release.commit, "HEAD")
        project = git(ROOT, "show", f"{release.commit}:pyproject.toml")
        assert f'\nversion = "{release.version}"\n' in project
        assert f"\n## {release.version} - " in git(ROOT, "show", f"{release.commit}:CHANGELOG.md")


def test_releases_are_listed_from_the_oldest_to_the_newest() -> None:
    numbers = [release.numbers for release in releases(ROOT)]

    assert numbers == sorted(set(numbers))


def test_only_a_major_release_has_a_step_that_needs_trust() -> None:
    settings = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))

    for migration in settings.get("_migrations", []):
        assert re.fullmatch(r"[1-9]\d*\.0\.0", migration["version"])


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a small repository that has the script, and a remote."""
    folder = tmp_path / "shipshape"
    (folder / "hooks").mkdir(parents=True)
    shutil.copy(ROOT / "hooks/release.py", folder / "hooks")
    shutil.copy(ROOT / "releases.toml", folder)
    (folder / "releases.toml").write_text("# Every release.\n", encoding="utf-8")
    (folder / "CHANGELOG.md").write_text(CHANGELOG, encoding="utf-8")
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "shipshape"\nversion = "0.0.0"\n', encoding="utf-8"
    )
    (folder / "uv.lock").write_text(
        '[[package]]\nname = "shipshape"\nversion = "0.0.0"\n', encoding="utf-8"
    )
    commit_all(folder, "Start")
    git(folder, "config", "user.name", "Ada")
    git(folder, "config", "user.email", "ada@example.org")
    git(tmp_path, "init", "--quiet", "--bare", "remote.git")
    git(folder, "remote", "add", "origin", str(tmp_path / "remote.git"))
    return folder


def run(repository: Path, *arguments: str, code: int = 0) -> str:
    """Run the script, expect this exit code, and return what it says."""
    done = subprocess.run(
        [sys.executable, "hooks/release.py", *arguments],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def note(repository: Path, text: str) -> None:
    """Write a note under Unreleased and commit it."""
    path = repository / "CHANGELOG.md"
    found = path.read_text(encoding="utf-8")
    path.write_text(found.replace("## Unreleased\n", f"## Unreleased\n\n{text}\n"), "utf-8")
    commit_all(repository, "Note")


def test_one_command_cuts_a_release(repository: Path) -> None:
    run(repository, "cut", "0.1.0")

    (release,) = releases(repository)
    assert release.version == "0.1.0"
    assert release.commit == git(repository, "rev-parse", "HEAD~1").strip()
    subjects = git(repository, "log", "--format=%s").splitlines()
    assert subjects[:2] == ["List release 0.1.0", "Release 0.1.0"]
    for name in ("pyproject.toml", "uv.lock"):
        assert 'version = "0.1.0"\n' in (repository / name).read_text(encoding="utf-8")
    changelog = (repository / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"## Unreleased\n\n## 0\.1\.0 - \d{4}-\d\d-\d\d\n\n### Added\n", changelog)
    assert git(repository, "status", "--porcelain") == ""


def test_what_is_in_the_way_of_a_release_is_told_and_nothing_is_changed(repository: Path) -> None:
    assert run(repository, "cut", "1.0", code=1).startswith("1.0 is no version")
    (repository / "new.txt").write_text("new\n", encoding="utf-8")
    assert "?? new.txt" in run(repository, "cut", "0.1.0", code=1)
    (repository / "new.txt").unlink()
    run(repository, "cut", "0.1.0")
    before = git(repository, "rev-parse", "HEAD")

    assert run(repository, "cut", "0.2.0", code=1).startswith("CHANGELOG.md says nothing")
    note(repository, "- Change.")
    assert "not newer than 0.1.0" in run(repository, "cut", "0.1.0", code=1)
    assert "under '### Upgrade notes'" in run(repository, "cut", "1.0.0", code=1)
    assert git(repository, "rev-parse", "HEAD~1") == before

    note(repository, "### Upgrade notes\n\nMove it.")
    run(repository, "cut", "1.0.0")


def test_tags_that_the_remote_has_not_are_published(repository: Path) -> None:
    run(repository, "cut", "0.1.0")
    assert "0.1.0 is published." in run(repository, "publish-tags")
    note(repository, "- Change.")
    run(repository, "cut", "0.2.0")

    said = run(repository, "publish-tags")

    assert "0.2.0 is published." in said
    assert "0.1.0 is published." not in said
    there = git(repository, "ls-remote", "--tags", "origin")
    for release in releases(repository):
        assert f"{release.commit}\trefs/tags/{release.version}\n" in there


def test_a_published_tag_is_never_moved(repository: Path) -> None:
    run(repository, "cut", "0.1.0")
    git(repository, "push", "--quiet", "origin", "HEAD:refs/tags/0.1.0")

    said = run(repository, "publish-tags", code=1)

    assert "a published tag never moves" in said
    head = git(repository, "rev-parse", "HEAD").strip()
    assert head in git(repository, "ls-remote", "--tags", "origin")


def test_a_wrong_argument_is_answered_with_the_usage(repository: Path) -> None:
    assert run(repository, "cut", code=2).startswith("Usage: ")
    assert run(repository, code=2).startswith("Usage: ")
