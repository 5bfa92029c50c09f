"""Tasks are done in the end, whoever is killed, stopped or cut off meanwhile.

Each broker gets a server, a web process and workers of its own. Tasks write what they do to the
database; each test has a queue to itself. The limits are lowered together, so that a test takes
seconds where a service takes minutes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.laboratory import timed
from tests.servers import (
    MuteServer,
    PostgresServer,
    RabbitMQServer,
    RedisServer,
    SentrySink,
    free_port,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.servers import Process, Response
    from tests.service import GetService, Service, WebServer

LIMITS = {
    "CELERY_TASK_TIME_LIMIT": "6",
    "CELERY_TASK_SOFT_TIME_LIMIT": "5",
    "CELERY_WORKER_PREFETCH_MULTIPLIER": "1",
    "CELERY_VISIBILITY_TIMEOUT": "7",
    "CELERY_RESTORE_INTERVAL": "1",
    "CELERY_TASK_RETRY_DELAY": "1",
    "CELERY_TASK_MAX_RETRIES": "2",
    "CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT": "2",
    "CELERY_WORKER_CONCURRENCY": "2",
}

TASKS = """
import os
import signal
import time

from celery import shared_task
from celery.utils.log import get_task_logger
from django.db import connection

logger = get_task_logger("drill")


def note(name: str, word: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("insert into runs values (%s, %s, %s)", [name, word, os.getpid()])


@shared_task
def work(name: str, seconds: float = 0) -> None:
    note(name, "start")
    logger.info("Working on %s.", name)
    time.sleep(seconds)
    note(name, "end")


@shared_task
def poison(name: str, seconds: float = 0) -> None:
    note(name, "start")
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task
def fail(name: str, seconds: float = 0) -> None:
    raise RuntimeError(f"{name} on purpose")
"""

VIEWS = """
from django.db import connection
from django.http import HttpRequest, JsonResponse
from kombu.exceptions import OperationalError

from . import tasks


def send(request: HttpRequest, task: str, name: str) -> JsonResponse:
    options = {"queue": name}
    if "countdown" in request.GET:
        options["countdown"] = float(request.GET["countdown"])
    arguments = (name, float(request.GET.get("seconds", 0)))
    try:
        getattr(tasks, task).apply_async(arguments, **options)
    except OperationalError as error:
        return JsonResponse({"error": str(error)}, status=503)
    return JsonResponse({"sent": name})


def runs(request: HttpRequest, name: str) -> JsonResponse:
    with connection.cursor() as cursor:
        cursor.execute("select word from runs where name = %s", [name])
        return JsonResponse({"words": [word for (word,) in cursor.fetchall()]})
"""

URLS = """
from django.urls import path

from . import views

urlpatterns = [
    path("send/<str:task>/<str:name>/", views.send),
    path("runs/<str:name>/", views.runs),
]
"""

BEAT = """
CELERY_BEAT_SCHEDULE |= {
    "drill": {
        "task": "drill.tasks.work",
        "schedule": 1,
        "args": ["beat"],
        "options": {"queue": "beat"},
    },
}
"""


@dataclass(frozen=True)
class Drill:
    """A service with tasks, its web process, and the servers behind it."""

    service: Service
    env: Mapping[str, str]
    web: WebServer
    broker: RedisServer | RabbitMQServer
    postgres: PostgresServer

    def get(self, path: str, **options: Any) -> Response:  # noqa: ANN401  passed on
        """Ask the web process."""
        return self.web.get(f"/drill/{path}", secure=True, **options)

    def send(self, name: str, *, task: str = "work", **query: float) -> None:
        """Let the web process send a task to the queue of this name."""
        text = "&".join(f"{key}={value}" for key, value in query.items())
        answer = self.get(f"send/{task}/{name}/?{text}")
        assert answer.status == 200, answer.text

    def worker(self, *queues: str, **variables: str) -> Process:
        """Start a worker of these queues."""
        options = ("--queues", ",".join(queues), "--hostname", f"{free_port()}@%h")
        return self.service.celery_worker({**self.env, **variables}, *options)

    def pids(self, name: str, word: str) -> list[int]:
        """Return the processes that have written this word on a task."""
        statement = "select pid from runs where name = %s and word = %s"
        rows = self.postgres.execute(statement, name, word, url=self.env["DATABASE_URL"])
        return [pid for (pid,) in rows]

    def words(self, name: str) -> list[str]:
        """Return what was written on a task: "start" for each run, "end" for each that ended."""
        statement = "select word from runs where name = %s"
        rows = self.postgres.execute(statement, name, url=self.env["DATABASE_URL"])
        return sorted(word for (word,) in rows)

    def wait_for(self, worker: Process, name: str, word: str, *, seconds: float = 20) -> int:
        """Return the process that has written the word on a task, once one has."""
        worker.wait_until(lambda: bool(self.pids(name, word)), f"{word} of {name}", seconds=seconds)
        return self.pids(name, word)[-1]


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def drill(
    request: pytest.FixtureRequest,
    service: GetService,
    postgres: PostgresServer,
    redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Drill]:
    """Return a service that sends tasks by the broker that the test is run with."""
    folder = tmp_path_factory.mktemp("drill")
    installed = service("default" if request.param == "redis" else "rabbitmq")
    project = with_drill(installed, folder / "service")
    broker = RedisServer(persistent=True) if request.param == "redis" else RabbitMQServer()
    with broker:
        env = project.production_env(
            database_url=postgres.new_database(),
            cache_url=redis.new_database(),
            broker_url=broker.url,
            TRUST_X_FORWARDED_PROTO="1",
            CELERY_STATE_FOLDER=str(folder / "state"),
            **LIMITS,
        )
        table = "create table runs (name text, word text, pid int)"
        postgres.execute(table, url=env["DATABASE_URL"])
        with project.gunicorn(env, workers=1) as web:
            yield Drill(project, env, web, broker, postgres)


def with_drill(service: Service, folder: Path) -> Service:
    """Return a copy of the service that has the tasks and the views above."""
    copy = service.copy(folder)
    app = folder / "src/drill"
    app.mkdir()
    for name, text in {"__init__": "", "tasks": TASKS, "views": VIEWS, "urls": URLS}.items():
        (app / f"{name}.py").write_text(text, encoding="utf-8")
    package = folder / "src" / service.package
    with (package / "settings/base.py").open("a", encoding="utf-8") as file:
        file.write(f'\nINSTALLED_APPS += ["drill"]\n{BEAT}')
    with (package / "urls.py").open("a", encoding="utf-8") as file:
        file.write('\nurlpatterns += [path("drill/", include("drill.urls"))]\n')
    return copy


def records(process: Process) -> list[dict[str, Any]]:
    """Return the lines of JSON that a worker has logged; its banner is not among them."""
    return [json.loads(line) for line in process.log.splitlines() if line.startswith("{")]


def received(worker: Process) -> list[str]:
    """Return the messages by which a worker has said that it has taken a task."""
    messages = [str(line["message"]) for line in records(worker)]
    return [message for message in messages if message.endswith(" received")]


@pytest.fixture(scope="module")
def worker(drill: Drill) -> Iterator[Process]:
    """Return a worker that outlives the tests that use it."""
    with drill.worker("trip", "once", "later", "child", "poison", "silence") as process:
        yield process


def test_a_task_of_a_request_is_done_by_a_worker(drill: Drill, worker: Process) -> None:
    drill.send("trip")
    drill.wait_for(worker, "trip", "end")

    assert drill.get("runs/trip/").json() == {"words": ["start", "end"]}


def test_the_lines_of_a_task_carry_the_id_of_its_request(drill: Drill, worker: Process) -> None:
    answer = drill.get("send/work/trip/", headers={"X-Request-ID": "from-the-browser"})
    assert answer.headers["X-Request-ID"] == "from-the-browser"

    def mine() -> list[dict[str, Any]]:
        return [line for line in records(worker) if line.get("request_id") == "from-the-browser"]

    worker.wait_until(lambda: len(mine()) == 2, "two lines")
    assert [line["logger"] for line in mine()] == ["drill", "celery.app.trace"]


def test_every_record_of_a_worker_is_written_once(drill: Drill, worker: Process) -> None:
    before = len(received(worker))
    drill.send("once")
    drill.send("once")
    worker.wait_until(lambda: len(drill.pids("once", "end")) == 2, "both tasks")
    lines = received(worker)[before:]

    assert len(lines) == len(set(lines)) == 2


@pytest.mark.parametrize("reported", [False, True], ids=["without Sentry", "with Sentry"])
def test_a_task_that_fails_is_logged_once_and_reported_once(
    drill: Drill, *, reported: bool
) -> None:
    with SentrySink() as sink:
        dsn = {"SENTRY_DSN": sink.dsn} if reported else {}
        with drill.worker("failure", **dsn) as process:
            drill.send("failure", task="fail")
            process.wait_for_log("RuntimeError: failure on purpose")
            assert process.stop() == 0

    failures = [line for line in records(process) if "exception" in line]
    assert [line["level"] for line in failures] == ["ERROR"]
    # What Celery says of its own start is an event without an exception.
    events = [event for event in sink.events if "exception" in event]
    assert [event["transaction"] for event in events] == ["drill.tasks.fail"] * reported


@pytest.mark.parametrize("drill", ["rabbitmq"], indirect=True)
def test_queues_of_rabbitmq_survive_the_loss_of_a_node(drill: Drill, worker: Process) -> None:
    rabbitmq = drill.broker
    assert isinstance(rabbitmq, RabbitMQServer)
    drill.send("trip")
    drill.wait_for(worker, "trip", "end")

    kinds = dict(
        line.split()
        for line in rabbitmq.control(
            "list_queues", "--no-table-headers", "name", "type"
        ).splitlines()
    )

    assert {"trip", "once"} <= kinds.keys()
    # That of tasks with no queue of their own is there as well, though nobody reads it yet.
    assert "celery" in kinds
    assert "Failed to" not in worker.log
    # Those of one process, such as the one that is told to stop, end with it.
    assert {name for name, kind in kinds.items() if kind != "quorum"} <= {
        name for name in kinds if "pidbox" in name or name.startswith("celeryev")
    }


def test_a_task_for_later_is_done_then(drill: Drill, worker: Process) -> None:
    before = len(received(worker))
    drill.send("later", countdown=3)
    time.sleep(1)
    held = len(received(worker)) - before
    _, seconds = timed(lambda: drill.wait_for(worker, "later", "end"))

    assert 1 < seconds < 5
    # It waits in RabbitMQ, where it fills no worker; for Redis, a worker waits with it.
    assert held == (1 if isinstance(drill.broker, RedisServer) else 0)


def test_a_task_whose_process_is_killed_is_done_again(drill: Drill, worker: Process) -> None:
    drill.send("child", seconds=2)
    os.kill(drill.wait_for(worker, "child", "start"), signal.SIGKILL)
    drill.wait_for(worker, "child", "end")

    assert drill.words("child") == ["end", "start", "start"]


def test_a_task_that_kills_every_process_ends(drill: Drill, worker: Process) -> None:
    drill.send("poison", task="poison")
    worker.wait_for_log("Task handler raised error: WorkerLostError", seconds=40)
    time.sleep(3)

    assert drill.words("poison") == ["start"] * (1 + int(LIMITS["CELERY_TASK_MAX_RETRIES"]))


def test_a_task_whose_worker_is_killed_is_done_by_another(drill: Drill) -> None:
    with drill.worker("crash") as first:
        drill.send("crash", seconds=1.5)
        drill.wait_for(first, "crash", "start")
        first.kill()
    with drill.worker("crash") as second:
        drill.wait_for(second, "crash", "end")

    assert drill.words("crash") == ["end", "start", "start"]


@pytest.mark.parametrize("drill", ["redis"], indirect=True)
def test_redis_is_searched_for_lost_tasks_at_the_interval(drill: Drill) -> None:
    redis = drill.broker
    assert isinstance(redis, RedisServer)

    def searches() -> int:
        found = re.search(r"zrange:calls=(\d+)", redis.execute("INFO", "commandstats"))
        return int(found[1]) if found else 0

    with drill.worker("search"):
        before = searches()
        time.sleep(5)
        made = searches() - before

    assert made >= 4


def test_a_worker_that_is_stopped_lets_a_short_task_end(drill: Drill) -> None:
    with drill.worker("short") as first:
        drill.send("short", seconds=1)
        drill.wait_for(first, "short", "start")
        children = first.children()
        assert first.stop() == 0
        assert len(children) == 2
        assert not [child for child in children if psutil.pid_exists(child.pid)]
    assert drill.words("short") == ["end", "start"]

    with drill.worker("short") as second:
        drill.send("short")
        drill.wait_for(second, "short", "end")
        time.sleep(1)
    assert drill.words("short") == ["end", "end", "start", "start"]


def test_a_worker_that_is_stopped_gives_a_long_task_back(drill: Drill) -> None:
    with drill.worker("long") as first:
        drill.send("long", seconds=4.5)
        drill.wait_for(first, "long", "start")
        assert first.stop() == 0
    assert drill.words("long") == ["start"]

    with drill.worker("long") as second:
        drill.wait_for(second, "long", "end")
    assert drill.words("long") == ["end", "start", "start"]


def test_a_worker_that_hangs_is_seen(drill: Drill, tmp_path: Path) -> None:
    state = {"CELERY_STATE_FOLDER": str(tmp_path)}
    with drill.worker("hang", **state) as process:

        def probe(*arguments: str) -> str:
            command = ("python", "-m", "common.heartbeat", "worker", *arguments)
            done = drill.service.run(*command, env={**drill.env, **state}, check=False)
            assert done.returncode == bool(done.stderr)
            return done.stderr

        assert probe() == ""
        process.suspend()
        time.sleep(7)
        assert probe("7").startswith("The heartbeat of the worker is ")
        process.resume()
        process.wait_until(lambda: probe("7") == "", "its heart to beat again")


def test_beat_sends_what_is_due_and_keeps_out_of_the_project(drill: Drill, tmp_path: Path) -> None:
    before = sorted(drill.service.path.iterdir())
    env = {**drill.env, "CELERY_STATE_FOLDER": str(tmp_path / "state")}
    command = ("celery", "--app", drill.service.package, "beat")
    with (
        drill.service.start(*command, env=env, log="beat") as beat,
        drill.worker("beat") as process,
    ):
        drill.wait_for(process, "beat", "end")
        assert drill.service.run("python", "-m", "common.heartbeat", "beat", env=env).stderr == ""
        assert beat.stop() == 0

    assert sorted(drill.service.path.iterdir()) == before


def test_beat_can_be_stopped_while_it_sends(drill: Drill, tmp_path: Path) -> None:
    env = {**drill.env, "CELERY_STATE_FOLDER": str(tmp_path)}
    command = ("celery", "--app", drill.service.package, "beat", "--loglevel", "INFO")
    with drill.service.start(*command, env=env, log="beat-sends") as beat:
        beat.wait_for_log("Sending due task drill")
        drill.broker.suspend()
        try:
            time.sleep(2)  # the next one is due each second, and waits for the broker
            os.kill(beat.pid, signal.SIGTERM)
            time.sleep(1)
        finally:
            drill.broker.resume()
        assert beat.wait() == 0, beat.log


def test_sending_to_a_broker_that_stopped_answering_fails_in_seconds(drill: Drill) -> None:
    drill.send("silence")  # so that there is a connection
    drill.broker.suspend()
    try:
        answers = [timed(lambda: drill.get("send/work/silence/", seconds=30)) for _ in range(2)]
    finally:
        drill.broker.resume()

    assert [answer.status for answer, _ in answers] == [503, 503]
    assert max(seconds for _, seconds in answers) < 5
    drill.send("silence")


@pytest.mark.parametrize("broker", ["mute", "refusing"])
def test_sending_to_a_broker_that_is_not_there_fails_in_seconds(drill: Drill, broker: str) -> None:
    with MuteServer() as mute:
        port = mute.port if broker == "mute" else free_port()
        url = f"{drill.broker.scheme}://127.0.0.1:{port}/"
        env = {**drill.env, "CELERY_BROKER_URL": url}
        with drill.service.gunicorn(env, workers=1) as web:
            answer, seconds = timed(
                lambda: web.get("/drill/send/work/nowhere/", secure=True, seconds=30)
            )

    assert answer.status == 503
    assert seconds < 5


def test_readiness_can_tell_that_the_broker_is_away(drill: Drill) -> None:
    env = {**drill.env, "READY_CHECK_BROKER": "1"}
    with drill.service.gunicorn(env, workers=1) as web:
        ready = web.get("/ready/")
        drill.broker.suspend()
        try:
            unready, seconds = timed(lambda: web.get("/ready/"))
        finally:
            drill.broker.resume()

    assert ready.json()["checks"] == {"database": True, "cache": True, "broker": True}
    assert unready.json()["checks"] == {"database": True, "cache": True, "broker": False}
    assert seconds < 3


# By now it has been idle for longer than it waits for any answer, and its broker was silent twice.
def test_an_idle_worker_stays_connected(drill: Drill, worker: Process) -> None:
    done = len(drill.pids("trip", "end"))
    drill.send("trip")
    worker.wait_until(lambda: len(drill.pids("trip", "end")) > done, "one more task")

    assert not [line for line in records(worker) if "Connection to broker" in line["message"]]


def test_a_worker_outlives_its_broker(drill: Drill) -> None:
    with drill.worker("restart") as process:
        drill.send("restart", seconds=4)
        drill.wait_for(process, "restart", "start")
        drill.broker.stop()
        time.sleep(1)
        drill.broker.start()
        drill.wait_for(process, "restart", "end", seconds=40)
        drill.send("restart")
        process.wait_until(lambda: len(drill.pids("restart", "end")) == 2, "the second task")

    # Redis knows of no connections; RabbitMQ gives the task out anew, so the first run is ended.
    starts = 2 if isinstance(drill.broker, RedisServer) else 3
    assert drill.words("restart") == ["end", "end", *["start"] * starts]


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            {"CELERY_VISIBILITY_TIMEOUT": "6"},
            "CELERY_VISIBILITY_TIMEOUT is 6 s, but must be more than CELERY_TASK_TIME_LIMIT x ",
        ),
        (
            {"CELERY_TASK_SOFT_TIME_LIMIT": "6"},
            "CELERY_TASK_SOFT_TIME_LIMIT is 6 s, but must be less than CELERY_TASK_TIME_LIMIT",
        ),
        ({"CELERY_TASK_TIME_LIMIT": "soon"}, "CELERY_TASK_TIME_LIMIT is 'soon', but must be "),
        ({"CELERY_BROKER_URL": ""}, "Production does not start without CELERY_BROKER_URL: "),
        ({"CELERY_BROKER_URL": "amqp://x/"}, "CELERY_BROKER_URL is not a URL that starts with "),
    ],
)
@pytest.mark.parametrize("role", ["worker", "beat"])
def test_what_is_wrong_with_a_variable_is_told_by_one_sentence(
    service: GetService, variables: dict[str, str], sentence: str, role: str
) -> None:
    project = service()
    env = project.production_env(
        database_url="postgres://x/x", cache_url="redis://x", broker_url="redis://x", **LIMITS
    )
    command = ("celery", "--app", project.package, role)
    done = project.run(*command, env=env | variables, check=False)

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(sentence)
    assert len(done.stderr.splitlines()) == 1


def test_a_worker_takes_the_processors_that_it_may_use(drill: Drill) -> None:
    env = {name: value for name, value in drill.env.items() if name != "CELERY_WORKER_CONCURRENCY"}
    with drill.service.start(
        "taskset", "--cpu-list", "0", "celery", "--app", drill.service.package, "worker",
        "--queues", "alone", env=env, log="alone",
    ) as process:  # fmt: skip
        process.wait_for_log("ready.")
        assert len(process.children()) == 1
