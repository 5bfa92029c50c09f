"""PgBouncer in transaction mode between the service and PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.laboratory import deployed, side_by_side, with_laboratory
from tests.servers import PostgresServer, Server, require_tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.servers import RedisServer
    from tests.service import GetService, Service

REQUESTS = 60
CLIENTS = 6
SERVER_CONNECTIONS = 3  # fewer, so that a client's next transaction meets another of them


class PgBouncerServer(Server):
    """PgBouncer in front of a PostgreSQL, for any database and as one user."""

    name = "pgbouncer"
    scheme = "postgres"

    def __init__(self, postgres: PostgresServer, *, ignored: str = "") -> None:
        """Make its configuration; `ignored` are startup parameters that it does not refuse."""
        self._pgbouncer = require_tool("pgbouncer")
        super().__init__()
        self.postgres = postgres
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": "transaction",
            "default_pool_size": SERVER_CONNECTIONS,
            "ignore_startup_parameters": ignored,
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        database = f"* = host=127.0.0.1 port={postgres.port} user=postgres"
        text = "\n".join(["[databases]", database, "[pgbouncer]", *lines, ""])
        self._configuration = self.folder / "pgbouncer.ini"
        self._configuration.write_text(text, encoding="utf-8")
        self.folder.chmod(0o755)

    @property
    def user(self) -> str | None:  # type: ignore[override]  # decided by who runs the tests
        """The user to run as: PgBouncer refuses root as well."""
        return self.postgres.user

    def command(self) -> list[str]:
        """Return the command of the server."""
        return [self._pgbouncer, str(self._configuration)]

    def ready(self) -> bool:
        """Tell whether a query is answered."""
        try:
            self.postgres.execute("select 1", url=self.url)
        except psycopg.OperationalError:
            return False
        return True

    @property
    def url(self) -> str:
        """The URL of the maintenance database through this server."""
        return self.through(self.postgres.url)

    def through(self, url: str) -> str:
        """Return a URL of PostgreSQL's, led through this server."""
        return url.replace(f":{self.postgres.port}/", f":{self.port}/")


@pytest.fixture(scope="module", params=["default", "pip"])
def laboratory(
    request: pytest.FixtureRequest, service: GetService, tmp_path_factory: pytest.TempPathFactory
) -> Service:
    """Return a service for each driver, with a view that reads row by row."""
    folder = tmp_path_factory.mktemp("pgbouncer")
    return with_laboratory(service(request.param), folder / "service")


@pytest.fixture(scope="module")
def env(laboratory: Service, postgres: PostgresServer, redis: RedisServer) -> Mapping[str, str]:
    """Return the environment of a deployed service, migrated without PgBouncer."""
    return deployed(laboratory, postgres, redis)


@pytest.fixture(scope="module")
def bouncer(postgres: PostgresServer) -> Iterator[PgBouncerServer]:
    """Start PgBouncer as it comes."""
    with PgBouncerServer(postgres) as server:
        yield server


def outcomes(service: Service, env: Mapping[str, str], url: str) -> set[str]:
    """Ask for rows from several clients at once; return the kinds of answers."""
    with service.gunicorn({**env, "DATABASE_URL": url}, threads=CLIENTS, workers=1) as server:

        def ask(number: int) -> str:
            answer = server.get("/lab/rows/", secure=True)
            if answer.status != 200:
                return str(answer.status)
            rows = answer.json()["rows"]
            whole = rows == sorted(set(rows)) and len(rows) == answer.json()["count"] > 20
            row = server.get(f"/lab/row/{number}/", secure=True).json()["row"]
            return "right" if whole and row == number else "wrong rows"

        return set(side_by_side(ask, range(REQUESTS), threads=CLIENTS))


def test_reading_row_by_row_works_through_pgbouncer(
    laboratory: Service, env: Mapping[str, str], bouncer: PgBouncerServer
) -> None:
    url = bouncer.through(env["DATABASE_URL"])

    assert outcomes(laboratory, {**env, "PGBOUNCER": "1"}, url) == {"right"}


def test_readiness_is_told_through_pgbouncer(
    laboratory: Service, env: Mapping[str, str], bouncer: PgBouncerServer
) -> None:
    through = {"PGBOUNCER": "1", "DATABASE_URL": bouncer.through(env["DATABASE_URL"])}

    with laboratory.gunicorn({**env, **through}) as server:

        def statuses() -> set[int]:
            return {answer.status for answer in side_by_side(server.get, ["/ready/"] * 50)}

        # A worker that has never been ready says so to those who ask while it finds out.
        server.wait_until(lambda: statuses() == {200}, "all workers were ready")

        assert statuses() == {200}


def test_without_the_variable_pgbouncer_refuses_the_service(
    laboratory: Service, env: Mapping[str, str], bouncer: PgBouncerServer
) -> None:
    assert outcomes(laboratory, env, bouncer.through(env["DATABASE_URL"])) == {"500"}


def test_without_the_variable_cursors_are_lost(
    laboratory: Service, env: Mapping[str, str], postgres: PostgresServer
) -> None:
    with PgBouncerServer(postgres, ignored="options") as bouncer:
        found = outcomes(laboratory, env, bouncer.through(env["DATABASE_URL"]))

    assert found & {"500", "wrong rows"}
