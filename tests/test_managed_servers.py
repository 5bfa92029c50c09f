"""Production whose PostgreSQL and Redis are somewhere else, and reached by TLS."""

from __future__ import annotations

import contextlib
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.containers.engine import EngineError
from tests.containers.server import Server, add_drill, set_up
from tests.servers import free_port, require_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.containers.engine import Engine
    from tests.containers.production import GetImage

HOST = "db.managed.test"
REDIS = "redis.managed.test"
PASSWORD = "hush-hush"

# What a provider does: TLS or nothing, and a role that owns its database and no more.
SET_UP = f"""
set -o errexit
install --mode=600 /tls/server.key "$PGDATA/server.key"
install --mode=600 /tls/server.crt "$PGDATA/server.crt"
echo "ssl = on" >> "$PGDATA/postgresql.conf"
sed --in-place 's/^host all all all/hostssl all all all/' "$PGDATA/pg_hba.conf"
psql --username=postgres --command="CREATE ROLE my_service LOGIN PASSWORD '{PASSWORD}'"
psql --username=postgres --command="CREATE DATABASE my_service OWNER my_service"
"""

# The services that reach the managed servers, by a network that is theirs.
OVERRIDE = """
services:
  web: &managed {networks: [managed]}
  worker: *managed
  beat: *managed
  migrate: *managed
  pgbouncer: *managed
  backup: *managed
networks:
  managed: {external: true, name: NETWORK}
"""


def certify(folder: Path) -> None:
    """Write an authority, the server's certificate that it has signed, and another authority."""
    openssl = (require_tool("openssl"), "req", "-x509", "-nodes", "-days", "2")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-addext", f"subjectAltName=DNS:{HOST}")
    for name, options in {
        "ca": (),
        "other": (),
        "server": (*signed, "-addext", "basicConstraints=CA:FALSE"),
    }.items():
        files = ("-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt")
        command = [*openssl, *key, *files, *options]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (folder / "set-up.sh").write_text(SET_UP, encoding="utf-8")
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)  # for the user of the container


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    certify(folder)
    return folder


@pytest.fixture(scope="module")
def network(engine: Engine, tls: Path) -> Iterator[str]:
    """Start the servers of a provider, and return the network that leads to them."""
    name = f"shipshape-managed-{free_port()}"
    run = ("run", "--detach", f"--network={name}")
    engine.run("network", "create", name)
    try:
        engine.run(
            *(*run, f"--name={name}-postgres", f"--network-alias={HOST}"),
            *("--env=POSTGRES_PASSWORD=another", f"--volume={tls}:/tls:ro"),
            f"--volume={tls / 'set-up.sh'}:/docker-entrypoint-initdb.d/set-up.sh:ro",
            engine.image("postgres:17"),
        )
        engine.run(
            *(*run, f"--name={name}-redis", f"--network-alias={REDIS}", engine.image("redis:8")),
            *("redis-server", "--requirepass", PASSWORD),
        )
        yield name
    finally:
        for kind in ("postgres", "redis"):
            engine.run("rm", "--force", "--volumes", f"{name}-{kind}", check=False)
        engine.run("network", "rm", name, check=False)


@pytest.fixture(scope="module")
def server(
    engine: Engine,
    image: GetImage,
    network: str,
    tls: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """Deploy the service, of whose servers none is its own."""
    built, folder = image(), tmp_path_factory.mktemp("server")
    tag = f"{built.tag}-{network}"
    add_drill(engine, built.tag, tag, folder / "image", "my_service")
    checkout = set_up(built.project, folder / "checkout")
    override = checkout / "docker-compose.prod.override.yml"
    override.write_text(OVERRIDE.replace("NETWORK", network), encoding="utf-8")
    secrets = checkout / "secrets"
    secrets.mkdir()
    (secrets / "postgres_password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    (secrets / "postgres_ca").write_bytes((tls / "ca.crt").read_bytes())
    (secrets / "broker_url").write_text(f"redis://:{PASSWORD}@{REDIS}:6379/0\n", encoding="utf-8")
    (secrets / "cache_url").write_text(f"redis://:{PASSWORD}@{REDIS}:6379/1\n", encoding="utf-8")
    found = Server(
        engine,
        checkout,
        f"{network}-service",
        POSTGRES_HOST=HOST,
        POSTGRES_SSLMODE="verify-full",
        POSTGRES_CA_FILE="secrets/postgres_ca",
        COMPOSE_PROFILES="",
        # Has the programs of PostgreSQL, as the image of backups.
        BACKUP_IMAGE=engine.image("postgres:17"),
    )
    try:
        found.script("deploy", tag)
        yield found
    finally:
        found.remove()
        engine.run("image", "rm", tag, check=False)


def ask(server: Server, code: str) -> str:
    """Run lines of Python in web, and return what they print."""
    return server.compose.execute("web", "python", "manage.py", "shell", "-c", code).stdout.strip()


def wait_until(ready: Callable[[], bool], what: str) -> None:
    """Wait for at most two minutes."""
    deadline = time.monotonic() + 120
    while not ready():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


def is_ready(server: Server) -> bool:
    """Tell whether web, as it says itself, can serve requests."""
    with contextlib.suppress(EngineError):
        server.compose.execute("web", "python", "-m", "common.probe", "/ready/")
        return True
    return False


# As backup.sh does it, with the variables and the files of its container.
BACKUP = (
    *("run", "--rm", "--no-deps", "--no-TTY", "--entrypoint", "bash", "backup", "-c"),
    'PGPASSWORD=$(<"$PGPASSWORD_FILE") psql -Atc "TABLE django_migrations LIMIT 1"',
)


def test_the_service_runs_without_a_server_of_its_own(server: Server) -> None:
    services = server.compose.run("ps", "--services").stdout.split()
    ask(server, "from drill.tasks import work; work.delay('managed', 0)")

    assert {*services} == {"web", "worker", "beat", "pgbouncer"}
    assert is_ready(server)
    count = "from drill.models import noted; print(noted('task'))"
    wait_until(lambda: ask(server, count).endswith("1"), "the worker has done the task")
    assert server.compose.run(*BACKUP).stdout != ""


def test_a_server_of_another_authority_is_refused_by_all(server: Server, tls: Path) -> None:
    (server.checkout / "secrets/postgres_ca").write_bytes((tls / "other.crt").read_bytes())
    server.compose.run("up", "--detach", "--no-deps", "--force-recreate", "--wait", "pgbouncer")

    wait_until(lambda: not is_ready(server), "PgBouncer refuses the server")
    migrate = server.compose.run("run", "--rm", "--no-deps", "--no-TTY", "migrate", check=False)
    backup = server.compose.run(*BACKUP, check=False)

    for done in (migrate, backup):
        assert done.returncode != 0
        assert "certificate verify failed" in done.stdout + done.stderr
    assert "certificate verify failed" in server.compose.run("logs", "pgbouncer").stdout
