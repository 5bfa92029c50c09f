"""The id that joins a request's log lines. Maintained by the template."""

import json
import logging
import sys

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from common.logging import JsonFormatter, TextFormatter, request_id
from common.middleware import RequestIdMiddleware


def answer(given: str) -> HttpResponse:
    """Return the response to a request with this id, of a view that says which id it has seen."""
    middleware = RequestIdMiddleware(lambda request: HttpResponse(request_id.get()))
    response = middleware(RequestFactory().get("/", headers={"x-request-id": given}))
    assert isinstance(response, HttpResponse)
    return response


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "test", "levelname": "INFO", "msg": message})
    vars(made).update(extra)
    return made


def test_a_callers_id_is_kept() -> None:
    response = answer("abc-123")

    assert response.headers["X-Request-ID"] == "abc-123"
    assert response.content == b"abc-123"
    assert request_id.get() == ""


@pytest.mark.parametrize("given", ["", "two words", "line\nbreak", "x" * 129])
def test_an_unusable_id_is_replaced(given: str) -> None:
    response = answer(given)

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
