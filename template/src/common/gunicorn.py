"""Gunicorn's log as lines of JSON, without the probes. Maintained by the template."""

import logging
import sys
from collections.abc import MutableMapping
from datetime import timedelta
from typing import Any

from gunicorn.glogging import Logger

from .environment import Environment, configuration_errors_end_the_process
from .logging import PROBES, JsonFormatter


class JsonLogger(Logger):
    """Write errors and accesses as the application does; gunicorn.conf.py names this class."""

    def setup(self, cfg: Any) -> None:
        """Let gunicorn open its logs, then have them written as the application's is."""
        super().setup(cfg)
        # Described among the variables of the settings.
        with configuration_errors_end_the_process():
            self.behind_proxy = Environment().flag("TRUST_X_FORWARDED_PROTO", "")
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            handler.setFormatter(JsonFormatter())
            # Gunicorn's own `-` is the standard error for errors, and one log is easier to read.
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr:
                handler.setStream(sys.stdout)

    def access(
        self, resp: Any, req: Any, environ: MutableMapping[str, Any], request_time: timedelta
    ) -> None:
        """Write one record for a request; a probe that passed is none worth keeping.

        The query string is left out, as it may hold what no log should.
        """
        if not self.access_log_enabled:
            return
        status = int(str(resp.status).split(maxsplit=1)[0])
        # A request that gunicorn refuses itself has got no further than its own address.
        path = environ.get("PATH_INFO") or environ["RAW_URI"].partition("?")[0]
        if path in PROBES and status < 400:
            return
        method = environ["REQUEST_METHOD"]
        self.access_log.info(
            "%s %s %s",
            method,
            path,
            status,
            extra={
                "method": method,
                "path": path,
                "status": status,
                "duration_ms": round(request_time.total_seconds() * 1000, 1),
                "bytes": getattr(resp, "sent", 0),
                "remote_addr": self.client(environ),
                "user_agent": environ.get("HTTP_USER_AGENT", ""),
                "request_id": next(
                    (value for name, value in resp.headers if name == "X-Request-ID"), ""
                ),
            },
        )

    def client(self, environ: MutableMapping[str, Any]) -> str:
        """Return the address of who has asked, whom the proxy in front of the service has seen.

        A proxy adds that address at the end; whatever stands before it a client can make up.
        """
        forwarded = environ.get("HTTP_X_FORWARDED_FOR", "") if self.behind_proxy else ""
        return forwarded.rpartition(",")[2].strip() or environ.get("REMOTE_ADDR", "")
