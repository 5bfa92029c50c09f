"""The database and the cache. Maintained by the template: change settings/base.py instead.

https://docs.djangoproject.com/en/{@ django_version @}/ref/databases/
"""

from typing import Any

from common.environment import PROJECT_DIR

from . import environment

__all__ = ["CACHES", "DATABASES"]

_default: dict[str, Any] = environment.DATABASE or {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": PROJECT_DIR / "db.sqlite3",
}

if _default["ENGINE"] == "django.db.backends.sqlite3":
    # Readers beside a writer, and writers that queue rather than fail.
    _default["OPTIONS"] = {
        "timeout": 5,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    # Every wait has an end: libpq itself would wait for minutes.
    _options: dict[str, int | str] = {
        "connect_timeout": environment.DATABASE_CONNECT_TIMEOUT,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60_000,
    }
    if environment.PGBOUNCER:
        # In transaction mode the next statement may reach another server connection, so that
        # a cursor kept on the server is lost; and PgBouncer refuses the startup parameter
        # "options": set the timeout with ALTER ROLE … SET statement_timeout.
        _default["DISABLE_SERVER_SIDE_CURSORS"] = True
        _default["CONN_MAX_AGE"] = 0
    else:
        _options["options"] = (
            f"-c statement_timeout={environment.DATABASE_STATEMENT_TIMEOUT * 1000}"
        )
        _default["CONN_MAX_AGE"] = environment.DATABASE_CONN_MAX_AGE
        _default["CONN_HEALTH_CHECKS"] = True
    # What DATABASE_URL says after its question mark wins.
    _default["OPTIONS"] = {**_options, **_default.get("OPTIONS", {})}

# psycopg's own pool instead of kept connections, for gevent and ASGI, in settings/production.py:
# @if postgres_driver == "psycopg"
#   DATABASES["default"] |= {"CONN_MAX_AGE": 0}
#   DATABASES["default"]["OPTIONS"]["pool"] = {"max_size": 4, "timeout": 3}
# @endif
DATABASES = {"default": _default}

_cache: dict[str, Any] = environment.CACHE
# A server may be shared with other services.
_cache.setdefault("KEY_PREFIX", "{@ project_slug @}")
if "redis" in _cache["BACKEND"]:
    # A cache that does not answer costs a request one second, not the default five.
    _cache["OPTIONS"] = {
        "socket_connect_timeout": 1,
        "socket_timeout": 1,
        **_cache.get("OPTIONS", {}),
    }

CACHES = {"default": _cache}
