"""The id that joins a request's log lines. Maintained by the template."""

import json
import logging
import sys

import pytest
from django.test import Client
from django.urls import reverse

from common.logging import JsonFormatter, TextFormatter, request_id

pytestmark = pytest.mark.django_db


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "test", "levelname": "INFO", "msg": message})
    vars(made).update(extra)
    return made


def test_a_callers_id_is_kept(client: Client) -> None:
    response = client.get(reverse("admin:login"), headers={"x-request-id": "abc-123"})

    assert response.headers["X-Request-ID"] == "abc-123"


@pytest.mark.parametrize("given", ["", "two words", "line\nbreak", "x" * 129])
def test_an_unusable_id_is_replaced(client: Client, given: str) -> None:
    response = client.get(reverse("admin:login"), headers={"x-request-id": given})

    assert response.headers["X-Request-ID"] != given
    assert len(response.headers["X-Request-ID"]) == 32


def test_a_record_is_one_line_of_json_with_the_id() -> None:
    token = request_id.set("abc-123")
    try:
        line = JsonFormatter().format(record("two\nlines", status=200, request=object()))
    finally:
        request_id.reset(token)

    entry = json.loads(line)
    assert "\n" not in line
    assert entry["message"] == "two\nlines"
    assert entry["request_id"] == "abc-123"
    assert entry["status"] == 200
    assert "request" not in entry


def test_a_traceback_is_part_of_the_line() -> None:
    try:
        raise ValueError("the reason")
    except ValueError:
        line = JsonFormatter().format(record("failed", exc_info=sys.exc_info()))

    assert "ValueError: the reason" in json.loads(line)["exception"]


def test_text_ends_with_the_id() -> None:
    token = request_id.set("abc-123")
    try:
        line = TextFormatter().format(record("done"))
    finally:
        request_id.reset(token)

    assert line.endswith("test: done [abc-123]")
