"""Error reports to Sentry. Maintained by the template: change settings/production.py instead.

https://docs.sentry.io/platforms/python/integrations/django/
"""

from typing import Any

import sentry_sdk
from django.conf import settings
from sentry_sdk.integrations.atexit import AtexitIntegration

from .environment import ConfigurationError
from .logging import PROBES

# What a report says of a request: nothing that a user has typed, or is known by.
# https://docs.sentry.io/platforms/python/configuration/options/#data_collection
_COLLECTED: Any = {
    "user_info": False,
    "cookies": {"mode": "off"},
    "http_headers": {
        "request": {"mode": "allowlist", "terms": ["accept", "content-", "host", "x-request-id"]}
    },
    "http_bodies": [],
    "url_query_params": {"mode": "off"},
    "database_query_data": False,
    "queues": False,
    "stack_frame_variables": False,
}


def start_sentry(*, dsn: str, environment: str, release: str, traces_sample_rate: float) -> None:
    """Start reporting: no personal data, no traces of probes and static files.

    ``traces_sample_rate`` is the share of everything else whose timing is traced, from 0 to 1.
    An unreachable server costs nothing: reports are sent from a thread and dropped.
    Raises ConfigurationError when ``dsn`` is none.
    """

    def sample(context: dict[str, Any]) -> float:
        path = context.get("wsgi_environ", {}).get("PATH_INFO", "")
        untraced = path in PROBES or path.startswith(settings.STATIC_URL)
        return 0.0 if untraced else traces_sample_rate

    try:
        sentry_sdk.init(
            dsn=dsn,
            environment=environment,
            release=release,
            traces_sampler=sample,
            data_collection=_COLLECTED,
            # Says nothing when the process ends, as its own text is no line of JSON.
            integrations=[AtexitIntegration(callback=lambda pending, timeout: None)],
        )
    except sentry_sdk.utils.BadDsn:
        raise ConfigurationError(
            "SENTRY_DSN is not what Sentry calls a DSN: copy it from the project's settings there."
        ) from None
