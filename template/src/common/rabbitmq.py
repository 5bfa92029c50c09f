"""What RabbitMQ needs. Maintained by the template: change settings/base.py instead."""

import re
from typing import Any

from celery import current_app
from kombu.transport import pyamqp

# A task for later carries its delay before its routing key, as 28 binary digits.
_DELAY = re.compile(r"([01]\.){28}")


class Connection(pyamqp.Connection):
    """A connection that raises TimeoutError when the broker leaves a question unanswered.

    Others wait for ever when the broker takes their bytes and does not answer, be it to open a
    channel, to declare a queue or to confirm a message. ``answer_timeout``, in seconds, is an
    entry of CELERY_BROKER_TRANSPORT_OPTIONS.
    """

    def __init__(self, *args: Any, answer_timeout: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.answer_timeout = answer_timeout

    def drain_events(self, timeout: float | None = None) -> Any:
        """Wait for the next frames, for ``timeout`` seconds if given."""
        return super().drain_events(self.answer_timeout if timeout is None else timeout)


class Transport(pyamqp.Transport):
    """Kombu's transport over such connections; CELERY_BROKER_TRANSPORT names it."""

    Connection = Connection


def route_retry(
    name: str, args: Any, kwargs: Any, options: dict[str, Any], **_: Any
) -> dict[str, str] | None:
    """Send a task that is tried again to the queue that it came from; one of CELERY_TASK_ROUTES.

    Such a task has a routing key, but names no queue: with a delay, Celery would take the default.
    """
    queue = _DELAY.sub("", options.get("routing_key") or "", count=1)
    if "queue" not in options and queue in current_app.amqp.queues:
        return {"queue": queue}
    return None
