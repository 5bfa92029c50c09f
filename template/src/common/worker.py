"""What workers and beat add to Celery. Maintained by the template: use Celery's signals instead.

Loaded by them alone (CELERY_IMPORTS). https://docs.celeryq.dev/en/stable/userguide/extending.html
"""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from billiard.util import get_logger as get_pool_logger
from celery import Task
from celery.beat import PersistentScheduler, Service
from celery.bootsteps import StartStopStep
from celery.signals import beat_init, celeryd_init, setup_logging, task_postrun, task_prerun
from celery.worker import state
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu import Connection

from . import heartbeat
from .logging import request_id

logger = logging.getLogger(__name__)

# Seconds that a worker or beat waits for an answer of the broker, more than a request may: a task
# whose end the broker has not noted is run twice, and what beat cannot send is left out.
ANSWER_TIMEOUT = 15
_ANSWER_OPTIONS = {"answer_timeout", "socket_connect_timeout", "socket_timeout"}


@setup_logging.connect
def keep_logging(**_: object) -> None:
    """Leave the log to LOGGING: Celery makes one of its own where nobody answers this signal.

    What the pool says of its processes goes there, too; without a handler it would be bare text.
    """
    pool = get_pool_logger()
    pool.propagate = True
    pool.setLevel(logging.WARNING)


@celeryd_init.connect
def prepare_worker(conf: Any, **_: object) -> None:
    """Let a worker, and the tasks that it runs, wait longer for the broker."""
    _wait_longer(conf)


@beat_init.connect
def prepare_beat(sender: Service, **_: object) -> None:
    """Let beat wait longer for the broker."""
    _wait_longer(sender.app.conf)


def _wait_longer(conf: Any) -> None:
    conf.broker_connection_timeout = ANSWER_TIMEOUT
    options = conf.broker_transport_options
    options |= {name: ANSWER_TIMEOUT for name in options if name in _ANSWER_OPTIONS}
    conf.redis_socket_connect_timeout = conf.redis_socket_timeout = ANSWER_TIMEOUT
    conf.result_backend_transport_options = {}


@task_prerun.connect
def enter_request(task: Task[..., Any], task_id: str, **_: object) -> None:
    """Let the lines that a task logs carry the id of the request that sent it.

    Where no request did, as for a periodic task, it is the id of the first task of the chain.
    """
    request = task.request
    current = getattr(request, "request_id", "") or request_id.get() or request.root_id or task_id
    vars(request)["request_id_token"] = request_id.set(current)


@task_postrun.connect
def leave_request(task: Task[..., Any], **_: object) -> None:
    """Take the id back, as the process goes on to another task."""
    request_id.reset(vars(task.request)["request_id_token"])


def beat(name: str) -> None:
    """Touch the heartbeat file of ``name``; a disk that fails is told, and stops no task."""
    try:
        heartbeat.beat(name)
    except OSError as error:
        logger.error("The heartbeat of the %s cannot be written: %s.", name, error)


class Heartbeat(StartStopStep):
    """A worker's heartbeat, from the timer of its event loop: when that hangs, it stops."""

    requires = ("celery.worker.components:Timer",)

    def start(self, parent: Any) -> None:
        """Beat now, and from now on at an interval; ``parent`` is the worker."""
        heartbeat.make_folder()
        beat("worker")
        parent.timer.call_repeatedly(heartbeat.INTERVAL, beat, ("worker",))


class Consumer(CeleryConsumer):
    """Celery's consumer, which outlives its broker.

    While the broker is away the heart beats on: no restart would bring it back, and the tasks
    that run meanwhile would be killed.
    """

    # @if broker == "redis"
    task_consumer: Any
    _held: frozenset[str] = frozenset()

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Note what Redis has handed out; Celery would hand it back now, and crash in the attempt.

        Redis knows of no connections: no other worker gets the tasks that go on running here.
        """
        if self.task_consumer:
            self._held |= {request.message.delivery_tag for request in state.requests.values()}
            self.task_consumer.channel.do_restore = False
        super().on_connection_error_after_connected(exc)

    def on_ready(self) -> None:
        """After a connection was lost, hand back what only waited and keep what runs.

        The end of the latter is told to Redis over the new connection.
        """
        super().on_ready()
        channel = self.task_consumer.channel
        running = {request.message.delivery_tag: request for request in state.active_requests}
        for tag in self._held:
            if tag in running:
                running[tag].message.channel = channel
            else:
                channel.qos.restore_by_tag(tag)
        self._held = frozenset()

    # @else
    def connect(self) -> Connection:
        """Return a connection, over which every queue is declared but those that end with a reader.

        Celery binds all of them for delayed tasks, also one that only other workers read.
        """
        connection = super().connect()
        for queue in self.app.amqp.queues.values():
            if not queue.auto_delete:
                queue.bind(connection.default_channel).declare()
        return connection

    # @endif
    def ensure_connected(self, conn: Connection) -> Connection:
        """Return the connection once it stands, however long that takes."""

        def wait() -> None:
            beat("worker")
            state.maybe_shutdown()

        self.first_connection_attempt = False
        return _connect(conn, wait)


class Scheduler(PersistentScheduler):
    """Celery's scheduler with a heartbeat, which goes on while the broker is away."""

    def setup_schedule(self) -> None:
        """Open the file of what was sent when, in a folder that is this user's own."""
        heartbeat.make_folder()
        super().setup_schedule()

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due and return the seconds until the next call."""
        beat("beat")
        with _stop_postponed() as stop_if_asked:
            self._stop_if_asked = stop_if_asked
            seconds: float = super().tick(*args, **kwargs)
        return seconds

    def _ensure_connected(self) -> Connection:
        def wait() -> None:
            beat("beat")
            self._stop_if_asked()

        return _connect(self.connection, wait)


@contextmanager
def _stop_postponed() -> Iterator[Callable[[], None]]:
    """Let a signal to stop wait for the end; yield what stops before, called where that is safe.

    Celery's handler raises SystemExit, which the client of a broker may swallow while it sends:
    beat would go on, but the file of what was sent when is closed by then.
    """
    asked: list[int] = []
    handlers = {}
    # Only this thread may set handlers, and gets signals; a beat inside a worker has another one.
    if threading.current_thread() is threading.main_thread():
        for each in (signal.SIGTERM, signal.SIGINT):
            handlers[each] = signal.signal(each, lambda number, _: asked.append(number))

    def stop_if_asked() -> None:
        if asked:
            restore()
            signal.raise_signal(asked.pop())

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    try:
        yield stop_if_asked
    finally:
        restore()
    stop_if_asked()


def _connect(connection: Connection, wait: Callable[[], None]) -> Connection:
    def tell(error: Exception, seconds: float) -> None:
        logger.error(
            "The broker %s cannot be reached; next attempt in %.0f s: %s",
            connection.as_uri(),
            seconds,
            error,
        )

    return connection.ensure_connection(
        tell, interval_start=1, interval_step=1, interval_max=10, callback=wait
    )
