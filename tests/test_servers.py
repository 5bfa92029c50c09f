"""The servers of the tests do what tests rely on: they freeze, die and come back."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
import urllib.request
from typing import TYPE_CHECKING

import brotli
import psycopg
import pytest

from tests.servers import (
    MuteServer,
    PostgresServer,
    Process,
    RabbitMQServer,
    RedisServer,
    SentrySink,
    ServerError,
    free_port,
    http_request,
    require_tool,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def test_a_frozen_postgres_holds_its_connections_and_answers_later() -> None:
    with PostgresServer() as server, psycopg.connect(server.new_database()) as connection:
        answers: list[object] = []
        query = threading.Thread(
            target=lambda: answers.append(connection.execute("select 1").fetchone())
        )
        server.suspend()
        query.start()
        query.join(1)
        assert answers == []
        server.resume()
        query.join(10)
        assert answers == [(1,)]


def test_a_postgres_that_was_killed_comes_back_with_its_data() -> None:
    with PostgresServer() as server:
        url = server.new_database()
        server.execute("create table kept (id int)", url=url)
        port = server.port
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            server.execute("select 1")
        server.start()
        assert server.port == port
        assert server.execute("select count(*) from kept", url=url) == [(0,)]


def test_databases_of_one_server_do_not_meet(postgres: PostgresServer, redis: RedisServer) -> None:
    first, second = postgres.new_database(), postgres.new_database()
    postgres.execute("create table only_here (id int)", url=first)
    with pytest.raises(psycopg.errors.UndefinedTable):
        postgres.execute("select * from only_here", url=second)
    first, second = redis.new_database(), redis.new_database()
    redis.execute("SET", "key", "value", url=first)
    assert redis.execute("GET", "key", url=first) == "value"
    assert redis.execute("GET", "key", url=second) == ""


def test_a_persistent_redis_loses_nothing_when_it_is_killed() -> None:
    with RedisServer(persistent=True) as server:
        server.execute("SET", "key", "value")
        server.kill()
        server.start()
        assert server.execute("GET", "key") == "value"


def test_rabbitmq_runs_as_whoever_runs_the_tests(rabbitmq: RabbitMQServer) -> None:
    vhost = rabbitmq.new_vhost().rpartition("/")[2]
    assert vhost in rabbitmq.control("list_vhosts").splitlines()
    assert rabbitmq.control("list_queues", "--vhost", vhost) == ""


def test_a_mute_server_accepts_and_never_answers() -> None:
    with MuteServer() as server:
        with pytest.raises(TimeoutError):
            http_request(server.url("http"), seconds=0.5)
        assert server.connections == 1


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [("identity", bytes), ("gzip", gzip.compress), ("br", brotli.compress)],
)
def test_the_sentry_sink_reads_envelopes(encoding: str, encode: type[bytes]) -> None:
    event = json.dumps({"message": "x\ny"}).encode()
    parts = [b"{}", b'{"type":"event","length":%d}' % len(event), event, b'{"type":"session"}']
    with SentrySink() as sink:
        url = f"{sink.dsn.replace('public@', '').rpartition('/')[0]}/api/1/envelope/"
        request = urllib.request.Request(
            url,
            encode(b"\n".join([*parts, b'{"sid":"1"}'])),
            {"Content-Encoding": encoding},
        )
        urllib.request.urlopen(request, timeout=5).close()
        assert sink.wait_for("event") == [{"message": "x\ny"}]
        assert sink.of_type("session") == [{"sid": "1"}]
        with pytest.raises(ServerError, match=r"arrived: .*session"):
            sink.wait_for("transaction", seconds=0.1)


def test_a_program_that_ends_too_early_shows_its_log(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo no such file; exit 3"]
    with Process(command, log=tmp_path / "log", cwd=tmp_path, env={}) as process:
        with pytest.raises(ServerError, match=r"exit code 3(?s:.*)no such file"):
            process.wait_for_log("ready")
        assert process.wait() == 3


def test_a_program_is_ended_with_its_descendants(tmp_path: Path) -> None:
    # One in a group of its own, as the processes of PostgreSQL are, and one that is left behind.
    script = "setsid sleep 97 & (sleep 98 &) ; echo ready; wait"
    with Process(
        ["sh", "-c", script], log=tmp_path / "log", cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}
    ) as process:
        process.wait_for_log("ready")
        children = process.children()
        assert children
    deadline = time.monotonic() + 5
    while any(child.is_running() and child.status() != "zombie" for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_free_port_is_outside_what_outgoing_connections_use() -> None:
    port = free_port()
    assert 20000 <= port < 32000
    with socket.create_server(("127.0.0.1", port)):
        pass


@pytest.mark.parametrize(("ci", "outcome"), [(True, "failed"), (False, "skipped")])
def test_a_missing_tool_skips_a_test_but_fails_it_in_ci(
    monkeypatch: pytest.MonkeyPatch, *, ci: bool, outcome: str
) -> None:
    monkeypatch.setattr("tests.servers.CI", ci)
    expected = pytest.fail.Exception if outcome == "failed" else pytest.skip.Exception
    with pytest.raises(expected, match="no-such-program is not installed"):
        require_tool("no-such-program")
