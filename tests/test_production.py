"""The web side under production settings, with a real PostgreSQL, Redis and gunicorn."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import itertools
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.laboratory import (
    HTTPS,
    NOWHERE,
    deployed,
    log_records,
    side_by_side,
    timed,
    with_laboratory,
)
from tests.servers import MailServer, MuteServer, answers_http, free_port, http_request
from tests.service import SEED_ENVIRONMENT, Bootstrap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.servers import PostgresServer, RedisServer
    from tests.service import GetService, Service

pytestmark = pytest.mark.slow

# With production dependencies alone. Between them: both package managers, drivers, Django versions
# and identifiers of users, with and without a task queue.
VARIANTS = ["default", "pip", "no-tasks"]

SEED_DOTENV = """\
DJANGO_SETTINGS_MODULE={package}.settings.production
DEBUG=0
ALLOWED_HOSTS=yourdomain.com,www.yourdomain.com
CSRF_TRUSTED_ORIGINS=https://yourdomain.com,https://www.yourdomain.com
SECRET_KEY={key}
"""

# PostgreSQL reads the whole of a small table, unless that is all but forbidden.
PLAN_OF_A_SIGN_IN = """
from django.contrib.auth import get_user_model
from django.db import connection

with connection.cursor() as cursor:
    cursor.execute("SET enable_seqscan = off")
print(get_user_model().objects.filter(email__iexact="ann@example.com").explain())
"""

# What a team adds to its settings.
OWN_VARIABLE = """
env = Environment()
PAYMENT_KEY = env.text("PAYMENT_KEY", "The key of the payment service.", required=True)
"""

# A wrong value of each kind of variable.
MALFORMED = {
    "flag": ("SECURE_SSL_REDIRECT", "maybe"),
    "whole number": ("SECURE_HSTS_SECONDS", "a year"),
    "negative number": ("DATABASE_CONN_MAX_AGE", "-1"),
    "number": ("READY_CHECK_TIMEOUT", "soon"),
    "number out of range": ("SENTRY_TRACES_SAMPLE_RATE", "2"),
    "choice": ("LOG_LEVEL", "LOUD"),
    "host with a scheme": ("ALLOWED_HOSTS", "https://yourdomain.com"),
    "host with a port": ("ALLOWED_HOSTS", "yourdomain.com:8000"),
    "origin without a scheme": ("CSRF_TRUSTED_ORIGINS", "yourdomain.com"),
    "database of another kind": ("DATABASE_URL", "mysql://user@127.0.0.1/name"),
    "database with a port in words": ("DATABASE_URL", "postgres://user@127.0.0.1:five/name"),
    "database without a name": ("DATABASE_URL", "postgres://user@127.0.0.1"),
    "SQLite": ("DATABASE_URL", "sqlite:///db.sqlite3"),
    "cache of another kind": ("CACHE_URL", "memcache://127.0.0.1"),
    "cache with a port in words": ("CACHE_URL", "redis://127.0.0.1:six/0"),
    "cache in the process": ("CACHE_URL", "locmemcache://"),
    "broker of another kind": ("CELERY_BROKER_URL", "sqs://"),
    "broker with a port in words": ("CELERY_BROKER_URL", "redis://127.0.0.1:seven/0"),
    "mail": ("EMAIL_URL", "smtp://127.0.0.1:mail"),
    "time zone": ("TIME_ZONE", "Mars/Phobos"),
    "language": ("LANGUAGE_CODE", "klingon"),
    "Sentry": ("SENTRY_DSN", "https://sentry.example.com/without-a-key"),
    "secret in a missing file": ("SECRET_KEY_FILE", "/nowhere/secret"),
}

# The same for what gunicorn.conf.py alone reads.
MALFORMED_FOR_GUNICORN = {
    "workers": ("GUNICORN_WORKERS", "many"),
    "no threads": ("GUNICORN_THREADS", "0"),
    "unknown class": ("GUNICORN_WORKER_CLASS", "eventlet"),
    "log level": ("GUNICORN_LOG_LEVEL", "loud"),
    "port": ("PORT", "http"),
    "port out of range": ("PORT", "70000"),
    "gevent without gevent": ("GUNICORN_WORKER_CLASS", "gevent"),
}


@pytest.fixture(scope="module")
def laboratory(
    service: GetService, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Service]:
    """Return a variant with views that use the database and the cache, made once."""
    made: dict[str, Service] = {}

    def get(variant: str) -> Service:
        if variant not in made:
            folder = tmp_path_factory.mktemp(f"production-{variant}") / "service"
            made[variant] = with_laboratory(service(variant), folder)
        return made[variant]

    return get


@pytest.fixture(scope="module")
def environment(
    laboratory: Callable[[str], Service], postgres: PostgresServer, redis: RedisServer
) -> Callable[[str], dict[str, str]]:
    """Return the environment of a deployed variant, made once."""
    made: dict[str, dict[str, str]] = {}

    def get(variant: str) -> dict[str, str]:
        if variant not in made:
            made[variant] = deployed(laboratory(variant), postgres, redis)
        return made[variant]

    return get


def with_gevent(service: Service, folder: Path) -> Service:
    """Return the service with gevent, which a team adds as a dependency of its own."""
    uv = Bootstrap(service.path).find("find-uv")
    command = [uv, "pip", "install", "--quiet", "--python", str(service.python), "--target"]
    subprocess.run([*command, str(folder), "gunicorn[gevent]"], check=True, timeout=300)
    variables = {**service.variables, "PYTHONPATH": f"{service.variables['PYTHONPATH']}:{folder}"}
    return dataclasses.replace(service, variables=variables)


def environment_with(service: Service, name: str, value: str | None) -> dict[str, str]:
    """Return a complete environment that leads nowhere, with one variable set, or left out."""
    env = {**SEED_ENVIRONMENT, **NOWHERE, name: value}
    settings = f"{service.package}.settings.production"
    given = {key: text for key, text in env.items() if text is not None}
    return {**given, "DJANGO_SETTINGS_MODULE": settings, "GUNICORN_WORKERS": "1"} | (
        {name: value} if value is not None else {}
    )


def starts(service: Service) -> list[list[str]]:
    """Return the commands of which each must refuse to start with a wrong environment."""
    return [
        ["python", "manage.py", "check"],
        ["gunicorn", "--config", "gunicorn.conf.py", f"{service.package}.wsgi:application"],
        ["python", "-c", f"import {service.package}.settings.production"],
    ]


def sentence_of(service: Service, command: list[str], env: Mapping[str, str]) -> str:
    """Run a command that must not start, and return the one sentence that it says instead."""
    done = service.run(*command, env={"PORT": str(free_port()), **env}, check=False, seconds=60)
    said = (done.stdout + done.stderr).strip()
    if command[:2] == ["python", "-c"]:  # an import raises, and Python shows where
        said = said.splitlines()[-1].removeprefix("common.environment.ConfigurationError: ")
    assert done.returncode != 0
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1, said
    assert said.endswith(".")
    return said


@pytest.mark.parametrize(
    ("variant", "worker_class"),
    [
        *itertools.product(["default", "pip"], ["gthread", "sync", "gevent"]),
        ("no-tasks", "gthread"),
    ],
)
def test_gunicorn_serves(
    laboratory: Callable[[str], Service],
    environment: Callable[[str], dict[str, str]],
    tmp_path: Path,
    variant: str,
    worker_class: str,
) -> None:
    service = laboratory(variant)
    if worker_class == "gevent":
        service = with_gevent(service, tmp_path / "gevent")

    with service.gunicorn(environment(variant), worker_class=worker_class) as server:
        ready = server.get("/ready/")
        pages = [server.get(path, secure=True) for path in ("/", "/admin/login/", "/lab/stored/")]
        numbers = list(range(100))
        rows = side_by_side(lambda n: server.get(f"/lab/row/{n}/", secure=True).json(), numbers)
        assert server.stop() == 0

    assert ready.json()["checks"] == {"database": True, "cache": True}
    assert [page.status for page in pages] == [200, 200, 200]
    assert [row["row"] for row in rows] == numbers
    assert len({row["process"] for row in rows}) == 2
    assert f"Using worker: {worker_class}" in server.log
    log_records(server)


@pytest.mark.parametrize("variant", ["default", "pip"])
def test_gevent_serves_others_while_one_waits_for_the_database(
    laboratory: Callable[[str], Service],
    environment: Callable[[str], dict[str, str]],
    postgres: PostgresServer,
    tmp_path: Path,
    variant: str,
) -> None:
    service, env = with_gevent(laboratory(variant), tmp_path / "gevent"), environment(variant)

    with service.gunicorn(env, worker_class="gevent", workers=1) as server:
        answers, seconds = timed(
            lambda: side_by_side(lambda path: server.get(path, secure=True), ["/lab/wait/"] * 16)
        )
        # A connection that is kept would be one for each request, and never used again.
        count = "select count(*) from pg_stat_activity where datname = %s"
        name = env["DATABASE_URL"].rpartition("/")[2]
        server.wait_until(
            lambda: postgres.execute(count, name) == [(0,)],
            "the connections were closed",
            seconds=5,
        )

    assert {answer.status for answer in answers} == {200}
    assert seconds < 16 * 0.5 / 2


@pytest.mark.parametrize("worker_class", ["gthread", "sync"])
def test_a_request_in_flight_is_answered_when_gunicorn_is_stopped(
    laboratory: Callable[[str], Service],
    environment: Callable[[str], dict[str, str]],
    worker_class: str,
) -> None:
    with (
        laboratory("default").gunicorn(
            environment("default"), worker_class=worker_class, workers=1
        ) as server,
        concurrent.futures.ThreadPoolExecutor() as pool,
    ):
        server.get("/lab/row/1/", secure=True)
        answer = pool.submit(server.get, "/lab/wait/", secure=True)
        with pytest.raises(concurrent.futures.TimeoutError):
            answer.result(timeout=0.2)

        exit_code = server.stop()

        assert answer.result().status == 200
        assert exit_code == 0


def test_gunicorns_variables_are_heard(
    laboratory: Callable[[str], Service], environment: Callable[[str], dict[str, str]]
) -> None:
    service, env = laboratory("default"), environment("default")
    with service.gunicorn(env, workers=3, threads=2, log_level="warning") as server:
        side_by_side(lambda path: server.get(path, secure=True), ["/lab/wait/"] * 12)
        children = server.children()
        threads = [child.num_threads() for child in children]
        control = list(Path(service.variables["HOME"]).rglob("gunicorn.ctl"))

    assert len(children) == 3
    assert max(threads) == 1 + 2
    assert all(record["logger"] != "gunicorn.error" for record in log_records(server))
    assert control == []  # no interface beside signals


@pytest.mark.parametrize("application", ["wsgi", "asgi"])
def test_servers_take_the_settings_of_production_unless_told_otherwise(
    laboratory: Callable[[str], Service],
    environment: Callable[[str], dict[str, str]],
    application: str,
) -> None:
    service = laboratory("default")
    env = {k: v for k, v in environment("default").items() if k != "DJANGO_SETTINGS_MODULE"}
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    worker = {"wsgi": "gthread", "asgi": "asgi"}[application]
    command = ("gunicorn", "--config", "gunicorn.conf.py", "--worker-class", worker)

    more = {"PORT": str(port), "GUNICORN_WORKERS": "1"}
    with service.start(
        *command, f"{service.package}.{application}:application", env={**env, **more}, log="bare"
    ) as process:
        process.wait_until(lambda: answers_http(f"{address}/health/"), "it answered")
        ready = http_request(f"{address}/ready/")
        plain = http_request(f"{address}/", headers={"Host": "yourdomain.com"})
        page = http_request(f"{address}/", headers=HTTPS)

    assert ready.json()["checks"] == {"database": True, "cache": True}
    assert plain.headers["Location"] == "https://yourdomain.com/"
    assert page.status == 200
    assert page.headers["Strict-Transport-Security"] is not None


def test_a_connection_is_kept_for_the_next_request(
    laboratory: Callable[[str], Service], environment: Callable[[str], dict[str, str]]
) -> None:
    backends = {}
    for kept in ("60", "0"):
        env = {**environment("default"), "DATABASE_CONN_MAX_AGE": kept}
        with laboratory("default").gunicorn(env, worker_class="sync", workers=1) as server:
            rows = [server.get(f"/lab/row/{n}/", secure=True).json() for n in range(5)]
        backends[kept] = {row["backend"] for row in rows}

    assert len(backends["60"]) == 1
    assert len(backends["0"]) == 5


@pytest.mark.parametrize("variant", ["default", "pip"])
def test_a_statement_that_takes_too_long_is_ended(
    laboratory: Callable[[str], Service],
    environment: Callable[[str], dict[str, str]],
    variant: str,
) -> None:
    env = {**environment(variant), "DATABASE_STATEMENT_TIMEOUT": "1"}

    with laboratory(variant).gunicorn(env, workers=1) as server:
        answer, seconds = timed(lambda: server.get("/lab/forever/", secure=True, seconds=30))

    assert answer.status == 500
    assert seconds < 10


def test_a_sign_in_by_address_finds_it_in_an_index(
    service: GetService, postgres: PostgresServer, redis: RedisServer
) -> None:
    pip = service("pip")
    command = ("shell", "--command", PLAN_OF_A_SIGN_IN)

    plan = pip.manage(*command, env=deployed(pip, postgres, redis)).stdout

    assert "accounts_user_email_case_insensitive" in plan
    assert "Index Cond" in plan


def test_a_database_that_never_answers_costs_a_request_seconds(
    laboratory: Callable[[str], Service], environment: Callable[[str], dict[str, str]]
) -> None:
    with MuteServer() as nobody:
        env = {**environment("default"), "DATABASE_URL": nobody.url("postgres", "name")}
        with laboratory("default").gunicorn(env, workers=1) as server:
            answer, seconds = timed(lambda: server.get("/lab/row/1/", secure=True, seconds=30))

    assert answer.status == 500
    assert seconds < 3 + 3


@pytest.mark.parametrize("variant", ["default", "pip"])
@pytest.mark.parametrize("scheme", ["smtp", "smtp+tls", "smtps"])
def test_mail_is_sent_by_the_way_that_its_url_says(
    service: GetService, tmp_path: Path, scheme: str, variant: str
) -> None:
    env = environment_with(service(variant), "DEFAULT_FROM_EMAIL", "orders@yourdomain.com")
    with MailServer(scheme, tmp_path) as server:
        more = {"EMAIL_URL": server.url, "SSL_CERT_FILE": str(server.certificate)}
        service(variant).manage("sendtestemail", "ann@example.com", env={**env, **more})

    (mail,) = server.mails
    assert (mail["From"], mail["To"]) == ("orders@yourdomain.com", "ann@example.com")


def test_gunicorn_listens_on_an_address_of_version_6(
    laboratory: Callable[[str], Service], environment: Callable[[str], dict[str, str]]
) -> None:
    service, env = laboratory("default"), environment("default")
    port = free_port()
    command = ("gunicorn", "--config", "gunicorn.conf.py", f"{service.package}.wsgi:application")

    more = {"HOST": "::1", "PORT": str(port), "GUNICORN_WORKERS": "1"}
    with service.start(*command, env={**env, **more}, log="six") as process:
        process.wait_until(lambda: answers_http(f"http://[::1]:{port}/health/"), "it answered")


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_deployment_check_is_clean_with_the_seeds_env_file(
    service: GetService, tmp_path: Path, variant: str
) -> None:
    copy = service(variant).copy(tmp_path / "service")
    lines = [f"{name}={url}\n" for name, url in NOWHERE.items()]
    dotenv = SEED_DOTENV.format(package=copy.package, key=SEED_ENVIRONMENT["SECRET_KEY"])
    (copy.path / ".env").write_text(dotenv + "".join(lines), encoding="utf-8")

    done = copy.run("python", "manage.py", "check", "--deploy", "--fail-level", "WARNING")

    assert "System check identified no issues" in done.stdout
    assert re.fullmatch(r"(WARN\w*:.*)?", done.stderr), done.stderr


@pytest.mark.parametrize("name", ["SECRET_KEY", "ALLOWED_HOSTS", *NOWHERE])
def test_production_does_not_start_without(service: GetService, name: str) -> None:
    env = environment_with(service(), name, None)

    said = side_by_side(lambda command: sentence_of(service(), command, env), starts(service()))

    assert len(set(said)) == 1
    assert said[0].startswith(f"Production does not start without {name}: ")


@pytest.mark.parametrize("module", ["base", "production"])
def test_production_does_not_start_without_what_the_team_requires(
    service: GetService, tmp_path: Path, module: str
) -> None:
    copy = service().copy(tmp_path / "service")
    with (copy.path / f"src/{copy.package}/settings/{module}.py").open("a") as file:
        file.write(OWN_VARIABLE)
    env = environment_with(copy, "PAYMENT_KEY", None)
    commands = [
        *starts(copy),
        ["python", "manage.py", "release"],
        ["celery", "--app", copy.package, "worker"],
        ["celery", "--app", copy.package, "beat"],
    ]

    said = side_by_side(lambda command: sentence_of(copy, command, env), commands)

    assert len(set(said)) == 1
    assert said[0].startswith("Production does not start without PAYMENT_KEY: ")
    # The image is built without.
    assert "static files" in copy.manage("collectstatic", "--noinput", "--dry-run").stdout
    given = {**env, "PAYMENT_KEY": "only-a-test"}
    assert "no issues" in copy.manage("check", env=given).stdout


@pytest.mark.parametrize("kind", MALFORMED)
def test_production_does_not_start_with_a_malformed(service: GetService, kind: str) -> None:
    name, value = MALFORMED[kind]
    env = environment_with(service(), name, value)

    said = side_by_side(lambda command: sentence_of(service(), command, env), starts(service()))

    assert len(set(said)) == 1
    assert said[0].startswith(f"{name} ")


@pytest.mark.parametrize("kind", MALFORMED_FOR_GUNICORN)
def test_gunicorn_does_not_start_with_a_malformed(service: GetService, kind: str) -> None:
    name, value = MALFORMED_FOR_GUNICORN[kind]
    env = environment_with(service(), name, value)

    assert sentence_of(service(), starts(service())[1], env).startswith(f"{name} is ")


def test_a_password_is_in_no_sentence(service: GetService) -> None:
    env = environment_with(service(), "DATABASE_URL", "postgres://user:hush@127.0.0.1:five/name")

    assert "hush" not in sentence_of(service(), starts(service())[0], env)


def test_secrets_come_from_files(
    laboratory: Callable[[str], Service],
    environment: Callable[[str], dict[str, str]],
    tmp_path: Path,
) -> None:
    env = dict(environment("default"))
    for name in ("SECRET_KEY", "DATABASE_URL", "CACHE_URL", "CELERY_BROKER_URL"):
        (tmp_path / name).write_text(f"{env.pop(name)}\n", encoding="utf-8")
        env[f"{name}_FILE"] = str(tmp_path / name)

    done = laboratory("default").manage("check", "--deploy", "--fail-level", "WARNING", env=env)
    with laboratory("default").gunicorn(env) as server:
        answer = server.get("/ready/")

    assert "no issues" in done.stdout
    assert answer.status == 200


@pytest.mark.parametrize("variant", VARIANTS)
def test_base_settings_import_with_an_empty_environment(service: GetService, variant: str) -> None:
    package = service(variant).package
    script = (
        f"from {package} import settings; from {package}.settings import base;"
        "print([(s.DEBUG, s.SECRET_KEY, s.ALLOWED_HOSTS) for s in (settings, base)])"
    )

    done = service(variant).run("python", "-c", script)

    assert done.stdout.strip() == "[(False, '', []), (False, '', [])]"


def test_django_refuses_to_use_base_settings_without_a_secret(service: GetService) -> None:
    script = "import django; from django.conf import settings; django.setup(); settings.SECRET_KEY"
    env = {"DJANGO_SETTINGS_MODULE": f"{service().package}.settings"}

    done = service().run("python", "-c", script, env=env, check=False)

    assert "ImproperlyConfigured: The SECRET_KEY setting must not be empty." in done.stderr


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_migration_is_missing(
    laboratory: Callable[[str], Service],
    environment: Callable[[str], dict[str, str]],
    variant: str,
) -> None:
    env = environment(variant)

    done = laboratory(variant).manage("makemigrations", "--check", "--dry-run", env=env)

    assert "No changes detected" in done.stdout
    laboratory(variant).manage("migrate", "--check", env=env)
