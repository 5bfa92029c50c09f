"""A developer's machine: nothing is configured, and what production has can be had on demand."""

from __future__ import annotations

import contextlib
import re
import shutil
import urllib.parse
from typing import TYPE_CHECKING

import pytest

from tests.laboratory import cookies, sent
from tests.servers import MailServer, answers_http, free_port, http_request

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rendering import Render
    from tests.servers import PostgresServer, RabbitMQServer, RedisServer, Response
    from tests.service import GetService, Service

VARIANTS = ["default", "pip"]

PASSWORD = "correct horse battery staple"
FIVE = ["orders", "payments", "stock", "people", "mail-room"]

# A task, and whether it was run in the process that has sent it.
SEND = """
import django; django.setup()
from django.contrib.sessions.models import Session
from django.utils import timezone
from common.tasks import clear_expired_sessions

Session.objects.create(session_key="old", session_data="", expire_date=timezone.now())
clear_expired_sessions.delay()
print(Session.objects.count())
"""


@pytest.fixture(scope="module", params=VARIANTS)
def local(
    request: pytest.FixtureRequest, service: GetService, tmp_path_factory: pytest.TempPathFactory
) -> Service:
    """Return a service with a new database, in a folder of its own."""
    copy = service(request.param).copy(tmp_path_factory.mktemp("development") / "service")
    copy.run("python", "manage.py", "migrate", "--verbosity", "0")
    return copy


def test_sqlite_lets_readers_read_beside_a_writer_and_writers_queue(local: Service) -> None:
    script = (
        "import django; django.setup(); from django.db import connection;"
        "run = lambda name: connection.cursor().execute(f'PRAGMA {name}').fetchone()[0];"
        "print(run('journal_mode'), run('busy_timeout'))"
    )
    env = {"DJANGO_SETTINGS_MODULE": f"{local.package}.settings.development"}

    assert local.run("python", "-c", script, env=env).stdout == "wal 5000\n"


@pytest.mark.parametrize("variant", VARIANTS)
def test_postgresql_needs_no_compiler_and_no_package_of_debian(
    development: GetService, postgres: PostgresServer, variant: str
) -> None:
    service = development(variant)
    env = {"DATABASE_URL": postgres.new_database()}
    script = (
        "import django; django.setup(); from django.db import connection; connection.connect();"
        "from importlib.metadata import distributions;"
        "print(connection.vendor, *sorted(d.name for d in distributions() if 'psycopg' in d.name))"
    )

    service.manage("migrate", "--verbosity", "0", settings="development", env=env)
    settings = {"DJANGO_SETTINGS_MODULE": f"{service.package}.settings.development"}
    vendor, *drivers = service.run("python", "-c", script, env={**env, **settings}).stdout.split()

    assert vendor == "postgresql"
    assert {"psycopg-binary", "psycopg2-binary"} & {*drivers}
    assert not {"psycopg-c", "psycopg2"} & {*drivers}


def test_mail_is_printed(local: Service) -> None:
    done = local.manage("sendtestemail", "ann@example.com", settings="development")

    assert "To: ann@example.com" in done.stdout
    assert done.stderr == ""


def test_mail_is_sent_where_a_server_is_given(local: Service, tmp_path: Path) -> None:
    with MailServer("smtp", tmp_path) as server:
        env = {"EMAIL_URL": server.url}
        local.manage("sendtestemail", "ann@example.com", settings="development", env=env)

    assert [mail["To"] for mail in server.mails] == ["ann@example.com"]


@pytest.mark.parametrize("variant", ["default", "rabbitmq"])
def test_tasks_are_run_at_once_unless_a_broker_is_given(
    service: GetService,
    redis: RedisServer,
    rabbitmq: RabbitMQServer,
    tmp_path: Path,
    variant: str,
) -> None:
    copy = service(variant).copy(tmp_path / "service")
    copy.run("python", "manage.py", "migrate", "--verbosity", "0")
    url = rabbitmq.new_vhost() if variant == "rabbitmq" else redis.new_database()
    settings = {"DJANGO_SETTINGS_MODULE": f"{copy.package}.settings.development"}

    *log, left = copy.run("python", "-c", SEND, env=settings).stdout.splitlines()
    assert left == "0"
    assert [line for line in log if "WARNING" in line] == []
    sent_off = copy.run("python", "-c", SEND, env={**settings, "CELERY_BROKER_URL": url})
    assert sent_off.stdout == "1\n"


@pytest.mark.parametrize("variant", ["default", "rabbitmq"])
def test_a_worker_without_a_broker_says_what_is_missing(service: GetService, variant: str) -> None:
    settings = {"DJANGO_SETTINGS_MODULE": f"{service(variant).package}.settings.development"}
    command = ("celery", "--app", service(variant).package, "worker")

    done = service(variant).run(*command, env=settings, check=False)

    assert done.returncode == 1
    assert done.stderr == "CELERY_BROKER_URL is missing: Celery needs a broker.\n"


class Browser:
    """What a developer looks at five services with: one jar of cookies for all ports of a host."""

    def __init__(self) -> None:
        self.jar = cookies()

    def get(self, url: str) -> Response:
        """Open a page."""
        return self._keep(http_request(url, headers=sent(self.jar)))

    def sign_in(self, address: str, name: str) -> Response:
        """Fill in the admin's form."""
        form = self.get(f"{address}/admin/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form.text)
        assert token is not None
        fields = {"csrfmiddlewaretoken": token[1], "username": name, "password": PASSWORD}
        return self._keep(
            http_request(
                f"{address}/admin/login/?next=/admin/",
                method="POST",
                headers={**sent(self.jar), "Content-Type": "application/x-www-form-urlencoded"},
                body=urllib.parse.urlencode(fields).encode(),
            )
        )

    def _keep(self, answer: Response) -> Response:
        self.jar.update(cookies(answer))
        return answer


def as_installed(service: Service, tree: Path, folder: Path, name: str) -> Service:
    """Return a rendered project in a folder of its own, in the environment of another one."""
    shutil.copytree(tree, folder)
    (folder / ".venv").symlink_to(service.python.parents[1])
    metadata = folder / "src" / f"{name.replace('-', '_')}-0.1.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n", encoding="utf-8")
    return service.with_code(folder)


def test_five_services_run_side_by_side(
    service: GetService, render: Render, tmp_path: Path
) -> None:
    user = {"USERNAME": "ann", "EMAIL": "ann@example.com", "PASSWORD": PASSWORD}
    superuser = {f"DJANGO_SUPERUSER_{key}": value for key, value in user.items()}
    services = [
        as_installed(service(), render(project_name=name), tmp_path / name, name) for name in FIVE
    ]
    services[0].run("python", "manage.py", "migrate", "--verbosity", "0")
    services[0].run("python", "manage.py", "createsuperuser", "--noinput", env=superuser)
    addresses, browser = {}, Browser()
    with contextlib.ExitStack() as stack:
        for name, one in zip(FIVE, services, strict=True):
            if one is not services[0]:
                shutil.copy(services[0].path / "db.sqlite3", one.path)
            port = free_port()
            addresses[name] = f"http://127.0.0.1:{port}"
            command = ("make", "run", f"PORT={port}")
            process = stack.enter_context(one.start(*command, env={}, log="run"))
            address = f"{addresses[name]}/health/"
            process.wait_until(lambda url=address: answers_http(url), "it answered")  # type: ignore[misc]  # a default has no type

        for name, address in addresses.items():
            assert browser.get(f"{address}/health/").json()["service"] == name
            assert browser.sign_in(address, "ann").status == 302
        # Who has signed in to the fifth is still known to the first: each has its own cookies.
        pages = [browser.get(f"{address}/admin/") for address in addresses.values()]

    assert [page.status for page in pages] == [200] * 5


def test_services_that_share_a_cache_find_their_own_things_there(
    service: GetService, render: Render, redis: RedisServer, tmp_path: Path
) -> None:
    env = {"CACHE_URL": redis.new_database()}
    script = (
        "import django; django.setup(); from django.core.cache import cache;"
        "print(cache.get('found')); cache.set('found', True)"
    )

    for name in FIVE[:2]:
        one = as_installed(service(), render(project_name=name), tmp_path / name, name)
        settings = {"DJANGO_SETTINGS_MODULE": f"{name}.settings.development"}
        assert one.run("python", "-c", script, env={**env, **settings}).stdout == "None\n"
