"""Whose address the log of accesses has. Maintained by the template."""

import pytest
from gunicorn.config import Config

from common.gunicorn import JsonLogger

PROXY = "10.0.0.2"


@pytest.mark.parametrize(
    ("trusted", "forwarded", "address"),
    [
        ("1", "203.0.113.7", "203.0.113.7"),
        # What a client says itself, the proxy passes on before what it has seen.
        ("1", "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("1", "", PROXY),
        ("0", "203.0.113.7", PROXY),
    ],
)
def test_the_address_is_the_one_that_the_proxy_has_seen(
    monkeypatch: pytest.MonkeyPatch, trusted: str, forwarded: str, address: str
) -> None:
    monkeypatch.setenv("TRUST_X_FORWARDED_PROTO", trusted)
    logger = JsonLogger(Config())

    assert logger.client({"REMOTE_ADDR": PROXY, "HTTP_X_FORWARDED_FOR": forwarded}) == address
