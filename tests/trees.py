"""Rendered trees as text, and what must hold of any tree, whatever was answered."""

from __future__ import annotations

import ast
import configparser
import json
import re
import subprocess
import time
import tomllib
from dataclasses import dataclass
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

import yaml
from copier import run_copy
from packaging.requirements import InvalidRequirement, Requirement

from tests.combinations import given, name
from tests.engine import fast_copier
from tests.rendering import questions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tests.combinations import Answers

Problems = dict[str, str]
"""What is wrong, by the file and the variant that it is wrong in."""


@dataclass(frozen=True)
class Tree:
    """A rendered project."""

    path: Path
    variant: Answers

    @cached_property
    def texts(self) -> Mapping[str, str]:
        """The content of every file, by its path in the project with slashes."""
        return {
            path.relative_to(self.path).as_posix(): path.read_bytes().decode()
            for path in sorted(self.path.rglob("*"))
            if path.is_file()
        }

    @cached_property
    def folders(self) -> frozenset[str]:
        """The path of every folder, with slashes."""
        return frozenset(
            path.relative_to(self.path).as_posix() for path in self.path.rglob("*") if path.is_dir()
        )

    @cached_property
    def answers(self) -> Mapping[str, Any]:
        """What the answers file has recorded, derived answers included."""
        recorded: dict[str, Any] = yaml.safe_load(self.texts[".copier-answers.yml"])
        return recorded

    @property
    def package(self) -> str:
        """The name of the project's package."""
        return str(self.answers["package_name"])

    def __str__(self) -> str:
        return name(self.variant)


def render_all(template: Path, variants: Iterable[Answers], target: Path) -> tuple[float, float]:
    """Render each variant into a numbered folder; return the seconds by clock and by processor."""
    start = time.perf_counter(), time.process_time()
    with fast_copier():
        for number, variant in enumerate(variants):
            copy(template, target / f"{number:03}", given(variant))
    return time.perf_counter() - start[0], time.process_time() - start[1]


def copy(template: Path, target: Path, answers: Answers) -> Path:
    """Render the template in a folder with these answers and the defaults of the others."""
    run_copy(str(template), target, data=answers, defaults=True, quiet=True, unsafe=False)
    return target


def each_file(trees: Iterable[Tree]) -> Iterator[tuple[str, str, Tree]]:
    """Yield path, text and first tree of all files that differ: most are the same in many trees."""
    seen = set()
    for tree in trees:
        for path, text in tree.texts.items():
            if (path, text) not in seen:
                seen.add((path, text))
                yield path, text, tree


def find(trees: Iterable[Tree], look: Callable[[str, str], str | None]) -> Problems:
    """Return what `look(path, text)` finds wrong in the files of these trees."""
    return {
        f"{path} ({tree})": problem
        for path, text, tree in each_file(trees)
        if (problem := look(path, text))
    }


# ---- Languages ----------------------------------------------------------------------------------


class MalformedError(ValueError):
    """A file is not of the language that its name says."""


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which no key stands twice: the later would win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping; raise MalformedError for a key that is there twice."""
        names = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        keys = [self.construct_object(key, deep=True) for key in names]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise MalformedError(f"{twice[0]} stands twice in one mapping")
        return super().construct_mapping(node, deep)


class _Balanced(HTMLParser):
    """HTML in which every element that is opened is closed, in the right order."""

    VOID = frozenset(
        "area base br col embed hr img input link meta source track wbr".split()  # noqa: SIM905 (a list of words)
    )

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember that an element is open."""
        names = [attribute for attribute, _ in attrs]
        if len(names) != len(set(names)):
            raise MalformedError(f"<{tag}> has an attribute twice")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Leave an element that closes itself alone."""

    def handle_endtag(self, tag: str) -> None:
        """Close the element that was opened last."""
        if not self.open or self.open.pop() != tag:
            raise MalformedError(f"</{tag}> closes what is not open, line {self.getpos()[0]}")


def _html(text: str) -> None:
    parser = _Balanced()
    # Django's tags stand where HTML has text or part of an attribute; Django itself reads them.
    parser.feed(re.sub(r"\{%.*?%\}|\{#.*?#\}", "", text, flags=re.DOTALL))
    parser.close()
    if parser.open:
        raise MalformedError(f"<{parser.open[-1]}> is never closed")


def _xml(text: str) -> None:
    try:
        expat.ParserCreate().Parse(text, True)
    except expat.ExpatError as error:
        raise MalformedError(str(error)) from None


def _css(text: str) -> None:
    bare = re.sub(r"/\*.*?\*/|\"[^\"\n]*\"|'[^'\n]*'", "", text, flags=re.DOTALL)
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth < 0:
            raise MalformedError("a brace is closed that was not opened")
    if depth:
        raise MalformedError("a brace is never closed")


def _alloy(text: str) -> None:
    bare = re.sub(r'"(\\.|[^"\\\n])*"|//.*', "", text)
    while bare != (bare := re.sub(r"\{[^{}\[\]()]*\}|\[[^{}\[\]()]*\]|\([^{}\[\]()]*\)", "", bare)):
        pass
    if found := re.search(r'[][{}()"]', bare):
        raise MalformedError(f"{found[0]} has no other half")


def _environment(text: str) -> None:
    names = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            if not (found := re.fullmatch(r"([A-Z][A-Z0-9_]*)=\S*", line)):
                raise MalformedError(f"{line!r} is no NAME=value")
            names.append(found[1])
    if len(names) != len(set(names)):
        raise MalformedError("a name stands twice")


def _requirements(text: str) -> None:
    for line in text.splitlines():
        if line and not line.startswith(("#", "-r ", "-e ")):
            try:
                Requirement(line)
            except InvalidRequirement as error:
                raise MalformedError(f"{line!r}: {error}") from None


def _ini(text: str) -> None:
    configparser.ConfigParser().read_string(f"[top]\n{text}")


def _shell(text: str) -> None:
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MalformedError(done.stderr)


def _version(text: str) -> None:
    if not re.fullmatch(r"\d+\.\d+\n", text):
        raise MalformedError(f"{text!r} is no version")


def _anything(text: str) -> None:
    if "\0" in text:
        raise MalformedError("this is no text")


def _yaml(text: str) -> None:
    yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 (a SafeLoader)


# How each kind of file is read, by its name, or by what its name ends with. What `_anything`
# accepts has a linter (Dockerfile, Markdown), a test that uses it (ignore lists, Makefiles), or no
# syntax.
PARSERS: dict[str, Callable[[str], object]] = {
    ".alloy": _alloy,
    ".css": _css,
    ".dockerignore": _anything,
    ".editorconfig": _ini,
    ".env": _environment,
    ".env.example": _environment,
    ".gitattributes": _anything,
    ".gitignore": _anything,
    ".html": _html,
    ".ini": _ini,
    ".json": json.loads,
    ".md": _anything,
    ".mk": _anything,
    ".py": ast.parse,
    ".python-version": _version,
    ".sh": _shell,
    ".svg": _xml,
    ".toml": tomllib.loads,
    ".yaml": _yaml,
    ".yml": _yaml,
    "Caddyfile": _anything,
    "Dockerfile": _anything,
    "LICENSE": _anything,
    "Makefile": _anything,
    "deploy/docker/*.txt": _anything,
    "requirements/*.txt": _requirements,
}


def parser_of(path: str, text: str) -> Callable[[str], object] | None:
    """Return what reads a file, or None when PARSERS does not know its kind."""
    if re.match(r"#!.*\b(ba)?sh\b", text):
        return _shell
    whole = PurePosixPath(path)
    for pattern in (whole.name, whole.suffix):
        if pattern in PARSERS:
            return PARSERS[pattern]
    return next((PARSERS[each] for each in PARSERS if "/" in each and whole.match(each)), None)


def misread(path: str, text: str) -> str | None:
    """Return why a file is not of its language."""
    parse = parser_of(path, text)
    if parse is None:
        return "its kind is not known: add it to PARSERS"
    try:
        parse(text)
    except (SyntaxError, ValueError, configparser.Error, yaml.YAMLError) as error:
        return f"{error}"
    return None


# ---- Traces of the template ---------------------------------------------------------------------

# A delimiter or a statement that was not taken as such, for instance after a typo; and variables
# between the delimiters that other engines have.
LEFTOVER = re.compile(
    r"\{@|@\}|%@|@%"
    r"|^\s*(#|//|--|<!--)\s*@\s*(if|else|elif|endif|for|endfor|set|include|macro|raw)\b"
    rf"|\{{\{{\s*({'|'.join(questions())})\b",
    re.MULTILINE,
)


def left_over(_: str, text: str) -> str | None:
    """Return what the rendering has left of a variable or a statement."""
    found = LEFTOVER.search(text)
    return text[found.start() : found.start() + 60] if found else None


# ---- Tidiness -----------------------------------------------------------------------------------

UNTIDY = {
    "a carriage return": re.compile(r"\r"),
    "a blank at the end of a line": re.compile(r"[ \t]\n"),
    "a line break that only some tools see": re.compile("[\v\f\x1c\x1d\x1e\x85\u2028\u2029]"),
    "a tab": re.compile(r"\t"),
    "more blank lines than two": re.compile(r"\n\n\n\n"),
    "no blank line above a heading": re.compile(r"[^\n]\n# ---- "),
    "a blank line at the beginning": re.compile(r"\A\n"),
    "a blank line at the end": re.compile(r"\n\n\Z"),
    "no newline at the end": re.compile(r"[^\n]\Z"),
}
# Recipes of make and git's own files are written with tabs.
TABS = ("Caddyfile", "Makefile", ".mk")


def untidy(path: str, text: str) -> str | None:
    """Return what is wrong with the white space of a file."""
    found = [
        problem
        for problem, pattern in UNTIDY.items()
        if pattern.search(text) and not (problem == "a tab" and path.endswith(TABS))
    ]
    return ", ".join(found) or None
