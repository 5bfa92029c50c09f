"""Static files, as browsers get them from gunicorn in production and from Django in development."""

from __future__ import annotations

import gzip
import json
import shutil
from typing import TYPE_CHECKING

import brotli
import pytest

from tests.laboratory import collect_static_files, deployed
from tests.servers import answers_http, free_port, http_request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.servers import PostgresServer, RedisServer
    from tests.service import GetService, Service, WebServer

# One of the team's own files, one of the admin's.
FILES = ["pages/site.css", "admin/css/base.css"]


@pytest.fixture(scope="module", params=["default", "pip"])
def production(
    request: pytest.FixtureRequest, service: GetService, tmp_path_factory: pytest.TempPathFactory
) -> Service:
    """Return a service whose static files are collected."""
    collect_static_files(service(request.param))
    return service(request.param).copy(tmp_path_factory.mktemp("static") / "service")


@pytest.fixture(scope="module")
def server(
    production: Service, postgres: PostgresServer, redis: RedisServer
) -> Iterator[WebServer]:
    """Start it."""
    with production.gunicorn(deployed(production, postgres, redis)) as running:
        yield running


@pytest.fixture(scope="module")
def hashed(production: Service) -> Mapping[str, str]:
    """Return the names with a hash by the names without."""
    manifest = production.path / "staticfiles/staticfiles.json"
    paths: dict[str, str] = json.loads(manifest.read_text(encoding="utf-8"))["paths"]
    return paths


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_a_hash_is_kept_for_ever(
    server: WebServer, hashed: Mapping[str, str], name: str
) -> None:
    assert hashed[name] != name

    answer = server.get(f"/static/{hashed[name]}", secure=True)

    assert answer.status == 200
    assert answer.headers["Content-Type"] == 'text/css; charset="utf-8"'
    directives = answer.headers["Cache-Control"].split(", ")
    assert {"public", "immutable"} < set(directives)
    assert (
        int(next(d for d in directives if d.startswith("max-age=")).partition("=")[2]) > 31_000_000
    )


@pytest.mark.parametrize("name", FILES)
def test_a_file_without_a_hash_is_kept_for_a_minute(server: WebServer, name: str) -> None:
    answer = server.get(f"/static/{name}", secure=True)

    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "max-age=60, public"


@pytest.mark.parametrize("name", FILES)
def test_a_file_comes_compressed_to_those_who_can_read_it(
    server: WebServer, hashed: Mapping[str, str], name: str
) -> None:
    path = f"/static/{hashed[name]}"
    plain = server.get(path, secure=True)
    as_gzip = server.get(path, secure=True, headers={"Accept-Encoding": "gzip"})
    as_brotli = server.get(path, secure=True, headers={"Accept-Encoding": "gzip, br"})

    assert plain.headers["Content-Encoding"] is None
    assert as_gzip.headers["Content-Encoding"] == "gzip"
    assert as_brotli.headers["Content-Encoding"] == "br"
    assert gzip.decompress(as_gzip.body) == brotli.decompress(as_brotli.body) == plain.body
    assert {answer.headers["Vary"] for answer in (plain, as_gzip, as_brotli)} == {"Accept-Encoding"}


def test_a_page_names_files_by_their_hash(server: WebServer, hashed: Mapping[str, str]) -> None:
    page = server.get("/", secure=True)
    login = server.get("/admin/login/", secure=True)

    assert f"/static/{hashed['pages/site.css']}" in page.text
    assert f"/static/{hashed['admin/css/base.css']}" in login.text


@pytest.mark.parametrize("path", ["/static/pages/no.css", "/static/", "/static/../manage.py"])
def test_a_missing_file_is_not_found(server: WebServer, path: str) -> None:
    assert server.get(path, secure=True).status == 404


def test_a_static_file_starts_no_session_and_cannot_be_sniffed(server: WebServer) -> None:
    answer = server.get("/static/pages/site.css", secure=True)

    assert answer.headers["Set-Cookie"] is None
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_development_serves_static_files_that_nobody_collected(
    service: GetService, tmp_path: Path
) -> None:
    copy = service().copy(tmp_path / "service")
    shutil.rmtree(copy.path / "staticfiles", ignore_errors=True)
    port = free_port()
    command = ("python", "manage.py", "runserver", "--noreload", str(port))

    with copy.start(*command, env={}, log="runserver") as process:
        process.wait_until(lambda: answers_http(f"http://127.0.0.1:{port}/health/"), "it answered")
        answers = [http_request(f"http://127.0.0.1:{port}/static/{name}") for name in FILES]
        page = http_request(f"http://127.0.0.1:{port}/")

    assert [answer.status for answer in answers] == [200, 200]
    assert "/static/pages/site.css" in page.text
    assert not (copy.path / "staticfiles").exists()
