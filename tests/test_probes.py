"""Liveness and readiness as orchestrators and load balancers see them, with real servers."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.laboratory import deployed, side_by_side, timed, with_laboratory
from tests.servers import MuteServer, PostgresServer, RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.service import GetService, Service, WebServer

DEADLINE = 2.5
MARGIN = 1.0  # two processors, shared with the tests' own servers
LIVENESS_TIMEOUT = 1.0  # of a probe that Kubernetes is given no other for
WORKERS = 2

READY = {"database": True, "cache": True}


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """Start a PostgreSQL that these tests may freeze and end."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="module")
def own_redis() -> Iterator[RedisServer]:
    """Start a Redis that these tests may freeze and end."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def laboratory(service: GetService, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Return a service with views that use the database and the cache."""
    return with_laboratory(service(), tmp_path_factory.mktemp("probes") / "service")


@pytest.fixture(scope="module")
def env(
    laboratory: Service, own_postgres: PostgresServer, own_redis: RedisServer
) -> Mapping[str, str]:
    """Return the environment of a deployed service."""
    return deployed(laboratory, own_postgres, own_redis)


@pytest.fixture(scope="module")
def server(laboratory: Service, env: Mapping[str, str]) -> Iterator[WebServer]:
    """Start the service as it is by default: gthread with four threads a worker."""
    with laboratory.gunicorn(env, workers=WORKERS) as running:
        yield running


def wait_until_ready(server: WebServer) -> None:
    """Wait until each worker is ready again: many probes in a row reach all of them."""
    paths = ["/ready/"] * 20
    server.wait_until(
        lambda: all(answer.status == 200 for answer in side_by_side(server.get, paths)),
        "every worker was ready",
        seconds=15,
    )


def open_files(server: WebServer) -> dict[int, int]:
    """Return how many file descriptors each process has open."""
    return {child.pid: child.num_fds() for child in server.children()}


def backends(postgres: PostgresServer, env: Mapping[str, str]) -> int:
    """Return how many connections the service has to its database."""
    name = env["DATABASE_URL"].rpartition("/")[2]
    query = "select count(*) from pg_stat_activity where datname = %s"
    return int(postgres.execute(query, name)[0][0])


class Liveness(threading.Thread):
    """Asks /health/ ten times a second until it is stopped, and keeps answers and their times."""

    def __init__(self, server: WebServer) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.statuses: list[int] = []
        self.seconds: list[float] = []
        self._end = threading.Event()

    def run(self) -> None:
        """Ask until the end."""
        while not self._end.wait(0.1):
            answer, seconds = timed(lambda: self.server.get("/health/", seconds=30))
            self.statuses.append(answer.status)
            self.seconds.append(seconds)

    def __enter__(self) -> Liveness:
        """Begin."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, after the last answer."""
        self._end.set()
        self.join(40)


def probe_every_second(server: WebServer, *, probers: int, seconds: float) -> list[float]:
    """Ask /ready/ from some probers at once, each second; return how long each answer took.

    Fails at an answer that is not 503 and comes after the deadline of the first check.
    """
    started = time.monotonic()

    def probe(_: int) -> list[float]:
        taken = []
        while (since := time.monotonic() - started) < seconds:
            answer, duration = timed(lambda: server.get("/ready/", seconds=30))
            assert answer.status == 503 or since < DEADLINE + MARGIN
            taken.append(duration)
            time.sleep(max(0.0, 1 - duration))
        return taken

    answers = side_by_side(probe, range(probers), threads=probers)
    return [duration for taken in answers for duration in taken]


def test_liveness_says_what_the_seed_says(server: WebServer) -> None:
    answer = server.get("/health/")

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.text == '{"status": "healthy", "service": "my-service", "version": "0.1.0"}'


def test_readiness_says_what_the_seed_says(server: WebServer) -> None:
    answer = server.get("/ready/")

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.text == (
        '{"status": "ready", "checks": {"database": true, "cache": true}, "service": "my-service"}'
    )


@pytest.mark.parametrize("path", ["/health", "/health/", "/ready", "/ready/", "/ready/?probe=1"])
@pytest.mark.parametrize("host", ["10.1.2.3:8000", "localhost", "[fd00::1]:8000", "yourdomain.com"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_probe_by_any_name_and_by_plain_http_is_answered(
    server: WebServer, method: str, host: str, path: str
) -> None:
    answer = server.get(path, method=method, headers={"Host": host})

    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Location"] is None
    assert answer.headers["Set-Cookie"] is None
    assert int(answer.headers["Content-Length"]) > 0
    assert bool(answer.body) is (method == "GET")


def test_a_probe_leaves_no_session(own_postgres: PostgresServer, env: Mapping[str, str]) -> None:
    sessions = own_postgres.execute("select count(*) from django_session", url=env["DATABASE_URL"])

    assert sessions == [(0,)]


def test_what_is_no_question_is_refused(server: WebServer) -> None:
    answer = server.get("/ready/", method="POST")

    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


def test_probes_leak_no_file_and_no_connection(
    server: WebServer, own_postgres: PostgresServer, env: Mapping[str, str]
) -> None:
    side_by_side(server.get, ["/ready/"] * 40)
    before, connected = open_files(server), backends(own_postgres, env)

    answers = side_by_side(server.get, ["/ready/"] * 200, threads=4)

    assert {answer.status for answer in answers} == {200}
    server.wait_until(
        lambda: backends(own_postgres, env) <= connected, "the connections were closed", seconds=5
    )
    after = open_files(server)
    assert after.keys() == before.keys()
    # A connection that a client has just closed may still be open on this side.
    assert all(after[pid] <= before[pid] + 4 for pid in after), (before, after)


@pytest.mark.parametrize("mute", ["database", "cache"])
def test_a_dependency_that_never_answers_is_told_in_time(
    laboratory: Service, env: Mapping[str, str], mute: str
) -> None:
    with MuteServer() as nobody:
        urls = {
            "database": {"DATABASE_URL": nobody.url("postgres", "name")},
            "cache": {"CACHE_URL": nobody.url("redis")},
        }
        with laboratory.gunicorn({**env, **urls[mute]}, workers=WORKERS) as server:
            with Liveness(server) as liveness:
                started = time.monotonic()
                durations = probe_every_second(server, probers=8, seconds=7)
                elapsed = time.monotonic() - started
            answer = server.get("/ready/")
            threads = [child.num_threads() for child in server.children()]

        assert answer.status == 503
        assert answer.json() == {
            "status": "not ready",
            "checks": {**READY, mute: False},
            "service": "my-service",
        }
        assert max(durations) < DEADLINE + MARGIN
        assert set(liveness.statuses) == {200}
        assert max(liveness.seconds) < LIVENESS_TIMEOUT
        # One attempt at a time: each worker's ends by its own timeout before the next begins.
        attempts = WORKERS * (1 + elapsed / {"database": 3, "cache": 1}[mute])
        assert nobody.connections <= attempts + WORKERS
        assert max(threads) <= 4 + 4  # gthread's own, and one for each check


# A sync worker does one thing at a time, so that liveness waits while it waits for readiness.
@pytest.mark.parametrize(
    ("worker_class", "probers", "patience"),
    [("gthread", 8, LIVENESS_TIMEOUT), ("sync", 1, DEADLINE + MARGIN)],
)
@pytest.mark.parametrize("frozen", ["database", "cache"])
def test_a_frozen_dependency_is_told_in_time_and_healed_without_a_restart(
    *,
    laboratory: Service,
    env: Mapping[str, str],
    own_postgres: PostgresServer,
    own_redis: RedisServer,
    frozen: str,
    worker_class: str,
    probers: int,
    patience: float,
) -> None:
    dependency = {"database": own_postgres, "cache": own_redis}[frozen]
    with laboratory.gunicorn(env, workers=WORKERS, worker_class=worker_class) as server:
        # Connections that are established and kept, as in a service that is in use.
        side_by_side(server.get, ["/ready/"] * 20)
        for path in ("/lab/row/1/", "/lab/stored/"):
            answers = side_by_side(lambda p: server.get(p, secure=True), [path] * 20)
            assert {answer.status for answer in answers} == {200}

        dependency.suspend()
        try:
            with Liveness(server) as liveness:
                durations = probe_every_second(server, probers=probers, seconds=7)
            answer = server.get("/ready/")
            threads = [child.num_threads() for child in server.children()]
        finally:
            dependency.resume()

        assert answer.status == 503
        assert answer.json()["checks"] == {**READY, frozen: False}
        assert max(durations) < DEADLINE + MARGIN
        assert set(liveness.statuses) == {200}
        assert max(liveness.seconds) < patience
        assert max(threads) <= 4 + 4
        wait_until_ready(server)


@pytest.mark.parametrize("restarted", ["database", "cache"])
def test_a_restarted_dependency_is_found_again_without_a_restart(
    server: WebServer,
    own_postgres: PostgresServer,
    own_redis: RedisServer,
    restarted: str,
) -> None:
    dependency = {"database": own_postgres, "cache": own_redis}[restarted]
    side_by_side(lambda path: server.get(path, secure=True), ["/lab/row/1/", "/lab/stored/"] * 10)

    dependency.kill()
    try:
        answer, seconds = timed(lambda: server.get("/ready/"))
    finally:
        dependency.start()

    assert answer.status == 503
    assert answer.json()["checks"] == {**READY, restarted: False}
    assert seconds < DEADLINE + MARGIN
    wait_until_ready(server)
    answers = side_by_side(
        lambda path: server.get(path, secure=True), ["/lab/row/1/", "/lab/stored/"] * 10
    )
    assert {answer.status for answer in answers} == {200}


def test_what_went_wrong_is_in_the_log_and_not_in_the_answer(
    server: WebServer, own_postgres: PostgresServer
) -> None:
    own_postgres.kill()
    try:
        answer = server.get("/ready/")
    finally:
        own_postgres.start()

    assert str(own_postgres.port) not in answer.text
    assert "Error" not in answer.text
    server.wait_for_log("Readiness: the database failed.", seconds=5)
    assert f"port {own_postgres.port} failed" in server.log
    wait_until_ready(server)
