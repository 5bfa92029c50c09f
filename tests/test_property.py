"""Whatever people write is refused with a sentence, or gives a project that is right.

The tests of the questionnaire name the answers that somebody has thought of; here they are made up.
"""

from __future__ import annotations

import keyword
import re
import shutil
import string
import subprocess
import sys
import tomllib
from dataclasses import replace
from html.parser import HTMLParser
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.engine import fast_copier
from tests.environments import Examiner, pretend_to_install
from tests.laboratory import NOWHERE
from tests.rendering import take_snapshot
from tests.servers import CI
from tests.test_pairwise_inside import ANSWERS
from tests.trees import Tree, copy, left_over, misread, untidy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.rendering import SharedFolders
    from tests.service import GetService

# The same answers in every run of continuous integration; new ones on a developer's machine.
made_up = settings(max_examples=40, deadline=None, derandomize=CI, database=None)

TEXTS = ("project_name", "description", "author_name")

# What means something to a language that a text gets into.
MARKS = [
    *("{@", "@}", "{{", "}}", "{%", "%}", "{#", "#}", "{", "}", "# @if x", "# @endif", "#@"),
    *('"', "'", '"""', "'''", "\\", "\\N{DASH}", "\\u0041", "\\x", "`", "$", "${HOME}", "$(x)"),
    *("<b>", "&amp;", "<!--", "-->", "[x](y)", "![x](y)", "*", "_", "__", "|", "~~", "# ", "> "),
    *("- ", "1. ", "===", ": ", " #", ", ", "%s", "%(x)s", "{0}", "!", "?", "yes", "null", "~"),
    *("\n", "\r\n", "\t", "\0", "\x7f", "\x85", "\u2028", "\u00a0", "\u200b", "\u202e", "\ufeff"),
    *("ä", "é", "İ", "ß", "🚚", "👨‍👩‍👧", "🇩🇪", "中文", "עברית", "हिन्दी", "a" * 70),
]
people_write = st.one_of(
    st.lists(st.sampled_from([*MARKS, "a", "Order", " "]), max_size=8).map("".join),
    st.text(max_size=230),
)
likely_slugs = st.from_regex(r"[a-z][a-z0-9]{0,6}(-[a-z0-9]{1,7}){0,4}", fullmatch=True)
slugs = st.one_of(
    likely_slugs,
    st.sampled_from([*sys.stdlib_module_names, *keyword.kwlist, "django", "celery", "accounts"]),
    st.text(alphabet=string.ascii_letters + string.digits + "-_. é", max_size=45),
)


@pytest.fixture(scope="module")
def render_anew(
    shared: SharedFolders, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Tree]:
    """Return what renders a variant into a new folder and forgets the one before."""
    template = shared.get("template", take_snapshot)
    folder = tmp_path_factory.mktemp("property")
    numbers = count()

    def render(**answers: str) -> Tree:
        target = folder / f"{next(numbers)}"
        shutil.rmtree(folder)
        folder.mkdir()
        with fast_copier():
            copy(template, target, {**answers})
        return Tree(target, {**answers})

    return render


@pytest.fixture(scope="module")
def default(shared: SharedFolders, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Return the tree that every default gives."""
    template = shared.get("template", take_snapshot)
    return Tree(copy(template, tmp_path_factory.mktemp("default") / "project", {}), {})


def rendered_or_refused(render: Callable[..., Tree], **answers: str) -> Tree | None:
    """Return the tree; or nothing, when an answer was refused with a sentence that names it."""
    try:
        return render(**answers)
    except ValueError as error:
        refusal = str(error)
    said = re.fullmatch(r"Validation error for question '(\w+)': (\S.*[.)])", refusal)
    assert said, refusal
    assert said[1] in {*answers, "project_slug", "author_name"}
    return None


def check(tree: Tree, default: Tree) -> None:
    """Check each file that is not as with every default, and all modules with ruff."""
    for path, text in tree.texts.items():
        if default.texts.get(path) != text:
            assert misread(path, text) is None, path
            assert untidy(path, text) is None, path
            # An answer may itself look like something left over: then it may stand there.
            if path != ".copier-answers.yml" and not any(
                map(looks_left_over, tree.variant.values())
            ):
                assert left_over(path, text) is None, path
    for command in ("check", "format"):
        options = ["--diff"] if command == "format" else []
        done = subprocess.run(
            ["ruff", command, *options, "--no-cache", "--quiet", tree.path],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def looks_left_over(answer: object) -> bool:
    """Tell whether an answer would be taken for something that the rendering has left."""
    return left_over("", str(answer)) is not None


class Page(HTMLParser):
    """The heading of a page, as a browser shows it."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.where = ""
        self.heading = ""
        self.feed(re.sub(r"\{%.*?%\}", "", source))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note which element is open."""
        del attrs
        self.where = tag

    def handle_endtag(self, tag: str) -> None:
        """Note that none is."""
        del tag
        self.where = ""

    def handle_data(self, data: str) -> None:
        """Take up the heading's text."""
        if self.where == "h1":
            self.heading += data


def plain(markdown: str) -> str:
    """Return a line of Markdown as it is read: a backslash makes punctuation plain."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown)


@made_up
@given(key=st.sampled_from(TEXTS), text=people_write)
@example(key="project_name", text="%}")
@example(key="project_name", text="@}")
@example(key="description", text="{@ project_slug @} # @endif")
@example(key="description", text="é" * 200)
@example(key="author_name", text='O\'Neil "X" \\ <x@example.com>')
def test_a_text_is_refused_or_comes_out_right(
    render_anew: Callable[..., Tree], default: Tree, key: str, text: str
) -> None:
    tree = rendered_or_refused(render_anew, project_slug="texts", **{key: text})
    if tree is None:
        return

    check(tree, default)
    assert tree.answers[key] == text
    project = tomllib.loads(tree.texts["pyproject.toml"])["project"]
    readme = tree.texts["README.md"].splitlines()
    page = Page(tree.texts["src/pages/templates/base.html"])
    found = {
        "project_name": [page.heading, plain(readme[0].removeprefix("# "))],
        "description": [project["description"], plain(readme[2])],
        "author_name": [project["authors"][0]["name"]],
    }
    assert set(found[key]) == {text}


@made_up
@given(slug=slugs)
@example(slug="a" * 40)
@example(slug="a" * 41)
@example(slug="x")
@example(slug="a-1-b-2")
def test_a_slug_is_refused_or_names_a_package(
    render_anew: Callable[..., Tree], default: Tree, slug: str
) -> None:
    tree = rendered_or_refused(render_anew, project_slug=slug)
    if tree is None:
        return

    check(tree, default)
    package = tree.package
    assert package.isidentifier()
    assert not keyword.iskeyword(package)
    assert package not in sys.stdlib_module_names
    assert f"src/{package}/settings/production.py" in tree.texts
    assert tomllib.loads(tree.texts["pyproject.toml"])["project"]["name"] == slug


@made_up
@given(name=people_write)
@example(name="123")
@example(name="Django")
@example(name="Test")
@example(name="🚚")
@example(name="{@ x")
def test_a_name_is_refused_or_gives_a_slug(
    render_anew: Callable[..., Tree], default: Tree, name: str
) -> None:
    tree = rendered_or_refused(render_anew, project_name=name)
    if tree is None:
        return

    check(tree, default)
    assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", tree.answers["project_slug"])


LIKELY = [
    {"project_name": "x", "project_slug": "x"},
    {
        "project_name": "Ünï “cödé” 🚚 %} }} \\",
        "project_slug": "a-slug-of-forty-characters-fits-the-line",
    },
    {"description": '\'"""\' \\N{X} %s {0} $(x) `y` <b>&amp;</b>', "task_queue": "none"},
    {"author_name": '“Ø” \\ "O\'Neil" <x>', "package_manager": "pip", "django_version": "5.2"},
]


# A line that people could mean, so that few of them are refused.
likely = people_write.filter(lambda text: text.isprintable() and text.strip() == text != "")


def test_projects_of_unlikely_answers_load(
    shared: SharedFolders, trees: Sequence[Tree], render_anew: Callable[..., Tree], tmp_path: Path
) -> None:
    """As written above and as made up: with every module, every check, and answers to requests."""
    template = shared.get("template", take_snapshot)
    odd = [
        Tree(copy(template, tmp_path / f"{number}", {**answers}), {**answers})
        for number, answers in enumerate(LIKELY)
    ]

    @settings(made_up, max_examples=8)
    @given(key=st.sampled_from(TEXTS), text=likely, slug=likely_slugs)
    def make_up(key: str, text: str, slug: str) -> None:
        if tree := rendered_or_refused(render_anew, project_slug=slug, **{key: text}):
            kept = tree.path.rename(tmp_path / f"{len(odd)}")
            odd.append(Tree(kept, tree.variant))

    make_up()
    assert len(odd) > len(LIKELY)

    reports = Examiner(shared, [*trees, *odd]).examine(odd, "production")

    for tree, report in zip(odd, reports, strict=True):
        parts = ("failure", "checks", "modules", "templates", "paths")
        assert {part: report.get(part) for part in parts if report.get(part)} == {}, tree
        assert report["answers"] == ANSWERS, tree


def test_a_project_of_unlikely_answers_starts(
    service: GetService, shared: SharedFolders, tmp_path: Path
) -> None:
    template = shared.get("template", take_snapshot)
    tree = Tree(copy(template, tmp_path / "project", {**LIKELY[1]}), {**LIKELY[1]})
    pretend_to_install(tree, tmp_path / "metadata")
    here = service("default").with_code(tree.path)
    path = f"{here.variables['PYTHONPATH']}:{tmp_path / 'metadata'}"
    odd = replace(here, answers=tree.answers, variables={**here.variables, "PYTHONPATH": path})
    odd.manage("collectstatic", "--noinput", "--verbosity", "0")
    nowhere = {"database_url": NOWHERE["DATABASE_URL"], "cache_url": NOWHERE["CACHE_URL"]}
    env = odd.production_env(
        **nowhere, broker_url=NOWHERE["CELERY_BROKER_URL"], TRUST_X_FORWARDED_PROTO="1"
    )

    with odd.gunicorn(env) as web:
        assert web.get("/health/").json()["service"] == LIKELY[1]["project_slug"]
        page = Page(web.get("/", secure=True).body.decode())

    assert page.heading == LIKELY[1]["project_name"]
