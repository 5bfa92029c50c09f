"""`manage.py release`: what is done once for each release, before its code serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from tests.servers import PostgresServer
    from tests.service import GetService

# As in common/management/commands/release.py.
LOCK = 7_355_608
NOWHERE = "redis://127.0.0.1:1/0"


def tables(url: str) -> int:
    """Return how many tables a database has."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchone()
    assert found
    return int(found[0])


@pytest.mark.parametrize("variant", ["default", "pip"])
def test_a_release_waits_for_another_and_limits_the_statements_of_the_role(
    service: GetService, postgres: PostgresServer, variant: str
) -> None:
    project, url = service(variant), postgres.new_database()
    env = project.production_env(
        database_url=url, cache_url=NOWHERE, broker_url=NOWHERE, DATABASE_STATEMENT_TIMEOUT="45"
    )

    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        process = project.start("python", "manage.py", "release", env=env, log="release")
        with process:
            process.wait_for_log("Another release migrates", seconds=60)
            waiting = tables(url)
            other.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
            ended = process.wait(seconds=120)

    with psycopg.connect(url) as later:
        limit = later.execute("SHOW statement_timeout").fetchone()
        later.execute("ALTER ROLE CURRENT_USER RESET statement_timeout")
    assert (waiting, ended) == (0, 0)
    assert tables(url) > 5
    assert limit == ("45s",)


def test_a_release_that_fails_its_checks_leaves_the_database_as_it_is(
    service: GetService, postgres: PostgresServer
) -> None:
    project, url = service("default"), postgres.new_database()
    env = project.production_env(
        database_url=url, cache_url=NOWHERE, broker_url=NOWHERE, SECRET_KEY="short"
    )

    done = project.manage("release", env=env, check=False)

    assert done.returncode != 0
    assert "security.W009" in done.stderr
    assert tables(url) == 0
