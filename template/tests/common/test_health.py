"""The probes, as an orchestrator sees them. Maintained by the template."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

BROKEN = f"{__name__}.broken"
HUNG = f"{__name__}.hung"
SLOW = f"{__name__}.slow"

release = threading.Event()


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
def test_readiness_checks_the_dependencies(client: Client, path: str) -> None:
    response = client.get(path)

    assert response.status_code == 200
    assert response.json()["status"] == "ready"
    assert response.json()["checks"] == {"database": True, "cache": True}


def test_probes_are_answered_by_ip_and_by_plain_http(client: Client, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["example.com"]
    settings.SECURE_SSL_REDIRECT = True

    response = client.get(reverse("health"), headers={"host": "10.1.2.3:8000"})

    assert response.status_code == 200


def test_head_is_answered_without_a_body(client: Client) -> None:
    response = client.head(reverse("health"))

    assert response.status_code == 200
    assert response.content == b""


def test_post_is_refused(client: Client) -> None:
    response = client.post(reverse("ready"))

    assert response.status_code == 405


def test_a_failing_check_is_named_and_its_error_kept_back(
    client: Client, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.READINESS_CHECKS = {"mail": BROKEN}

    response = client.get(reverse("ready"))

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

    answers = [client.get(reverse("ready")).status_code for _ in range(3)]

    assert answers == [503, 503, 503]
    assert threading.active_count() == threads + 1
    release.set()
    settings.READINESS_TIMEOUT = 5
    assert client.get(reverse("ready")).status_code == 200


def test_a_slow_check_is_waited_for_each_time(client: Client, settings: Settings) -> None:
    settings.READINESS_CHECKS = {"archive": SLOW}

    assert [client.get(reverse("ready")).status_code for _ in range(2)] == [200, 200]


def test_a_probe_beside_another_is_told_what_was_known_before(
    client: Client, settings: Settings
) -> None:
    settings.READINESS_CHECKS = {"search": HUNG}
    settings.READINESS_TIMEOUT = 2
    release.set()
    assert client.get(reverse("ready")).status_code == 200
    release.clear()

    with ThreadPoolExecutor() as pool:
        first, second = (pool.submit(Client().get, reverse("ready")) for _ in range(2))
        statuses = {first.result().status_code, second.result().status_code}

    assert statuses == {200, 503}
    assert client.get(reverse("ready")).status_code == 503
    release.set()


def test_after_a_failure_a_probe_does_not_hold_its_thread_for_long(
    client: Client, settings: Settings
) -> None:
    settings.READINESS_CHECKS = {"queue": HUNG}
    settings.READINESS_TIMEOUT = 1
    release.clear()
    client.get(reverse("ready"))

    started = time.monotonic()
    response = client.get(reverse("ready"))

    assert response.status_code == 503
    assert time.monotonic() - started < 0.9
    release.set()
