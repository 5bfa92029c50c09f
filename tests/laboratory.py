"""An app for experiments, put into a copy of a service: views that query, fail, log and wait."""

from __future__ import annotations

import concurrent.futures
import fcntl
import http.cookies
import json
import re
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

from tests.servers import http_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.servers import PostgresServer, RedisServer, Response
    from tests.service import Service, WebServer

# What a proxy that ends HTTPS sends.
HTTPS = {"Host": "yourdomain.com", "X-Forwarded-Proto": "https"}

# What production requires beside the seed's variables, complete, but leading nowhere: starting asks
# nothing of them.
NOWHERE = {
    "DATABASE_URL": "postgres://user@127.0.0.1:1/name",
    "CACHE_URL": "redis://127.0.0.1:1/0",
    "CELERY_BROKER_URL": "redis://127.0.0.1:1/1",
}

# Asked for by LAB_QUERY_AT_START, as it needs a database, which collectstatic does without.
APPS = """
import os

from django.apps import AppConfig


class LabConfig(AppConfig):
    name = "lab"

    def ready(self) -> None:
        if "LAB_QUERY_AT_START" in os.environ:
            from django.db import connection

            with connection.cursor() as cursor:
                cursor.execute("select 1")
"""

VIEWS = '''
import gc
import logging
import os

from django.contrib.auth import get_user_model, login
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.core.files.storage import default_storage
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.views.decorators.csrf import csrf_exempt

logger = logging.getLogger("lab")

LOADED_BY = os.getpid()


def row(request: HttpRequest, number: int) -> JsonResponse:
    """Answer the number that the database answers."""
    with connection.cursor() as cursor:
        cursor.execute("select %s, pg_backend_pid()", [number])
        value, backend = cursor.fetchone()
    processes = {"process": os.getpid(), "loaded_by": LOADED_BY}
    frozen = gc.get_freeze_count()
    return JsonResponse({"row": value, "backend": backend, "frozen": frozen, **processes})


def wait(request: HttpRequest) -> JsonResponse:
    """Wait half a second in the database."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_sleep(0.5)")
    return JsonResponse({})


def forever(request: HttpRequest) -> JsonResponse:
    """Wait in the database for longer than anybody would."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_sleep(60)")
    return JsonResponse({})


def rows(request: HttpRequest) -> JsonResponse:
    """Answer the ids of many rows, read one by one with a cursor on the server."""
    found = Permission.objects.order_by("id").values_list("id", flat=True)
    return JsonResponse({"rows": list(found.iterator(chunk_size=1)), "count": found.count()})


def stored(request: HttpRequest) -> JsonResponse:
    """Answer what the cache has kept."""
    cache.set("lab", "kept")
    return JsonResponse({"cache": cache.get("lab")})


def say(request: HttpRequest) -> JsonResponse:
    """Write a line to the log."""
    logger.info("Said in a view.", extra={"order": 7})
    return JsonResponse({})


@csrf_exempt
def fail(request: HttpRequest) -> HttpResponse:
    """Fail with a personal thing in a local variable."""
    email = request.POST.get("email", "")
    raise RuntimeError(f"Failed on purpose, {len(email)}.")


@csrf_exempt
def upload(request: HttpRequest) -> JsonResponse:
    """Keep a file, and answer what it is called, where it is and how long it is."""
    file = request.FILES["file"]
    name = default_storage.save(file.name, file)
    return JsonResponse(
        {"name": name, "url": default_storage.url(name), "size": default_storage.size(name)}
    )


def enter(request: HttpRequest) -> HttpResponse:
    """Start a session, and go on to a page where one is named."""
    model = get_user_model()
    names = {model.USERNAME_FIELD: "somebody@example.com"}
    user = model.objects.filter(**names).first() or model(**names)
    user.save()
    login(request, user)
    if "page" in request.GET:
        return HttpResponseRedirect(request.GET["page"])
    return JsonResponse({"known": True})


def inline(request: HttpRequest) -> HttpResponse:
    """Answer a page with a script that nobody has vouched for."""
    return HttpResponse("<p>Page</p><script>document.body.innerHTML = 'Script';</script>")


def known(request: HttpRequest) -> JsonResponse:
    """Answer whether the session is known."""
    return JsonResponse({"known": request.user.is_authenticated})
'''

URLS = """
from django.urls import path

from . import views

urlpatterns = [
    path("row/<int:number>/", views.row),
    path("wait/", views.wait),
    path("forever/", views.forever),
    path("rows/", views.rows),
    path("stored/", views.stored),
    path("say/", views.say),
    path("fail/", views.fail),
    path("upload/", views.upload),
    path("enter/", views.enter),
    path("inline/", views.inline),
    path("known/", views.known),
]
"""


def with_laboratory(service: Service, folder: Path, *, settings: str = "") -> Service:
    """Return a copy of the service in `folder` that has the app, at `/lab/`.

    `settings` is Python text that is added to the team's settings/production.py.
    """
    collect_static_files(service)
    copy = service.copy(folder)
    app = folder / "src/lab"
    app.mkdir()
    for name, text in {"__init__": "", "apps": APPS, "views": VIEWS, "urls": URLS}.items():
        (app / f"{name}.py").write_text(text, encoding="utf-8")
    package = folder / "src" / service.package
    with (package / "settings/base.py").open("a", encoding="utf-8") as file:
        file.write('\nINSTALLED_APPS += ["lab"]\n')
    with (package / "settings/production.py").open("a", encoding="utf-8") as file:
        file.write(settings)
    with (package / "urls.py").open("a", encoding="utf-8") as file:
        file.write('\nurlpatterns += [path("lab/", include("lab.urls"))]\n')
    return copy


def collect_static_files(service: Service) -> None:
    """Collect the static files as an image does, once for all tests that copy this service."""
    lock = service.path.with_name(f"{service.path.name}-static.lock")
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not (service.path / "staticfiles/staticfiles.json").exists():
            service.manage("collectstatic", "--noinput", "--verbosity", "0")


def deployed(
    service: Service, postgres: PostgresServer, redis: RedisServer, **more: str
) -> dict[str, str]:
    """Return the environment of a deployed service, which has a migrated database of its own.

    `more` are variables by name. The proxy's header is believed, so that a test can come by HTTPS.
    """
    urls = {"database_url": postgres.new_database(), "cache_url": redis.new_database()}
    if service.answers["task_queue"] == "celery":
        urls["broker_url"] = redis.new_database()
    env = service.production_env(**urls, TRUST_X_FORWARDED_PROTO="1", **more)
    service.manage("migrate", "--verbosity", "0", env=env)
    return env


def cookies(*answers: Response) -> http.cookies.SimpleCookie:
    """Return the cookies that a browser holds after these answers."""
    jar = http.cookies.SimpleCookie()
    for answer in answers:
        for header in answer.headers.get_all("Set-Cookie", []):
            jar.load(header)
    return jar


def sent(jar: http.cookies.SimpleCookie) -> dict[str, str]:
    """Return the header with which a browser sends its cookies back."""
    return {"Cookie": "; ".join(f"{name}={morsel.value}" for name, morsel in jar.items())}


def sign_in(
    server: WebServer,
    *,
    credentials: tuple[str, str] = ("nobody@example.com", "no"),
    origin: str = "https://yourdomain.com",
    host: str = "yourdomain.com",
) -> Response:
    """Open the admin's form and send it from a page of `origin`."""
    headers = {**HTTPS, "Host": host}
    form = server.get("/admin/login/", headers=headers)
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form.text)
    assert token is not None
    user, password = credentials
    fields = {"csrfmiddlewaretoken": token[1], "username": user, "password": password}
    return http_request(
        server.url("/admin/login/"),
        method="POST",
        headers={
            **headers,
            **sent(cookies(form)),
            "Origin": origin,
            "Content-Type": "application/x-www-form-urlencoded",
        },
        body=urllib.parse.urlencode(fields).encode(),
    )


def side_by_side[Input, Output](
    call: Callable[[Input], Output], inputs: Iterable[Input], *, threads: int = 16
) -> list[Output]:
    """Return what `call` gives for each input, `threads` of them at a time."""
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return list(pool.map(call, inputs))


def timed[Output](call: Callable[[], Output]) -> tuple[Output, float]:
    """Return what `call` gives and how many seconds it took."""
    started = time.monotonic()
    return call(), time.monotonic() - started


def log_records(server: WebServer) -> list[dict[str, Any]]:
    """Return what the server has logged; a line that is not JSON fails the test."""
    records = []
    for line in server.log.splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            raise AssertionError(f"No line of JSON: {line!r}") from None
    return records
