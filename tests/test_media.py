"""Uploads: refused, kept in a folder, or kept in a bucket, under production settings."""

from __future__ import annotations

import shutil
import stat
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from tests.laboratory import NOWHERE, deployed, timed, with_laboratory
from tests.servers import S3Server, answers_http, free_port, http_request
from tests.service import SEED_ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.rendering import Render
    from tests.servers import PostgresServer, RedisServer, Response
    from tests.service import GetService, Service, WebServer

HTTPS = {"Host": "yourdomain.com", "X-Forwarded-Proto": "https"}
SECRET = "hush-hush-hush"

A_MODEL = """
from django.db import models


class Receipt(models.Model):
    scan = models.FileField()
"""


def send(url: str, name: str, content: bytes, *, seconds: float = 30) -> Response:
    """Send a form with a file to the laboratory."""
    head = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return http_request(
        f"{url}/lab/upload/",
        method="POST",
        headers={**HTTPS, "Content-Type": "multipart/form-data; boundary=x"},
        body=head.encode() + content + b"\r\n--x--\r\n",
        seconds=seconds,
    )


def upload(server: WebServer, name: str, content: bytes) -> Any:  # noqa: ANN401  JSON may be anything
    """Send a file, and return what the laboratory says of it."""
    answer = send(server.url(""), name, content)
    assert answer.status == 200, server.log
    return answer.json()


def sentence_without(service: Service, name: str, **others: str) -> str:
    """Return what production says when a variable is missing."""
    env = {**SEED_ENVIRONMENT, **NOWHERE, **others}
    done = service.manage("check", env=env, check=False)
    assert done.returncode == 1
    assert name in done.stderr
    return done.stderr.strip()


# ---- A bucket -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture(scope="module")
def bucket(store: S3Server) -> str:
    return store.new_bucket()


@pytest.fixture(scope="module")
def with_bucket(service: GetService, tmp_path_factory: pytest.TempPathFactory) -> Service:
    return with_laboratory(service("s3"), tmp_path_factory.mktemp("bucket") / "service")


@pytest.fixture(scope="module")
def environment(
    with_bucket: Service,
    postgres: PostgresServer,
    redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, str], dict[str, str]]:
    """Return the environment of a service that keeps its uploads in a bucket of a store."""
    secret = tmp_path_factory.mktemp("secret") / "key"
    secret.write_text(f"{SECRET}\n", encoding="utf-8")

    def get(address: str, bucket: str) -> dict[str, str]:
        return deployed(
            with_bucket,
            postgres,
            redis,
            AWS_STORAGE_BUCKET_NAME=bucket,
            AWS_S3_ENDPOINT_URL=address,
            AWS_S3_ADDRESSING_STYLE="path",
            AWS_ACCESS_KEY_ID="key",
            AWS_SECRET_ACCESS_KEY_FILE=str(secret),
            AWS_QUERYSTRING_EXPIRE="120",
        )

    return get


@pytest.fixture(scope="module")
def server(
    with_bucket: Service,
    environment: Callable[[str, str], dict[str, str]],
    store: S3Server,
    bucket: str,
) -> Iterator[WebServer]:
    with with_bucket.gunicorn(environment(store.url, bucket)) as running:
        yield running


def test_an_upload_is_private_and_has_an_address_that_expires(
    server: WebServer, store: S3Server, bucket: str
) -> None:
    found = upload(server, "receipt.png", b"7 euros")

    address, _, query = found["url"].partition("?")
    mine = http_request(found["url"])
    assert (found["name"], found["size"]) == ("receipt.png", 7)
    assert address == f"{store.url}/{bucket}/receipt.png"
    assert parse_qs(query)["X-Amz-Expires"] == ["120"]
    assert (mine.status, mine.body) == (200, b"7 euros")
    assert mine.headers["Content-Type"] == "image/png"
    # Whoever has no signature gets neither the file nor the list of files.
    assert http_request(address).status == 403
    assert SECRET not in found["url"] + server.log


def test_an_upload_is_not_overwritten(server: WebServer) -> None:
    first, second = (upload(server, "same.txt", text) for text in (b"7 euros", b"8 euros"))

    assert first["name"] == "same.txt"
    assert second["name"] != first["name"]
    assert http_request(first["url"]).body == b"7 euros"
    assert http_request(second["url"]).body == b"8 euros"


def test_an_upload_of_many_megabytes_arrives_whole(server: WebServer) -> None:
    content = bytes(range(256)) * 40_000  # more than boto3 sends in one piece

    found = upload(server, "film.bin", content)

    assert found["size"] == len(content)
    assert http_request(found["url"]).body == content


def test_no_checksum_is_sent_that_other_stores_refuse(server: WebServer) -> None:
    found = upload(server, "plain.txt", b"7 euros")

    answer = http_request(found["url"], headers={"x-amz-checksum-mode": "ENABLED"})

    assert [name for name in answer.headers if name.lower().startswith("x-amz-checksum")] == []


def test_pages_may_show_what_is_in_the_bucket(
    server: WebServer, store: S3Server, bucket: str
) -> None:
    policy = server.get("/", secure=True).headers["Content-Security-Policy"]

    directives = dict(line.strip().split(" ", 1) for line in policy.split(";") if line.strip())
    source = f"{store.url}/{bucket}/"
    assert {name for name, sources in directives.items() if source in sources.split()} == {
        "img-src",
        "media-src",
    }


def test_a_store_that_is_away_costs_the_upload_and_nothing_else(
    with_bucket: Service, environment: Callable[[str, str], dict[str, str]]
) -> None:
    env = environment(f"http://127.0.0.1:{free_port()}", "uploads")
    with with_bucket.gunicorn(env) as server:
        answer, seconds = timed(lambda: send(server.url(""), "receipt.txt", b"7 euros"))
        ready = server.get("/ready/")

    assert answer.status == 500
    assert seconds < 15
    assert ready.status == 200


def test_production_does_not_start_without_a_bucket(with_bucket: Service) -> None:
    said = sentence_without(with_bucket, "AWS_STORAGE_BUCKET_NAME")

    assert said.startswith("Production does not start without AWS_STORAGE_BUCKET_NAME: ")
    assert "\n" not in said


def test_production_does_not_start_with_half_a_key(with_bucket: Service) -> None:
    half = {"AWS_STORAGE_BUCKET_NAME": "uploads", "AWS_ACCESS_KEY_ID": "key"}

    said = sentence_without(with_bucket, "AWS_SECRET_ACCESS_KEY", **half)

    assert said.startswith("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together: ")
    assert "\n" not in said


# ---- A folder -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_folder(
    service: GetService, render: Render, tmp_path_factory: pytest.TempPathFactory
) -> Service:
    """Return a service with a folder; it has the dependencies of one without uploads."""
    folder = tmp_path_factory.mktemp("folder")
    shutil.copytree(render(media_storage="local", task_queue="none"), folder / "rendered")
    rendered = service("no-tasks").with_code(folder / "rendered")
    return with_laboratory(rendered, folder / "service")


def test_production_keeps_uploads_in_its_folder_and_leaves_serving_to_the_proxy(
    with_folder: Service, postgres: PostgresServer, redis: RedisServer, tmp_path: Path
) -> None:
    env = deployed(with_folder, postgres, redis, MEDIA_ROOT=str(tmp_path / "media"))
    with with_folder.gunicorn(env) as server:
        first, second = (upload(server, "same.txt", text) for text in (b"7 euros", b"8 euros"))
        served = server.get(first["url"], secure=True)

    assert first["url"] == "/media/same.txt"
    assert second["name"] != first["name"]
    assert (tmp_path / "media/same.txt").read_bytes() == b"7 euros"
    assert stat.S_IMODE((tmp_path / "media/same.txt").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "media").stat().st_mode) == 0o755
    assert served.status == 404


@pytest.mark.parametrize("variant", ["local", "s3"])
def test_development_keeps_uploads_beside_manage_py_and_serves_them(
    with_folder: Service, with_bucket: Service, variant: str
) -> None:
    service = with_folder if variant == "local" else with_bucket
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    service.manage("migrate", "--verbosity", "0", settings="development")

    command = ("python", "manage.py", "runserver", "--noreload", str(port))
    with service.start(*command, env={}, log="runserver") as process:
        process.wait_until(lambda: answers_http(f"{address}/health/"), "it answered")
        found = send(address, "receipt.txt", b"7 euros").json()
        served = http_request(f"{address}{found['url']}")

    assert found["url"] == "/media/receipt.txt"
    assert served.body == b"7 euros"
    assert (service.path / "media/receipt.txt").read_bytes() == b"7 euros"


def test_production_does_not_start_without_a_folder(with_folder: Service) -> None:
    said = sentence_without(with_folder, "MEDIA_ROOT")

    assert said.startswith("Production does not start without MEDIA_ROOT: ")
    assert "\n" not in said


# ---- Neither ------------------------------------------------------------------------------------


def test_a_model_that_takes_files_is_refused_where_there_are_no_uploads(
    service: GetService, tmp_path: Path
) -> None:
    copy = with_laboratory(service("no-tasks"), tmp_path / "service")
    (copy.path / "src/lab/models.py").write_text(A_MODEL, encoding="utf-8")

    done = copy.manage("check", settings="development", check=False)

    assert done.returncode == 1
    assert "lab.Receipt.scan: (common.E003)" in done.stderr
    assert 'make update ANSWERS="media_storage=s3"' in done.stderr


def test_collecting_static_files_needs_no_place_for_uploads(
    with_folder: Service, with_bucket: Service
) -> None:
    for service in (with_folder, with_bucket):
        done = service.manage("collectstatic", "--noinput", "--dry-run")
        assert "static files" in done.stdout
