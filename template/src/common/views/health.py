"""Liveness and readiness. Maintained by the template: add to READINESS_CHECKS in settings/base.py.

Liveness says that the process answers; it depends on nothing else, so that an orchestrator does
not restart a healthy process because its database is away. Readiness says whether requests can be
served, and takes the process out of a load balancer while they cannot.
"""

import functools
import json
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from time import monotonic
from uuid import uuid4

from django.conf import settings
from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.core.cache.backends.base import BaseCache
from django.db import DEFAULT_DB_ALIAS, connections
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

logger = logging.getLogger(__name__)

# Seconds that a probe waits which must not hold its thread until a deadline; what answers at all
# does so within a few milliseconds.
_SHORT_WAIT = 0.25


@dataclass(frozen=True)
class _Run:
    """A check in flight: its outcome, and when it should be there, by the monotonic clock."""

    outcome: Future[bool]
    deadline: float


_lock = threading.Lock()
_runs: dict[str, _Run] = {}
_latest: dict[str, bool] = {}  # what each check said last
_patience = threading.Lock()  # held by the one probe that waits until the deadline


def liveness(request: HttpRequest) -> HttpResponse:
    """Return 200 with the service's name and version, touching nothing outside the process."""
    body = {
        "status": "healthy",
        "service": settings.SERVICE_NAME,
        "version": settings.SERVICE_VERSION,
    }
    return _answer(request, body, 200)


def readiness(request: HttpRequest) -> HttpResponse:
    """Return 200 when every check of READINESS_CHECKS passes within READINESS_TIMEOUT, or 503.

    The body has one flag for each check; what went wrong is only in the log. The checks run side
    by side, each in a thread, as no timeout of a client library bounds every way to hang.

    While a dependency hangs, probes must not take all threads of a process, or liveness would fail
    as well: only one at a time waits until the deadline, and none after a failure. The others
    soon answer with what the check said before, and it goes on for those to come.
    """
    if request.method not in {"GET", "HEAD"}:
        return _answer(request, {}, 405)
    runs = {name: _run(name, path) for name, path in settings.READINESS_CHECKS.items()}
    unbroken = all(_latest.get(name, True) for name in runs)
    patient = unbroken and _patience.acquire(blocking=False)
    try:
        timeout = min(_SHORT_WAIT, settings.READINESS_TIMEOUT)
        if patient:
            timeout = max([timeout, *(run.deadline - monotonic() for run in runs.values())])
        wait([run.outcome for run in runs.values()], timeout)
    finally:
        if patient:
            _patience.release()
    checks = {name: _outcome(name, run, patient=patient) for name, run in runs.items()}
    ready = all(checks.values())
    body = {
        "status": "ready" if ready else "not ready",
        "checks": checks,
        "service": settings.SERVICE_NAME,
    }
    return _answer(request, body, 200 if ready else 503)


def check_database() -> None:
    """Run a query on a connection of its own: a kept one may belong to a server that is gone."""
    connection = connections.create_connection(DEFAULT_DB_ALIAS)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()
    finally:
        connection.close()


def check_cache() -> None:
    """Write a value and read it back; its key is random, as other processes check, too."""
    cache = _cache()
    key = f"readiness-{uuid4().hex}"
    cache.set(key, key, timeout=10)
    if cache.get(key) != key:
        raise RuntimeError("The cache did not return what was written to it.")
    cache.delete(key)


@functools.cache
def _cache() -> BaseCache:
    # Each thread has a cache of its own, and one that ends leaves its connection behind for long.
    return caches.create_connection(DEFAULT_CACHE_ALIAS)


def _run(name: str, path: str) -> _Run:
    """Return the check in flight, or start it: a hung dependency holds one thread, not many."""
    with _lock:
        run = _runs.get(name)
        if run is None or run.outcome.done():
            run = _runs[name] = _Run(Future(), monotonic() + settings.READINESS_TIMEOUT)
            threading.Thread(target=_check, args=(name, path, run.outcome), daemon=True).start()
        return run


def _check(name: str, path: str, outcome: Future[bool]) -> None:
    try:
        import_string(path)()
    except Exception:
        logger.warning("Readiness: the %s failed.", name, exc_info=True)
        passed = False
    else:
        passed = True
    _latest[name] = passed
    outcome.set_result(passed)


def _outcome(name: str, run: _Run, *, patient: bool) -> bool:
    if run.outcome.done():
        return run.outcome.result()
    if patient or monotonic() >= run.deadline:
        _latest[name] = False
        logger.warning(
            "Readiness: the %s gave no answer within %s s.", name, settings.READINESS_TIMEOUT
        )
    return _latest.get(name, False)


def _answer(request: HttpRequest, body: Mapping[str, object], status: int) -> HttpResponse:
    if request.method not in {"GET", "HEAD"}:
        return HttpResponse(status=405, headers={"Allow": "GET, HEAD"})
    content = json.dumps(body).encode()
    headers = {"Cache-Control": "no-store", "Content-Length": str(len(content))}
    return HttpResponse(
        b"" if request.method == "HEAD" else content,
        status=status,
        content_type="application/json",
        headers=headers,
    )
