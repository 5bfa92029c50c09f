"""The application is loaded before the workers are forked, and none reads another's rows.

The app of these tests queries the database while it is loaded, as a team's app may do, so that
every worker inherits the connection or the pool.
"""

from __future__ import annotations

import re
import threading
from http.client import HTTPException
from typing import TYPE_CHECKING

import pytest

from tests.laboratory import deployed, side_by_side, with_laboratory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.servers import PostgresServer, RedisServer
    from tests.service import GetService, Service

REQUESTS = 480

# What databases.py shows for psycopg's own pool.
POOL = """
DATABASES["default"] |= {"CONN_MAX_AGE": 0}
DATABASES["default"]["OPTIONS"]["pool"] = {"max_size": 4, "timeout": 3}
"""

KEPT = ""  # connections that are kept are the default


@pytest.fixture(scope="module")
def env(service: GetService, postgres: PostgresServer, redis: RedisServer) -> Mapping[str, str]:
    """Return the environment of a deployed service whose app queries while it is loaded."""
    return deployed(service(), postgres, redis) | {"LAB_QUERY_AT_START": "1"}


def without_the_hook(service: Service) -> None:
    """Remove pre_fork from gunicorn.conf.py."""
    path = service.path / "gunicorn.conf.py"
    text = path.read_text(encoding="utf-8")
    shorter = re.sub(r"(?ms)^def pre_fork\(.*?(?=^\S|\Z)", "", text)
    assert "pre_fork" in text
    assert "def pre_fork" not in shorter
    path.write_text(shorter, encoding="utf-8")


def answers(service: Service, env: Mapping[str, str], worker_class: str) -> list[str]:
    """Ask for many rows at once and tell of each: right, another's, or what came instead.

    Ends at the first row that is another's, as workers that share a connection soon hang, too.
    """
    mixed_up = threading.Event()
    with service.gunicorn(env, worker_class=worker_class, workers=2) as server:

        def ask(number: int) -> str:
            if mixed_up.is_set():
                return "not asked"
            try:
                answer = server.get(f"/lab/row/{number}/", secure=True, seconds=5)
            except (OSError, HTTPException) as error:
                return type(error).__name__
            if answer.status != 200:
                return str(answer.status)
            if answer.json()["row"] == number:
                return "right"
            mixed_up.set()
            return "another's"

        return side_by_side(ask, range(REQUESTS))


@pytest.mark.parametrize("worker_class", ["sync", "gthread"])
@pytest.mark.parametrize("settings", [KEPT, POOL], ids=["kept", "pool"])
def test_no_request_sees_the_row_of_another(
    service: GetService, env: Mapping[str, str], tmp_path: Path, settings: str, worker_class: str
) -> None:
    laboratory = with_laboratory(service(), tmp_path / "service", settings=settings)

    assert set(answers(laboratory, env, worker_class)) == {"right"}


# Kept connections and threads do not meet: the inherited one belongs to the thread of the load.
@pytest.mark.parametrize(
    ("settings", "worker_class"), [(KEPT, "sync"), (POOL, "gthread")], ids=["kept", "pool"]
)
def test_without_the_hook_rows_get_mixed_up(
    service: GetService, env: Mapping[str, str], tmp_path: Path, settings: str, worker_class: str
) -> None:
    laboratory = with_laboratory(service(), tmp_path / "service", settings=settings)
    without_the_hook(laboratory)

    assert "another's" in answers(laboratory, env, worker_class)


def test_psycopg2s_kept_connections_are_not_shared_either(
    service: GetService, postgres: PostgresServer, redis: RedisServer, tmp_path: Path
) -> None:
    env = deployed(service("pip"), postgres, redis) | {"LAB_QUERY_AT_START": "1"}
    laboratory = with_laboratory(service("pip"), tmp_path / "service")

    assert set(answers(laboratory, env, "sync")) == {"right"}
    without_the_hook(laboratory)
    assert "another's" in answers(laboratory, env, "sync")


def test_views_are_loaded_once_and_shared_by_the_workers(
    service: GetService, env: Mapping[str, str], tmp_path: Path
) -> None:
    """A worker that loads them again costs time and memory with each restart."""
    laboratory = with_laboratory(service(), tmp_path / "service")

    with laboratory.gunicorn(env, workers=1) as server:
        answer = server.get("/lab/row/1/", secure=True).json()

    assert answer["loaded_by"] != answer["process"]
    # Nor is it looked through for garbage: that took a fifth of a second at the end of each worker.
    assert answer["frozen"] > 50_000
