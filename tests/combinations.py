"""Which sets of answers stand for all of them; read from copier.yml, so that a new question counts.

Most faults of a template need two choices at most to show, so every pair of choices is in some
variant: a few dozen variants instead of tens of thousands. The table of pairs is made here, as the
packages that make one know nothing of questions that are not asked after certain answers, or have
had no release for years.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any

import jinja2
import jinja2.meta
import yaml
from jinja2_ansible_filters import AnsibleCoreFiltersExtension

from tests.rendering import ROOT, questions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Value = str | bool
Answers = dict[str, Value]
Pair = tuple[tuple[str, Value], ...]

# What an option is answered by that is not wanted.
OFF: tuple[Value, ...] = ("none", False)

# What people write, the default first where there is one: lengths and characters that change how a
# line is laid out or quoted.
TEXTS: dict[str, list[str]] = {
    "project_name": ["My Service", "X", "Größe & Maß: “Orders” \\ 100 % 🚚"],
    "project_slug": ["my-service", "x", "a-slug-that-has-as-many-as-40-characters"],
    "description": [
        "A web service built with Django",
        'It says "no" to <nobody> & costs 5 €; see C:\\new and {this}',
        f"{'Ships what shops sell, and takes it back. ' * 5:.199}.",
    ],
    "author_name": ["The My Service authors", 'Ærøskøbing\'s "Søn" & Co'],
}


@cache
def axes() -> dict[str, list[Value]]:
    """Return the values to try for each question that is asked, its default first."""
    found: dict[str, list[Value]] = {}
    for key, question in questions().items():
        if question.get("when") is False or question.get("ask") is False:
            continue
        if question["type"] == "bool":
            values: list[Value] = [True, False]
        elif "choices" in question:
            values = list(question["choices"].values())
        elif key in TEXTS:
            values = list(TEXTS[key])
        else:
            raise LookupError(f"{key} has no choices: give some typical answers in TEXTS.")
        default = [value for value in values if _is_default(key, value)]
        found[key] = [*default, *(value for value in values if value not in default)]
    return found


@cache
def _defaults() -> dict[str, Value]:
    """Return what a person gets who gives no answer; the texts of some are made of others."""
    return {
        key: TEXTS[key][0] if key in TEXTS else default_of(question)
        for key, question in questions().items()
    }


def default_of(question: dict[str, Any]) -> Value:
    """Return the default that a new project gets; one that exists may get another choice."""
    default = question["default"]
    return engine().from_string(default).render() if "choices" in question else default


def _is_default(key: str, value: Value) -> bool:
    return value == _defaults()[key]


@cache
def engine() -> jinja2.Environment:
    """Return Jinja with the delimiters of the template, to look at texts of it."""
    options = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))["_envops"]
    return jinja2.Environment(  # noqa: S701 (it makes no HTML)
        extensions=[AnsibleCoreFiltersExtension],
        **{**options, "undefined": jinja2.StrictUndefined},
    )


def variables(text: str) -> frozenset[str]:
    """Return the names that a text of the template asks for."""
    return frozenset(jinja2.meta.find_undeclared_variables(engine().parse(text)))


@cache
def _conditions() -> dict[str, tuple[frozenset[str], jinja2.Template]]:
    """Return, for each question that is asked under a condition, its variables and itself."""
    return {
        key: (variables(question["when"]), engine().from_string(question["when"]))
        for key, question in questions().items()
        if isinstance(question.get("when"), str)
    }


def is_possible(answers: Answers) -> bool:
    """Tell whether no answer is given to a question that these answers hide."""
    for key, (names, condition) in _conditions().items():
        hidden = names <= answers.keys() and condition.render(answers) != "True"
        if hidden and key in answers and not _is_default(key, answers[key]):
            return False
    return True


def complete(chosen: Answers, rank: Callable[[Answers, str, Value], float]) -> Answers | None:
    """Return answers to every question that hold these, or None when they cannot meet.

    `rank` says how little a value is wanted beside those that have been chosen: the smallest wins.
    """
    if not is_possible(chosen):
        return None
    key = next((key for key in axes() if key not in chosen), None)
    if key is None:
        return {key: chosen[key] for key in axes()}
    for value in sorted(axes()[key], key=lambda value: rank(chosen, key, value)):
        if found := complete({**chosen, key: value}, rank):
            return found
    return None


def by_position(_: Answers, key: str, value: Value) -> float:
    """Rank the default first."""
    return axes()[key].index(value)


def pairs(answers: Answers) -> set[Pair]:
    """Return every two of these answers."""
    return set(combinations(sorted(answers.items()), 2))


def possible_pairs() -> set[Pair]:
    """Return every two answers that can meet in one project."""
    every = {
        pair
        for (first, values), (second, others) in combinations(sorted(axes().items()), 2)
        for value in values
        for other in others
        for pair in pairs({first: value, second: other})
    }
    return {pair for pair in every if complete(dict(pair), by_position)}


def pairwise() -> list[Answers]:
    """Return few variants that have every possible pair of answers between them."""
    missing, variants = possible_pairs(), []

    def gain(chosen: Answers, key: str, value: Value) -> float:
        return -len(missing & {tuple(sorted([(key, value), item])) for item in chosen.items()})

    while missing:
        seed = min(missing, key=str)
        variant = complete(dict(seed), gain)
        if variant is None:
            raise RuntimeError(f"{seed} was possible and is not.")
        variants.append(variant)
        missing -= pairs(variant)
    return variants


def every_choice_once() -> list[Answers]:
    """Return the fewest variants that have every answer between them, for a quick look."""
    missing, variants = {(key, value) for key, values in axes().items() for value in values}, []

    def loss(_: Answers, key: str, value: Value) -> float:
        return (key, value) not in missing

    while missing:
        variant = complete(dict([min(missing, key=str)]), loss)
        if variant is None:
            raise RuntimeError("An answer is impossible: its condition never holds.")
        variants.append(variant)
        missing -= set(variant.items())
    return variants


def everything(*, on: bool) -> Answers:
    """Return the variant in which every option is on, or off: `none` is what turns one off."""

    def rank(_: Answers, key: str, value: Value) -> float:
        return ((value in OFF) is on) * 100 - (axes()[key].index(value) if on else 0)

    variant = complete({}, rank)
    if variant is None:
        raise RuntimeError("Some options cannot be on, or off, together.")
    return variant


def every_variant() -> list[Answers]:
    """Return every pair, each choice alone, the first and the last everywhere, all on and all off.

    Of options that are on, it is the last choice.
    """
    alone = [
        complete({key: value}, by_position) for key, values in axes().items() for value in values
    ]
    last = complete({}, lambda *given: -by_position(*given))
    variants: list[Answers] = []
    for variant in [*alone, last, everything(on=True), everything(on=False), *pairwise()]:
        if variant is not None and variant not in variants:
            variants.append(variant)
    return variants


def given(variant: Answers) -> Answers:
    """Return the answers that a person gives: those that are not the default."""
    return {key: value for key, value in variant.items() if not _is_default(key, value)}


def name(variant: Answers) -> str:
    """Return a variant in one line, for messages."""
    return " ".join(_shown(variant)) or "default"


def _shown(variant: Answers) -> Iterator[str]:
    for key, value in given(variant).items():
        text = str(value)
        yield f"{key}={text if len(text) <= 12 else text[:10] + '…'}"
