"""Copier as fast as the checks of all variants need it, with the same result.

For every file Copier renders each part of its path and the name of the answers file, gathers all
answers for each of these, and asks git about the file; for every copy it parses copier.yml, and
makes a repository to see whether the template is a bundle. None of this changes what is rendered,
so that many copies in one process can share it or go without; a test renders without these
shortcuts, too, and finds the same bytes.
"""

from __future__ import annotations

from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import jinja2
from copier import Phase, _main, _template, _vcs
from copier._jinja_ext import get_yield_context

if TYPE_CHECKING:
    from collections.abc import Iterator

# What has been compiled, by its source, its name and the delimiters it is read with.
_compiled: dict[tuple[str, str | None, object], object] = {}
_compile: Any = jinja2.Environment.compile

# What copier.yml says, by its content.
_settings: dict[bytes, dict[str, Any]] = {}
_load: Any = _template.load_template_config

_render_string: Any = _main.Worker._render_string  # noqa: SLF001 (what is made faster is inside)
_render_context: Any = _main.Worker._render_context  # noqa: SLF001 (as above)
_is_git_bundle = _vcs.is_git_bundle


def _compile_once(
    environment: jinja2.Environment, source: object, name: str | None = None, *others: object
) -> object:
    if not isinstance(source, str):
        return _compile(environment, source, name, *others)
    key = (source, name, environment.lexer)  # Jinja has one lexer for each set of delimiters
    if key not in _compiled:
        _compiled[key] = _compile(environment, source, name, *others)
    else:
        _forget_yield(environment)
    return _compiled[key]


def _forget_yield(environment: jinja2.Environment) -> None:
    """Do what Copier's own extension does in a step that is left out here."""
    context = get_yield_context(environment)
    context.yield_name = context.yield_iterable = None


def _load_once(path: Path, *others: object) -> dict[str, Any]:
    content = path.read_bytes()
    if content not in _settings:
        _settings[content] = _load(path, *others)
    return deepcopy(_settings[content])


def _render_what_varies(worker: Any, string: object, *others: Any, **named: Any) -> object:  # noqa: ANN401 (as Copier calls it)
    if not isinstance(string, str) or "@" in string:  # as in every delimiter of the template
        return _render_string(worker, string, *others, **named)
    _forget_yield(worker.jinja_env)
    return string


def _gather_once(worker: Any) -> object:  # noqa: ANN401 (as Copier calls it)
    if Phase.current() is not Phase.RENDER:
        return _render_context(worker)
    # Everything has been asked by now.
    if "context of files" not in vars(worker):
        vars(worker)["context of files"] = _render_context(worker)
    return vars(worker)["context of files"]


@contextmanager
def fast_copier() -> Iterator[None]:
    """Let every copy in this process share what it can, and not ask git about each file."""
    answers_file = Path(".copier-answers.yml")
    with (
        patch.object(jinja2.Environment, "compile", _compile_once),
        patch.object(_template, "load_template_config", _load_once),
        patch.object(_main, "is_git_available", lambda: False),
        patch.object(_vcs, "is_git_bundle", lambda path: path.is_file() and _is_git_bundle(path)),
        patch.object(_main.Worker, "answers_relpath", property(lambda _: answers_file)),
        patch.object(_main.Worker, "_render_string", _render_what_varies),
        patch.object(_main.Worker, "_render_context", _gather_once),
    ):
        yield
