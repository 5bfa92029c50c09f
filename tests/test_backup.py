"""Backups of the database: a drill with real dumps, in containers as production has them.

Dump, drop, restore, equal rows; and all that can go wrong on the way.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.servers import S3Server, free_port, http_request

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.containers.engine import Engine
    from tests.rendering import Render
    from tests.service import GetService, Service

pytestmark = pytest.mark.slow

PASSWORD = "hush-hush-hush"
KEY = "hush-hush-key"
# What the container of production has, too.
HARDENED = (
    *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--pids-limit", "100", "--init"),  # noqa: S108 (a folder of the container)
    *("--security-opt", "no-new-privileges"),
)


def wait_until(ready: Callable[[], bool], what: str, *, seconds: float = 120) -> None:
    """Return when `ready` is true."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


@dataclass(frozen=True)
class Database:
    """PostgreSQL in a container, on a network of its own."""

    engine: Engine
    container: str
    network: str
    port: int

    def url(self, name: str) -> str:
        """Return the URL of a database, as seen from here."""
        return f"postgres://service:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement and return its rows."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def administer(self, statement: str, database: str) -> None:
        """Run a statement as the superuser, which only the container lets in."""
        self.engine.run("exec", self.container, "psql", "-U", "postgres", "-c", statement, database)

    def answers(self) -> bool:
        """Tell whether it serves."""
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def names(self) -> set[str]:
        """Return the databases that there are."""
        return {str(name) for (name,) in self.execute("SELECT datname FROM pg_database")}

    def rows(self, database: str) -> dict[str, tuple[object, ...]]:
        """Return how many rows each table has, and a digest of them."""
        tables = self.execute(
            "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'", database
        )
        return {
            str(name): self.execute(
                # A name of the catalogue's own.
                f"SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {name} t",  # noqa: S608 (names of our own)
                database,
            )[0]
            for (name,) in tables
        }


@dataclass(frozen=True)
class Backups:
    """The container of backups: its commands, and its folder."""

    engine: Engine
    container: str

    def shell(self, script: str, *, user: str = "10001") -> str:
        """Run a line of shell in the folder of dumps and return what it prints."""
        return self.engine.run("exec", "--user", user, self.container, "bash", "-c", script).stdout

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the script."""
        options = [part for name, value in variables.items() for part in ("-e", f"{name}={value}")]
        return self.engine.run("exec", *options, self.container, "backup", *arguments, check=False)

    def ok(self, *arguments: str, **variables: str) -> str:
        """Run a command that must succeed, and return what it prints."""
        done = self.run(*arguments, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *arguments: str, **variables: str) -> str:
        """Run a command that must fail, and return its sentence."""
        done = self.run(*arguments, **variables)
        assert done.returncode == 1, done.stderr
        record = json.loads(done.stderr.splitlines()[-1])
        assert record["level"] == "ERROR"
        return str(record["message"])

    def files(self) -> set[str]:
        """Return the dumps and checksums, and whatever else is there to see."""
        return {*self.shell("ls").split()}


@pytest.fixture(scope="module")
def image(engine: Engine, render: Render) -> Iterator[str]:
    name = f"shipshape-backup-{secrets.token_hex(4)}"
    engine.build(render() / "deploy" / "backup", name)
    yield name
    engine.run("rmi", "--force", name)


@pytest.fixture(scope="module")
def database(
    engine: Engine, render: Render, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    name, port = f"shipshape-backup-{secrets.token_hex(4)}", free_port()
    password = tmp_path_factory.mktemp("database") / "password"
    password.write_text(PASSWORD, encoding="utf-8")
    init = render() / "deploy" / "postgres" / "init.sh"
    engine.run("network", "create", name)
    try:
        engine.run(
            *("run", "--detach", "--name", name, "--network", name, "--network-alias", "postgres"),
            *("--publish", f"127.0.0.1:{port}:5432"),
            *("--env", "APP_USER=service", "--env", "APP_DB=first"),
            *("--env", "POSTGRES_PASSWORD_FILE=/run/secrets/postgres_password"),
            *("--volume", f"{password}:/run/secrets/postgres_password:ro"),
            *("--volume", f"{init}:/docker-entrypoint-initdb.d/init.sh:ro"),
            engine.image("postgres:17"),
        )
        server = Database(engine, name, name, port)
        wait_until(server.answers, "PostgreSQL answers")
        yield server
    finally:
        engine.run("rm", "--force", "--volumes", name, check=False)
        engine.run("network", "rm", name, check=False)


@pytest.fixture
def start(image: str, database: Database, tmp_path: Path) -> Iterator[Callable[..., Backups]]:
    """Start a container of backups of a database."""
    containers = []
    password, key = tmp_path / "password", tmp_path / "key"
    password.write_text(f"{PASSWORD}\n", encoding="utf-8")
    key.write_text(f"{KEY}\n", encoding="utf-8")

    def run(name: str, *command: str, options: Sequence[str] = (), **variables: str) -> Backups:
        container = f"{database.container}-{secrets.token_hex(4)}"
        given = {
            "PGHOST": "postgres",
            "PGUSER": "service",
            "PGDATABASE": name,
            "PGPASSWORD_FILE": "/run/secrets/password",
            "BACKUP_S3_SECRET_ACCESS_KEY_FILE": "/run/secrets/key",
            **variables,
        }
        containers.append(container)
        database.engine.run(
            *("run", "--detach", "--name", container, "--network", database.network, *HARDENED),
            *("--volume", f"{password}:/run/secrets/password:ro"),
            *("--volume", f"{key}:/run/secrets/key:ro"),
            *(part for key, value in given.items() for part in ("--env", f"{key}={value}")),
            *(options or ("--volume", "/backups")),
            *(() if command else ("--entrypoint", "sleep")),
            *(image, *(command or ("infinity",))),
        )
        return Backups(database.engine, container)

    yield run
    for container in containers:
        database.engine.run("rm", "--force", "--volumes", container, check=False)


@pytest.fixture
def small(database: Database) -> str:
    """Make a database with a small table, and return its name."""
    name = f"small_{secrets.token_hex(4)}"
    database.execute(f"CREATE DATABASE {name}")
    database.execute("CREATE TABLE letters AS SELECT 'a' AS letter", name)
    return name


@pytest.fixture(scope="module")
def store(database: Database) -> Iterator[S3Server]:
    """Start a store that containers reach."""
    with S3Server(database.engine.gateway(database.network)) as server:
        yield server


def in_bucket(store: S3Server, bucket: str, **others: str) -> dict[str, str]:
    """Return the variables that send backups to a bucket."""
    return {
        "BACKUP_S3_BUCKET": bucket,
        "BACKUP_S3_ENDPOINT_URL": store.url,
        "BACKUP_S3_ACCESS_KEY_ID": "key-id",
        **others,
    }


def program(file: Path, text: str) -> tuple[str, ...]:
    """Write a program that takes the place of another; return the options that mount it."""
    file.write_text(text, encoding="utf-8")
    file.chmod(0o755)
    return ("--volume", "/backups", "--volume", f"{file}:/instead/{file.name}:ro")


def first_in_path(backups: Backups) -> str:
    """Return a PATH on which that program is found first."""
    return f"/instead:{backups.shell('echo $PATH').strip()}"


# ---- The drill ----------------------------------------------------------------------------------


def migrated(service: Service, database: Database, name: str) -> dict[str, str]:
    """Make the service's database, with a user and many rows; return the service's environment."""
    database.execute(f"CREATE DATABASE {name}")
    env = service.production_env(
        database_url=database.url(name),
        cache_url="redis://127.0.0.1:1/0",
        broker_url="redis://127.0.0.1:1/1",
    )
    user = {
        "DJANGO_SUPERUSER_USERNAME": "ada",
        "DJANGO_SUPERUSER_PASSWORD": secrets.token_hex(),
        "DJANGO_SUPERUSER_EMAIL": "ada@example.com",
    }
    service.manage("migrate", env=env)
    service.manage("createsuperuser", "--noinput", env={**env, **user})
    database.execute(
        "CREATE TABLE receipts AS SELECT n, md5(n::text) AS text, now() AS made, '{}'::jsonb AS j"
        " FROM generate_series(1, 20000) n",
        name,
    )
    return env


def test_a_dropped_database_comes_back_row_by_row(
    service: GetService, database: Database, start: Callable[..., Backups]
) -> None:
    env = migrated(service(), database, "orders")
    before = database.rows("orders")
    backups = start("orders")

    backups.ok("now")
    database.execute("DROP DATABASE orders")
    backups.ok("restore", "latest")

    assert database.rows("orders") == before
    assert before["receipts"][0] == 20000
    assert before["accounts_user"][0] == 1
    service().manage("migrate", "--check", env=env)


def test_a_restore_replaces_what_was_written_since_and_keeps_it_beside(
    small: str, database: Database, start: Callable[..., Backups]
) -> None:
    backups = start(small)
    backups.ok("now")
    database.execute("INSERT INTO letters VALUES ('b')", small)
    database.execute("CREATE TABLE later (n int)", small)
    after = database.rows(small)

    backups.ok("restore", "latest")

    assert {name: row[0] for name, row in database.rows(small).items()} == {"letters": 1}
    (kept,) = (name for name in database.names() if name.startswith(f"{small}_old_"))
    assert database.rows(kept) == after


def test_a_database_keeps_its_collation(
    small: str, database: Database, start: Callable[..., Backups]
) -> None:
    """The order of texts, and so every index of them, rests on it."""
    look = (
        "SELECT datlocprovider::text, datcollate, datlocale FROM pg_database WHERE datname = '{}'"
    )
    found = {}
    for name, options in {
        f"{small}_libc": "LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'",
        f"{small}_icu": "LOCALE_PROVIDER icu ICU_LOCALE 'de'",
        f"{small}_builtin": "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'",
    }.items():
        database.execute(f"CREATE DATABASE {name} TEMPLATE template0 {options}")
        before = database.execute(look.format(name))
        backups = start(name)
        backups.ok("now")
        backups.ok("restore", "latest")
        found[name] = database.execute(look.format(name))
        assert found[name] == before
    assert len({str(rows) for rows in found.values()}) == 3


def test_the_limit_on_statements_is_none_for_a_backup(
    small: str, database: Database, start: Callable[..., Backups]
) -> None:
    backups = start(small)
    role = "ALTER ROLE service IN DATABASE"
    try:
        for name in ("postgres", small):
            database.administer(f"{role} {name} SET statement_timeout = '2ms'", "postgres")
        backups.ok("now")
        backups.ok("restore", "latest")
    finally:
        for name in ("postgres", small):
            database.administer(f"{role} {name} RESET ALL", "postgres")

    assert database.rows(small)["letters"][0] == 1


# Ends the restore that has called it, between the two statements that it would run.
KILLER = """#!/bin/bash
export PATH=${PATH#/backups/bin:}
text=$(cat)
if [[ $text == *"RENAME TO"* ]]; then
    psql "$@" <<<'ALTER DATABASE :"database" ALLOW_CONNECTIONS false'
    kill -TERM $PPID
    sleep 5
    exit 1
fi
psql "$@" <<<"$text"
"""


def test_a_restore_that_is_ended_lets_the_service_connect_again(
    small: str, database: Database, start: Callable[..., Backups]
) -> None:
    backups = start(small)
    backups.ok("now")
    backups.shell(f"mkdir bin && cat > bin/psql <<'END'\n{KILLER}END\nchmod +x bin/psql")

    script = "PATH=/backups/bin:$PATH exec backup restore latest"
    done = backups.engine.run("exec", backups.container, "bash", "-c", script, check=False)

    assert done.returncode != 0
    assert database.rows(small)["letters"][0] == 1


# ---- What a restore refuses ---------------------------------------------------------------------


def test_a_restore_refuses_while_somebody_is_connected_unless_forced(
    small: str, database: Database, start: Callable[..., Backups]
) -> None:
    backups = start(small)
    backups.ok("now")
    database.execute("INSERT INTO letters VALUES ('b')", small)
    with psycopg.connect(database.url(small)) as connection:
        sentence = backups.refused("restore", "latest")
        assert "1 connections" in sentence
        assert "--force" in sentence
        assert database.rows(small)["letters"][0] == 2
        assert database.names().isdisjoint({f"{small}_restoring"})

        backups.ok("restore", "latest", "--force")

        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert database.rows(small)["letters"][0] == 1


def test_a_restore_refuses_when_somebody_connects_meanwhile(
    small: str, database: Database, start: Callable[..., Backups]
) -> None:
    # The restore takes its time, as an index is made with this.
    database.execute(
        "CREATE FUNCTION slow(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS"
        " $$BEGIN PERFORM pg_sleep(6); RETURN $1; END$$",
        small,
    )
    database.execute("CREATE INDEX ON letters (slow(letter))", small)
    backups = start(small)
    backups.ok("now")
    before = database.rows(small)
    backups.engine.run("exec", "--detach", backups.container, "bash", "-c",
           "backup restore latest >answer 2>&1; echo $? >>answer; mv answer answered")  # fmt: skip
    wait_until(lambda: f"{small}_restoring" in database.names(), "the restore has begun")

    with psycopg.connect(database.url(small)) as connection:
        connection.execute("SELECT 1")
        wait_until(lambda: "answered" in backups.files(), "the restore has ended")

    assert "somebody has connected meanwhile" in backups.shell("cat answered")
    assert backups.shell("tail -n 1 answered") == "1\n"
    assert f"{small}_restoring" not in database.names()
    assert database.rows(small) == before


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param("printf x | dd of=$dump bs=1 seek=900 conv=notrunc", id="a byte is another"),
        pytest.param("truncate --size=-1 $dump", id="the end is missing"),
        pytest.param("rm $dump.sha256", id="the checksum is missing"),
    ],
)
def test_a_damaged_dump_is_not_restored(
    small: str, database: Database, start: Callable[..., Backups], damage: str
) -> None:
    backups = start(small)
    backups.ok("now")
    backups.shell(f"dump=$(ls {small}*.dump); {damage}")
    before = database.rows(small)

    assert "checksum" in backups.refused("restore", "latest")

    assert database.rows(small) == before


def test_a_restore_that_fails_midway_changes_nothing(
    small: str, database: Database, start: Callable[..., Backups]
) -> None:
    role = f"{small}_reader"
    database.administer(f"CREATE ROLE {role}", small)
    database.execute(f"GRANT SELECT ON letters TO {role}", small)
    backups = start(small)
    backups.ok("now")
    database.execute("INSERT INTO letters VALUES ('b')", small)
    database.administer(f"DROP OWNED BY {role}; DROP ROLE {role}", small)
    before = database.rows(small)

    sentence = backups.refused("restore", "latest")

    assert f"{small} is as it was" in sentence
    assert database.rows(small) == before
    assert f"{small}_restoring" not in database.names()


def test_what_is_not_there_is_not_restored(
    small: str, database: Database, start: Callable[..., Backups]
) -> None:
    backups = start(small)
    before = database.rows(small)

    sentences = [
        backups.refused("restore", name) for name in ("nothing.dump", "../etc/passwd", "latest")
    ]

    assert sentences == [
        "There is no backup nothing.dump: see `backup list`.",
        "../etc/passwd is no name of a backup: see `backup list`.",
        f"There is no backup of {small}.",
    ]
    assert database.rows(small) == before


# ---- A dump that fails --------------------------------------------------------------------------


def test_a_failed_dump_deletes_nothing_and_leaves_no_half_file(
    small: str, database: Database, start: Callable[..., Backups]
) -> None:
    folder = ("--tmpfs", "/backups:size=2m,uid=10001,mode=700")
    backups = start(small, options=folder, BACKUP_KEEP="1")
    backups.ok("now")
    before = backups.files()

    # The disk is full before the dump's end; the server is away; the password is another.
    database.execute(
        "CREATE TABLE noise AS SELECT string_agg(gen_random_uuid()::text, '') AS text"
        " FROM generate_series(1, 200000) n GROUP BY n % 100",
        small,
    )
    assert "failed" in backups.refused("now")
    assert "failed" in backups.refused("now", PGHOST="nowhere")
    backups.shell("echo other >password")
    assert "failed" in backups.refused("now", PGPASSWORD_FILE="password")

    assert backups.files() == before | {"password"}
    assert len(before) == 2


def test_a_dump_that_was_killed_leaves_nothing_that_counts(
    small: str, database: Database, start: Callable[..., Backups]
) -> None:
    backups = start(small)
    backups.ok("now")
    before = backups.files()
    with psycopg.connect(database.url(small)) as connection:
        connection.execute("LOCK TABLE letters IN ACCESS EXCLUSIVE MODE")
        backups.engine.run("exec", "--detach", backups.container, "backup", "now")
        wait_until(lambda: "pg_dump" in backups.shell("cat /proc/[0-9]*/comm"), "the dump runs")
        backups.shell("touch half.dump.partial; kill -KILL $(pgrep pg_dump) $(pgrep backup)")

    assert backups.ok("list").split() == sorted(name for name in before if name.endswith(".dump"))
    backups.ok("now")
    assert not [name for name in backups.files() if "partial" in name]


def test_only_one_backup_runs_at_a_time(
    small: str, database: Database, start: Callable[..., Backups]
) -> None:
    backups = start(small)
    with psycopg.connect(database.url(small)) as connection:
        connection.execute("LOCK TABLE letters IN ACCESS EXCLUSIVE MODE")
        backups.engine.run("exec", "--detach", backups.container, "backup", "now")
        wait_until(lambda: "pg_dump" in backups.shell("cat /proc/[0-9]*/comm"), "the dump runs")

        assert "Another backup or restore is running" in backups.refused("now")
        assert "Another backup or restore is running" in backups.refused("restore", "latest")


# A dump whose end is missing, though pg_dump was content.
CUT_OFF = """#!/bin/bash
PATH=${PATH#*:} pg_dump "$@" || exit
for word; do
    [[ $word != --file=* ]] || truncate --size=-20 "${word#--file=}"
done
"""


def test_a_dump_that_cannot_be_read_back_deletes_nothing_and_does_not_count(
    small: str, start: Callable[..., Backups], tmp_path: Path
) -> None:
    mounted = program(tmp_path / "pg_dump", CUT_OFF)
    backups = start(small, options=mounted, BACKUP_KEEP="1")
    older = {f"{small}-202001{day}T021500Z.dump" for day in (10, 11)}
    backups.shell(f"touch {' '.join(older)}")

    sentence = backups.refused("now", PATH=first_in_path(backups))

    assert sentence == f"The dump of {small} cannot be read back; no older one is deleted."
    assert backups.files() == older
    assert backups.refused("health") == "There is no backup yet."


REFUSED: list[tuple[list[str], dict[str, str], str]] = [
    (["now"], {"BACKUP_FOLDER": "/etc"}, "/etc cannot be written: let user 10001 own it."),
    (["now"], {"PGHOST": ""}, "PGHOST: names no server"),
    (["now"], {"PGUSER": ""}, "PGUSER: names no role"),
    (["now"], {"PGDATABASE": ""}, "PGDATABASE: names no database"),
    (["dance"], {}, "Say what to do: backup now, list, restore, schedule or health."),
    ([], {}, "Say what to do: backup now, list, restore, schedule or health."),
    (["restore"], {}, "is missing: name a backup of the list, or latest"),
]


def test_what_cannot_be_done_is_told_and_leaves_all_as_it_is(
    small: str, database: Database, start: Callable[..., Backups]
) -> None:
    backups = start(small)
    before = database.rows(small)

    for words, variables, sentence in REFUSED:
        done = backups.run(*words, **variables)
        assert done.returncode != 0, (words, variables)
        assert sentence in done.stderr

    assert (backups.files(), database.rows(small)) == (set(), before)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("BACKUP_KEEP", "0"), ("BACKUP_TIME", "25:00"), ("BACKUP_MAX_AGE_HOURS", "a day")],
)
def test_a_malformed_variable_is_named(
    small: str, start: Callable[..., Backups], variable: str, value: str
) -> None:
    assert variable in start(small).refused("now", **{variable: value})


# ---- Retention ----------------------------------------------------------------------------------


def test_exactly_as_many_are_kept_as_is_said(small: str, start: Callable[..., Backups]) -> None:
    others = {f"{small}-2-20200101T000000Z.dump", f"{small}.dump", "20200101T000000Z.dump", "notes"}
    backups = start(small)
    backups.shell(f"touch {' '.join(others)}")
    for day in range(10, 17):
        name = f"{small}-202001{day}T021500Z.dump"
        backups.shell(f"touch {name} {name}.sha256")

    backups.ok("now", BACKUP_KEEP="3")

    oldest, middle, newest = backups.ok("list").split()
    assert (oldest, middle) == (f"{small}-20200115T021500Z.dump", f"{small}-20200116T021500Z.dump")
    assert newest > middle
    kept = {oldest, middle, newest}
    assert backups.files() == others | kept | {f"{name}.sha256" for name in kept}


# ---- A bucket -----------------------------------------------------------------------------------


# What everybody on the machine sees of a program that runs.
SEEN = """#!/bin/bash
echo "$@" >>/backups/seen
PATH=${PATH#*:} exec rclone "$@"
"""


def test_a_bucket_gets_every_dump_and_gives_it_to_another_machine(
    small: str, database: Database, store: S3Server, start: Callable[..., Backups], tmp_path: Path
) -> None:
    variables = in_bucket(store, f"{store.new_bucket()}/daily")
    before = database.rows(small)
    mounted = program(tmp_path / "rclone", SEEN)
    backups = start(small, options=mounted, **variables)
    backups.ok("now", PATH=first_in_path(backups))
    (name,) = backups.ok("list").split()
    seen = backups.shell("cat seen")
    assert " copy " in seen
    assert KEY not in seen
    database.execute(f"DROP DATABASE {small}")

    other = start(small, **variables)
    assert other.ok("list").split() == [name]
    other.ok("restore", "latest")

    assert database.rows(small) == before
    digests = [each.shell(f"sha256sum {name}; cat {name}.sha256") for each in (backups, other)]
    assert digests[0] == digests[1]


def test_a_bucket_keeps_as_many_as_the_folder(
    small: str, store: S3Server, start: Callable[..., Backups]
) -> None:
    bucket = store.new_bucket()
    backups = start(small, **in_bucket(store, bucket, BACKUP_KEEP="3"))
    others = {f"{small}-2-20200101T000000Z.dump", "notes"}
    for name in others:
        http_request(f"{store.url}/{bucket}/{name}", method="PUT", body=b"")
    for day in range(10, 17):
        name = f"{small}-202001{day}T021500Z.dump"
        backups.shell(f"touch {name} {name}.sha256")
    backups.ok("copy", BACKUP_KEEP="9")
    assert len(names_in(store, bucket)) == 2 + 2 * 7

    backups.ok("now")

    assert names_in(store, bucket) == others | backups.files()
    assert len(backups.ok("list").split()) == 3


def names_in(store: S3Server, bucket: str) -> set[str]:
    """Return the names of what is in a bucket."""
    listed = http_request(f"{store.url}/{bucket}?list-type=2").text
    return {*re.findall("<Key>([^<]+)</Key>", listed)}


def test_a_bucket_that_was_away_gets_what_it_has_missed(
    small: str, store: S3Server, start: Callable[..., Backups]
) -> None:
    bucket = store.new_bucket()
    backups = start(small, **in_bucket(store, bucket))

    sentence = backups.refused("now", BACKUP_S3_ENDPOINT_URL=f"http://127.0.0.1:{free_port()}")
    assert bucket in sentence
    assert len(backups.files()) == 2
    assert "no backup" in backups.refused("health")
    backups.ok("copy")

    assert names_in(store, bucket) == backups.files()
    backups.ok("health")


def test_what_a_bucket_does_not_give_is_not_restored(
    small: str, database: Database, store: S3Server, start: Callable[..., Backups]
) -> None:
    bucket = store.new_bucket()
    backups = start(small, **in_bucket(store, bucket))
    backups.ok("now")
    database.execute("INSERT INTO letters VALUES ('b')", small)
    before, files = database.rows(small), backups.files()
    away = {"BACKUP_S3_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}

    # The newest may be one that is in the bucket alone.
    for words in (["list"], ["restore", "latest"]):
        assert backups.refused(*words, **away) == f"The bucket {bucket} cannot be listed."
    other = f"{small}-20200115T021500Z.dump"
    assert f"has no {other}:" in backups.refused("restore", other)
    # Without its checksum a dump is none.
    http_request(f"{store.url}/{bucket}/{other}", method="PUT", body=b"x")
    assert f"has no {other}.sha256:" in backups.refused("restore", other)
    keyless = backups.run("now", BACKUP_S3_SECRET_ACCESS_KEY_FILE="")
    assert keyless.returncode != 0
    assert "BACKUP_S3_SECRET_ACCESS_KEY_FILE" in keyless.stderr

    assert database.rows(small) == before
    assert {name for name in backups.files() if "partial" not in name} == files


# ---- The schedule -------------------------------------------------------------------------------


def test_the_schedule_makes_up_for_a_dump_that_is_missing_and_makes_no_second(
    small: str, start: Callable[..., Backups]
) -> None:
    backups = start(small, "schedule")

    wait_until(lambda: backups.ok("list") != "", "there is a backup")

    (name,) = backups.ok("list").split()
    backups.shell(f"mv {name} {small}-20200115T021500Z.dump", user="10001")
    backups.engine.run("restart", backups.container)
    wait_until(lambda: len(backups.ok("list").split()) == 2, "there is another")
    backups.engine.run("restart", backups.container)
    log = backups.engine.run("logs", backups.container)
    records = [json.loads(line) for line in (log.stdout + log.stderr).splitlines()]
    assert sum(record["message"].startswith("Dumped") for record in records) == 2


def test_a_last_backup_that_is_too_old_is_told(small: str, start: Callable[..., Backups]) -> None:
    backups = start(small)
    assert backups.refused("health") == "There is no backup yet."
    backups.ok("now")
    backups.ok("health")

    backups.shell("touch --date='27 hours ago' .complete")

    assert backups.refused("health") == "There has been no backup for 27 hours."
    backups.ok("health", BACKUP_MAX_AGE_HOURS="28")
