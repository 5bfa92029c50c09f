"""The ways of docs/companies.md to bend the template work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from copier import run_copy

from tests.history import WORK_TREE, commit_all, git
from tests.test_update import answers_of, copier, copy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.history import History

pytestmark = pytest.mark.slow


def test_a_fork_with_local_changes_merges_the_next_release(
    history: History, tmp_path: Path
) -> None:
    git(tmp_path, "clone", "--quiet", str(history.root), "fork")
    fork = tmp_path / "fork"
    git(fork, "checkout", "--quiet", "-b", "acme", history.versions[-1])
    template, package = fork / "template", "{@ package_name @}"
    changes = {
        template / "docs/acme.md": "<!-- Maintained by the template. -->\n\n# Acme\n",
        fork / "licenses/acme.txt": "Acme owns this.\n",
        template / f"src/{package}/settings/production.py": '\nLANGUAGE_CODE = "de"\n',
        template / "ruff.toml": '\n[lint]\nextend-select = ["D"]\n',
        template / "deploy/docker/packages.txt": "acme-certificates\n",
        template / "mypy.ini": "\n[mypy-acme.*]\nignore_missing_imports = true\n",
    }
    for path, text in changes.items():
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    questions = (fork / "copier.yml").read_text(encoding="utf-8")
    default = "default: The {@ project_name @} authors"
    assert default in questions
    (fork / "copier.yml").write_text(questions.replace(default, "default: Acme"), "utf-8")
    commit_all(fork, "Acme")

    git(fork, "merge", "--quiet", "--no-edit", WORK_TREE)

    assert git(fork, "diff", "--name-only", "--diff-filter=U") == ""
    for path, text in changes.items():
        assert text in path.read_text(encoding="utf-8")
    git(fork, "tag", "99999.0.0")
    project = copy(type(history)(fork), tmp_path / "project", "99999.0.0", {})
    assert answers_of(project)["author_name"] == "Acme"
    assert (project / "docs/acme.md").is_file()


def test_defaults_in_the_users_settings_answer_questions(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "settings.yml"
    settings.write_text("defaults:\n  author_name: Acme GmbH\n", encoding="utf-8")
    monkeypatch.setenv("COPIER_SETTINGS_PATH", str(settings))

    run_copy(str(history.root), tmp_path / "project", defaults=True, quiet=True)

    assert answers_of(tmp_path / "project")["author_name"] == "Acme GmbH"


def test_a_mirror_stands_in_for_the_address_that_a_project_has_recorded(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "clone", "--quiet", "--mirror", str(history.root), "mirror.git")
    public = "https://shipshape.invalid/shipshape.git"
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{tmp_path / 'mirror.git'}.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", public)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # where Copier keeps clones
    project = tmp_path / "project"
    release = history.versions[-1]
    copier(tmp_path, "copy", "--defaults", "--vcs-ref", release, public, str(project))
    commit_all(project, "Start")

    copier(project, "update", "--defaults")

    assert answers_of(project)["_src_path"] == public
    assert answers_of(project)["_commit"] == WORK_TREE
