"""`make update` and `make template-diff` in a project: what goes wrong is told in a sentence."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.history import OBSOLETE, WORK_TREE, commit_all, git
from tests.service import wanted_python
from tests.team import apply, extension_edits
from tests.test_update import PROGRAMS, answers_of, copy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.history import History
    from tests.rendering import SharedFolders

pytestmark = pytest.mark.slow

NEXT = "10000.0.0"


def template(project: Path, *arguments: str, code: int, path: str = "") -> str:
    """Run scripts/template.py, expect this exit code, and return what it says."""
    inherited = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(
        [sys.executable, "scripts/template.py", *arguments],
        cwd=project,
        env={**inherited, "PATH": f"{path}{PROGRAMS}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    return said


@pytest.fixture
def project(history: History, tmp_path: Path) -> Path:
    """Return a project of the newest release, from a template that a test may go on with."""
    git(tmp_path, "clone", "--quiet", str(history.root), "template")
    source = type(history)(tmp_path / "template")
    return copy(source, tmp_path / "project", WORK_TREE, {})


def release(project: Path, change: Callable[[Path], None], version: str = NEXT) -> None:
    """Publish a release of the project's template in which this has changed."""
    root = project.with_name("template")
    change(root)
    commit_all(root, version)
    git(root, "tag", version)


def replace(name: str, old: str, new: str) -> Callable[[Path], None]:
    """Return a change of one file of the template."""

    def change(root: Path) -> None:
        text = (root / name).read_text(encoding="utf-8")
        assert old in text
        (root / name).write_text(text.replace(old, new), encoding="utf-8")

    return change


DOCKERFILE = replace("template/Dockerfile", "EXPOSE 8000", "EXPOSE 8001")


def edit(project: Path, name: str, old: str, new: str) -> None:
    """Change one file of the project and commit it."""
    replace(name, old, new)(project)
    commit_all(project, "Edit")


def test_a_project_at_the_newest_release_is_left_alone(project: Path) -> None:
    said = template(project, "update", code=0)

    assert said == f"This project is at {WORK_TREE}, the newest release.\n"
    assert git(project, "status", "--porcelain") == ""


def test_work_that_is_not_committed_stops_it(project: Path) -> None:
    (project / "notes.txt").write_text("not yet\n", encoding="utf-8")

    said = template(project, "update", code=1)

    assert said.startswith("There are changes that are not committed: commit or stash them")
    assert "notes.txt" in said


def test_a_project_without_git_is_told_so(project: Path) -> None:
    (project / ".git").rename(project.with_name("git"))

    assert template(project, "update", code=1).startswith("An update needs git")


def test_a_lost_tag_is_named(project: Path) -> None:
    edit(project, ".copier-answers.yml", f"_commit: {WORK_TREE}", "_commit: 1.2.3")

    said = template(project, "update", code=1)

    assert "The template has no release 1.2.3 any more" in said
    assert "`copier recopy --defaults`" in said
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.parametrize("source", ["https://127.0.0.1:9/template.git", "/nowhere/template"])
def test_a_template_that_cannot_be_reached_is_named(project: Path, source: str) -> None:
    edit(project, ".copier-answers.yml", str(project.with_name("template")), source)

    said = template(project, "update", code=1)

    assert said.startswith(f"The template cannot be read from {source}")


def test_a_copier_that_is_too_old_for_a_release_is_told(project: Path) -> None:
    release(project, replace("copier.yml", '_min_copier_version: "9.', '_min_copier_version: "99.'))

    said = template(project, "update", code=1)

    assert "The template needs a newer Copier: `uv tool upgrade copier`" in said
    assert git(project, "status", "--porcelain") == ""


def test_a_copier_on_the_path_that_is_too_old_is_passed_over(project: Path, tmp_path: Path) -> None:
    old = tmp_path / "bin" / "copier"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho copier 9.3.1\n", encoding="utf-8")
    old.chmod(0o755)

    template(project, "update", code=0, path=f"{old.parent}:")


def test_the_oldest_copier_is_the_one_that_the_template_needs(history: History) -> None:
    script = (history.root / "template/scripts/template.py").read_text(encoding="utf-8")
    settings = (history.root / "copier.yml").read_text(encoding="utf-8")

    oldest = script.partition('OLDEST_COPIER = "')[2].partition('"')[0]
    assert f'_min_copier_version: "{oldest}.0"' in settings


def test_a_release_that_needs_trust_is_told(project: Path) -> None:
    migrations = f'\n_migrations:\n  - version: {NEXT}\n    command: ["true"]\n'
    release(project, replace("copier.yml", "_subdirectory:", f"{migrations}_subdirectory:"))

    said = template(project, "update", code=1)

    assert "read its upgrade notes" in said
    assert "`copier update --defaults --trust`" in said


def test_a_conflict_is_an_error_that_says_what_to_do(project: Path) -> None:
    edit(project, "Dockerfile", "EXPOSE 8000", "EXPOSE 9000")
    release(project, DOCKERFILE)

    said = template(project, "update", code=1)

    assert "- Dockerfile: keep what is right between the lines" in said
    assert "`git add Dockerfile`" in said
    assert "`git reset --hard" in said


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_a_scheduled_update_that_meets_a_conflict_fails_and_proposes_nothing(
    project: Path, history: History, ci: str
) -> None:
    """The steps are run as they stand; a host runs none after one that has failed."""
    source = type(history)(project.with_name("template"))
    project = copy(source, project.with_name("scheduled"), WORK_TREE, {"ci": ci})
    edit(project, "Dockerfile", "EXPOSE 8000", "EXPOSE 9000")
    release(project, DOCKERFILE)
    if ci == "github":
        text = (project / ".github/workflows/propose.yml").read_text(encoding="utf-8")
        steps = yaml.safe_load(text)["jobs"]["propose"]["steps"]
        update = [step["name"] for step in steps if "name" in step].index("Update")
        steps = [step for step in steps if "name" in step][update:]
        assert not any({"if", "continue-on-error"} & step.keys() for step in steps)
        script = [step["run"] for step in steps]
    else:
        text = (project / ".gitlab/pipeline.yml").read_text(encoding="utf-8")
        job = yaml.safe_load(text)[".propose"]
        assert not {"allow_failure", "after_script"} & job.keys()
        script = job["script"]

    variables = {"TARGETS": "update", "BRANCH": "propose/template", "TITLE": "Update"}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", "\n".join(script)],
        cwd=project,
        env={**os.environ, **variables, "PATH": f"{PROGRAMS}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert "- Dockerfile: keep what is right between the lines" in done.stdout + done.stderr
    assert "propose/template" not in git(project, "branch", "--all")
    assert git(project, "log", "--format=%s").splitlines()[0] == "Edit"


def test_a_file_of_the_team_where_a_release_brings_one_is_kept_beside_it(project: Path) -> None:
    name, theirs = "src/common/clock.py", "# The clock of orders.\n"
    ours = "# A clock for all. Maintained by the template: change LOGGING instead.\n"
    (project / name).write_text(theirs, encoding="utf-8")
    commit_all(project, "Edit")

    def bring(root: Path) -> None:
        (root / "template" / name).write_text(ours, encoding="utf-8")

    release(project, bring)

    said = template(project, "update", code=1)

    assert f"- {name}: keep what is right between the lines" in said
    assert f"`git add {name}`. Maintained by the template: change LOGGING instead.\n" in said
    text = (project / name).read_text(encoding="utf-8")
    assert theirs in text
    assert ours in text


def test_a_file_that_was_edited_and_is_removed_is_named(project: Path) -> None:
    edit(project, "src/common/probe.py", "import", "import sys\nimport")
    release(project, lambda root: (root / "template/src/common/probe.py").unlink())

    said = template(project, "update", code=1)

    assert "- src/common/probe.py was removed, and you had changed it: `git show HEAD:./" in said
    assert "import sys" in git(project, "show", "HEAD:./src/common/probe.py")


def test_dependencies_that_a_switch_of_the_package_manager_would_drop_are_shown(
    project: Path,
) -> None:
    edit(project, "pyproject.toml", "dependencies = []", 'dependencies = ["arrow>=1"]')

    said = template(project, "update", "--data", "package_manager=pip", code=1)

    assert "- pyproject.toml: keep what is right" in said
    assert "arrow>=1" in (project / "pyproject.toml").read_text(encoding="utf-8")


def test_a_choice_that_is_gone_is_told(project: Path) -> None:
    edit(project, ".copier-answers.yml", "license: proprietary", "license: MIT")
    release(
        project,
        replace("copier.yml", 'keep the notice": MIT', 'keep the notice": MIT-0'),
    )

    said = template(project, "update", code=1)

    assert "- The answer license=MIT is no longer possible and has become proprietary" in said


def test_a_file_of_the_team_that_goes_with_an_option_is_named(project: Path) -> None:
    edit(project, "docker-compose.prod.override.yml", "services: {}", "services: {search: {}}")

    said = template(project, "update", "--data", "deploy=none", code=1)

    assert "- docker-compose.prod.override.yml was removed, and you had changed it: `git" in said
    assert (project / "Dockerfile").is_file()


def test_a_file_of_the_team_that_the_templates_files_count_on_is_compared(
    project: Path, history: History
) -> None:
    project = copy(history, project.with_name("own-pipeline"), WORK_TREE, {"ci": "none"})
    (project / ".github/workflows").mkdir(parents=True)
    name = ".github/workflows/ci.yml"
    (project / name).write_text("name: ours\n", encoding="utf-8")
    commit_all(project, "A pipeline of our own")

    said = template(project, "update", "--data", "ci=github", code=1)

    assert (project / name).read_text(encoding="utf-8") == "name: ours\n"
    assert f"- {name} is yours and stays as it is. The template has one, too, which its" in said
    assert "\n-name: ours\n" in said
    assert "gates.yml" in said


def test_a_question_that_a_release_brings_is_told_with_its_answer(project: Path) -> None:
    edit(project, "Dockerfile", "EXPOSE 8000", "EXPOSE 9000")  # so that it ends early
    question = "wiki:\n  type: str\n  help: Which wiki.\n  default: none\n\ndescription:\n"
    release(project, replace("copier.yml", "description:\n", question))
    release(project, DOCKERFILE, "10000.0.1")

    said = template(project, "update", code=1)

    assert (
        "New questions of the template are answered by wiki=none; its changelog says what else"
        ' there is, and `make update ANSWERS="wiki=…"` takes it.\n'
    ) in said


@pytest.mark.parametrize("variant", ["default", "pip"])
def test_a_lock_that_nothing_reads_any_more_is_told(
    project: Path, history: History, variant: str
) -> None:
    lock, other, answers = {
        "default": ("uv.lock", "pip", {}),
        "pip": ("requirements/production.lock.txt", "uv", {"package_manager": "pip"}),
    }[variant]
    if answers:
        project = copy(history, project.with_name("other"), WORK_TREE, answers)
    (project / lock).write_text("# locked\n", encoding="utf-8")
    edit(project, "Dockerfile", "EXPOSE 8000", "EXPOSE 9000")
    edit(project, "pyproject.toml", "[build-system]", "[build-system] # mine")

    said = template(project, "update", "--data", f"package_manager={other}", code=1)

    assert f"Nothing reads {lock} any more: `git rm {lock}`.\n" in said
    assert (project / lock).is_file()


def test_an_answer_may_hold_a_blank(project: Path) -> None:
    edit(project, "LICENSE", "Copyright (c)", "(c)")  # so that it ends early
    answers = "ANSWERS='author_name=Acme GmbH' license=MIT"
    command = ["make", "--dry-run", "--no-print-directory", "update", answers]
    shown = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True).stdout

    arguments = shlex.split(shown)[1:]
    assert arguments[1:] == ["update", "author_name=Acme GmbH", "license=MIT"]
    template(project, *arguments[1:], code=1)
    assert answers_of(project)["author_name"] == "Acme GmbH"
    assert answers_of(project)["license"] == "MIT"


def test_a_team_raises_postgresql_for_development_and_ci(project: Path) -> None:
    edit(project, "LICENSE", "Copyright (c)", "(c)")  # so that it ends early
    answers = ("postgres_version=18", "license=MIT")

    template(project, "update", *answers, code=1)

    for name in ("docker-compose.yml", "docker-compose.prod.yml", ".github/workflows/gates.yml"):
        text = (project / name).read_text(encoding="utf-8")
        assert "postgres:18" in text, name
        assert "postgres:17" not in text, name
    development = (project / "docker-compose.yml").read_text(encoding="utf-8")
    # Beside the files of 17, which no other version reads.
    assert 'PGDATA: "/var/lib/postgresql/data/18"' in development
    assert 'volumes: ["postgres:/var/lib/postgresql/data"]' in development


def test_half_an_answer_is_told(project: Path) -> None:
    said = template(project, "update", "author_name=Acme", "GmbH", code=1)

    assert said.startswith(
        "GmbH is no answer: write KEY=VALUE, and put it in quotes where it has a"
    )
    assert git(project, "status", "--porcelain") == ""


def test_an_answer_that_nobody_asks_for_is_told(project: Path) -> None:
    said = template(project, "update", "--data", "licence=MIT", code=1)

    assert said.startswith("licence is no answer of this release, so nothing is changed: there are")
    assert " ci, deploy, description, " in said
    assert git(project, "status", "--porcelain") == ""


def test_a_change_that_was_refused_is_found(project: Path, tmp_path: Path) -> None:
    release(project, DOCKERFILE)
    # As a Copier that is told to keep conflicts in files of their own.
    program = tmp_path / "bin" / "copier"
    program.parent.mkdir()
    real = PROGRAMS / "copier"
    program.write_text(
        f'#!/bin/sh\n{real} "$@"\n[ "$1" != update ] || touch Makefile.rej\n', encoding="utf-8"
    )
    program.chmod(0o755)

    said = template(project, "update", code=1, path=f"{program.parent}:")

    assert "- Makefile.rej holds a change that did not fit" in said


def test_a_wrong_argument_is_answered_with_the_usage(project: Path) -> None:
    for arguments in ((), ("--help",), ("diff", "--all"), ("updates",)):
        assert template(project, *arguments, code=2).startswith("Usage: ")


def test_managed_files_that_were_changed_are_shown_with_the_place_to_change_instead(
    project: Path,
) -> None:
    edit(project, "Dockerfile", "EXPOSE 8000", "EXPOSE 9000")
    (project / "gunicorn.conf.py").unlink()
    dashboard = "deploy/monitoring/grafana/dashboards/requests.json"
    edit(project, dashboard, '"refresh"', '"refreshed"')
    edit(project, "LICENSE", "Copyright", "copyright")
    edit(project, ".python-version", "3.", "3.1")

    said = template(project, "diff", code=0)

    assert "Dockerfile differs from the template's. Maintained by the template: change" in said
    assert "deploy/docker/ instead" in said
    assert "-EXPOSE 8000\n+EXPOSE 9000\n" in said
    assert "gunicorn.conf.py is missing. Maintained by the template" in said
    beside = "Maintained by the template: add a dashboard of yours beside this one."
    assert f"{dashboard} differs from the template's. {beside}\n" in said
    for name, answer in (("LICENSE", "license"), (".python-version", "python_version")):
        instead = f'Maintained by the template: change it by `make update ANSWERS="{answer}=…"`.'
        assert f"{name} differs from the template's. {instead}\n" in said
    assert template(project, "diff", "--exit-code", code=1) == said


def test_what_is_the_teams_is_no_difference(project: Path) -> None:
    apply(extension_edits(project, answers_of(project)), project)

    said = template(project, "diff", "--exit-code", code=0)

    assert said == "Every file that the template maintains is as the template has it.\n"


@pytest.mark.parametrize("variant", ["default", "pip"])
def test_a_team_that_has_edited_everything_updates_with_one_command(
    history: History, shared: SharedFolders, tmp_path: Path, variant: str
) -> None:
    """Lock, packages and checks are the real ones, and the project passes with all of its edits."""
    answers = {"package_manager": "pip"} if variant == "pip" else {}
    project = copy(history, tmp_path / "project", history.versions[-1], answers)
    edits = extension_edits(project, answers_of(project))
    # Packages that nothing imports only take time, and the text of the hook is no command.
    edits = [edit for edit in edits if ">=1" not in (edit.added or "")]
    edits = apply(edits, project)
    commit_all(project, "Two years")
    assert wanted_python(project) == "3.13"

    with shared.exclusive("uv"):
        said = template(project, "update", code=0)

    assert " passed" in said
    assert f"This project is at {WORK_TREE} now: look at it with `git add --all" in said
    assert [edit for edit in edits if not edit.survives(project)] == []
    assert not (project / OBSOLETE).exists()
    lock = "requirements/production.lock.txt" if variant == "pip" else "uv.lock"
    assert (project / lock).exists()
