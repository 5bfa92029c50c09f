"""The task queue. Maintained by the template: change settings/base.py instead.

It is the same in every environment.
https://docs.celeryq.dev/en/stable/userguide/configuration.html
"""

import ssl
from pathlib import Path
from typing import Any

from celery.schedules import crontab

from common import heartbeat
from common.environment import ConfigurationError

from . import environment

# Without a broker, as in development and tests, a task runs where it is called.
CELERY_TASK_ALWAYS_EAGER = not environment.CELERY_BROKER_URL
CELERY_BROKER_URL = environment.CELERY_BROKER_URL or "memory://localhost"
CELERY_TASK_EAGER_PROPAGATES = True
CELERY_TIMEZONE = environment.TIME_ZONE

# What is to be done when; add yours in settings/base.py: CELERY_BEAT_SCHEDULE |= {...}
CELERY_BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "clear-expired-sessions": {
        "task": "common.tasks.clear_expired_sessions",
        "schedule": crontab(hour="3", minute="30"),
    },
}

# How much a worker takes on, and for how long.
CELERY_WORKER_CONCURRENCY = environment.CELERY_WORKER_CONCURRENCY or "auto"
CELERY_WORKER_PREFETCH_MULTIPLIER = environment.CELERY_WORKER_PREFETCH_MULTIPLIER
CELERY_WORKER_MAX_TASKS_PER_CHILD = environment.CELERY_WORKER_MAX_TASKS_PER_CHILD
CELERY_TASK_TIME_LIMIT = environment.CELERY_TASK_TIME_LIMIT
CELERY_TASK_SOFT_TIME_LIMIT = environment.CELERY_TASK_SOFT_TIME_LIMIT
if CELERY_TASK_SOFT_TIME_LIMIT >= CELERY_TASK_TIME_LIMIT:
    raise ConfigurationError(
        f"CELERY_TASK_SOFT_TIME_LIMIT is {CELERY_TASK_SOFT_TIME_LIMIT} s, but must be less than "
        f"CELERY_TASK_TIME_LIMIT, {CELERY_TASK_TIME_LIMIT} s."
    )

# A task is taken off the queue when it has ended, so that one whose worker dies is run again.
CELERY_TASK_ACKS_LATE = True
# When only its process dies, as for want of memory, it is sent again after a delay, and as often
# as max_retries says: a task that kills every process ends, too. Should that fail, it goes back.
CELERY_TASK_RETRY_ON_WORKER_LOST = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_DEFAULT_RETRY_DELAY = environment.CELERY_TASK_RETRY_DELAY
CELERY_TASK_MAX_RETRIES = environment.CELERY_TASK_MAX_RETRIES
# A worker that is stopped lets its tasks end for so long, then gives them back.
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = environment.CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT
CELERY_WORKER_ENABLE_SOFT_SHUTDOWN_ON_IDLE = environment.CELERY_WORKER_ENABLE_SOFT_SHUTDOWN_ON_IDLE

# A request that sends a task asks a broker that does not answer three times at the most, and
# fails within five seconds; workers and beat wait longer, see common/worker.py.
_answer_timeout = 1.2
_retry_once = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
CELERY_TASK_PUBLISH_RETRY_POLICY = _retry_once
CELERY_BROKER_CONNECTION_TIMEOUT = _answer_timeout
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_POOL_ACQUIRE_TIMEOUT = _answer_timeout
# @if broker == "redis"
_visibility_timeout = environment.CELERY_VISIBILITY_TIMEOUT
_longest_hold = CELERY_TASK_TIME_LIMIT * CELERY_WORKER_PREFETCH_MULTIPLIER
if _visibility_timeout <= _longest_hold:
    raise ConfigurationError(
        f"CELERY_VISIBILITY_TIMEOUT is {_visibility_timeout} s, but must be more than "
        f"CELERY_TASK_TIME_LIMIT x CELERY_WORKER_PREFETCH_MULTIPLIER, {_longest_hold} s, or a task "
        "that waits or runs in one worker is given to another, too."
    )
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {
    "visibility_timeout": _visibility_timeout,
    "unacked_restore_interval": environment.CELERY_RESTORE_INTERVAL,
    "unacked_restore_throttle": 1,
    "socket_connect_timeout": _answer_timeout,
    "socket_timeout": _answer_timeout,
    "socket_keepalive": True,
}
# By itself Celery would accept any certificate.
if CELERY_BROKER_URL.startswith("rediss:") and "ssl_cert_reqs" not in CELERY_BROKER_URL:
    CELERY_BROKER_USE_SSL = {"ssl_cert_reqs": ssl.CERT_REQUIRED}

# @else
CELERY_BROKER_TRANSPORT = None if CELERY_TASK_ALWAYS_EAGER else "common.rabbitmq:Transport"
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {
    # A task is sent when RabbitMQ has it, not when it has left this machine.
    "confirm_publish": True,
    "answer_timeout": _answer_timeout,
}
# By itself Celery would accept the certificate of any host.
if CELERY_BROKER_URL.startswith("amqps:"):
    CELERY_BROKER_USE_SSL = {"server_hostname": None}
# Queues that survive the loss of a node. A task for later waits in RabbitMQ, not in a worker: that
# takes exchanges of type topic.
CELERY_TASK_DEFAULT_QUEUE_TYPE = "quorum"
CELERY_TASK_DEFAULT_EXCHANGE_TYPE = "topic"
CELERY_TASK_CREATE_MISSING_QUEUE_TYPE = "quorum"
CELERY_TASK_CREATE_MISSING_QUEUE_EXCHANGE_TYPE = "topic"
CELERY_TASK_ROUTES: list[Any] = ["common.rabbitmq.route_retry"]
# When a connection is lost, RabbitMQ gives its tasks to others at once: here they must end.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True

# @endif
# Results are kept where there is a place for them, unless a task says ignore_result.
CELERY_RESULT_BACKEND = environment.CELERY_RESULT_BACKEND or None
CELERY_RESULT_EXPIRES = environment.CELERY_RESULT_EXPIRES
CELERY_TASK_IGNORE_RESULT = not CELERY_RESULT_BACKEND
CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = {"retry_policy": _retry_once}
CELERY_REDIS_SOCKET_CONNECT_TIMEOUT = _answer_timeout
CELERY_REDIS_SOCKET_TIMEOUT = _answer_timeout
if environment.CELERY_RESULT_BACKEND.startswith("rediss:"):
    CELERY_REDIS_BACKEND_USE_SSL = {"ssl_cert_reqs": ssl.CERT_REQUIRED}

# Request ids, heartbeats and the log, which is LOGGING's.
CELERY_IMPORTS = ["common.worker"]
CELERY_WORKER_CONSUMER = "common.worker:Consumer"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULER = "common.worker:Scheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = heartbeat.INTERVAL
CELERY_BEAT_SCHEDULE_FILENAME = str(
    Path(environment.CELERY_STATE_FOLDER or heartbeat.DEFAULT_FOLDER) / "beat-schedule"
)
