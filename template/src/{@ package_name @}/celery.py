"""The Celery application. Maintained by the template: change settings/base.py instead.

    celery --app {@ package_name @} worker
    celery --app {@ package_name @} beat

Every process of the service loads this, also before there are settings: nothing here needs them.
"""

import os
import sys
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import before_task_publish
from django.conf import settings

from common.environment import ConfigurationError, configuration_errors_end_the_process
from common.logging import request_id

os.environ.setdefault(
    "DJANGO_SETTINGS_MODULE",
    "{@ package_name @}.settings.production",
)

_program = Path(sys.argv[0])
if _program.stem == "celery" or _program.parts[-2:] == ("celery", "__main__.py"):
    # This is `celery …` or `python -m celery …`.
    if "worker" in sys.argv and "REMAP_SIGTERM" not in os.environ:
        # SIGTERM, by which Docker and Kubernetes stop a worker, is to begin a soft shutdown, and
        # is that when Celery's command starts with this variable: so it starts once more.
        # https://docs.celeryq.dev/en/stable/userguide/workers.html#soft-shutdown
        os.environ["REMAP_SIGTERM"] = "SIGQUIT"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (no shell)
    # What is wrong with a variable is told here, by one sentence; Celery would add a traceback.
    with configuration_errors_end_the_process():
        if settings.CELERY_BROKER_URL == "memory://localhost":
            raise ConfigurationError("CELERY_BROKER_URL is missing: Celery needs a broker.")

app = Celery("{@ project_slug @}")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.steps["worker"].add("common.worker:Heartbeat")


@app.on_after_configure.connect
def _set_retries(sender: Celery, source: Any, **_: object) -> None:
    """Give all tasks the settings' delay and number of retries, for which Celery has no setting."""
    sender.Task.default_retry_delay = source.task_default_retry_delay
    sender.Task.max_retries = source.task_max_retries


@before_task_publish.connect
def _carry_request_id(headers: dict[str, Any], **_: object) -> None:
    """Send the request's id along; a task that is sent again keeps the id it came with."""
    if current := request_id.get():
        headers.setdefault("request_id", current)
