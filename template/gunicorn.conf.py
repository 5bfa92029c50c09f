"""Gunicorn in production. Maintained by the template: change it by the environment.

    gunicorn --config gunicorn.conf.py {@ package_name @}.wsgi:application

The variables are described in docs/configuration.md, gunicorn's settings at
https://docs.gunicorn.org/en/stable/settings.html
"""

import gc
import itertools
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from common.cpu import available_cpus
from common.environment import (
    ConfigurationError,
    Environment,
    configuration_errors_end_the_process,
)

env = Environment()

with configuration_errors_end_the_process():
    worker_class = env.text(
        "GUNICORN_WORKER_CLASS",
        "`gthread` serves slow clients best; `sync` needs a proxy that buffers; `gevent` holds "
        "thousands of waiting requests and needs `gunicorn[gevent]` as a dependency of yours.",
        default="gthread",
        choices=("gthread", "sync", "gevent"),
    )

if worker_class == "gevent":
    try:
        from gevent import monkey
    except ImportError:
        sys.exit(
            "GUNICORN_WORKER_CLASS is gevent, but gevent is not installed: "
            # @if package_manager == "uv"
            "add it with `uv add 'gunicorn[gevent]'`."
            # @else
            "add gunicorn[gevent] to requirements/project.txt."
            # @endif
        )
    # Before the application is loaded: with preload_app the workers' own patch comes too late.
    monkey.patch_all()
    # A request is a greenlet of its own, so that no other would find the connection it kept.
    os.environ["DATABASE_CONN_MAX_AGE"] = "0"

    # @if postgres_driver == "psycopg2"
    from common.gevent import make_psycopg2_cooperative

    make_psycopg2_cooperative()

    # @endif
with configuration_errors_end_the_process():
    # Only what shares the machine can reach the default; the Dockerfile sets 0.0.0.0.
    _host = env.text("HOST", "The address that gunicorn listens on.", default="127.0.0.1")
    _port = env.integer(
        "PORT",
        "The port that gunicorn listens on.",
        default=8000,
        minimum=1,
        maximum=65535,
    )
    bind = [f"[{_host}]:{_port}" if ":" in _host else f"{_host}:{_port}"]
    # Described among the variables of the settings.
    _metrics_port = Environment().integer("METRICS_PORT", "", default=0, maximum=65535)
    if _metrics_port == _port:
        raise ConfigurationError("METRICS_PORT is PORT: choose another, which no proxy reaches.")

    # Two for each processor and one to spare, of those that the container may use, not the
    # machine; a dozen at most, as more wait for the database rather than work.
    workers = (
        env.integer(
            "GUNICORN_WORKERS",
            "Worker processes; 0 for 2 x processors + 1, at most 12.",
            default=0,
        )
        or env.integer(
            "WEB_CONCURRENCY",
            "The same, by the name that platforms set; GUNICORN_WORKERS wins.",
            default=0,
        )
        or min(available_cpus() * 2 + 1, 12)
    )
    threads = env.integer(
        "GUNICORN_THREADS",
        "Threads of each worker, for gthread.",
        default=4,
        minimum=1,
    )
    loglevel = env.text(
        "GUNICORN_LOG_LEVEL",
        "The least severe of gunicorn's own messages that are logged.",
        default="info",
        choices=("debug", "info", "warning", "error", "critical"),
    )
    # More than the proxy's, or it sends a request into a connection that is being closed.
    keepalive = env.integer(
        "GUNICORN_KEEPALIVE",
        "Seconds that an idle connection is kept; more than the load balancer's idle timeout.",
        default=75,
    )
    graceful_timeout = env.integer(
        "GUNICORN_GRACEFUL_TIMEOUT",
        "Seconds that requests in flight have to end at a stop; less than the container's grace.",
        default=30,
        minimum=1,
    )

if worker_class == "sync":
    # More would make gunicorn take gthread instead.
    threads = 1

# Gunicorn would believe each client on this machine that says it came by HTTPS. Whether that is
# believed is decided in one place, the settings: by TRUST_X_FORWARDED_PROTO.
secure_scheme_headers: dict[str, str] = {}

# Restarted after so many requests, each at a slightly other time, as a guard against leaks.
max_requests = 1000
max_requests_jitter = 100

# For sync workers the longest request; for the others the longest silence of a hung worker.
timeout = 120

# Heartbeats in memory: on a disk that is slow or full they would stop, and with them the workers.
_memory = Path("/dev/shm")  # noqa: S108 (gunicorn makes its files there unguessable)
if _memory.is_dir():
    worker_tmp_dir = str(_memory)

if _metrics_port:
    bind += [bind[0].removesuffix(str(_port)) + str(_metrics_port)]
    # What the workers count. Set before the library is loaded, which reads it then.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(
        prefix="metrics-", dir=_memory if _memory.is_dir() else None
    )
    from common import metrics

# The application is loaded once and shared by the workers; see pre_fork.
preload_app = True

# No interface to the running server beside signals.
control_socket_disable = True

accesslog = "-"
errorlog = "-"
logger_class = "common.gunicorn.JsonLogger"


def pre_fork(server: Any, worker: Any) -> None:
    """Close what loading the application opened: workers that shared it would mix up rows.

    A connection, or a pool of them, that was made before the fork is the same socket in every
    worker, and one request reads the answer to another's query, with status 200.
    """
    from django.db import connections

    for alias in list(connections):
        connection = connections[alias]
        connection.close()
        if hasattr(connection, "close_pool"):
            connection.close_pool()
        del connections[alias]
    if _metrics_port:
        taken = {getattr(other, "metrics_number", None) for other in server.WORKERS.values()}
        worker.metrics_number = next(n for n in itertools.count(1) if n not in taken)
    # What is loaded by now stays. No worker looks through it for garbage, which at its end alone,
    # each thousand requests, takes longer than hundreds of them; nor gets a copy of its memory.
    gc.collect()
    gc.freeze()


def post_fork(server: Any, worker: Any) -> None:
    """Tell a worker which of the counters are its own."""
    if _metrics_port:
        metrics.worker = worker.metrics_number


def on_exit(server: Any) -> None:
    """Leave no counters behind."""
    if _metrics_port:
        shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
