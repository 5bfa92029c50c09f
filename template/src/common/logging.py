"""Formats of log records. Maintained by the template: change LOGGING in settings/base.py."""

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime

# Where probes and Prometheus ask: their success is worth neither a line of a log nor a trace.
PROBES = frozenset({"/health", "/health/", "/ready", "/ready/", "/metrics"})

# Set by RequestIdMiddleware; empty outside of a request.
request_id: ContextVar[str] = ContextVar("request_id", default="")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One line of JSON for each record: time (UTC), level, logger, message, request_id.

    What a caller gives as ``extra`` becomes a key of its own when it is text, a number, a flag
    or None; an exception's traceback is under ``exception``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if current := request_id.get():
            entry["request_id"] = current
        entry |= {
            key: value
            for key, value in vars(record).items()
            if key not in _STANDARD and isinstance(value, str | int | float | None)
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            entry["stack"] = self.formatStack(record.stack_info)
        return json.dumps(entry)


class TextFormatter(logging.Formatter):
    """Time, level, logger, message and the request's id, for people at a terminal."""

    def __init__(self) -> None:
        super().__init__("{asctime} {levelname} {name}: {message}", "%H:%M:%S", style="{")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        """Return the line; the id comes last, where it does not push the message aside."""
        line = super().formatMessage(record)
        return f"{line} [{current}]" if (current := request_id.get()) else line
