"""Figures for Prometheus: those of requests, of all workers together, and those of queues."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.laboratory import HTTPS, NOWHERE, deployed, with_laboratory
from tests.servers import answers_http, free_port, http_request, require_tool
from tests.service import SEED_ENVIRONMENT
from tests.test_production import with_gevent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.rendering import Render
    from tests.servers import PostgresServer, Process, RabbitMQServer, RedisServer
    from tests.service import GetService, Service, WebServer

# What the rules make of figures that are made up.
EXAMPLES = Path(__file__).with_name("monitoring.yml")

# What rules and dashboards may ask for; that it is there, the tests of web server and Flower see.
COUNTED = {
    "celery_queue_length",
    "flower_events_total",
    "flower_task_runtime_seconds_bucket",
    "flower_worker_number_of_currently_executing_tasks",
    "flower_worker_online",
    "http_request_duration_seconds_bucket",
    "http_requests_total",
}

SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'(\w+)="([^"]*)"')

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """Return what was counted, by name and labels."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match, line
            found[match[1], frozenset(LABEL.findall(match[2] or ""))] = float(match[3])
    return found


def scrape(port: int) -> Samples:
    """Ask for the figures."""
    answer = http_request(f"http://127.0.0.1:{port}/metrics")
    assert answer.status == 200, answer.text
    return samples(answer.text)


def requests_of(found: Samples, **labels: str) -> float:
    """Return how many requests have these labels."""
    return sum(
        value
        for (name, given), value in found.items()
        if name == "http_requests_total" and labels.items() <= dict(given).items()
    )


# ---- Requests -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def laboratory(service: GetService, tmp_path_factory: pytest.TempPathFactory) -> Service:
    return with_laboratory(service(), tmp_path_factory.mktemp("metrics") / "service")


@pytest.fixture(scope="module")
def environment(
    laboratory: Service, postgres: PostgresServer, redis: RedisServer
) -> Callable[[], dict[str, str]]:
    env = deployed(laboratory, postgres, redis)
    return lambda: {**env, "METRICS_PORT": str(free_port())}


@pytest.fixture(scope="module", params=["gthread", "sync", "gevent"])
def measured(
    request: pytest.FixtureRequest,
    laboratory: Service,
    environment: Callable[[], dict[str, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[WebServer, int]]:
    """Start a web server that counts."""
    env = environment()
    if request.param == "gevent":
        laboratory = with_gevent(laboratory, tmp_path_factory.mktemp("gevent"))
    with laboratory.gunicorn(env, worker_class=request.param, workers=3) as server:
        yield server, int(env["METRICS_PORT"])


def load(server: WebServer, path: str, times: int, *, method: str = "GET") -> None:
    """Request something often, from several sides."""
    with ThreadPoolExecutor(8) as clients:
        answers = clients.map(
            lambda _: http_request(server.url(path), method=method, headers=HTTPS, seconds=60),
            range(times),
        )
        assert len([*answers]) == times


def test_the_requests_of_all_workers_are_counted(measured: tuple[WebServer, int]) -> None:
    server, port = measured

    load(server, "/lab/row/7/", 120)
    load(server, "/lab/fail/", 15)
    load(server, "/nowhere/", 10)
    load(server, "/lab/row/7/", 5, method="HEAD")
    load(server, "/health/", 5)

    found = scrape(port)
    view = "lab.views.row"
    assert requests_of(found, view=view, method="GET", status="2xx") == 120
    assert requests_of(found, view=view, method="HEAD") == 5
    assert requests_of(found, view="lab.views.fail", status="5xx") == 15
    assert requests_of(found, view="none", status="4xx") == 10
    # Neither probes nor Prometheus itself are requests of anybody.
    assert requests_of(found) == 150
    labels = frozenset({("view", view), ("method", "GET")})
    assert found["http_request_duration_seconds_count", labels] == 120
    assert 0 < found["http_request_duration_seconds_sum", labels] < 120
    # Whichever worker is asked says the same.
    assert all(scrape(port) == found for _ in range(12))


def test_metrics_are_on_a_port_of_their_own(measured: tuple[WebServer, int]) -> None:
    server, port = measured
    own = f"127.0.0.1:{port}"

    for headers in (HTTPS, {**HTTPS, "Host": own}, {**HTTPS, "X-Forwarded-Port": str(port)}):
        answer = http_request(server.url("/metrics"), headers=headers)
        assert answer.status in {400, 404}
        assert "http_requests" not in answer.text
    for path in ("/", "/admin/login/", "/metrics/", "/lab/row/7/"):
        assert http_request(f"http://{own}{path}", headers=HTTPS).status == 404
    assert '"/metrics"' not in "".join(
        line for line in server.log.splitlines(keepends=True) if '"status": 200' in line
    )


def test_a_worker_that_takes_the_place_of_another_goes_on_counting(
    laboratory: Service, environment: Callable[[], dict[str, str]]
) -> None:
    """Also no file is left behind by each: a year of them would fill the memory."""
    env = environment()
    port = int(env["METRICS_PORT"])
    with laboratory.gunicorn(env, workers=2) as server:
        folder = Path()
        for times in range(1, 5):
            load(server, "/lab/row/7/", 30)
            assert requests_of(scrape(port), view="lab.views.row") == 30 * times
            maps = [file.path for p in server.children() for file in p.memory_maps()]
            (folder,) = {Path(path).parent for path in maps if "/metrics-" in path}
            former = {process.pid for process in server.children()}
            for process in server.children():
                process.kill()
            server.wait_until(
                lambda former=former: len({p.pid for p in server.children()} - former) == 2,  # type: ignore[misc]  # a default has no type
                "others have taken their place",
            )
            server.wait_until(lambda: answers_http(server.url("/health/")), "they answer")
        assert len([*folder.iterdir()]) == 2 * 2
        assert server.stop() == 0
    assert not folder.exists()


LOADED = """
import sys
from django.core.wsgi import get_wsgi_application

get_wsgi_application()
print("prometheus_client" in sys.modules)
"""


@pytest.mark.parametrize("port", ["", "9100"])
def test_what_is_not_asked_for_costs_nothing(service: GetService, port: str) -> None:
    env = {**SEED_ENVIRONMENT, **NOWHERE, "METRICS_PORT": port}
    env |= {"DJANGO_SETTINGS_MODULE": f"{service().package}.settings.production"}

    assert service().run("python", "-c", LOADED, env=env).stdout.strip() == str(port == "9100")


def test_a_port_for_both_is_refused(service: GetService) -> None:
    env = {**SEED_ENVIRONMENT, **NOWHERE, "PORT": "8000", "METRICS_PORT": "8000"}

    done = service().run(
        "gunicorn", "--check-config", "--config", "gunicorn.conf.py",
        f"{service().package}.wsgi:application", env=env, check=False,
    )  # fmt: skip

    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].startswith("METRICS_PORT is PORT")


# ---- Queues -------------------------------------------------------------------------------------

SEND = """
import django
django.setup()
from celery import current_app
for _ in range(7):
    current_app.send_task("nowhere.nothing")
"""


@pytest.mark.parametrize("variant", ["default", "rabbitmq"])
def test_the_length_of_a_queue_is_told(
    service: GetService, variant: str, request: pytest.FixtureRequest
) -> None:
    if variant == "rabbitmq":
        rabbitmq: RabbitMQServer = request.getfixturevalue("rabbitmq")
        broker_url = rabbitmq.new_vhost()
    else:
        redis: RedisServer = request.getfixturevalue("redis")
        broker_url = redis.new_database()
    chosen = service(variant)
    env = chosen.production_env(
        database_url=NOWHERE["DATABASE_URL"], cache_url=NOWHERE["CACHE_URL"], broker_url=broker_url
    )
    waiting = ("celery_queue_length", frozenset({("queue", "celery")}))

    with lengths(chosen, env) as (port, _):
        # Asking makes no queue: one of another kind than the workers' would stop these.
        assert scrape(port)[waiting] == 0
        chosen.run("python", "-c", SEND, env=env)
        assert scrape(port)[waiting] == 7
        with chosen.celery_worker(env) as worker:
            worker.wait_until(lambda: scrape(port)[waiting] == 0, "it has taken them")


@contextlib.contextmanager
def lengths(service: Service, env: dict[str, str]) -> Iterator[tuple[int, Process]]:
    """Serve the lengths of the queues."""
    port = free_port()
    command = ("python", "-m", "common.queues", str(port))
    with service.start(*command, env=env, log="queues") as process:
        process.wait_until(lambda: answers_http(f"http://127.0.0.1:{port}/"), "it answers")
        yield port, process


def test_a_broker_that_is_away_is_no_empty_queue(service: GetService) -> None:
    env = {**SEED_ENVIRONMENT, **NOWHERE}
    env |= {"DJANGO_SETTINGS_MODULE": f"{service().package}.settings.production"}

    with lengths(service(), env) as (port, _):
        assert http_request(f"http://127.0.0.1:{port}/metrics").status == 500


# ---- Flower -------------------------------------------------------------------------------------


@contextlib.contextmanager
def flower(
    service: Service, env: dict[str, str], user: Path, *options: str
) -> Iterator[tuple[str, Process]]:
    """Start Flower as the compose file does."""
    port = free_port()
    command = ("celery", "--app", service.package, "flower", f"--port={port}")
    conf = f"--conf={service.path}/deploy/monitoring/flowerconfig.py"
    env = {**env, "FLOWER_USER_FILE": str(user)}
    with service.start(*command, conf, *options, env=env, log="flower") as process:
        yield f"http://127.0.0.1:{port}", process


def test_flower_shows_nothing_without_a_password(
    service: GetService, redis: RedisServer, tmp_path: Path
) -> None:
    env = service().production_env(
        database_url=NOWHERE["DATABASE_URL"],
        cache_url=NOWHERE["CACHE_URL"],
        broker_url=redis.new_database(),
    )
    user = tmp_path / "user"
    user.write_text("ada:hush\n", encoding="utf-8")
    right, wrong = ("Basic " + base64.b64encode(text).decode() for text in (b"ada:hush", b"ada:x"))

    with (
        service().celery_worker(env),
        flower(service(), env, user) as (url, process),
    ):
        process.wait_until(lambda: answers_http(f"{url}/healthcheck"), "it answers")
        for path in ("/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks"):
            assert http_request(url + path).status == 401, path
            assert http_request(url + path, headers={"Authorization": wrong}).status == 401
        assert http_request(f"{url}/workers", headers={"Authorization": right}).status == 200
        # It asks the workers to tell; nobody has switched that on.
        service().run("python", "-c", SEND, env=env)
        process.wait_until(
            lambda: "flower_worker_online" in http_request(f"{url}/metrics").text,
            "Flower knows of a worker",
        )
        assert "hush" not in process.log


@pytest.mark.parametrize("text", ["", "ada", "ada:", ":hush"])
def test_flower_does_not_start_without_a_password(
    service: GetService, tmp_path: Path, text: str
) -> None:
    user = tmp_path / "user"
    user.write_text(text, encoding="utf-8")
    env = {**SEED_ENVIRONMENT, **NOWHERE}
    env |= {"DJANGO_SETTINGS_MODULE": f"{service().package}.settings.production"}

    with flower(service(), env, user) as (_, process):
        assert process.wait() != 0
        assert "secrets/flower_user" in process.log


# ---- Prometheus and Grafana ---------------------------------------------------------------------


def test_the_rules_say_what_has_happened(render: Render, tmp_path: Path) -> None:
    shutil.copytree(render() / "deploy/monitoring/rules", tmp_path / "rules")
    shutil.copy(EXAMPLES, tmp_path)

    done = subprocess.run(
        [require_tool("promtool"), "test", "rules", tmp_path / EXAMPLES.name],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_figure_that_is_asked_for_is_counted(render: Render) -> None:
    """Names in rules and dashboards that nobody serves would be empty pages, and silent alerts."""
    folder = render() / "deploy/monitoring"
    rules = [
        rule
        for path in folder.glob("rules/*.yml")
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]
    dashboards = [
        json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("grafana/*/*.json")
    ]
    shown = [
        target["expr"]
        for dashboard in dashboards
        for panel in dashboard["panels"]
        for target in panel["targets"]
    ]
    asked = {
        name
        for text in [*shown, *(rule["expr"] for rule in rules)]
        for name in re.findall(
            r"\b(?:[a-z]+:)?(?:http|celery|flower)_[a-z0-9_:]+|service:[a-z_:0-9]+", text
        )
    }

    recorded = {rule["record"] for rule in rules if "record" in rule}
    assert len(dashboards) == 2
    assert asked - recorded == COUNTED
    assert {panel["datasource"]["uid"] for board in dashboards for panel in board["panels"]} == {
        yaml.safe_load((folder / "grafana/datasources/prometheus.yml").read_text(encoding="utf-8"))[
            "datasources"
        ][0]["uid"]
    }
