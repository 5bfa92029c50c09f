"""What tests of containers stand on: an engine, and images with or without a registry."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.containers import images
from tests.containers.engine import Engine, EngineError
from tests.containers.images import ImageError, Images, references
from tests.rendering import SharedFolders
from tests.servers import free_port, http_request

if TYPE_CHECKING:
    from tests.containers.engine import Compose
    from tests.rendering import Render
    from tests.servers import Response

# A machine may have a newer client beside the one of its distribution.
CLIENTS = [path for path in ("/usr/bin/docker", "/usr/local/bin/docker") if Path(path).exists()]

# Servers that a project starts, each answering a question from beside it.
SERVERS = """
services:
  postgres:
    image: ${POSTGRES_IMAGE:-postgres:17}
    environment: {POSTGRES_USER: me, POSTGRES_DB: orders, POSTGRES_PASSWORD: secret}
    command: ["-c", "max_connections=17"]
    volumes: ["./initdb:/docker-entrypoint-initdb.d:ro"]
    healthcheck: {test: [CMD, pg_isready, --host=127.0.0.1], interval: 1s, retries: 60}
  pgbouncer:
    image: ${PGBOUNCER_IMAGE:-edoburu/pgbouncer:v1.24.1-p1}
    environment: {DB_HOST: postgres, DB_USER: me, DB_PASSWORD: secret, AUTH_TYPE: scram-sha-256,
      POOL_MODE: transaction}
    depends_on: {postgres: {condition: service_healthy}}
  redis:
    image: ${REDIS_IMAGE:-redis:8}
    command: ["--maxmemory", "10mb"]
  rabbitmq:
    image: ${RABBITMQ_IMAGE:-rabbitmq:4}
    user: rabbitmq
    environment: {RABBITMQ_DEFAULT_USER: me, RABBITMQ_DEFAULT_PASS: secret}
    healthcheck: {test: [CMD, rabbitmq-diagnostics, --quiet, ping], interval: 2s, retries: 60}
  mail:
    image: ${MAIL_IMAGE:-axllent/mailpit:v1.21}
    ports: ["127.0.0.1:${MAIL_PORT}:8025"]
  s3:
    image: ${S3_IMAGE:-motoserver/moto:5}
    ports: ["127.0.0.1:${S3_PORT}:5000"]
  proxy:
    image: ${PROXY_IMAGE:-caddy:2}
    cap_drop: [ALL]
    cap_add: [NET_BIND_SERVICE]
    security_opt: [no-new-privileges:true]
    command: [caddy, respond, --listen, ":80", hello]
    ports: ["127.0.0.1:${PROXY_PORT}:80"]
"""

# A letter by SMTP.
SEND = """
import smtplib

with smtplib.SMTP("mail", 1025) as connection:
    connection.sendmail("a@b.c", ["d@e.f"], "From: a@b.c\\nSubject: News\\n\\nHello")
"""


def test_the_images_of_a_project_are_found_by_their_variables(render: Render) -> None:
    tree = render()

    found = references(tree)

    assert found["PYTHON_IMAGE"] == "python:3.13-slim-trixie"
    assert found["UV_IMAGE"].startswith("ghcr.io/astral-sh/uv:")


def test_an_image_without_a_stand_in_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_pull", lambda *_, **__: False)
    monkeypatch.setattr(images, "_inspect", lambda *_: "")

    with pytest.raises(ImageError, match=r"python:3\.12-slim-trixie cannot be pulled, and there"):
        Images(SharedFolders(tmp_path / "shared")).get("python:3.12-slim-trixie")


def test_real_images_are_used_where_a_registry_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulled: list[str] = []

    def pull(reference: str, *, seconds: float) -> bool:
        pulled.append(reference)
        return seconds > 0

    monkeypatch.setattr(images, "_inspect", lambda *_: "")
    monkeypatch.setattr(images, "_pull", pull)
    (tmp_path / "Dockerfile").write_text("ARG UV_IMAGE=ghcr.io/astral-sh/uv:0.13.9\n")
    (tmp_path / "compose.yml").write_text("a: ${REDIS_IMAGE:-redis:8}\nb: ${WEB_IMAGE:-web}\n")

    found = Images(SharedFolders(tmp_path / "shared")).of(tmp_path)

    assert found == {"UV_IMAGE": "ghcr.io/astral-sh/uv:0.13.9", "REDIS_IMAGE": "redis:8"}
    assert sorted(pulled) == ["ghcr.io/astral-sh/uv:0.13.9", "hello-world", "redis:8"]


def test_a_stand_in_that_is_there_is_not_made_again(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = engine.image("redis:8")
    before = engine.inspect("image", first)["Id"]
    monkeypatch.setattr(images, "_run", lambda *command: pytest.fail(f"It runs {command}."))

    again = Images(SharedFolders(tmp_path / "shared")).get("redis:8")

    assert (again, engine.inspect("image", again)["Id"]) == (first, before)


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_builds_and_composes(
    engine: Engine, shared: SharedFolders, tmp_path: Path, client: str
) -> None:
    other = Engine(Images(shared), client)
    (tmp_path / "Dockerfile").write_text(
        "ARG DEBIAN_IMAGE=debian:trixie-slim\nFROM ${DEBIAN_IMAGE}\n"
        "RUN --mount=type=cache,target=/var/cache/x echo built > /result\n"
        'CMD ["cat", "/result"]\n'
    )
    (tmp_path / "compose.yml").write_text(
        "services:\n  one:\n    build: {context: ., args: {DEBIAN_IMAGE: }}\n"
    )
    tag = f"shipshape-test/client-{free_port()}"
    services = other.compose(tmp_path, f"shipshape-client-{free_port()}")

    try:
        other.build(tmp_path, tag)
        said = other.run("run", "--rm", "--network=none", tag).stdout
        composed = services.run("run", "--rm", "--no-TTY", "one").stdout.splitlines()[-1:]
    finally:
        services.down()
        engine.run("image", "rm", "--force", tag, check=False)

    assert (said, composed) == ("built\n", ["built"])


def test_the_images_behave_as_a_project_relies_on(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "compose.yml").write_text(SERVERS)
    (tmp_path / "initdb").mkdir()
    (tmp_path / "initdb/1.sql").write_text("create table lines as select 7 as number;\n")
    ports = {name: free_port() for name in ("MAIL_PORT", "S3_PORT", "PROXY_PORT")}
    environment = {name: str(port) for name, port in ports.items()}

    def get(name: str, path: str, method: str = "GET") -> Response:
        return http_request(f"http://127.0.0.1:{ports[name]}{path}", method=method)

    services = engine.compose(tmp_path, f"shipshape-servers-{free_port()}", env=environment)
    with services.up():
        query = "select number, current_setting('max_connections') from lines"
        assert output(services, "postgres", f'psql -U me -Atc "{query}" orders') == "7|17"
        pool = "postgres://me:secret@127.0.0.1:5432/orders"
        assert output(services, "pgbouncer", f'psql -Atc "{query}" {pool}') == "7|17"
        client = ("run", "--rm", "--no-TTY", "redis", "redis-cli", "-h", "redis")
        asked = services.run(*client, "config", "get", "maxmemory").stdout
        assert asked.split() == ["maxmemory", "10485760"]
        assert "me" in output(services, "rabbitmq", "rabbitmqctl --quiet list_users").split()
        services.execute("s3", "python3", "-c", SEND)
        (message,) = get("MAIL_PORT", "/api/v1/messages").json()["messages"]
        assert (message["Subject"], message["To"]) == ("News", [{"Address": "d@e.f"}])
        assert get("S3_PORT", "/bucket", method="PUT").status == 200
        assert get("PROXY_PORT", "/").text == "hello"

    assert services.run("ps", "--all", "--quiet").stdout == ""


def test_services_that_do_not_start_are_shown_and_removed(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "compose.yml").write_text(
        "services:\n  one:\n    image: ${DEBIAN_IMAGE:-debian:trixie-slim}\n"
        "    command: [sh, -c, echo broken; exit 3]\n"
    )
    services = engine.compose(tmp_path, f"shipshape-broken-{free_port()}")

    with pytest.raises(EngineError, match=r"(?s)exited \(3\).*broken"), services.up():
        pass

    assert services.run("ps", "--all", "--quiet").stdout == ""


def output(services: Compose, service: str, command: str) -> str:
    """Return what a command in a running container prints."""
    return services.execute(service, "sh", "-c", command).stdout.strip()


def test_a_stand_in_is_made_again_when_what_it_is_made_from_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = shutil.copytree(images.RECIPES, tmp_path / "recipes")
    monkeypatch.setattr(images, "RECIPES", recipes)
    before = sources()

    with (recipes / "redis.sh").open("a") as file:
        file.write("# changed\n")
    dockerfile = recipes / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("libpython3-dev", "python3-dev"))

    changed = {name for name, text in sources().items() if text != before[name]}
    assert changed == {"axllent/mailpit", "motoserver/moto", "python", "redis"}


def sources() -> dict[str, str]:
    """Return what each stand-in is made from."""
    return {name: images.sources(known.stage) for name, known in images.STAND_INS.items()}
