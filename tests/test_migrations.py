"""What a release may change without hurting a project, on a small template with a short history."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from copier import run_copy

from hooks.migrations.run import MigrationError, Project, main
from tests.history import commit_all, git
from tests.rendering import ROOT

COPIER = Path(sys.executable).with_name("copier")
ANSWERS = ".copier-answers.yml"
LINES = "".join(f"line {number}\n" for number in range(1, 10))

QUESTIONS: dict[str, Any] = {
    "queue": {"type": "str", "default": "celery"},
    "store": {"type": "str", "choices": ["disk", "tape"], "default": "disk"},
}
MIGRATION = {
    "version": "2.0.0",
    "command": [
        "{@ _copier_python @}",
        "{@ _copier_conf.src_path @}/hooks/migrations/run.py",
        "2.0.0",
    ],
    "when": "{@ _stage == 'before' @}",
}


class Template:
    """A small template with the engine of the real one, and a project of its first release."""

    def __init__(self, folder: Path) -> None:
        self.root, self.project = folder / "template", folder / "project"
        settings = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
        names = ("_subdirectory", "_templates_suffix", "_envops", "_min_copier_version")
        self.settings = {name: settings[name] for name in names}
        self.settings["_skip_if_exists"] = ["/Makefile", "/make/Makefile"]
        files = self.root / "template"
        files.mkdir(parents=True)
        shutil.copytree(ROOT / "hooks/migrations", self.root / "hooks/migrations")
        answers = "{@ dict(_copier_answers, locked={}) | to_nice_yaml @}"
        (files / "{@ _copier_conf.answers_file @}").write_text(answers, encoding="utf-8")
        (files / "tasks.py").write_text(LINES, encoding="utf-8")
        (files / "Makefile").write_text("# The team's.\n", encoding="utf-8")
        self.release("1.0.0", QUESTIONS)

    def release(self, version: str, questions: dict[str, Any], **more: object) -> None:
        """Commit the template with these questions and settings, and tag it."""
        text = yaml.safe_dump({**self.settings, **more, **questions}, sort_keys=False)
        (self.root / "copier.yml").write_text(text, encoding="utf-8")
        commit_all(self.root, version)
        git(self.root, "tag", version)

    def copy(self, **answers: str) -> None:
        """Copy the first release with these answers."""
        run_copy(
            str(self.root), self.project, vcs_ref="1.0.0", data=answers, defaults=True, quiet=True
        )
        commit_all(self.project, "Start")

    def update(self, *options: str, code: int = 0) -> str:
        """Update by the command line, and return what it says."""
        command = [str(COPIER), "update", "--defaults", *options]
        done = subprocess.run(
            command, cwd=self.project, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        return done.stderr

    @property
    def answers(self) -> dict[str, Any]:
        """What the project has recorded."""
        text = (self.project / ANSWERS).read_text(encoding="utf-8")
        found: dict[str, Any] = yaml.safe_load(text)
        return found

    def edit(self, name: str, old: str, new: str) -> None:
        """Change a file of the project and commit it."""
        path = self.project / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        commit_all(self.project, "Edit")


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Template:
    """Return a template with one release."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")
    return Template(tmp_path)


# ---- Answers, without trust ---------------------------------------------------------------------


def test_a_question_that_is_renamed_keeps_its_answer(template: Template) -> None:
    template.copy(queue="none")
    renamed = {"type": "str", "default": "{@ queue | default('celery') @}"}
    template.release("1.1.0", {"task_queue": renamed, "store": QUESTIONS["store"]})

    template.update()

    assert template.answers["task_queue"] == "none"
    assert "queue" not in template.answers
    commit_all(template.project, "Update")
    template.release("1.2.0", {"task_queue": renamed, "store": QUESTIONS["store"]})
    template.update()
    assert template.answers["task_queue"] == "none"


def test_a_choice_that_is_no_longer_offered_stays_readable(template: Template) -> None:
    template.copy(store="tape")
    validator = (
        "{@ 'store=tape is no longer offered: choose disk.'"
        " if store == 'tape' and locked is not defined @}"
    )
    store = {**QUESTIONS["store"], "validator": validator}
    template.release("1.1.0", {**QUESTIONS, "store": store})

    template.update()

    assert template.answers["store"] == "tape"
    with pytest.raises(ValueError, match="store=tape is no longer offered: choose disk"):
        run_copy(
            str(template.root), template.project.with_name("new"), data={"store": "tape"},
            defaults=True, quiet=True,
        )  # fmt: skip


def test_a_new_question_gets_its_default(template: Template) -> None:
    template.copy()
    template.release("1.1.0", {**QUESTIONS, "proxy": {"type": "str", "default": "none"}})

    template.update()

    assert template.answers["proxy"] == "none"


# ---- Files, in a major release ------------------------------------------------------------------


def major_release(template: Template) -> None:
    """Release 2.0.0, in which two files have other paths, with a step that moves them."""
    files = template.root / "template"
    (files / "jobs").mkdir()
    (files / "make").mkdir()
    (files / "tasks.py").rename(files / "jobs/tasks.py")
    (files / "Makefile").rename(files / "make/Makefile")
    (template.root / "hooks/migrations/v2_0_0.py").write_text(
        '"""Jobs have a folder."""\n\n\ndef migrate(project):\n'
        '    project.move("tasks.py", "jobs/tasks.py")\n'
        '    project.move("Makefile", "make/Makefile")\n',
        encoding="utf-8",
    )
    template.release("2.0.0", QUESTIONS, _migrations=[MIGRATION])


def test_a_major_release_asks_for_trust_and_moves_what_nobody_changed(template: Template) -> None:
    template.copy()
    major_release(template)

    assert "--trust" in template.update(code=4)
    assert git(template.project, "status", "--porcelain") == ""
    template.update("--trust")

    assert (template.project / "jobs/tasks.py").read_text(encoding="utf-8") == LINES
    assert not (template.project / "tasks.py").exists()
    assert git(template.project, "ls-files", "--unmerged") == ""


def test_what_the_team_changed_in_a_moved_file_goes_along(template: Template) -> None:
    template.copy()
    template.edit("tasks.py", "line 5\n", "line 5 is ours\n")
    template.edit("Makefile", "# The team's.\n", "orders:\n\techo sent\n")
    major_release(template)

    template.update("--trust")

    assert "line 5 is ours\n" in (template.project / "jobs/tasks.py").read_text(encoding="utf-8")
    makefile = (template.project / "make/Makefile").read_text(encoding="utf-8")
    assert makefile == "orders:\n\techo sent\n"
    assert not (template.project / "tasks.py").exists()
    # Shown as a conflict, as no common ancestor is known; the team's own file is not.
    assert "jobs/tasks.py" in git(template.project, "ls-files", "--unmerged")
    assert "make/Makefile" not in git(template.project, "ls-files", "--unmerged")


def test_without_its_step_a_moved_file_loses_what_the_team_changed(template: Template) -> None:
    """This is why there are steps, and why `make update` names such a file."""
    template.copy()
    template.edit("tasks.py", "line 5\n", "line 5 is ours\n")
    major_release(template)
    template.release("2.0.1", QUESTIONS, _migrations=[])

    template.update()

    assert not (template.project / "tasks.py").exists()
    assert (template.project / "jobs/tasks.py").read_text(encoding="utf-8") == LINES


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project with one file."""
    (tmp_path / "old.txt").write_text("old\n", encoding="utf-8")
    commit_all(tmp_path, "Start")
    return Project(tmp_path)


def test_a_move_can_be_repeated(project: Project) -> None:
    project.move("old.txt", "deep/er/new.txt")
    project.move("old.txt", "deep/er/new.txt")

    assert git(project.root, "status", "--porcelain") == "R  old.txt -> deep/er/new.txt\n"


def test_a_move_never_replaces_a_file_of_the_team(project: Project) -> None:
    (project.root / "new.txt").write_text("the team's\n", encoding="utf-8")

    with pytest.raises(MigrationError, match=r"old\.txt moves to new\.txt, where you have a file"):
        project.move("old.txt", "new.txt")

    assert (project.root / "new.txt").read_text(encoding="utf-8") == "the team's\n"


def test_a_step_that_fails_or_is_missing_is_told(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.root)
    (project.root / "new.txt").write_text("the team's\n", encoding="utf-8")
    (project.root / "v3_0_0.py").write_text(
        'def migrate(project):\n    project.move("old.txt", "new.txt")\n', encoding="utf-8"
    )

    assert main("3.0.0", project.root) == 1
    assert "give it another name, commit, and update again" in capsys.readouterr().err
    assert main("4.0.0", project.root) == 1
    assert capsys.readouterr().err.startswith("The template has no step v4_0_0.py for 4.0.0")
