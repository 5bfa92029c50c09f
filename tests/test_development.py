"""Development in containers: `docker compose up`, and nothing to configure before."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.servers import free_port, http_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.containers.engine import Compose, Engine
    from tests.rendering import Render

# Who owns the source: nobody that the images or the tests know.
OWNER = 12345

LETTER = "from django.core.mail import send_mail; send_mail('News', 'Hello', 'a@b.c', ['d@e.f'])"

# Of a task, and what the former one has kept.
ASK = """
from django.core.cache import cache
from orders.tasks import answer

answer.delay()
print(cache.get("answer"))
"""

# A page and a task that an edit changes.
VIEWS = '''"""A page that an edit changes."""

from django.http import HttpRequest, HttpResponse


def page(request: HttpRequest) -> HttpResponse:
    """Answer what is edited."""
    return HttpResponse("before")
'''
TASKS = '''"""A task that an edit changes."""

from celery import shared_task
from django.core.cache import cache


@shared_task
def answer() -> None:
    """Keep what is edited."""
    cache.set("answer", "before")
'''
MODELS = '''"""A table without a migration."""

from django.db import models


class Order(models.Model):
    """What a customer orders."""

    number = models.IntegerField()
'''


@dataclass
class Development:
    """The running services of a project in development."""

    variant: str
    project: Path
    services: Compose
    ports: dict[str, int]

    def get(self, path: str, port: str = "PORT") -> str:
        """Return what a page answers with status 200, or the status."""
        answer = http_request(f"http://127.0.0.1:{self.ports[port]}{path}")
        return answer.text if answer.status == 200 else f"{answer.status} {answer.text}"

    def shell(self, script: str) -> str:
        """Return what a Python script with the project's settings prints."""
        command = ("python", "manage.py", "shell", "--no-imports", "--command", script)
        return self.services.execute("web", *command).stdout.strip()

    def edit(self, path: str) -> None:
        """Let a file say `after` instead of `before`."""
        file = self.project / path
        file.write_text(file.read_text().replace("before", "after"))

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait for at most a minute and a half."""
        for _ in range(90):
            with contextlib.suppress(OSError):
                if ready():
                    return
            time.sleep(1)
        pytest.fail(self.services.run("logs", "--no-color", "--tail=60").stdout)


@contextlib.contextmanager
def started(engine: Engine, variant: str, locked: Path, project: Path) -> Iterator[Development]:
    """Start the services of a project that has an app of its own, without any configuration."""
    shutil.copytree(locked, project)
    app = project / "src/orders"
    app.mkdir()
    for name, text in {"__init__": "", "views": VIEWS, "tasks": TASKS, "models": ""}.items():
        (app / f"{name}.py").write_text(text)
    package = project / "src/my_service"
    with (package / "settings/base.py").open("a") as file:
        file.write('INSTALLED_APPS += ["orders"]\n')
    with (package / "urls.py").open("a") as file:
        file.write('from orders.views import page\nurlpatterns += [path("orders/", page)]\n')
    for path in [project, *project.rglob("*")]:
        os.chown(path, OWNER, OWNER)
    ports = {"PORT": free_port(), "MAIL_PORT": free_port()}
    variables = {name: str(port) for name, port in ports.items()}
    name = f"shipshape-development-{ports['PORT']}"
    services = engine.compose(project, name, env=variables)
    with services.up(seconds=900):
        yield Development(variant, project, services, ports)


# Redis carries the tasks of one, RabbitMQ those of the other; uv installs the one, pip the other.
@pytest.fixture(scope="module", params=["default", "rabbitmq"])
def development(
    request: pytest.FixtureRequest,
    engine: Engine,
    locked: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Development]:
    """Start the services of a variant, one after the other."""
    folder = tmp_path_factory.mktemp("development")
    variant = request.param
    with started(engine, variant, locked(variant), folder / "project") as running:
        yield running


def test_all_that_a_developer_needs_runs(development: Development) -> None:
    services = development.services.config()["services"]
    servers = {"postgres", "redis", "mail"} | ({"rabbitmq"} & services.keys())

    running = development.services.run("ps", "--services", "--filter", "status=running").stdout

    assert {*running.split()} == {"web", "worker", "beat", *servers}
    broker = services["worker"]["environment"]["CELERY_BROKER_URL"]
    assert broker.startswith("amqp://" if "rabbitmq" in servers else "redis://")
    if "rabbitmq" in servers:
        # Or its health check, when it came first, would leave it a cookie that it cannot read.
        script = "stat --format=%U /proc/1 && id --user --name"
        who = development.services.execute("rabbitmq", "sh", "-c", script).stdout
        assert who.split() == ["rabbitmq"] * 2


def test_it_is_ready_with_a_migrated_database(development: Development) -> None:
    checks = json.loads(development.get("/ready/"))["checks"]
    assert checks.keys() >= {"database", "cache"}
    assert all(checks.values())
    assert "PostgreSQL" in development.shell(
        "from django.db import connection; print(connection.display_name)"
    )
    assert "No planned migration operations" in development.shell(
        "from django.core.management import call_command; call_command('migrate', plan=True)"
    )


def test_an_edit_is_served(development: Development) -> None:
    assert development.get("/orders/") == "before"

    development.edit("src/orders/views.py")

    development.wait_until(lambda: development.get("/orders/") == "after")


def test_an_edit_reaches_the_worker(development: Development) -> None:
    development.wait_until(lambda: "before" in development.shell(ASK))

    development.edit("src/orders/tasks.py")

    development.wait_until(lambda: "after" in development.shell(ASK))


def test_what_a_command_writes_belongs_to_the_owner_of_the_source(
    development: Development,
) -> None:
    (development.project / "src/orders/models.py").write_text(MODELS)

    command = ("python", "manage.py", "makemigrations", "orders")
    development.services.run("run", "--rm", "--no-TTY", "web", *command)

    written = development.project / "src/orders/migrations/0001_initial.py"
    assert written.stat().st_uid == written.parent.stat().st_uid == OWNER
    others = {path for path in development.project.rglob("*") if path.stat().st_uid != OWNER}
    assert others == set()


def test_mail_is_caught(development: Development) -> None:
    development.shell(LETTER)

    (message,) = json.loads(development.get("/api/v1/messages", "MAIL_PORT"))["messages"]

    assert (message["Subject"], message["To"][0]["Address"]) == ("News", "d@e.f")


def test_every_check_runs_in_a_container(development: Development) -> None:
    # Those that do not mind how the modules of this test are written.
    words = ("make", "test", "ci", "ARGS=check migrations")
    command = ("run", "--rm", "--no-TTY", "--no-deps", "web", *words)
    done = development.services.run(*command, seconds=300)

    assert " passed" in done.stdout
    assert "2 of 2 gates passed." in done.stdout


def test_a_fresh_project_is_linted_by_what_the_image_has(
    engine: Engine, development: Development, locked: Callable[[str], Path], tmp_path: Path
) -> None:
    project = shutil.copytree(locked(development.variant), tmp_path / "project")
    image = f"{development.services.name}-web"

    command = ("run", "--rm", "--network=none", f"--volume={project}:/app", image, "make", "lint")
    done = engine.run(*command, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


# As the image of 18: https://github.com/docker-library/postgres/pull/1259
IMAGE_18 = """\
FROM {image}
ENV PGDATA=/var/lib/postgresql/18/docker
VOLUME /var/lib/postgresql
RUN printf '#!/bin/sh\\n[ "$PGDATA" != /var/lib/postgresql/18/docker ] || exit 1\\n' > /start.sh \\
    && echo 'exec docker-entrypoint.sh "$@"' >> /start.sh && chmod +x /start.sh
ENTRYPOINT ["/start.sh"]
CMD ["postgres"]
"""


def test_the_image_of_postgresql_18_keeps_its_files_on_the_volume(
    engine: Engine, render: Render, tmp_path: Path
) -> None:
    tree = shutil.copytree(render(), tmp_path / "tree")
    name = f"shipshape-postgres-{free_port()}"
    recipe = IMAGE_18.format(image=engine.image("postgres:17"))
    engine.run("build", "--quiet", f"--tag={name}", "-", stdin=recipe)
    try:
        compose = engine.compose(tree, name, env={"POSTGRES_IMAGE": name})
        with compose.up("postgres"):
            show = ("psql", "--username=postgres", "-Atc", "SHOW data_directory")
            folder = compose.execute("postgres", *show).stdout.strip()
            (mount,) = [
                each
                for each in engine.inspect("container", compose.container("postgres"))["Mounts"]
                if each["Destination"] == folder
            ]
    finally:
        engine.run("image", "rm", name, check=False)

    # Where 17 has them by itself, so that what is there stays.
    assert folder == "/var/lib/postgresql/data"
    assert mount["Name"] == f"{name}_postgres"


def test_only_this_machine_reaches_what_is_published(development: Development) -> None:
    services = development.services.config()["services"]
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}

    assert {port["host_ip"] for ports in published.values() for port in ports} == {"127.0.0.1"}
    assert set(published) == {"web", "mail"}
    assert {
        int(port["published"]) for ports in published.values() for port in ports
    } == {*development.ports.values()}  # fmt: skip


def test_a_team_has_services_of_its_own(engine: Engine, render: Render, tmp_path: Path) -> None:
    project = shutil.copytree(render(), tmp_path / "project")
    page = (project / "docs/development.md").read_text()
    example = page.partition("```yaml\n")[2].partition("```")[0]
    (project / "docker-compose.override.yml").write_text(example)

    services = engine.compose(project, "shipshape-team").config()["services"]

    assert services["web"]["environment"]["PAYMENT_KEY"] == "only-a-test"
    assert services["web"]["environment"]["EMAIL_URL"] == "smtp://mail:1025"
    assert services["postgres"]["ports"][0]["published"] == "5432"
    assert services["payments"]["image"] == "example/payments:2"


def test_an_editor_works_in_the_container(development: Development) -> None:
    file = development.project / ".devcontainer/devcontainer.json"
    said = json.loads(file.read_text(encoding="utf-8"))
    interpreter = said["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]

    words = ("--user", said["remoteUser"], "--workdir", said["workspaceFolder"], said["service"])
    command = ("exec", "--no-TTY", *words, interpreter, "manage.py", "check")
    assert "no issues" in development.services.run(*command).stdout


# What https://containers.dev/implementors/json_reference/ knows, of which the file says some.
DEVCONTAINER = {
    "customizations": dict,
    "dockerComposeFile": list,
    "features": dict,
    "forwardPorts": list,
    "name": str,
    "overrideCommand": bool,
    "postCreateCommand": str,
    "remoteEnv": dict,
    "remoteUser": str,
    "runServices": list,
    "service": str,
    "shutdownAction": str,
    "workspaceFolder": str,
}


def test_an_editor_opens_a_folder_and_a_service_that_are_there(
    engine: Engine, render: Render
) -> None:
    project = render()
    container = json.loads((project / ".devcontainer/devcontainer.json").read_text())

    assert {name: DEVCONTAINER[name] for name in container} == {
        name: type(value) for name, value in container.items()
    }
    files = container["dockerComposeFile"]
    assert all((project / ".devcontainer" / name).is_file() for name in files)
    paths = [str(project / name.removeprefix("../")) for name in files]
    services = engine.compose(project, "shipshape-editor", *paths).config()["services"]
    web = services[container["service"]]
    for port in container["forwardPorts"]:
        service, _, number = str(port).rpartition(":")
        targets = [each["target"] for each in services[service or container["service"]]["ports"]]
        assert int(number) in targets
    assert container["name"] == "my-service"
    assert web["volumes"][0]["target"] == container["workspaceFolder"]
    dockerfile = (project / "Dockerfile").read_text()
    assert f"useradd --create-home --uid=1000 {container['remoteUser']}" in dockerfile
