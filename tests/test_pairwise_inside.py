"""Every variant is a project that loads, with the dependencies of its own production alone.

The tree is examined from inside by tests/examination.py, as tests/environments.py lets it be.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.combinations import TEXTS, given
from tests.environments import LEFT_OUT, NO_PATHS, Examiner
from tests.laboratory import side_by_side
from tests.team import MIDDLEWARE, apply, example, free_edits
from tests.trees import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from tests.environments import Report
    from tests.rendering import SharedFolders

# Answers that no module and no dependency depends on: variants that differ in these alone load
# alike. The longest answers are taken.
WITHOUT_EFFECT = {"license", "python_version", *TEXTS}

# Settings that the team's code may read, and nothing else does.
FOR_THE_TEAM = {
    "BASE_DIR": "paths of the project, as in every project of Django",
    "PROJECT_DIR": "what it is made of",
}

# Dependencies that nothing loads while a project is examined.
NEVER_LOADED = {
    "redis": "Django's cache loads it with its first connection",
    "hiredis": "the parser of redis",
    "flower": "a program of its own, which Compose starts where there are tasks",
}

# How a request by plain HTTP is answered in production.
ANSWERS = {"probe by address": 200, "page": 301, "page of another host": 400}

# What the settings in docs/updating.md name.
ORDERS = {
    "__init__.py": "",
    "middleware.py": MIDDLEWARE.replace("TenantMiddleware", "Tenant"),
    "storage.py": "from django.core.files.storage import InMemoryStorage as Archive\n",
}


@pytest.fixture(scope="module")
def examiner(shared: SharedFolders, trees: Sequence[Tree]) -> Examiner:
    """Return what examines these trees."""
    return Examiner(shared, trees)


@pytest.fixture(scope="module")
def examined(trees: Sequence[Tree], pytestconfig: pytest.Config) -> Sequence[Tree]:
    """Return one tree for each combination of answers that makes a difference."""
    chosen: dict[tuple[object, ...], Tree] = {}
    for tree in sorted(trees, key=lambda tree: len(str(given(tree.variant)))):
        key = tuple(value for name, value in tree.variant.items() if name not in WITHOUT_EFFECT)
        chosen[key] = tree
    few: bool = pytestconfig.getoption("few_variants")
    return list(each_choice(chosen.values()) if few else chosen.values())


def each_choice(trees: Iterable[Tree]) -> Iterator[Tree]:
    """Yield enough trees for every choice of these to be in one."""
    seen: set[tuple[str, object]] = set()
    for tree in trees:
        choices = {item for item in tree.variant.items() if item[0] not in WITHOUT_EFFECT}
        if choices - seen:
            seen |= choices
            yield tree


@pytest.fixture(scope="module")
def every_report(examiner: Examiner, examined: Sequence[Tree]) -> Sequence[tuple[Tree, Report]]:
    """Return what was found with the settings of production."""
    return list(zip(examined, examiner.examine(examined, "production"), strict=True))


@pytest.fixture(scope="module")
def reports(every_report: Sequence[tuple[Tree, Report]]) -> Sequence[tuple[Tree, Report]]:
    """Return what was found in those that load."""
    return [(tree, report) for tree, report in every_report if not report["failure"]]


def copied(tree: Tree, target: Path) -> Tree:
    """Return a copy of a tree, to write into."""
    shutil.copytree(tree.path, target)
    return Tree(target, tree.variant)


def problems(reports: Sequence[tuple[Tree, Report]], part: str) -> dict[str, object]:
    """Return what was found in one respect, by variant."""
    return {str(tree): report[part] for tree, report in reports if report[part]}


def test_every_variant_loads(every_report: Sequence[tuple[Tree, Report]]) -> None:
    assert problems(every_report, "failure") == {}


def test_every_module_imports(reports: Sequence[tuple[Tree, Report]]) -> None:
    assert problems(reports, "modules") == {}


def test_every_dotted_path_in_the_settings_leads_somewhere(
    reports: Sequence[tuple[Tree, Report]],
) -> None:
    assert problems(reports, "paths") == {}


def test_every_setting_is_read_by_something(reports: Sequence[tuple[Tree, Report]]) -> None:
    """One that is misspelt, or was given up by a later Django, is read by nothing."""
    unread = {name for _, report in reports for name in report["unread"]}

    assert unread == set(FOR_THE_TEAM)


def test_the_examples_in_the_settings_of_the_team_can_be_taken(
    examiner: Examiner, examined: Sequence[Tree], tmp_path: Path
) -> None:
    tree = copied(examined[0], tmp_path / "project")
    for name in ("base", "production"):
        example(tree.path, f"src/{tree.package}/settings/{name}.py").apply(tree.path)

    (report,) = examiner.examine([tree], "production")

    assert report["failure"] == ""
    assert report["checks"] == ""
    assert subprocess.run(["ruff", "check", "--no-cache", tree.path], check=False).returncode == 0


def test_the_settings_of_the_documents_can_be_taken(
    examiner: Examiner, examined: Sequence[Tree], tmp_path: Path
) -> None:
    chosen = {tree.answers["django_version"]: tree for tree in examined}.values()
    trees = [copied(tree, tmp_path / str(number)) for number, tree in enumerate(chosen)]
    for tree in trees:
        page = tree.texts["docs/updating.md"]
        (settings,) = re.findall(r"(?s)```python\n# src/\S+/base.py\n(.*?)```", page)
        base = tree.path / f"src/{tree.package}/settings/base.py"
        base.write_text(f"{tree.texts[str(base.relative_to(tree.path))]}\n{settings}")
        (tree.path / "src/orders").mkdir()
        for name, text in ORDERS.items():
            (tree.path / "src/orders" / name).write_text(text)

    for tree, report in zip(trees, examiner.examine(trees, "production"), strict=True):
        assert report["failure"] == "", tree
        assert report["checks"] == "", tree


def test_djangos_deployment_checks_are_clean(reports: Sequence[tuple[Tree, Report]]) -> None:
    assert problems(reports, "checks") == {}


def test_django_reads_every_template(reports: Sequence[tuple[Tree, Report]]) -> None:
    assert problems(reports, "templates") == {}


def test_a_probe_is_answered_where_a_page_is_not(reports: Sequence[tuple[Tree, Report]]) -> None:
    for tree, report in reports:
        assert report["answers"] == ANSWERS, tree


def test_every_variable_has_its_row_in_the_documents(
    reports: Sequence[tuple[Tree, Report]],
) -> None:
    for tree, report in reports:
        page = tree.texts["docs/configuration.md"]
        assert [line for line in page.splitlines() if line.startswith("| `")] == (
            report["variables"]
        ), tree


def test_every_variable_of_the_example_has_a_row(trees: Sequence[Tree]) -> None:
    for tree in trees:
        page = tree.texts["docs/configuration.md"]
        example = tree.texts[".env.example"]
        names = re.findall(r"^(?:# ?)?([A-Z][A-Z0-9_]+)=", example, re.MULTILINE)
        assert names
        assert [name for name in names if f"| `{name}` |" not in page] == [], tree


def test_every_dependency_is_loaded_by_something(
    reports: Sequence[tuple[Tree, Report]], examiner: Examiner
) -> None:
    for tree, report in reports:
        requirements = examiner.requirements(tree)
        environment = examiner.environment(requirements)
        names = {canonicalize_name(Requirement(text).name) for text in requirements}
        loaded = set(report["loaded"])
        unused = {name for name in names if not environment.modules(name) & loaded}
        assert unused == names & set(NEVER_LOADED), tree


def test_nothing_is_refused_that_the_project_itself_has(
    examiner: Examiner, examined: Sequence[Tree]
) -> None:
    """A dependency with a module of the same name would hide it."""
    for tree in examined:
        environment = examiner.environment(examiner.requirements(tree))
        own = {path.split("/")[1] for path in tree.texts if path.startswith("src/")}
        assert own & environment.every_module() == set(), tree


@pytest.mark.parametrize("settings", ["development", "test"])
def test_other_settings_load_and_no_migration_is_missing(
    examiner: Examiner, examined: Sequence[Tree], settings: str
) -> None:
    trees = list(each_choice(examined))
    for tree, report in zip(trees, examiner.examine(trees, settings), strict=True):
        assert report == {"failure": "", "checks": "", "migrations": ""}, tree


@pytest.mark.slow
def test_every_variant_passes_its_own_tests(
    examiner: Examiner, examined: Sequence[Tree], record_property: Callable[[str, object], None]
) -> None:
    before = [sorted(tree.path.rglob("*")) for tree in examined]

    for tree, done in zip(
        examined, side_by_side(examiner.run_tests, examined, threads=2), strict=True
    ):
        assert done.returncode == 0, f"{tree}:\n{done.stdout}{done.stderr}"

    assert [sorted(tree.path.rglob("*")) for tree in examined] == before
    record_property("figure", f"{len(examined)} variants have passed their own tests")


@pytest.mark.slow
@pytest.mark.parametrize("freedom", ["settings", "no pages", "variables"])
def test_the_tests_of_the_template_pass_whatever_the_team_has_set(
    examiner: Examiner, examined: Sequence[Tree], tmp_path: Path, freedom: str
) -> None:
    # Between them they have all of these tests.
    chosen = {
        tree.answers["media_storage"]: tree
        for tree in examined
        if tree.answers["task_queue"] == "celery"
    }
    trees = [copied(tree, tmp_path / storage) for storage, tree in chosen.items()]
    for tree in trees:
        apply(free_edits(tree.path, tree.package)[freedom], tree.path)

    for tree, done in zip(trees, side_by_side(examiner.run_tests, trees, threads=2), strict=True):
        assert done.returncode == 0, f"{tree}:\n{done.stdout}{done.stderr}"


def test_what_is_left_out_is_there(trees: Sequence[Tree]) -> None:
    files = {path for tree in trees for path in tree.texts}
    names = {name for tree in trees for path, text in tree.texts.items() if "/settings/" in path
             for name in re.findall(r"^ *([A-Z_]+)\b", text, re.MULTILINE)}  # fmt: skip

    assert {f"src/{name.replace('.', '/')}.py" for name in LEFT_OUT} <= files
    assert names >= set(NO_PATHS)
