"""Copier as fast as the checks of all variants need it, with the same result.

For every file Copier compiles each part of its path anew, renders the name of the answers file and
asks git about it, and for every copy it parses copier.yml. None of this changes what is rendered,
so that many copies in one process can share it or go without; a test renders without these
shortcuts, too, and finds the same bytes.
"""

from __future__ import annotations

from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import PropertyMock, patch

import jinja2
from copier import _main, _template
from copier._jinja_ext import get_yield_context

if TYPE_CHECKING:
    from collections.abc import Iterator

# What has been compiled, by its source, its name and the delimiters it is read with.
_compiled: dict[tuple[str, str | None, object], object] = {}
_compile: Any = jinja2.Environment.compile

# What copier.yml says, by its content.
_settings: dict[bytes, dict[str, Any]] = {}
_load: Any = _template.load_template_config


def _compile_once(
    environment: jinja2.Environment, source: object, name: str | None = None, *others: object
) -> object:
    if not isinstance(source, str):
        return _compile(environment, source, name, *others)
    key = (source, name, environment.lexer)  # Jinja has one lexer for each set of delimiters
    if key not in _compiled:
        _compiled[key] = _compile(environment, source, name, *others)
    else:
        # Copier's own extension does this in a step that is left out here.
        context = get_yield_context(environment)
        context.yield_name = context.yield_iterable = None
    return _compiled[key]


def _load_once(path: Path, *others: object) -> dict[str, Any]:
    content = path.read_bytes()
    if content not in _settings:
        _settings[content] = _load(path, *others)
    return deepcopy(_settings[content])


@contextmanager
def fast_copier() -> Iterator[None]:
    """Let every copy in this process share what it can, and not ask git about each file."""
    with (
        patch.object(jinja2.Environment, "compile", _compile_once),
        patch.object(_template, "load_template_config", _load_once),
        patch.object(_main, "is_git_available", return_value=False),
        patch.object(
            _main.Worker,
            "answers_relpath",
            new_callable=PropertyMock,
            return_value=Path(".copier-answers.yml"),
        ),
    ):
        yield
