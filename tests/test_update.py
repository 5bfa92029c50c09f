"""An update loses nothing, and meets no conflict in what a team was told to edit."""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from copier import VcsRef, run_copy, run_recopy, run_update

from tests.engine import fast_copier
from tests.environments import Examiner
from tests.history import (
    OBSOLETE,
    WORK_TREE,
    commit_all,
    git,
    is_below,
    team_rows,
)
from tests.team import after_years, apply, extension_edits, other_edits, reformat
from tests.trees import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.history import History
    from tests.rendering import SharedFolders

pytestmark = pytest.mark.slow

VARIANTS = {
    "default": {},
    "pip": {
        "package_manager": "pip",
        "postgres_driver": "psycopg2",
        "django_version": "5.2",
        "user_identifier": "email",
        "task_queue": "none",
        "ci": "gitlab",
    },
    "rabbitmq": {"broker": "rabbitmq", "python_version": "3.12", "license": "MIT"},
    "no tasks": {
        "task_queue": "none",
        "media_storage": "s3",
        "python_version": "3.14",
        "license": "GPL-3.0-or-later",
    },
    "pip rabbitmq": {"package_manager": "pip", "broker": "rabbitmq", "media_storage": "local"},
    "named": {
        "project_name": "Größe & Maß: “Orders”",
        "description": f"{'Ships what shops sell, and takes it back. ' * 4:.160}.",
        "postgres_driver": "psycopg2",
        "django_version": "5.2",
        "license": "Apache-2.0",
        "deploy": "none",
        "ci": "none",
    },
}
ANSWERS = ".copier-answers.yml"
# What a team has made for itself before a release brought it as an option.
OWN_FILES = [
    ".github/workflows/ci.yml",
    ".gitlab-ci.yml",
    "docker-compose.prod.yml",
    "docker-compose.yml",
]
PROGRAMS = Path(sys.executable).parent


@pytest.fixture(scope="module", autouse=True)
def _committer() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for role in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{role}_NAME", "Ada")
            patch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        yield


def copy(history: History, project: Path, version: str, answers: dict[str, str]) -> Path:
    """Copy a release, and make it a repository with one commit."""
    with fast_copier():
        run_copy(
            str(history.root), project, vcs_ref=version, data=answers, defaults=True, quiet=True
        )
    commit_all(project, "Start")
    return project


def update(project: Path, **options: object) -> None:
    """Update in this process, as `copier update --defaults` does."""
    with fast_copier():
        run_update(project, defaults=True, overwrite=True, quiet=True, **options)  # type: ignore[arg-type]  # passed on


def copier(project: Path, *arguments: str) -> None:
    """Run the command line of Copier in a project."""
    command = [str(PROGRAMS / "copier"), *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def answers_of(project: Path) -> dict[str, Any]:
    """Return what the answers file has recorded."""
    found: dict[str, Any] = yaml.safe_load((project / ANSWERS).read_text(encoding="utf-8"))
    return {**found, **found["locked"]}


def unmerged(project: Path) -> set[str]:
    """Return the files in which an update has met a conflict."""
    return set(git(project, "diff", "--name-only", "--diff-filter=U").split())


def differences(one: Path, other: Path, ignored: Callable[[str], bool]) -> set[str]:
    """Return the files that are not the same in two projects, by content and executable bit."""
    names = {
        path.relative_to(root).as_posix()
        for root in (one, other)
        for path in root.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(root).parts
    }
    return {
        name for name in names
        if not ignored(name)
        and not (
            (one / name).is_file()
            and (other / name).is_file()
            and filecmp.cmp(one / name, other / name, shallow=False)
            and (one / name).stat().st_mode == (other / name).stat().st_mode
        )
    }  # fmt: skip


def answers_without_origin(project: Path) -> dict[str, Any]:
    """Return the recorded answers but for those that say where they come from."""
    return {key: value for key, value in answers_of(project).items() if not key.startswith("_")}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_update_drill(
    history: History, tmp_path: Path, variant: str, record_property: Callable[[str, object], None]
) -> None:
    started = time.monotonic()
    edits = conflicts = 0
    for version in history.versions:
        project = copy(history, tmp_path / version, version, VARIANTS[variant])
        answers = answers_of(project)
        told = apply(extension_edits(project, answers), project)
        others = apply(other_edits(project, answers), project)
        assert len(told) >= 25
        assert len(others) >= 10
        reformat(project, PROGRAMS / "ruff")
        kept = after_years(project)
        commit_all(project, "Two years")

        copier(project, "update", "--defaults")

        assert [edit for edit in told + others if not edit.survives(project)] == []
        assert {edit.path for edit in told} & unmerged(project) == set()
        assert {name: (project / name).read_text(encoding="utf-8") for name in kept} == kept
        assert answers_of(project)["_commit"] == WORK_TREE
        assert answers_of(project)["postgres_version"] == answers["postgres_version"]
        edits += len(told) + len(others)
        conflicts += sum(edit.is_shown(project) for edit in others)

        commit_all(project, "Update")
        update(project)
        assert git(project, "status", "--porcelain") == ""
    record_property(
        "figure",
        f"update drill, {variant}: {len(history.versions)} releases, {edits} edits, 0 conflicts in"
        f" documented ones, {conflicts} shown in others, 0 lost,"
        f" {time.monotonic() - started:.0f} s",
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_after_documented_edits_and_an_update_checks_and_tests_pass(
    history: History, shared: SharedFolders, trees: Sequence[Tree], tmp_path: Path, variant: str
) -> None:
    """From the oldest release; the template's own tests run among those of the team."""
    project = copy(history, tmp_path / "project", history.versions[0], VARIANTS[variant])
    apply(extension_edits(project, answers_of(project)), project)
    commit_all(project, "Two years")

    update(project)

    shutil.rmtree(project / ".git")
    examiner, tree = Examiner(shared, trees), Tree(project, {})
    for settings, *command in (
        ("development", "manage.py", "check"),
        ("production", "manage.py", "check", "--deploy", "--fail-level", "WARNING"),
        ("development", "manage.py", "makemigrations", "--check", "--dry-run"),
        ("test", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
    ):
        done = examiner.run(tree, *command, settings=settings)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (project / "tests/orders/test_orders.py").is_file()


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_untouched_project_becomes_a_fresh_copy(
    history: History, tmp_path: Path, variant: str
) -> None:
    fresh = copy(history, tmp_path / "fresh", WORK_TREE, VARIANTS[variant])
    points, starters = team_rows(answers_of(fresh)["package_name"])
    for version in history.versions:
        project = copy(history, tmp_path / version, version, VARIANTS[variant])
        old = {
            path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()
        }

        # What the release had not asked is answered now.
        known = answers_of(project)
        asked = answers_without_origin(fresh).items()
        update(project, data={key: value for key, value in asked if key not in known})

        assert unmerged(project) == set()
        assert differences(
            project, fresh,
            # An extension point that is new must have come, one that was there has stayed.
            lambda name, old=old: name == ANSWERS  # type: ignore[misc]  # a default has no type
            or is_below(name, starters) or (name in old and is_below(name, points)),
        ) == set()  # fmt: skip
        assert answers_without_origin(project) == answers_without_origin(fresh)
        assert not (project / OBSOLETE).exists()


def test_an_option_that_has_come_since_is_not_taken_unasked(
    history: History, tmp_path: Path
) -> None:
    """What it brings, a team may have by now: files of these names, or a way of its own."""
    for version in history.versions:
        project = copy(history, tmp_path / version, version, {})
        before = answers_without_origin(project)
        own = [name for name in OWN_FILES if not (project / name).exists()]
        for name in own:
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_text("name: ours\n", encoding="utf-8")
        commit_all(project, "A way of our own")

        update(project)

        after = answers_without_origin(project)
        fresh = {key: value for key, value in after.items() if key not in before}
        assert fresh == dict.fromkeys(fresh, "none")
        assert unmerged(project) == set()
        for name in own:
            assert (project / name).read_text(encoding="utf-8") == "name: ours\n"


@pytest.mark.parametrize(
    "answers",
    [
        {"task_queue": "none"},
        {"broker": "rabbitmq"},
        {"package_manager": "pip"},
        {"python_version": "3.14"},
        {"django_version": "5.2"},
        {"postgres_driver": "psycopg2"},
        {"media_storage": "local"},
        {"media_storage": "s3"},
        {"deploy": "none"},
        {"license": "MIT"},
        {"ci": "gitlab"},
        {"ci": "none"},
    ],
    ids="-".join,
)
def test_an_answer_that_is_switched_and_back_gives_what_a_fresh_copy_has(
    history: History, tmp_path: Path, answers: dict[str, str]
) -> None:
    before = copy(history, tmp_path / "before", WORK_TREE, {})
    switched = copy(history, tmp_path / "switched", WORK_TREE, answers)
    project = copy(history, tmp_path / "project", WORK_TREE, {})
    _, starters = team_rows(answers_of(project)["package_name"])

    def ignored(name: str) -> bool:
        return name == ANSWERS or is_below(name, starters)

    update(project, data=answers, vcs_ref=VcsRef.CURRENT)
    assert differences(project, switched, ignored) == set()
    assert answers_without_origin(project) == answers_without_origin(switched)
    commit_all(project, "Switch")

    update(
        project,
        data={key: answers_of(before)[key] for key in answers},
        vcs_ref=VcsRef.CURRENT,
    )
    assert differences(project, before, ignored) == set()
    assert unmerged(project) == set()


@pytest.mark.parametrize("variant", ["default", "pip"])
def test_recopy_keeps_the_files_of_the_team(history: History, tmp_path: Path, variant: str) -> None:
    project = copy(history, tmp_path / "project", WORK_TREE, VARIANTS[variant])
    answers = answers_of(project)
    points, starters = team_rows(answers["package_name"])
    edits = apply(extension_edits(project, answers) + other_edits(project, answers), project)
    commit_all(project, "Two years")

    with fast_copier():
        run_recopy(project, defaults=True, overwrite=True, quiet=True)

    theirs = [edit for edit in edits if edit.added and is_below(edit.path, points + starters)]
    assert len(theirs) >= 25
    assert [edit for edit in theirs if not edit.survives(project)] == []


def test_a_demo_app_that_was_deleted_stays_deleted(history: History, tmp_path: Path) -> None:
    project = copy(history, tmp_path / "project", history.versions[-1], {})
    for name in ("src/pages", "tests/pages"):
        shutil.rmtree(project / name)
    commit_all(project, "Delete the demo")

    update(project)

    assert not (project / "src/pages").exists()
    assert not (project / "tests/pages").exists()
    assert unmerged(project) == set()
