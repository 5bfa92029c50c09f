"""The way of a task through the broker, where one is named. Maintained by the template."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from celery import current_app, shared_task
from celery.contrib.testing.worker import start_worker
from django.conf import settings

done: Queue[str] = Queue()


@shared_task
def note(text: str) -> None:
    done.put(text)


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    # Its own, as other workers may listen at this broker.
    name = f"test-{uuid.uuid4()}"
    monkeypatch.setenv("CELERY_STATE_FOLDER", str(tmp_path))
    current_app.conf.task_always_eager = False
    yield name
    current_app.conf.task_always_eager = True
    with current_app.connection_for_write() as connection:
        channel: Any = connection.channel()
        channel.queue_delete(name)
        channel.exchange_delete(name)


@pytest.mark.skipif(
    settings.CELERY_BROKER_URL == "memory://localhost", reason="CELERY_BROKER_URL names no broker"
)
def test_a_task_goes_through_the_broker_to_a_worker(queue: str) -> None:
    with start_worker(current_app, queues=[queue], pool="solo", perform_ping_check=False):
        note.apply_async(("through the broker",), queue=queue)

        assert done.get(timeout=60) == "through the broker"
