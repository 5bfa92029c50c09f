"""What the tests share: rendered trees, installed services, and the servers beside them."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.combinations import every_choice_once, every_variant
from tests.containers.engine import Engine, running_engine
from tests.containers.images import Images
from tests.containers.production import (
    Cost,
    GetImage,
    Image,
    build_image,
    cost_of,
    locked_project,
)
from tests.history import History, build_history, commit_all
from tests.rendering import (
    IN_CONTAINERS,
    VARIANTS,
    Render,
    SharedFolders,
    isolated_copier_settings,
    take_snapshot,
)
from tests.servers import CI, PostgresServer, RabbitMQServer, RedisServer
from tests.service import (
    GetService,
    Service,
    build_development,
    build_production,
    installed,
)
from tests.trees import Tree, render_all

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence


SLOW_FIXTURES = {"service", "development", "postgres", "redis", "rabbitmq", "engine"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `--few-variants` give a quick answer, as the tests of the tests do."""
    parser.addoption(
        "--few-variants",
        action="store_true",
        help="render each choice once, instead of every pair of choices",
    )


def pytest_configure() -> None:
    """Hear Ctrl-C: a background job of a shell ignores it, and so does all that it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Mark a test that starts something as slow; the files with most of these are run first.

    At the end of a run there is then something short for whichever worker process is idle.
    """
    for item in items:
        if SLOW_FIXTURES & {*item.fixturenames}:
            item.add_marker("slow")
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With CI=true, a test that skips itself has failed: what it needs is missing."""
    report = yield
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests have recorded with `record_property("figure", "a line")`."""
    passed: list[pytest.TestReport] = terminalreporter.getreports("passed")
    figures = [text for test in passed for name, text in test.user_properties if name == "figure"]
    if figures:
        terminalreporter.section("figures")
        terminalreporter.write_line("\n".join(str(text) for text in figures))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> SharedFolders:
    """Return the folders that all worker processes of this run build and use together."""
    base = tmp_path_factory.getbasetemp()
    # A worker of pytest-xdist has a folder of its own in that of the run.
    return SharedFolders((base.parent if base.name.startswith("popen-") else base) / "shared")


@pytest.fixture(scope="session", autouse=True)
def _copier_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep a developer's defaults for Copier out of every test."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in isolated_copier_settings(tmp_path_factory.mktemp("settings")).items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def render(shared: SharedFolders) -> Render:
    """Render the template: `render(broker="rabbitmq") / "pyproject.toml"`; read-only."""
    return shared.render


@pytest.fixture(scope="session")
def history(shared: SharedFolders) -> History:
    """Return the template with its releases as tags, and the work tree as the newest; read-only."""
    return History(shared.get("history", build_history))


@pytest.fixture(scope="session")
def trees(shared: SharedFolders, pytestconfig: pytest.Config) -> Sequence[Tree]:
    """Return the rendered trees that stand for all: every pair of choices is in one; read-only."""
    few: bool = pytestconfig.getoption("few_variants")
    variants = every_choice_once() if few else every_variant()

    def build(target: Path) -> None:
        clock, processor = render_all(shared.get("template", take_snapshot), variants, target)
        (target / "seconds").write_text(f"{clock} {processor}", encoding="utf-8")

    folder = shared.get("variants", build)
    return [Tree(folder / f"{number:03}", variant) for number, variant in enumerate(variants)]


@pytest.fixture(scope="session")
def service(shared: SharedFolders) -> GetService:
    """Install a variant with production dependencies alone: `service("pip").manage("check")`."""

    def get(variant: str = "default", *, add: Sequence[str] = ()) -> Service:
        tree = shared.render(**VARIANTS[variant])
        name = "-".join(["production", variant, *add]).replace("/", "_")
        if lent := os.environ.get("SHIPSHAPE_SERVICES"):
            # The tests of the tests: this tree's code in an environment that is there already.
            return installed(Path(lent, name)).with_code(tree)
        build = functools.partial(build_production, shared, tree, add=add)
        return installed(shared.get(name, build))

    return get


@pytest.fixture(scope="session")
def development(shared: SharedFolders) -> GetService:
    """Set a variant up as a developer does: `development("default").run("make", "test")`."""

    def get(variant: str = "default", *, add: Sequence[str] = ()) -> Service:
        if add:
            raise ValueError("Only a production installation takes packages.")
        tree, name = shared.render(**VARIANTS[variant]), f"development-{variant}"
        if lent := os.environ.get("SHIPSHAPE_SERVICES"):  # as above
            borrow = functools.partial(repository_of, tree)
            return installed(Path(lent, name)).with_code(shared.get(name, borrow))
        return installed(shared.get(name, functools.partial(build_development, shared, tree)))

    return get


def repository_of(tree: Path, target: Path) -> None:
    """Copy a rendered tree, and make it a repository."""
    shutil.copytree(tree, target)
    commit_all(target, "Start")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Start a PostgreSQL that tests share and leave up; each takes `postgres.new_database()`."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """Start a Redis that tests share and leave up; each takes `redis.new_database()`."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQServer]:
    """Start a RabbitMQ that tests share and leave up; each takes `rabbitmq.new_vhost()`."""
    with RabbitMQServer() as server:
        yield server


@pytest.fixture(scope="session")
def engine(shared: SharedFolders) -> Engine:
    """Return Docker's engine, with an image for each that a project names."""
    return running_engine(Images(shared))


@pytest.fixture(scope="session")
def locked(shared: SharedFolders) -> Callable[[str], Path]:
    """Render a variant and write its lock: `locked("rabbitmq")`; read-only."""

    def get(variant: str) -> Path:
        tree = shared.render(**IN_CONTAINERS[variant])
        return shared.get(f"locked-{variant}", functools.partial(locked_project, shared, tree))

    return get


@pytest.fixture(scope="session")
def image(shared: SharedFolders, engine: Engine, locked: Callable[[str], Path]) -> GetImage:
    """Build the production image of a variant: `image("rabbitmq").tag`."""

    def get(variant: str = "default") -> Image:
        tag = f"shipshape-test/{variant}"

        def build(target: Path) -> None:
            shutil.copytree(locked(variant), target)
            # Cold once, where all is cold but for what another variant has just built.
            build_image(
                engine, target, tag, *(["--no-cache"] if CI and variant == "default" else [])
            )

        project = shared.get(f"image-of-{variant}", build)
        cost = Cost(**json.loads(cost_of(project).read_text(encoding="utf-8")))
        return Image(tag, project, cost)

    return get
