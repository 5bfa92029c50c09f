"""What production writes to its log and sends to Sentry: every line JSON, every failure once."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.laboratory import deployed, log_records, timed, with_laboratory
from tests.servers import MuteServer, SentrySink, answers_http, free_port, http_request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.servers import PostgresServer, RedisServer
    from tests.service import GetService, Service, WebServer

EMAIL = "somebody@example.com"
PERSONAL = {
    "User-Agent": "a-browser-of-somebody",
    "Cookie": "__Host-sessionid=biscuit; other=biscuit",
    "Authorization": "Bearer hush",
    "X-Forwarded-For": "203.0.113.7",
    "X-Customer": EMAIL,
    "Referer": f"https://yourdomain.com/?email={EMAIL}",
}


@pytest.fixture(scope="module", params=["default", "pip"])
def laboratory(
    request: pytest.FixtureRequest, service: GetService, tmp_path_factory: pytest.TempPathFactory
) -> Service:
    """Return a service with views that log and fail."""
    return with_laboratory(service(request.param), tmp_path_factory.mktemp("logs") / "service")


@pytest.fixture(scope="module")
def env(laboratory: Service, postgres: PostgresServer, redis: RedisServer) -> Mapping[str, str]:
    """Return the environment of a deployed service."""
    return deployed(laboratory, postgres, redis)


@pytest.fixture(scope="module")
def server(laboratory: Service, env: Mapping[str, str]) -> Iterator[WebServer]:
    """Start the service without Sentry."""
    with laboratory.gunicorn(env) as running:
        yield running


def records_of(server: WebServer, request_id: str) -> dict[str, dict[str, Any]]:
    """Return what was logged with this id, by logger, once gunicorn has logged the access."""
    server.wait_until(
        lambda: any(
            record["logger"] == "gunicorn.access" and record.get("request_id") == request_id
            for record in log_records(server)
        ),
        f"the access with the id {request_id} was logged",
        seconds=5,
    )
    found = [record for record in log_records(server) if record.get("request_id") == request_id]
    by_logger = {record["logger"]: record for record in found}
    assert len(by_logger) == len(found), found
    return by_logger


def send(server: WebServer, request: bytes) -> bytes:
    """Send bytes and return the answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def fail(server: WebServer) -> tuple[str, float]:
    """Make a request fail with much that is personal; return its id and how long it took."""
    answer, seconds = timed(
        lambda: http_request(
            server.url(f"/lab/fail/?email={EMAIL}"),
            method="POST",
            headers={
                "Host": "yourdomain.com",
                "X-Forwarded-Proto": "https",
                "Content-Type": "application/x-www-form-urlencoded",
                **PERSONAL,
            },
            body=f"email={EMAIL}".encode(),
        )
    )
    assert answer.status == 500
    return answer.headers["X-Request-ID"], seconds


def assert_the_failure_is_logged_once(server: WebServer, request_id: str) -> None:
    """Check the one record that tells of the failure, and that no other does."""
    record = records_of(server, request_id)["django.request"]
    assert record["level"] == "ERROR"
    assert record["message"] == "Internal Server Error: /lab/fail/"
    assert record["exception"].startswith("Traceback (most recent call last):\n")
    assert record["exception"].endswith("RuntimeError: Failed on purpose, 20.")
    assert server.log.count("RuntimeError: Failed on purpose") == 1


def test_a_request_has_one_id_everywhere(server: WebServer) -> None:
    answer = server.get("/lab/say/", secure=True)

    records = records_of(server, answer.headers["X-Request-ID"])
    assert records.keys() == {"lab", "gunicorn.access"}
    said, access = records["lab"], records["gunicorn.access"]
    assert said.items() >= {"level": "INFO", "message": "Said in a view.", "order": 7}.items()
    assert access["message"] == "GET /lab/say/ 200"
    assert access.items() >= {"method": "GET", "path": "/lab/say/", "status": 200}.items()
    assert 0 < access["duration_ms"] < 10_000
    assert all(
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", record["time"])
        for record in records.values()
    )


def test_the_id_of_the_caller_is_kept(server: WebServer) -> None:
    given = {"X-Request-ID": "trace-0123456789.abc"}
    answer = server.get("/lab/say/", secure=True, headers=given)

    assert answer.headers["X-Request-ID"] == "trace-0123456789.abc"
    assert records_of(server, "trace-0123456789.abc").keys() == {"lab", "gunicorn.access"}


@pytest.mark.parametrize("forged", ["a b", 'x", "level": "CRITICAL', "x" * 200, "é"])
def test_an_id_that_could_forge_a_log_is_replaced(server: WebServer, forged: str) -> None:
    answer = server.get("/lab/say/", secure=True, headers={"X-Request-ID": forged})

    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_a_probe_that_passes_is_not_logged(server: WebServer) -> None:
    for path in ("/health", "/health/", "/ready", "/ready/"):
        server.get(path)
    records_of(server, server.get("/lab/say/", secure=True).headers["X-Request-ID"])

    paths = {record.get("path") for record in log_records(server)}
    assert not paths & {"/health", "/health/", "/ready", "/ready/"}


def test_a_probe_that_fails_is_logged(laboratory: Service, env: Mapping[str, str]) -> None:
    gone = {"CACHE_URL": f"redis://127.0.0.1:{free_port()}/0"}
    with laboratory.gunicorn({**env, **gone}) as server:
        server.get("/ready/")
        server.wait_for_log('"GET /ready/ 503"', seconds=5)

        reason = [record for record in log_records(server) if "exception" in record]

    assert [record["message"] for record in reason] == ["Readiness: the cache failed."]
    assert "Connection refused" in reason[0]["exception"]


def test_a_query_string_is_not_logged(server: WebServer) -> None:
    answer = server.get("/lab/say/?token=hush-in-a-query", secure=True)

    records_of(server, answer.headers["X-Request-ID"])
    assert "hush-in-a-query" not in server.log


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: x\r\n\r\n",
        b"GET /?hush HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: odd\r\n\r\n",
        b"NOT HTTP\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /?hush HTTP/1.1\r\nHost: x\r\nExpect: much\r\n\r\n",
        # The one that gunicorn refuses when it has read it already, and tells the access log of.
        b"GET /?hush HTTP/1.1\r\nHost: x\r\nSCRIPT_NAME: /much\r\n\r\n",
    ],
    ids=["header", "encoding", "no HTTP", "too long", "expectation", "prefix"],
)
def test_a_request_that_gunicorn_refuses_is_a_line_like_any_other(
    server: WebServer, request_bytes: bytes
) -> None:
    answer = send(server, request_bytes)

    assert re.match(rb"HTTP/1\.1 (4\d\d|50[01]) ", answer), answer
    records = log_records(server)
    assert any("Invalid request from ip=127.0.0.1" in record["message"] for record in records)
    assert "Traceback" not in server.log
    assert "hush" not in server.log


def test_everything_is_on_standard_output(
    laboratory: Service, env: Mapping[str, str], tmp_path: Path
) -> None:
    port, errors = free_port(), tmp_path / "errors"
    command = f"exec gunicorn --config gunicorn.conf.py {laboratory.package}.wsgi 2>{errors}"
    more = {"PORT": str(port), "GUNICORN_WORKERS": "1"}

    with laboratory.start("sh", "-c", command, env={**env, **more}, log="stdout") as process:
        process.wait_until(lambda: answers_http(f"http://127.0.0.1:{port}/health/"), "it answered")
        http_request(
            f"http://127.0.0.1:{port}/lab/fail/",
            headers={"Host": "yourdomain.com", "X-Forwarded-Proto": "https"},
        )
        assert process.stop() == 0

    records = [json.loads(line) for line in process.log.splitlines()]
    assert {"gunicorn.error", "gunicorn.access", "django.request"} <= {r["logger"] for r in records}
    assert errors.read_text(encoding="utf-8") == ""


def test_a_failure_is_logged_once_without_sentry(server: WebServer) -> None:
    request_id, _ = fail(server)

    assert_the_failure_is_logged_once(server, request_id)


def test_without_a_dsn_sentry_is_not_even_loaded(
    laboratory: Service, env: Mapping[str, str]
) -> None:
    script = "import django, sys; django.setup(); print('sentry_sdk' in sys.modules)"

    assert laboratory.run("python", "-c", script, env=env).stdout == "False\n"


def test_a_failure_is_logged_once_and_reported_once_without_what_is_personal(
    laboratory: Service, env: Mapping[str, str]
) -> None:
    with SentrySink() as sink:
        more = {"SENTRY_DSN": sink.dsn, "SENTRY_ENVIRONMENT": "staging"}
        with laboratory.gunicorn({**env, **more}, workers=1) as server:
            request_id, _ = fail(server)
            (event,) = sink.wait_for("event")
            assert_the_failure_is_logged_once(server, request_id)
            assert server.stop() == 0
            log_records(server)

    assert len(sink.events) == 1
    assert event["environment"] == "staging"
    assert event["release"] == "my-service@0.1.0"
    assert event["transaction"] == "/lab/fail/"
    assert event["exception"]["values"][-1]["value"] == "Failed on purpose, 20."
    assert event["request"]["method"] == "POST"
    assert event["request"]["headers"]["Host"] == "yourdomain.com"
    everything = json.dumps(sink.items, default=vars)
    for personal in ("somebody", "biscuit", "hush", "203.0.113.7", "127.0.0.1:", "a-browser"):
        assert personal not in everything
    assert "user" not in event or not event["user"]


def test_the_release_can_be_named(laboratory: Service, env: Mapping[str, str]) -> None:
    with SentrySink() as sink:
        more = {"SENTRY_DSN": sink.dsn, "SENTRY_RELEASE": "4711"}
        with laboratory.gunicorn({**env, **more}, workers=1) as server:
            fail(server)
            (event,) = sink.wait_for("event")

    assert event["release"] == "4711"
    assert event["environment"] == "production"


def test_probes_and_static_files_are_not_traced(
    laboratory: Service, env: Mapping[str, str]
) -> None:
    with SentrySink() as sink:
        more = {"SENTRY_DSN": sink.dsn, "SENTRY_TRACES_SAMPLE_RATE": "1"}
        with laboratory.gunicorn({**env, **more}, workers=1) as server:
            for path in ("/health/", "/ready", "/static/pages/site.css", "/lab/row/7/"):
                assert server.get(path, secure=True).status == 200
            sink.wait_for("transaction")
            server.stop()  # which sends what is still to be sent

    traced = [transaction["transaction"] for transaction in sink.of_type("transaction")]
    assert traced == ["/lab/row/{number}/"]


@pytest.mark.parametrize("reach", ["refused", "mute"])
def test_a_sentry_that_cannot_be_reached_costs_nothing(
    laboratory: Service, env: Mapping[str, str], reach: str
) -> None:
    with contextlib.ExitStack() as stack:
        port = free_port() if reach == "refused" else stack.enter_context(MuteServer()).port
        more = {"SENTRY_DSN": f"http://public@127.0.0.1:{port}/1"}
        server = stack.enter_context(laboratory.gunicorn({**env, **more}, workers=1))
        fail(server)
        request_id, seconds = fail(server)
        assert records_of(server, request_id)["django.request"]["level"] == "ERROR"
        assert server.get("/", secure=True).status == 200
        exit_code, stopping = timed(server.stop)

        assert seconds < 1
        assert server.log.count("RuntimeError: Failed on purpose") == 2
        assert exit_code == 0
        assert stopping < 10
        log_records(server)
