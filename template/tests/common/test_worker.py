"""What workers and beat add to Celery. Maintained by the template."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import current_app
from celery.signals import before_task_publish, setup_logging, task_postrun, task_prerun

from common import heartbeat, worker
from common.logging import request_id
from common.tasks import clear_expired_sessions


@pytest.fixture
def current_request() -> Iterator[str]:
    token = request_id.set("the-request")
    yield "the-request"
    request_id.reset(token)


def test_a_task_is_sent_with_the_id_of_its_request(current_request: str) -> None:
    headers: dict[str, str] = {}

    before_task_publish.send(sender="a task", headers=headers)

    assert headers["request_id"] == current_request


def test_a_task_that_is_sent_again_keeps_its_id(current_request: str) -> None:
    headers = {"request_id": "the first"}

    before_task_publish.send(sender="a task", headers=headers)

    assert headers["request_id"] == "the first"


@pytest.mark.parametrize(
    ("headers", "current"),
    [
        ({"request_id": "the-request", "root_id": "root"}, "the-request"),
        ({"root_id": "root"}, "root"),
    ],
)
def test_a_task_has_the_id_while_it_runs(headers: dict[str, str], current: str) -> None:
    task = clear_expired_sessions
    task.push_request(**headers)
    try:
        task_prerun.send(sender=task, task_id="id", task=task)
        during = request_id.get()
        task_postrun.send(sender=task, task_id="id", task=task)
    finally:
        task.pop_request()

    assert (during, request_id.get()) == (current, "")


def test_the_log_is_left_to_the_settings() -> None:
    receivers = setup_logging.send(sender=None)

    assert (worker.keep_logging, None) in receivers
    assert logging.getLogger("multiprocessing").propagate


def test_all_tasks_have_the_retries_of_the_settings() -> None:
    conf = current_app.conf

    assert clear_expired_sessions.max_retries == conf.task_max_retries
    assert clear_expired_sessions.default_retry_delay == conf.task_default_retry_delay


@pytest.fixture
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    monkeypatch.setenv("CELERY_STATE_FOLDER", str(folder))
    heartbeat.make_folder()
    return folder


def probe(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "common.heartbeat", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_a_heartbeat_is_seen(state_folder: Path) -> None:
    worker.beat("worker")

    assert probe("worker").returncode == 0


def test_a_process_that_never_beat_is_not_alive(state_folder: Path) -> None:
    done = probe("beat")

    assert done.returncode == 1
    assert done.stderr.startswith("There is no heartbeat of a beat in")


def test_a_process_that_beats_no_more_is_not_alive(state_folder: Path) -> None:
    worker.beat("worker")
    old = time.time() - heartbeat.MAX_AGE - 1
    os.utime(state_folder / "worker.heartbeat", (old, old))

    done = probe("worker")

    assert done.returncode == 1
    assert done.stderr.startswith("The heartbeat of the worker is 61 s old")


def test_a_disk_that_fails_stops_no_task(
    state_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Whatever levels this project has set.
    caplog.set_level("ERROR", logger=__name__)
    monkeypatch.setattr(worker, "logger", logging.getLogger(__name__))
    state_folder.rmdir()

    worker.beat("worker")

    assert "The heartbeat of the worker cannot be written" in caplog.text


def test_the_folder_is_for_its_user_alone(state_folder: Path) -> None:
    assert state_folder.stat().st_mode & 0o777 == 0o700


def test_a_default_folder_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CELERY_STATE_FOLDER", raising=False)
    monkeypatch.setattr(heartbeat, "DEFAULT_FOLDER", tmp_path)
    monkeypatch.setattr(heartbeat, "USER", tmp_path.stat().st_uid + 1)

    with pytest.raises(PermissionError, match="belongs to another user"):
        heartbeat.make_folder()
