"""Write the table of questions into README.md, from copier.yml.

    python hooks/questions.py

`make questions` calls it, and a test compares. Needs the packages of this repository.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2
import yaml

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- questions -->\n", "<!-- /questions -->\n"

# What the table says of questions that take any text: the default, where it is made of others.
DEFAULTS = {
    "project_slug": "from `project_name`",
    "author_name": "The `project_name` authors",
}
TEXTS = {"project_slug": "`a-z`, `0-9` and `-`; at most 40 characters"}
ANY_TEXT = "any one line"


def main() -> None:
    """Replace the table in README.md."""
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    readme.write_text(f"{before}{START}\n{table()}\n{END}{after}", encoding="utf-8")


def table(root: Path = ROOT) -> str:
    """Return the table of what a person is asked, in the order of copier.yml."""
    settings = yaml.safe_load((root / "copier.yml").read_text(encoding="utf-8"))
    engine = jinja2.Environment(  # noqa: S701 (it makes no HTML)
        **{**settings["_envops"], "undefined": jinja2.StrictUndefined}
    )
    lines = ["| Question | Default | Choices |", "| --- | --- | --- |"]
    lines += [
        f"| `{key}` | {_default(key, question, engine)} | {_choices(key, question)} |"
        for key, question in settings.items()
        if re.match("[a-z]", key)
        and question.get("when") is not False
        and question.get("ask") is not False
    ]
    return "".join(f"{line}\n" for line in lines)


def _default(key: str, question: dict[str, Any], engine: jinja2.Environment) -> str:
    """Return the default of a new project."""
    default = str(question["default"])
    return DEFAULTS.get(key) or engine.from_string(default).render()


def _choices(key: str, question: dict[str, Any]) -> str:
    """Return the choices, or what text is taken."""
    choices = question.get("choices", {}).values()
    return ", ".join(f"`{choice}`" for choice in choices) or TEXTS.get(key, ANY_TEXT)


if __name__ == "__main__":
    main()
