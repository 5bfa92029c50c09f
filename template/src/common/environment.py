"""How this service reads its environment: typed, documented, and refused with a sentence.

Maintained by the template: declare variables of your own in settings/base.py, as
settings/defaults/environment.py and gunicorn.conf.py do, with an Environment of your own.

Importing this module completes the process environment with the file ``.env`` beside
manage.py, where there is one; what the environment already holds wins. ``NAME_FILE`` may
name a file to read ``NAME`` from, as Docker and Kubernetes mount secrets; an empty
one says nothing.
"""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import environ
from django.core.exceptions import ImproperlyConfigured
from environ.fileaware_mapping import FileAwareMapping

PROJECT_DIR = Path(__file__).resolve().parents[2]

environ.Env.read_env(PROJECT_DIR / ".env")

# By name, as Python 3.14 has no parentheses around them, and others have.
_NO_TIME_ZONE = (ZoneInfoNotFoundError, ValueError, OSError)
_NO_URL = (ValueError, ImproperlyConfigured)


class ConfigurationError(ImproperlyConfigured):
    """A variable that is missing or malformed; the message is one sentence that names it."""


@contextmanager
def configuration_errors_end_the_process() -> Iterator[None]:
    """Print a ConfigurationError as its one sentence and exit with status 1, no traceback."""
    try:
        yield
    except ConfigurationError as error:
        sys.exit(str(error))


@dataclass(frozen=True)
class Variable:
    """One documented variable: a row of the table in docs/configuration.md."""

    name: str
    kind: str
    default: str
    required: bool
    meaning: str


class Environment:
    """Read variables by type and remember each for the documentation.

    Every method takes the variable's name and one sentence on its meaning, and returns its
    value, or the default when the variable is missing or empty. A value that is not of the type
    raises ConfigurationError. ``required`` marks what production does not start without.
    """

    # Of all readers: a project's own variables are required like those of the defaults.
    _required: ClassVar[list[str]] = []
    _is_production: ClassVar[bool] = False

    def __init__(self) -> None:
        self._values = FileAwareMapping(cache=False)
        self.variables: list[Variable] = []

    def text(
        self,
        name: str,
        meaning: str,
        *,
        default: str = "",
        required: bool = False,
        choices: Sequence[str] = (),
    ) -> str:
        """Return the variable as text; ``choices`` are the only values it may have, in any case."""
        kind = " or ".join(f"`{choice}`" for choice in choices) or "text"
        value = self._read(name, meaning, kind, default, required=required)
        if not choices:
            return value
        known = {choice.lower(): choice for choice in choices}
        if value.lower() not in known:
            raise self._malformed(name, value, f"one of {', '.join(choices)}")
        return known[value.lower()]

    def flag(self, name: str, meaning: str, *, default: bool = False) -> bool:
        """Return true for 1, true, yes, on and false for 0, false, no, off, in any case."""
        value = self._read(name, meaning, "flag", "1" if default else "0")
        if value.lower() in {"1", "true", "yes", "on"}:
            return True
        if value.lower() in {"0", "false", "no", "off"}:
            return False
        raise self._malformed(name, value, "1 or 0")

    def integer(
        self,
        name: str,
        meaning: str,
        *,
        default: int,
        minimum: int = 0,
        maximum: int | None = None,
    ) -> int:
        """Return a whole number from ``minimum`` to ``maximum``; the meaning says the unit."""
        value = self._read(name, meaning, "whole number", str(default))
        try:
            number = int(value)
        except ValueError:
            raise self._malformed(name, value, "a whole number") from None
        if number < minimum:
            raise self._malformed(name, value, f"a whole number of at least {minimum}")
        if maximum is not None and number > maximum:
            raise self._malformed(name, value, f"a whole number of at most {maximum}")
        return number

    def number(
        self,
        name: str,
        meaning: str,
        *,
        default: float,
        minimum: float = 0.0,
        maximum: float = float("inf"),
    ) -> float:
        """Return a number between ``minimum`` and ``maximum``; the meaning says the unit."""
        value = self._read(name, meaning, "number", str(default))
        try:
            number = float(value)
        except ValueError:
            raise self._malformed(name, value, "a number") from None
        if not minimum <= number <= maximum:
            raise self._malformed(name, value, f"a number from {minimum} to {maximum}")
        return number

    def words(
        self,
        name: str,
        meaning: str,
        *,
        pattern: str = "",
        expected: str = "",
        required: bool = False,
    ) -> list[str]:
        """Return the variable split at its commas, without blanks or empty parts.

        Where there is a ``pattern``, each part must match it; ``expected`` says what it stands for.
        """
        value = self._read(name, meaning, "comma-separated list", "", required=required)
        words = [word.strip() for word in value.split(",") if word.strip()]
        if pattern and not all(re.fullmatch(pattern, word) for word in words):
            raise self._malformed(name, value, expected)
        return words

    def time_zone(self, name: str, meaning: str, *, default: str) -> str:
        """Return the name of a time zone."""
        value = self._read(name, meaning, "time zone", default)
        try:
            ZoneInfo(value)
        except _NO_TIME_ZONE:
            raise self._malformed(name, value, "a time zone such as Europe/Berlin") from None
        return value

    def language(self, name: str, meaning: str, *, default: str) -> str:
        """Return the code of a language that Django speaks, or of a dialect of it."""
        # Not above: gunicorn.conf.py imports this module before gevent patches the process, and
        # gevent's look at every object would then load the settings, too early for the patch.
        from django.conf import global_settings

        value = self._read(name, meaning, "language code", default)
        known = {code.partition("-")[0] for code, _ in global_settings.LANGUAGES}
        if value.lower().partition("-")[0] not in known:
            raise self._malformed(name, value, "a language code such as en-us or de")
        return value

    def url(
        self,
        name: str,
        meaning: str,
        *,
        schemes: Sequence[str],
        default: str = "",
        required: bool = False,
    ) -> str:
        """Return a URL that has one of ``schemes``, or the default.

        The message of an error leaves the value out, as such URLs hold passwords.
        """
        kind = "URL: " + ", ".join(f"`{scheme}://`" for scheme in schemes)
        value = self._read(name, meaning, kind, default, required=required)
        if value and not value.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            expected = ", ".join(f"{scheme}://" for scheme in schemes)
            raise ConfigurationError(
                f"{name} is not a URL that starts with one of {expected}: "
                "correct it in the environment or in .env."
            )
        self._parsed(name, _last_port, value)
        return value

    def database_url(self, name: str, meaning: str, **options: Any) -> dict[str, Any]:
        """Return the URL as an entry of DATABASES, empty when missing; keywords as for url()."""
        value = self.url(name, meaning, **options)
        database = self._parsed(name, environ.Env.db_url_config, value)
        if database and not database["NAME"]:
            raise ConfigurationError(f"{name} names no database: add it as in scheme://host/name.")
        return database

    def cache_url(self, name: str, meaning: str, **options: Any) -> dict[str, Any]:
        """Return the URL as an entry of CACHES, empty when missing; keywords as for url()."""
        return self._parsed(name, environ.Env.cache_url_config, self.url(name, meaning, **options))

    def email_url(self, name: str, meaning: str, **options: Any) -> dict[str, Any]:
        """Return the URL as options of Django's SMTP backend, empty when missing.

        Parsed here, as django-environ takes smtps for STARTTLS and knows no default port.
        """
        return self._parsed(name, _email_options, self.url(name, meaning, **options))

    def require(self) -> None:
        """Raise ConfigurationError naming each variable that production needs and has not.

        Those of every Environment count, and from now on each that is read, as it is read.
        """
        Environment._is_production = True
        self._refuse_missing(Environment._required)

    def _refuse_missing(self, required: Iterable[str]) -> None:
        missing = [name for name in dict.fromkeys(required) if not self._value(name)]
        if missing:
            raise ConfigurationError(
                f"Production does not start without {', '.join(missing)}: "
                "set it in the environment or in .env (see docs/configuration.md)."
            )

    def _read(
        self, name: str, meaning: str, kind: str, default: str, *, required: bool = False
    ) -> str:
        self.variables.append(Variable(name, kind, default, required, meaning))
        if required:
            Environment._required.append(name)
            if Environment._is_production:
                self._refuse_missing([name])
        return self._value(name) or default

    def _value(self, name: str) -> str:
        """Return the stripped value, or an empty text; a file ends with a newline of its own."""
        try:
            value = str(self._values.get(name, "")).strip()
        except OSError as error:
            raise ConfigurationError(
                f"{name}_FILE names {error.filename}, which cannot be read ({error.strerror}): "
                "correct the path or the file's mode."
            ) from None
        except UnicodeDecodeError:
            raise ConfigurationError(f"{name}_FILE names a file that is not UTF-8 text.") from None
        # A secret that is optional is mounted in any case, and empty where nobody gave it.
        return value or os.environ.get(name, "").strip()

    @staticmethod
    def _malformed(name: str, value: str, expected: str) -> ConfigurationError:
        return ConfigurationError(
            f"{name} is {value!r}, but must be {expected}: "
            "correct it in the environment or in .env."
        )

    @staticmethod
    def _parsed(name: str, parse: Callable[[str], dict[str, Any]], url: str) -> dict[str, Any]:
        if not url:
            return {}
        try:
            return parse(url)
        except _NO_URL:
            raise ConfigurationError(
                f"{name} is not a URL that can be read: write special characters of its parts "
                "as percent codes and check the port."
            ) from None


def _last_port(url: str) -> dict[str, Any]:
    # A URL may name several hosts, and its password may hold what separates them.
    return {"port": urlsplit("//" + re.split("://|[@,;]", url)[-1]).port}


def _email_options(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "host": parts.hostname,
        "port": parts.port or {"smtp": 25, "smtp+tls": 587, "smtps": 465}[parts.scheme],
        "username": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "use_tls": parts.scheme == "smtp+tls",
        "use_ssl": parts.scheme == "smtps",
        "timeout": 10,
    }
