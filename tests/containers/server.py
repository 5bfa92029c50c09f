"""A server of a team's own: a checkout that scripts/deploy.py has brought to production.

It has ports and a name of its own, a certificate of its own, and an app for experiments.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import itertools
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import yaml

from tests.containers.engine import Compose, Engine, EngineError
from tests.servers import Response, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DOMAIN = "shop.test"
LIVENESS, READINESS = "/health/", "/ready/"

# Rows of the database count what was done, as they are lost by none of the faults.
MODELS = """
from django.contrib.sessions.models import Session
from django.utils import timezone


def note(kind: str, key: str) -> None:
    Session.objects.get_or_create(
        session_key=f"{kind}-{key}", defaults={"expire_date": timezone.now()}
    )


def noted(kind: str) -> int:
    return Session.objects.filter(session_key__startswith=f"{kind}-").count()
"""
TASKS = """
import time

from celery import shared_task

from .models import note


@shared_task(autoretry_for=(Exception,), retry_backoff=1, max_retries=20)
def work(key: str, seconds: float) -> None:
    time.sleep(seconds)
    note("task", key)
"""
VIEWS = """
import time

from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from .models import note, noted


@csrf_exempt
def form(request: HttpRequest, key: str) -> JsonResponse:
    note("form", key)
    return JsonResponse({})


def page(request: HttpRequest) -> JsonResponse:
    with connection.cursor() as cursor:
        cursor.execute("select 1, current_setting('statement_timeout'), current_user")
        row = cursor.fetchone()
    return JsonResponse({"timeout": row[1], "user": row[2], "secure": request.is_secure()})


def slow(request: HttpRequest) -> JsonResponse:
    time.sleep(3)
    return JsonResponse({})


def send(request: HttpRequest, key: str, seconds: str) -> JsonResponse:
    from .tasks import work

    work.delay(key, float(seconds))
    return JsonResponse({})


def count(request: HttpRequest, kind: str) -> JsonResponse:
    return JsonResponse({"count": noted(kind)})
"""
URLS = """
from django.urls import path

from . import views

urlpatterns = [
    path("page/", views.page),
    path("slow/", views.slow),
    path("form/<key>/", views.form),
    path("send/<key>/<seconds>/", views.send),
    path("count/<kind>/", views.count),
]
"""
DRILL = {"__init__": "", "models": MODELS, "tasks": TASKS, "views": VIEWS, "urls": URLS}


def add_drill(engine: Engine, image: str, tag: str, folder: Path, package: str) -> None:
    """Build an image that has the app for experiments, at /drill/, on top of another."""
    app = folder / "drill"
    app.mkdir(parents=True)
    for name, text in DRILL.items():
        if (
            name != "tasks"
            or engine.run(
                "run", "--rm", image, "python", "-c", "import celery", check=False
            ).returncode
            == 0
        ):
            (app / f"{name}.py").write_text(text, encoding="utf-8")
    settings = f"/app/src/{package}/settings/base.py"
    urls = f"/app/src/{package}/urls.py"
    (folder / "Dockerfile").write_text(
        f"FROM {image}\nUSER root\nCOPY drill /app/src/drill\n"
        f"RUN echo 'INSTALLED_APPS += [\"drill\"]' >> {settings} && echo 'urlpatterns +="
        f' [path("drill/", include("drill.urls"))]\' >> {urls}\nUSER 10001:10001\n',
        encoding="utf-8",
    )
    engine.run("build", "--quiet", f"--tag={tag}", folder, seconds=300)


@dataclass
class Failure:
    """A request that did not get what it asked for."""

    second: float
    what: str


@dataclass
class Load:
    """Requests at a steady rate, and the probes beside them: what came of them."""

    sent: int = 0
    slowest: float = 0
    failures: list[Failure] = field(default_factory=list)
    forms: int = 0
    probed: int = 0
    # Of each probe: when it did not answer 200, and what instead.
    down: dict[str, list[Failure]] = field(default_factory=lambda: {LIVENESS: [], READINESS: []})
    lock: threading.Lock = field(default_factory=threading.Lock)
    started: float = field(default_factory=time.monotonic)

    def now(self) -> float:
        """Return the seconds since the first request."""
        return time.monotonic() - self.started

    def failures_since(self, second: float) -> list[str]:
        """Return what became of requests that were sent after this moment, and failed."""
        return [failure.what for failure in self.failures if failure.second > second]

    @property
    def outage(self) -> float:
        """The seconds from the first failure to the last."""
        return span(self.failures)

    @property
    def probes(self) -> str:
        """What came of the probes, for people."""
        return ", ".join(
            f"{name} failed in {len(self.down[path])} of {self.probed} probes"
            + (f" within {span(self.down[path]):.1f} s" if self.down[path] else "")
            for name, path in (("liveness", LIVENESS), ("readiness", READINESS))
        )


def span(failures: list[Failure]) -> float:
    """Return the seconds from the first failure to the last."""
    moments = [failure.second for failure in failures]
    return max(moments) - min(moments) if moments else 0.0


class Server:
    """A checkout, and what runs from it."""

    def __init__(self, engine: Engine, checkout: Path, name: str, **variables: str) -> None:
        """Write .env, with these variables, too, and the secrets that are not there."""
        self.engine = engine
        self.checkout = checkout
        answers = (checkout / ".copier-answers.yml").read_text(encoding="utf-8")
        self.answers: dict[str, Any] = yaml.safe_load(answers)
        self.port, self.plain_port = free_port(), free_port()
        self.compose = Compose(engine, checkout, name, (), {})
        given = {
            "DOMAIN": DOMAIN,
            "TLS": "internal",
            "COMPOSE_PROJECT_NAME": name,
            "HTTPS_PORT": f"127.0.0.1:{self.port}",
            "HTTP_PORT": f"127.0.0.1:{self.plain_port}",
            # Tasks are short here, so that those of a worker that is killed come back soon.
            "CELERY_TASK_TIME_LIMIT": "10",
            "CELERY_TASK_SOFT_TIME_LIMIT": "8",
            "CELERY_WORKER_PREFETCH_MULTIPLIER": "1",
            "CELERY_VISIBILITY_TIMEOUT": "20",
            "CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT": "20",
            # By number: a container is replaced when its image gets another.
            **{
                key: engine.inspect("image", image)["Id"]
                for key, image in engine.variables(checkout).items()
                if key not in {"PYTHON_IMAGE", "UV_IMAGE"}
            },
            **variables,
        }
        self.script("init", *(f"{key}={value}" for key, value in given.items()))

    def script(
        self, *words: str, check: bool = True, seconds: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run scripts/deploy.py as a person on the server does."""
        done = subprocess.run(
            [sys.executable, "scripts/deploy.py", *words],
            cwd=self.checkout,
            env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"),
                 "DOCKER_BUILDKIT": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )  # fmt: skip
        if check and done.returncode:
            logs = self.compose.run("logs", "--no-color", "--tail=30", check=False).stdout
            raise EngineError(f"deploy.py {' '.join(words)}:\n{done.stdout}{done.stderr}\n{logs}")
        return done

    def variable(self, name: str) -> str:
        """Return what .env says."""
        for line in (self.checkout / ".env").read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{name}="):
                return line.partition("=")[2]
        return ""

    def set(self, name: str, value: str) -> None:
        """Change a variable in .env, or add it."""
        file = self.checkout / ".env"
        lines = file.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if not line.startswith(f"{name}=")]
        file.write_text("\n".join([*kept, f"{name}={value}", ""]), encoding="utf-8")

    @cached_property
    def authority(self) -> str:
        """The certificate of the authority that the proxy is for itself."""
        return self.compose.execute(
            "proxy", "cat", "/data/caddy/pki/authorities/local/root.crt"
        ).stdout

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.authority)

    def connect(self, seconds: float = 30) -> http.client.HTTPSConnection:
        """Return a connection to the proxy, whose certificate is verified."""
        connection = http.client.HTTPSConnection(DOMAIN, self.port, timeout=seconds)
        plain = socket.create_connection(("127.0.0.1", self.port), seconds)
        connection.sock = self._tls.wrap_socket(plain, server_hostname=DOMAIN)
        return connection

    def get(
        self,
        path: str,
        *,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = 30,
    ) -> Response:
        """Send a request through the proxy, and return the answer."""
        connection = self.connect(seconds)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Response(answer.status, answer.headers, answer.read())

    def json(self, path: str) -> Any:  # noqa: ANN401  JSON may be anything
        """Return what a page of JSON says."""
        answer = self.get(path)
        assert answer.status == 200, (path, answer.status, answer.body[:300])
        return json.loads(answer.body)

    def wait_for(self, path: str, status: int = 200, seconds: float = 120) -> float:
        """Wait until a page answers with this status; return the seconds that it took."""
        started = time.monotonic()
        found: object = None
        while time.monotonic() - started < seconds:
            try:
                found = self.get(path).status
            except (OSError, http.client.HTTPException) as error:
                found = error
            if found == status:
                return time.monotonic() - started
            time.sleep(0.2)
        raise EngineError(f"{path} does not answer {status} after {seconds} s, but {found}.")

    def send_tasks(self, batch: str, number: int, each: float) -> None:
        """Send tasks that take so many seconds each."""
        for key in range(number):
            assert self.get(f"/drill/send/{batch}-{key}/{each}/").status == 200

    def wait_for_count(self, kind: str, number: int, seconds: float = 180) -> float:
        """Wait until so many things have been noted; return the seconds that it took."""
        started = time.monotonic()
        found = -1
        while time.monotonic() - started < seconds:
            with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):
                found = self.json(f"/drill/count/{kind}/")["count"]
            if found >= number:
                return time.monotonic() - started
            time.sleep(0.5)
        raise EngineError(f"Of {number} {kind} there are {found} after {seconds} s.")

    @contextlib.contextmanager
    def load(self, batch: str, *, rate: float = 10) -> Iterator[Load]:
        """Ask for pages and send forms meanwhile, at a steady rate, each by its own connection.

        Twice in a second, both probes are asked as well.
        """
        found, end = Load(), threading.Event()

        def keep_asking() -> None:
            threads = []
            for number in itertools.count():
                if end.wait(max(0.0, number / rate - found.now())):
                    break
                form = f"{batch}-{number}" if number % 4 == 0 else ""
                calls = [functools.partial(self._ask, found, form)]
                if number % round(rate / 2) == 0:
                    calls.append(functools.partial(self._probe, found))
                for call in calls:
                    threads.append(threading.Thread(target=call, daemon=True))
                    threads[-1].start()
            for thread in threads:
                thread.join(60)

        asking = threading.Thread(target=keep_asking)
        asking.start()
        try:
            yield found
        finally:
            end.set()
            asking.join()

    def _ask(self, found: Load, form: str) -> None:
        """Ask for a page or send a form, and note what came of it."""
        moment = found.now()
        method, path = ("POST", f"/drill/form/{form}/") if form else ("GET", "/drill/page/")
        try:
            outcome = str(self.get(path, method=method, body=b"x=1" if form else None).status)
        except (OSError, http.client.HTTPException) as error:
            outcome = repr(error)
        with found.lock:
            found.sent += 1
            found.slowest = max(found.slowest, found.now() - moment)
            if outcome != "200":
                found.failures.append(Failure(moment, f"{method} {outcome}"))
            elif form:
                found.forms += 1

    def wait_for_log(self, service: str, text: str, seconds: float = 60) -> dict[str, Any]:
        """Wait until a service has logged a record that has this text, and return it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            log = self.engine.run("logs", self.compose.container(service)).stdout
            if found := [line for line in log.splitlines() if text in line]:
                record: dict[str, Any] = json.loads(found[0])
                return record
            time.sleep(0.5)
        raise EngineError(f"{service} does not log {text} in {seconds} s.")

    def _probe(self, found: Load) -> None:
        """Ask both probes, and note what they said."""
        for path, failures in found.down.items():
            moment = found.now()
            try:
                outcome = str(self.get(path).status)
            except (OSError, http.client.HTTPException) as error:
                outcome = repr(error)
            if outcome != "200":
                failures.append(Failure(moment, outcome))
        with found.lock:
            found.probed += 1

    def kill(self, service: str) -> None:
        """Kill every process of a service at once, as the kernel does for want of memory."""
        script = "import os; os.kill(-1, 9)"
        self.compose.execute(service, "python", "-c", script, check=False)

    def remove(self) -> None:
        """End and remove all that runs here."""
        self.compose.down()


def set_up(checkout: Path, target: Path) -> Path:
    """Copy what of a project a server has, without what a developer or a test left there."""
    local = (".env*", ".git", ".venv", "secrets", "*.sqlite3", "media", "backups")
    left = shutil.ignore_patterns(*local)
    shutil.copytree(checkout, target, ignore=left)
    return target
