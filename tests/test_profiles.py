"""The profiles that are off by default: what their files promise, and what they do on a server."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.containers.engine import Compose, Engine
    from tests.containers.production import GetImage
    from tests.rendering import Render

Services = dict[str, dict[str, Any]]

PROFILES = {
    "backup": {"backup"},
    "logs": {"alloy", "loki"},
    "monitoring": {"flower", "grafana", "prometheus", "queues"},
}
OURS = set().union(*PROFILES.values())
# What needs tasks.
OF_TASKS = {"flower", "queues"}


@pytest.fixture
def services(engine: Engine, render: Render, tmp_path: Path) -> Callable[..., Services]:
    """Return what compose makes of the files: `services("backup", task_queue="none")`."""

    def get(profile: str, **answers: str) -> Services:
        project = tmp_path / f"{profile}-{len(answers)}"
        shutil.copytree(render(**answers), project)
        (project / ".env").write_text("DOMAIN=example.com\nTLS=internal\n", encoding="utf-8")
        compose = engine.compose(project, "profiles", "docker-compose.prod.yml")
        found: Services = compose.config("--profile", profile)["services"]
        return found

    return get


@pytest.mark.parametrize("profile", [*PROFILES, "none"])
def test_a_profile_starts_its_services_and_no_other(
    services: Callable[..., Services], profile: str
) -> None:
    assert OURS & services(profile).keys() == PROFILES.get(profile, set())
    expected = PROFILES.get(profile, set()) - OF_TASKS
    assert OURS & services(profile, task_queue="none").keys() == expected


def test_containers_of_profiles_are_hardened_and_not_published(
    services: Callable[..., Services],
) -> None:
    found = services("*")

    for name, service in ((name, found[name]) for name in OURS):
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == "unless-stopped", name
        assert {"cpus", "mem_limit", "pids_limit", "stop_grace_period"} <= service.keys(), name
        assert service["logging"]["options"].keys() >= {"max-size", "max-file"}, name
        assert "test" in service["healthcheck"], name
        assert not {"ports", "privileged", "cap_add", "network_mode"} & service.keys(), name
        # Docker's socket is as good as root.
        assert "docker.sock" not in str(service.get("volumes")), name


def test_a_profile_joins_only_the_networks_that_it_must(
    services: Callable[..., Services],
) -> None:
    found = services("*")
    joined = {name: {*found[name]["networks"]} for name in OURS}

    assert {name for name, networks in joined.items() if "database" in networks} == {"backup"}
    assert {name for name, networks in joined.items() if "back" in networks} == {
        *OF_TASKS,
        "prometheus",
    }
    assert not [name for name, networks in joined.items() if "front" in networks]
    assert joined["alloy"] == {"logs"}


def test_images_of_profiles_can_be_replaced(render: Render) -> None:
    for path in (render() / "deploy").glob("*/compose.yml"):
        images = re.findall(r"(?m)^ +image: (.*)$", path.read_text(encoding="utf-8"))
        assert images
        assert [each for each in images if not re.match(r'"\$\{[A-Z]+_IMAGE:-[^}]+:', each)] == []


def test_no_secret_of_a_profile_is_a_variable(services: Callable[..., Services]) -> None:
    secret = re.compile("SECRET|PASSWORD|DATABASE_URL|CACHE_URL|BROKER_URL|USER_FILE")
    found = services("*")

    for name in OURS:
        for key, value in (found[name].get("environment") or {}).items():
            assert not secret.search(key) or value.startswith("/run/secrets/"), f"{name}: {key}"


# ---- On a server --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(
    engine: Engine, image: GetImage, render: Render, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Compose]:
    """Start a server with the profiles; without a proxy, and without what has no stand-in."""
    project = tmp_path_factory.mktemp("profiles") / "server"
    shutil.copytree(render(), project)
    name = f"shipshape-profiles-{secrets.token_hex(4)}"
    given = {
        "DOMAIN": "example.com",
        "TLS": "internal",
        "COMPOSE_PROJECT_NAME": name,
        "COMPOSE_PROFILES": "postgres,redis,backup,monitoring",
        "METRICS_PORT": "9100",
        "APP_IMAGE": image().tag,
        "BACKUP_IMAGE": name,
        **{key: text for key, text in engine.variables(project).items() if key != "PYTHON_IMAGE"},
    }
    command = [sys.executable, "scripts/deploy.py", "init"]
    subprocess.run([*command, *(f"{k}={v}" for k, v in given.items())], cwd=project, check=True)
    compose = engine.compose(project, name)
    compose.env.clear()  # .env says it all, as on a server
    started = ("web", "worker", "backup", "queues", "flower", "prometheus")
    with compose.up(*started, seconds=600):
        yield compose
    engine.run("rmi", "--force", name, check=False)


def make(server: Compose, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of make as a person on the server does."""
    return subprocess.run(
        ["make", *words],
        cwd=server.project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def sql(server: Compose, statement: str) -> str:
    """Run a statement and return its rows."""
    command = ("psql", "--username=postgres", "--tuples-only", "--no-align", "--dbname=my_service")
    return server.execute("postgres", *command, "--command", statement).stdout


def ask(server: Compose, url: str) -> str:
    """Return the status and the body of an address, asked from the network of the services."""
    code = (
        "import sys, urllib.request as u, urllib.error as e\n"
        # As the proxy asks, or web would refuse whatever it is asked for.
        "h = {'Host': 'example.com', 'X-Forwarded-Proto': 'https'}\n"
        "try: a = u.urlopen(u.Request(sys.argv[1], headers=h), timeout=5)\n"
        "except e.HTTPError as error: a = error\n"
        "print(a.status, a.read().decode())"
    )
    return server.execute("worker", "python", "-c", code, url).stdout


ROWS = "SELECT count(*), md5(string_agg(m::text, '|' ORDER BY m::text)) FROM django_migrations m"


def test_one_command_backs_up_and_one_restores(server: Compose) -> None:
    before = sql(server, ROWS)

    done = make(server, "backup")
    assert done.returncode == 0, done.stderr
    sql(server, "DELETE FROM django_session; INSERT INTO django_session VALUES ('k', 'd', now())")
    assert ask(server, "http://web:8000/ready/").startswith("200")

    # PgBouncer and the service are connected.
    refused = make(server, "restore", "BACKUP=latest")
    assert refused.returncode != 0
    assert "are live" in refused.stderr
    assert sql(server, "SELECT count(*) FROM django_session").strip() == "1"

    done = make(server, "restore", "BACKUP=latest", "FORCE=1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "migrate --check" in done.stdout
    assert sql(server, ROWS) == before
    assert sql(server, "SELECT count(*) FROM django_session").strip() == "0"
    # The service goes on with what was restored, by itself.
    wait_until(lambda: ask(server, "http://web:8000/ready/").startswith("200"), "it is ready")


def wait_until(ready: Callable[[], bool], what: str, *, seconds: float = 120) -> None:
    """Return when `ready` is true."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, what
        time.sleep(1)


def test_prometheus_finds_every_figure(server: Compose) -> None:
    def value(expression: str) -> str:
        query = ("promtool", "query", "instant", "--format=json", "http://localhost:9090")
        found = json.loads(server.execute("prometheus", *query, expression).stdout)
        return found[0]["value"][1] if found else ""

    for job in ("web", "queues", "flower"):
        wait_until(lambda job=job: value(f'up{{job="{job}"}}') == "1", f"{job} answers")  # type: ignore[misc]  # a default has no type

    def counted() -> bool:
        # A rate is the growth between two scrapes: what came before the first one has none.
        ask(server, "http://web:8000/nowhere/")
        return value("service:http_requests:rate5m") not in {"", "0"}

    wait_until(counted, "it has counted")
    wait_until(lambda: value("celery_queue_length") == "0", "the queue is known")
    wait_until(lambda: value("sum(flower_worker_online)") == "1", "the worker is known")
    assert value('ALERTS{alertname="NoWebServer"}') == ""


def test_nobody_sees_more_than_he_may(server: Compose) -> None:
    assert ask(server, "http://flower:5555/").startswith("401")
    assert ask(server, "http://web:8000/metrics").startswith("404")
    assert ask(server, "http://web:9100/metrics").startswith("200")
