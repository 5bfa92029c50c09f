"""How many tasks wait, for Prometheus. Maintained by the template: add queues in settings/base.py.

    python -m common.queues [port]

Serves /metrics on that port or 9101, and asks the broker whenever it is asked.
"""

import sys
from collections.abc import Iterator
from typing import Any

import django
from celery import current_app
from kombu import Connection
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from .environment import configuration_errors_end_the_process

PORT = 9101


class QueueCollector(Collector):
    """The length of each queue that the workers take tasks from."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Ask the broker; an error of it becomes the answer 500."""
        lengths = GaugeMetricFamily(
            "celery_queue_length", "Tasks that wait and that no worker has taken.", labels=["queue"]
        )
        with current_app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=0)
            for name in current_app.amqp.queues:
                lengths.add_metric([name], _length(connection, name))
        yield lengths


def _length(connection: Connection, name: str) -> int:
    # By the same question to every broker; it makes no queue.
    try:
        # Of a class of the transport's own, whose types nobody has written down.
        channel: Any = connection.channel()
        with channel:
            return int(channel.queue_declare(queue=name, passive=True).message_count)
    except connection.channel_errors:
        return 0  # there is no such queue: nothing was ever sent to it, or it is empty


def main() -> None:
    """Serve until the process is ended; the argument is a port instead of PORT."""
    with configuration_errors_end_the_process():
        django.setup()
    registry = CollectorRegistry()
    registry.register(QueueCollector())
    _, thread = start_http_server(int(next(iter(sys.argv[1:]), PORT)), registry=registry)
    thread.join()


if __name__ == "__main__":
    main()
