"""The probes, as an orchestrator sees them. Maintained by the template.

They hold whatever this project has set: what they depend on is given by the tests.
"""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.cache import caches
from django.test import Client
from pytest_django import Settings

from common.environment import Environment
from common.views import health

BROKEN = f"{__name__}.broken"
HUNG = f"{__name__}.hung"
SLOW = f"{__name__}.slow"

release = threading.Event()


@pytest.fixture(autouse=True)
def _settings(settings: Settings) -> None:
    settings.MIDDLEWARE = [
        "common.middleware.HealthMiddleware",
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
    ]
    settings.READINESS_TIMEOUT = 5


def broken() -> None:
    raise ConnectionError("a password that belongs into no answer")


def hung() -> None:
    release.wait(5)


def slow() -> None:
    time.sleep(0.7)


@pytest.mark.parametrize("path", ["/health/", "/health"])
def test_liveness_names_the_service(client: Client, settings: Settings, path: str) -> None:
    response = client.get(path)

    assert response.status_code == 200
    assert response.json() == {
        "status": "healthy",
        "service": settings.SERVICE_NAME,
        "version": settings.SERVICE_VERSION,
    }
    assert response.headers["Cache-Control"] == "no-store"
    assert not response.cookies


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["/ready/", "/ready"])
def test_readiness_checks_the_dependencies(
    client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    settings.READINESS_CHECKS = {
        "database": "common.views.health.check_database",
        "cache": "common.views.health.check_cache",
    }
    # The cache that the environment names, where tests may have another.
    schemes = ("redis", "rediss", "locmemcache")
    cache = Environment().cache_url("CACHE_URL", "", schemes=schemes, default="locmemcache://")
    settings.CACHES = {"default": cache}
    monkeypatch.setattr(health, "_cache", lambda: caches.create_connection("default"))

    response = client.get(path)

    assert response.status_code == 200
    assert response.json()["status"] == "ready"
    assert response.json()["checks"] == {"database": True, "cache": True}


def test_probes_are_answered_by_ip_and_by_plain_http(client: Client, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["example.com"]
    settings.SECURE_SSL_REDIRECT = True

    response = client.get("/health/", headers={"host": "10.1.2.3:8000"})

    assert response.status_code == 200


def test_head_is_answered_without_a_body(client: Client) -> None:
    response = client.head("/health/")

    assert response.status_code == 200
    assert response.content == b""


def test_post_is_refused(client: Client) -> None:
    response = client.post("/ready/")

    assert response.status_code == 405


def test_a_failing_check_is_named_and_its_error_kept_back(
    client: Client,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.READINESS_CHECKS = {"mail": BROKEN}
    caplog.set_level("WARNING", logger=__name__)
    monkeypatch.setattr(health, "logger", logging.getLogger(__name__))

    response = client.get("/ready/")

    assert response.status_code == 503
    assert response.json()["status"] == "not ready"
    assert response.json()["checks"] == {"mail": False}
    assert "password" not in response.content.decode()
    assert "password" in caplog.text


def test_a_hung_check_is_bounded_and_recovers(client: Client, settings: Settings) -> None:
    settings.READINESS_CHECKS = {"mail": HUNG}
    settings.READINESS_TIMEOUT = 0.2
    release.clear()
    threads = threading.active_count()

    answers = [client.get("/ready/").status_code for _ in range(3)]

    assert answers == [503, 503, 503]
    assert threading.active_count() == threads + 1
    release.set()
    settings.READINESS_TIMEOUT = 5
    assert client.get("/ready/").status_code == 200


def test_a_slow_check_is_waited_for_each_time(client: Client, settings: Settings) -> None:
    settings.READINESS_CHECKS = {"archive": SLOW}

    assert [client.get("/ready/").status_code for _ in range(2)] == [200, 200]


def test_a_probe_beside_another_is_told_what_was_known_before(
    client: Client, settings: Settings
) -> None:
    settings.READINESS_CHECKS = {"search": HUNG}
    settings.READINESS_TIMEOUT = 2
    release.set()
    assert client.get("/ready/").status_code == 200
    release.clear()

    with ThreadPoolExecutor() as pool:
        first, second = (pool.submit(Client().get, "/ready/") for _ in range(2))
        statuses = {first.result().status_code, second.result().status_code}

    assert statuses == {200, 503}
    assert client.get("/ready/").status_code == 503
    release.set()


def test_after_a_failure_a_probe_does_not_hold_its_thread_for_long(
    client: Client, settings: Settings
) -> None:
    settings.READINESS_CHECKS = {"queue": HUNG}
    settings.READINESS_TIMEOUT = 1
    release.clear()
    client.get("/ready/")

    started = time.monotonic()
    response = client.get("/ready/")

    assert response.status_code == 503
    assert time.monotonic() - started < 0.9
    release.set()
