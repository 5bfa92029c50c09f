"""What the questionnaire asks, refuses and keeps.

Most tests run on a skeleton: the real copier.yml, licenses and answers file, and a few files that
take the answers up, so that a copy takes a fraction of a second.
"""

import keyword
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import time
import tomllib
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fcntl import ioctl
from html.parser import HTMLParser
from pathlib import Path
from termios import TIOCSWINSZ
from typing import Any

import pytest
import yaml
from copier import run_copy, run_recopy, run_update

from tests.combinations import default_of

ROOT = Path(__file__).parents[1]
ANSWERS = ".copier-answers.yml"
PACKAGE = "src/{@ package_name @}"

QUESTIONS: dict[str, dict[str, Any]] = {
    key: value
    for key, value in yaml.safe_load((ROOT / "copier.yml").read_text()).items()
    if not key.startswith("_")
}
CHOICES = {
    key: list(question["choices"].values())
    for key, question in QUESTIONS.items()
    if "choices" in question
}
ASKED = [
    "project_name",
    "project_slug",
    "description",
    "author_name",
    "license",
    "python_version",
    "django_version",
    "package_manager",
    "postgres_driver",
    "user_identifier",
    "media_storage",
    "task_queue",
    "broker",
    "deploy",
    "ci",
]

# How a file of each kind takes up what a person wrote.
IN_TOML = "{@ (%s | to_json(ensure_ascii=False))[1:-1] @}"
IN_YAML = IN_TOML
IN_HTML = "{@ %s | e @}"
IN_MARKDOWN = (
    r'{@ %s | regex_replace("^([0-9]+)(?=[.)])|^(?=[-+=])|(?=[\\\\`*_\\[\\]<>&#|~$])",'
    r' "\\1\\\\") @}'
)
FREE_TEXTS = ("project_name", "description", "author_name")


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the developer's settings of Copier and Git out; return the settings file in use."""
    settings = tmp_path_factory.mktemp("settings") / "settings.yml"
    settings.write_text("{}\n")
    monkeypatch.setenv("COPIER_SETTINGS_PATH", str(settings))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.org")
    return settings


@pytest.fixture(scope="session")
def skeleton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a template with the real questionnaire and few files."""
    root = tmp_path_factory.mktemp("skeleton")
    (root / "template" / PACKAGE).mkdir(parents=True)
    (root / "template/src/pages").mkdir()
    shutil.copy(ROOT / "copier.yml", root)
    for folder in ("licenses", "validators"):
        shutil.copytree(ROOT / folder, root / folder)
    for name in ("LICENSE", "{@ _copier_conf.answers_file @}"):
        shutil.copy(ROOT / "template" / name, root / "template")
    files = {
        "src/pages/views.py": "STARTER = 1\n",
        f"{PACKAGE}/__init__.py": '"""{@ project_slug @}"""\n\nFIRST = 1\nLAST = 1\n',
        "texts.toml": "".join(f'{key} = "{IN_TOML % key}"\n' for key in FREE_TEXTS),
        "texts.yml": "".join(f'{key}: "{IN_YAML % key}"\n' for key in FREE_TEXTS),
        "texts.html": "".join(f"<p>{IN_HTML % key}</p>\n" for key in FREE_TEXTS),
        "texts.md": "".join(f"{IN_MARKDOWN % key}\n" for key in FREE_TEXTS),
        "README.md": "Starter 1\n",
        "Makefile": "# Extension point 1\n",
        "database.txt": "postgres:{@ postgres_version @}\n",
        "tasks.txt": (
            '# @if task_queue == "celery"\n# @if broker == "redis"\nredis\n# @endif\n'
            '# @if broker == "rabbitmq"\nrabbitmq\n# @endif\n# @endif\nend\n'
        ),
    }
    for name, content in files.items():
        (root / "template" / name).write_text(content)
    return root


def copy(template: Path, project: Path, **answers: object) -> Path:
    """Copy `template` to `project` in this process, as `copier copy --defaults --data` does."""
    run_copy(str(template), project, data=answers, defaults=True, quiet=True)
    return project


def answers_of(project: Path) -> dict[str, Any]:
    """Return what the project's answers file has recorded."""
    answers: dict[str, Any] = yaml.safe_load((project / ANSWERS).read_text())
    return answers


def copier(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the real command line of Copier."""
    return subprocess.run(
        [sys.executable, "-m", "copier", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def git(folder: Path, *arguments: str) -> str:
    """Run git in `folder` and return its output; fails when git does."""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


# ---- The default path ---------------------------------------------------------------------------


def test_every_default_accepted_gives_the_first_choices_and_needs_no_trust(
    skeleton: Path, tmp_path: Path
) -> None:
    result = copier("copy", "--defaults", skeleton, tmp_path / "my service")
    assert result.returncode == 0, result.stderr
    assert f"cd '{tmp_path}/my service' && make setup run" in result.stderr
    recorded = answers_of(tmp_path / "my service")
    assert recorded == {
        "_src_path": str(skeleton),
        "project_name": "My Service",
        "project_slug": "my-service",
        "description": "A web service built with Django",
        "author_name": "The My Service authors",
        "package_name": "my_service",
        "postgres_version": 17,
        "locked": {
            "package_name": "my_service",
            "postgres_version": 17,
            "project_slug": "my-service",
            "user_identifier": "username",
        },
        **{key: choices[0] for key, choices in CHOICES.items()},
    }
    first_line, *rest = (tmp_path / "my service" / ANSWERS).read_text().split("\n")
    assert first_line.startswith("# ")
    assert "never edit" in first_line
    assert rest[-1] == ""
    assert rest[-2] != ""


def test_the_choices_are_these_and_the_first_is_the_default() -> None:
    assert CHOICES == {
        "license": ["proprietary", "MIT", "BSD-3-Clause", "Apache-2.0", "GPL-3.0-or-later"],
        "python_version": ["3.13", "3.12", "3.14"],
        "django_version": ["6.1", "5.2"],
        "package_manager": ["uv", "pip"],
        "postgres_driver": ["psycopg", "psycopg2"],
        "user_identifier": ["username", "email"],
        "media_storage": ["none", "local", "s3"],
        "task_queue": ["celery", "none"],
        "broker": ["redis", "rabbitmq"],
        "deploy": ["compose", "none"],
        "ci": ["github", "gitlab", "none"],
    }
    assert {key: default_of(QUESTIONS[key]) for key in CHOICES} == {
        key: choices[0] for key, choices in CHOICES.items()
    }


def test_every_question_has_a_type_a_help_sentence_and_a_default() -> None:
    for key, question in QUESTIONS.items():
        assert {"type", "help", "default"} <= set(question), key
        assert question["help"].strip().endswith("."), key


def record_prompts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Answer every prompt with its default; return the list that will hold what was asked."""
    asked: list[str] = []

    def prompt(questions: list[Any], answers: Mapping[str, Any]) -> dict[str, Any]:
        (question,) = questions
        name = question["name"]
        if question["when"](None):
            asked.append(name)
        return {name: answers[name]}

    monkeypatch.setattr("copier._main.unsafe_prompt", prompt)
    return asked


def test_the_default_path_asks_fifteen_questions_in_this_order(
    skeleton: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = record_prompts(monkeypatch)
    run_copy(str(skeleton), tmp_path / "project", quiet=True)
    assert asked == ASKED


def test_the_broker_is_asked_only_when_there_is_a_task_queue(
    skeleton: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = record_prompts(monkeypatch)
    run_copy(str(skeleton), tmp_path / "project", data={"task_queue": "none"}, quiet=True)
    assert asked == [key for key in ASKED if key not in {"task_queue", "broker"}]


@pytest.mark.parametrize(
    ("key", "choice"), [(key, choice) for key, choices in CHOICES.items() for choice in choices]
)
def test_every_choice_is_accepted_and_recorded(
    skeleton: Path, tmp_path: Path, key: str, choice: str
) -> None:
    assert answers_of(copy(skeleton, tmp_path / "project", **{key: choice}))[key] == choice


# ---- What people see in a terminal --------------------------------------------------------------


class Terminal:
    """A dialogue with `copier` in a terminal of its own."""

    def __init__(self, *arguments: object) -> None:
        self.output = ""
        self.read = 0
        command = [sys.executable, "-m", "copier", *map(str, arguments)]
        self.terminal, child = pty.openpty()
        ioctl(child, TIOCSWINSZ, struct.pack("HHHH", 100, 400, 0, 0))
        self.process = subprocess.Popen(
            command,
            stdin=child,
            stdout=child,
            stderr=child,
            env=os.environ | {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
        )
        os.close(child)

    def wait_for(self, text: str, seconds: float = 20) -> None:
        """Return when `text` stands in the output after what was waited for before."""
        deadline = time.monotonic() + seconds
        while (found := self.output.find(text, self.read)) < 0:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} never came: {self.output[self.read :]!r}"
            if select.select([self.terminal], [], [], left)[0]:
                self.output += os.read(self.terminal, 65536).decode()
        self.read = found + len(text)

    def type(self, text: str) -> None:
        """Type `text`, then Enter."""
        os.write(self.terminal, f"{text}\r".encode())

    def end(self) -> int:
        """Wait for the end and return the exit code."""
        try:
            while data := os.read(self.terminal, 65536):
                self.output += data.decode(errors="replace")
        except OSError:  # Linux's way to say that the other side is closed
            pass
        os.close(self.terminal)
        return self.process.wait(20)


def first_words(key: str) -> str:
    """Return the beginning of a question's help, as the terminal shows it."""
    help_text: str = QUESTIONS[key]["help"]
    return " ".join(help_text.split()[:5])


def test_twelve_times_enter_in_a_terminal_gives_what_defaults_gives(
    skeleton: Path, tmp_path: Path
) -> None:
    terminal = Terminal("copy", skeleton, tmp_path / "project")
    for key in ASKED:
        terminal.wait_for(first_words(key))
        terminal.type("")
    assert terminal.end() == 0, terminal.output
    assert answers_of(tmp_path / "project") == answers_of(copy(skeleton, tmp_path / "other"))


def test_a_name_without_letters_makes_the_terminal_ask_for_a_slug(
    skeleton: Path, tmp_path: Path
) -> None:
    terminal = Terminal("copy", skeleton, tmp_path / "project")
    terminal.wait_for(first_words("project_name"))
    terminal.type("\x15🚀")
    terminal.wait_for(first_words("project_slug"))
    terminal.type("rocket")
    for key in ASKED[2:]:
        terminal.wait_for(first_words(key))
        terminal.type("")
    assert terminal.end() == 0, terminal.output
    assert answers_of(tmp_path / "project")["package_name"] == "rocket"


# ---- Slugs and packages -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("My Service", "my-service"),
        ("x", "x"),
        ("Größe & Maß", "groesse-mass"),
        ("Café Łódź Ørsted İzmir Œuvre", "cafe-lodz-orsted-izmir-oeuvre"),
        (unicodedata.normalize("NFD", "Café crème"), "cafe-creme"),
        ("Ana's «shop»", "anas-shop"),
        ("--a__b..c  d--", "a-b-c-d"),
        ("Fleet 2 🚚", "fleet-2"),
        ("Test", "test-service"),
        ("JSON", "json-service"),
        ("Django REST framework", "django-rest-framework"),
        ("The very long name of a service that goes on", "the-very-long-name-of-a-service-that"),
        ("a" * 60, "a" * 40),
        ("a" * 39 + " b", "a" * 39),
        ("a" * 38 + " b", "a" * 38 + "-b"),
        ("שירות crm", "crm"),
    ],
)
def test_the_slug_follows_from_the_name(
    skeleton: Path, tmp_path: Path, name: str, slug: str
) -> None:
    recorded = answers_of(copy(skeleton, tmp_path / "project", project_name=name))
    assert recorded["project_slug"] == slug
    assert recorded["package_name"] == slug.replace("-", "_")
    assert (tmp_path / "project/src" / slug.replace("-", "_") / "__init__.py").exists()


def reserved() -> dict[str, list[str]]:
    """Return the names that no package may have, by whom they belong to."""
    groups = yaml.safe_load(QUESTIONS["reserved_names"]["default"])
    return {owner: names.split() for owner, names in groups.items()}


def may_be_a_package(name: str) -> bool:
    """Say whether a slug could give this package name at all."""
    return re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) is not None


def test_each_reserved_name_stands_once_and_leaves_room_for_another() -> None:
    names = [name for group in reserved().values() for name in group]
    duplicates = {name for name in names if names.count(name) > 1}
    assert duplicates == set()
    for name in names:
        assert may_be_a_package(name), name
        assert len(f"{name}-service") <= 40, name


def test_no_package_is_called_like_a_keyword_or_a_standard_module() -> None:
    groups = reserved()
    modules = set(filter(may_be_a_package, sys.stdlib_module_names))
    assert modules - set(groups["the standard library of Python"]) == set()
    words = {word for word in [*keyword.kwlist, *keyword.softkwlist] if may_be_a_package(word)}
    assert words - set(groups["a keyword of Python"]) == set()


def requirements() -> set[str]:
    """Return the distributions that template/ names in any variant, as package names."""
    pyproject = tomllib.loads((ROOT / "template/pyproject.toml").read_text())
    lines = [
        line
        for group in pyproject.get("dependency-groups", {}).values()
        for line in group
        if isinstance(line, str)
    ] + pyproject["build-system"]["requires"]
    for file in (ROOT / "template/requirements").glob("*.txt"):
        lines += file.read_text().splitlines()
    names = (re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line) for line in lines)
    return {re.sub(r"[-_.]+", "_", match[0]).lower() for match in names if match}


def test_no_package_is_called_like_a_dependency() -> None:
    found = requirements()
    assert {"django", "celery", "django_environ"} <= found
    assert found - {name for group in reserved().values() for name in group} == set()


def test_no_package_is_called_like_a_part_of_the_project() -> None:
    template = ROOT / "template"
    at_the_root = [path for path in template.iterdir() if not path.name.startswith((".", "{@"))]
    importable = {
        path.name.split(".")[0]
        for path in [*at_the_root, *template.glob("src/*/")]
        if (path.is_dir() or path.suffix == ".py") and "{@" not in path.name
    }
    assert {"src", "common", "accounts", "manage", "gunicorn"} <= importable
    assert importable - {name for group in reserved().values() for name in group} == set()


# ---- Refusals -----------------------------------------------------------------------------------

SLUG_SENTENCE = (
    "project_slug takes a-z, 0-9 and single dashes, a letter first, 40 at most: "
    "give one such as my-service."
)
EMPTY = "is empty: give it a text."
BLANK = "begins or ends with a blank: leave that blank out."
INVISIBLE = "holds an invisible character that hides or turns text around: retype it without."
CONTROL = "holds a line break or a control character: write it as one plain line."
MARK = "holds a mark of templates ({ at its end or before {, %, # or @; or # @): leave it out."


def collision(package: str, owner: str) -> str:
    """Return the sentence that refuses a reserved package."""
    slug = package.replace("_", "-")
    return (
        f"The package {package} would collide with {owner}: choose another, such as {slug}-service."
    )


WRONG_TEXTS = [
    ("", EMPTY),
    (" \u3000 ", EMPTY),
    (" blank", BLANK),
    ("blank\u00a0", BLANK),
    ("two\nlines", CONTROL),
    ("car\rriage", CONTROL),
    ("tab\tbed", CONTROL),
    ("be\x07ll", CONTROL),
    ("de\x7fl", CONTROL),
    ("line\u2028separator", CONTROL),
    ("next\u0085line", CONTROL),
    ("lone\ud83dsurrogate", CONTROL),
    ("right\u202eto left", INVISIBLE),
    ("iso\u2066late", INVISIBLE),
    ("mark\u200f", INVISIBLE),
    ("zero\u200bwidth", INVISIBLE),
    ("{{ secret }}", MARK),
    ("a {% now %}", MARK),
    ("a {# b #}", MARK),
    ("a {@ b @}", MARK),
    ("${{ github.token }}", MARK),
    ("# @if x", MARK),
    ("ends in {", MARK),
]
WRONG_SLUGS = [
    "",
    " ",
    "My-Service",
    "my_service",
    "my--service",
    "-my",
    "my-",
    "2fast",
    "my service",
]
WRONG_SLUGS += [
    "my-service\n",
    "größe",
    "a" * 41,
    "../etc",
    "a;b",
    "$(id)",
    "{@ 1 @}",
    "😀",
    "my.crm",
]

REFUSED: list[tuple[Mapping[str, object], str]] = [
    *(({"project_slug": slug}, SLUG_SENTENCE) for slug in WRONG_SLUGS),
    ({"project_slug": "import"}, collision("import", "a keyword of Python")),
    ({"project_slug": "match"}, collision("match", "a keyword of Python")),
    ({"project_slug": "json"}, collision("json", "the standard library of Python")),
    ({"project_slug": "site"}, collision("site", "the standard library of Python")),
    (
        {"project_slug": "annotationlib"},
        collision("annotationlib", "the standard library of Python"),
    ),
    ({"project_slug": "django"}, collision("django", "a package that the project installs")),
    (
        {"project_slug": "sentry-sdk"},
        collision("sentry_sdk", "a package that the project installs"),
    ),
    (
        {"project_slug": "django-environ"},
        collision("django_environ", "a package that the project installs"),
    ),
    ({"project_slug": "test"}, collision("test", "a part of the project itself")),
    ({"project_slug": "common"}, collision("common", "a part of the project itself")),
    ({"project_slug": "pages"}, collision("pages", "a part of the project itself")),
    ({"project_slug": "sessions"}, collision("sessions", "an app of Django")),
    ({"project_slug": "con"}, collision("con", "Windows, as the name of a device")),
    ({"project_name": "😀"}, SLUG_SENTENCE),
    ({"project_name": "3M"}, SLUG_SENTENCE),
    *(
        (
            {key: "x" * (longest + 1)},
            f"{key} has {longest + 1} characters and may have {longest}: shorten it.",
        )
        for key, longest in (("project_name", 60), ("description", 200), ("author_name", 100))
    ),
    *(
        ({key: text}, f"{key} {rest}")
        for key in ("project_name", "author_name")
        for text, rest in (("", EMPTY), ("two\nlines", CONTROL), ("a {{ b }}", MARK))
    ),
    *(({"description": text}, f"description {rest}") for text, rest in WRONG_TEXTS),
    *(({key: "other"}, f"'other' is not in {choices}") for key, choices in CHOICES.items()),
    (
        {"task_queue": "none", "broker": "rabbitmq"},
        "A broker needs task_queue=celery: leave broker out, or choose celery.",
    ),
    (
        {"package_name": "other"},
        "package_name is my_service, which follows from project_slug: leave it out.",
    ),
    (
        {"project_slug": "crm", "package_name": "my_service"},
        "package_name is crm, which follows from project_slug: leave it out.",
    ),
    (
        {"postgres_version": 18},
        "postgres_version is 17 at birth: leave it out, and raise it by an update.",
    ),
    (
        {"reserved_names": "{}"},
        "reserved_names is the template's own list and no answer, so leave it out.",
    ),
]


@pytest.mark.parametrize(
    ("answers", "sentence"), REFUSED, ids=[str(ascii(answers))[:60] for answers, _ in REFUSED]
)
def test_a_wrong_answer_is_refused_with_one_sentence(
    skeleton: Path, tmp_path: Path, answers: Mapping[str, object], sentence: str
) -> None:
    with pytest.raises(ValueError, match=r"(Validation error|Invalid choice) for") as refusal:
        copy(skeleton, tmp_path / "project", **answers)
    assert str(refusal.value).endswith(f": {sentence}")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "project").exists()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("project_slug=json", collision("json", "the standard library of Python")),
        ("project_slug=my-service\n", SLUG_SENTENCE),
        ("project_name=😀", SLUG_SENTENCE),
        ("description=two\nlines", f"description {CONTROL}"),
        ("license=WTFPL", f"'WTFPL' is not in {CHOICES['license']}"),
        (
            "package_name=x",
            "package_name is my_service, which follows from project_slug: leave it out.",
        ),
    ],
)
def test_the_sentence_is_the_last_line_and_nothing_is_written(
    skeleton: Path, tmp_path: Path, data: str, sentence: str
) -> None:
    result = copier("copy", "--defaults", "--data", data, skeleton, tmp_path / "project")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].endswith(f": {sentence}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("package_name", "other"), ("postgres_version", 18), ("project_slug", "json")],
)
def test_the_settings_of_a_user_force_nothing_either(
    skeleton: Path, tmp_path: Path, isolated: Path, key: str, value: object
) -> None:
    isolated.write_text(yaml.safe_dump({"defaults": {key: value}}))
    with pytest.raises(ValueError, match=f"Validation error for question '{key}': "):
        copy(skeleton, tmp_path / "project")
    with pytest.raises(ValueError, match=f"Validation error for question '{key}': "):
        run_copy(
            str(skeleton),
            tmp_path / "project",
            user_defaults={key: value},
            defaults=True,
            quiet=True,
        )
    assert not (tmp_path / "project").exists()


def test_a_broker_without_a_task_queue_leaves_no_trace(
    skeleton: Path, tmp_path: Path, isolated: Path
) -> None:
    isolated.write_text(yaml.safe_dump({"defaults": {"broker": "rabbitmq"}}))
    project = copy(skeleton, tmp_path / "settings", task_queue="none")
    assert "broker" not in answers_of(project)
    assert (project / "tasks.txt").read_text() == "end\n"
    project = copy(skeleton, tmp_path / "data", task_queue="none", broker="redis")
    assert "broker" not in answers_of(project)
    assert (project / "tasks.txt").read_text() == "end\n"


# ---- What people write comes out right ----------------------------------------------------------

NASTY = [
    "Say \"hello\" to 'them'",
    r"C:\new\table \u0041 \" \N{DASH}",
    "Größe, ñandú, 中文, עברית, हिन्दी",
    "Rocket 🚀 family 👨‍👩‍👧 flag 🇩🇪 heart ❤️",
    "<script>alert('x')</script> & &amp; &#39;",
    "$(touch x) `touch x` ${HOME} $HOME && ; | > y",
    "%(asctime)s {0} {name} %s %}",
    "1. first",
    "12) twelfth",
    "- item",
    "+ item",
    "=====",
    "# heading #",
    "> quote",
    "*bold* _under_ ~~gone~~ __init__ [link](url) ![image](url)",
    "a | b | c",
    "key: value # comment",
    "yes",
    "null",
    "~",
    "1e3",
    "''",
    '"',
    "\\",
    "@}",
    "é" * 60,
]


class Paragraphs(HTMLParser):
    """The text of each paragraph of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a text; nothing but paragraphs may be in the page."""
        assert (tag, attrs) == ("p", [])
        self.texts.append("")

    def handle_data(self, data: str) -> None:
        """Go on with the text."""
        if self.texts:
            self.texts[-1] += data


@pytest.mark.parametrize("text", NASTY)
def test_quotes_backslashes_emoji_and_syntax_come_out_right(
    skeleton: Path, tmp_path: Path, text: str
) -> None:
    texts = dict.fromkeys(FREE_TEXTS, text)
    project = copy(skeleton, tmp_path / "project", project_slug="nasty", **texts)
    assert {key: answers_of(project)[key] for key in FREE_TEXTS} == texts
    assert tomllib.loads((project / "texts.toml").read_text()) == texts
    assert yaml.safe_load((project / "texts.yml").read_text()) == texts
    page = Paragraphs()
    page.feed((project / "texts.html").read_text())
    assert [part.rstrip("\n") for part in page.texts] == [text] * len(texts)
    # CommonMark: a backslash before punctuation makes it plain text, wherever it stands.
    line = (project / "texts.md").read_text().splitlines()[0]
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", line) == text
    assert not re.search(r"(?<!\\)(\\\\)*[`*_\[\]<>&#|~$]", line.replace("\\\\", ""))
    assert not re.match(r"[-+=#>]|[0-9]+[.)]", line)
    assert f"Copyright (c) {text}\n" in (project / "LICENSE").read_text()


def test_every_text_of_a_person_is_quoted_for_the_language_of_its_file() -> None:
    allowed = {".toml": IN_TOML, ".yml": IN_YAML, ".html": IN_HTML, ".md": IN_MARKDOWN}
    found = 0
    for path in sorted((ROOT / "template").rglob("*")):
        if not path.is_file() or "{@" not in (text := path.read_bytes().decode(errors="ignore")):
            continue
        for expression in re.findall(r"\{@.*?@\}", text):
            for key in FREE_TEXTS:
                if re.search(rf"\b{key}\b", expression):
                    assert expression == allowed[path.suffix] % key, path
                    found += 1
    assert found > 0


# ---- The licence --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("proprietary", "Copyright (c) Ärzte & Söhne", "IMPLIED."),
        ("MIT", "MIT License", "SOFTWARE."),
        ("BSD-3-Clause", "BSD 3-Clause License", "OF THIS SOFTWARE"),
        ("Apache-2.0", "Copyright (c) Ärzte & Söhne", "limitations under the License."),
        ("GPL-3.0-or-later", "Copyright (c) Ärzte & Söhne", "why-not-lgpl.html>."),
    ],
)
def test_the_licence_is_whole_and_names_the_holder(
    skeleton: Path, tmp_path: Path, name: str, first: str, last: str
) -> None:
    project = copy(skeleton, tmp_path / "project", license=name, author_name="Ärzte & Söhne")
    text = (project / "LICENSE").read_text()
    source = (ROOT / "licenses" / f"{name}.txt").read_text()
    assert text == source.replace("{@ author_name @}", "Ärzte & Söhne")
    assert source.count("{@") == 1
    assert text.startswith(f"{first}\n")
    assert last in text.splitlines()[-1]
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert not re.search(r"[ \t]$", text, re.MULTILINE)
    assert not re.search(r"Copyright \(c\) .*\b(19|20)\d\d\b", text)


@pytest.mark.parametrize(
    ("name", "original"), [("Apache-2.0", "Apache-2.0"), ("GPL-3.0-or-later", "GPL-3")]
)
def test_long_licences_are_verbatim(name: str, original: str) -> None:
    debian = Path("/usr/share/common-licenses", original)
    if not debian.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{debian} is missing: this test runs on Debian.")
        pytest.skip(f"{debian} is missing: only Debian has the originals.")
    assert (ROOT / "licenses" / f"{name}.txt").read_text().endswith(debian.read_text())


# ---- Releases: what an update keeps -------------------------------------------------------------


@dataclass(frozen=True)
class Releases:
    """A template under git, and a project that was born from its first release."""

    template: Path
    project: Path

    def release(self, version: str, **changes: Callable[[str], str]) -> None:
        """Change copier.yml or files of the project, and tag the result."""
        files = {
            "copier": "copier.yml",
            "package": f"template/{PACKAGE}/__init__.py",
            "readme": "template/README.md",
            "makefile": "template/Makefile",
            "pages": "template/src/pages/views.py",
        }
        for key, change in changes.items():
            path = self.template / files[key]
            before = path.read_text()
            path.write_text(change(before))
            assert path.read_text() != before
        git(self.template, "add", "--all")
        git(self.template, "commit", "--quiet", "--message", version)
        git(self.template, "tag", version)

    def commit(self) -> None:
        """Commit everything in the project."""
        git(self.project, "add", "--all")
        git(self.project, "commit", "--quiet", "--message", "Work of the team")

    def update(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Update the project by the real command line."""
        return copier("update", "--defaults", *arguments, cwd=self.project)


@pytest.fixture
def releases(skeleton: Path, tmp_path: Path) -> Releases:
    """Return a template with release 1.0.0 and a project that has lived with it."""
    made = Releases(tmp_path / "template", tmp_path / "project")
    shutil.copytree(skeleton, made.template)
    git(made.template, "init", "--quiet")
    made.release("1.0.0")
    copy(made.template, made.project)
    git(made.project, "init", "--quiet")
    package = made.project / "src/my_service"
    with (package / "__init__.py").open("a") as file:
        file.write("\n\nTEAM = 1\n")
    (package / "billing.py").write_text("TEAM = 2\n")
    made.commit()
    return made


def rename_packages(text: str) -> str:
    """Derive package names in another way and raise PostgreSQL, as a later release might."""
    text = text.replace(
        "default(project_slug | replace('-', '_'))", "default('app_' ~ project_slug[:2])"
    )
    text = text.replace(
        'default(project_slug | replace("-", "_"))', "default('app_' ~ project_slug[:2])"
    )
    return text.replace("default(17)", "default(18)")


def test_locked_values_survive_another_formula(releases: Releases, tmp_path: Path) -> None:
    releases.release(
        "2.0.0",
        copier=rename_packages,
        package=lambda text: text.replace("FIRST = 1", "FIRST = 2"),
    )
    fresh = answers_of(copy(releases.template, tmp_path / "fresh"))
    assert (fresh["package_name"], fresh["postgres_version"]) == ("app_my", 18)

    result = releases.update()
    assert result.returncode == 0, result.stderr
    assert "make setup check" in result.stderr
    package = releases.project / "src/my_service"
    assert {path.name for path in (releases.project / "src").iterdir()} == {"my_service", "pages"}
    assert (package / "__init__.py").read_text() == (
        '"""my-service"""\n\nFIRST = 2\nLAST = 1\n\n\nTEAM = 1\n'
    )
    assert (package / "billing.py").read_text() == "TEAM = 2\n"
    assert (releases.project / "database.txt").read_text() == "postgres:17\n"
    recorded = answers_of(releases.project)
    assert recorded["_commit"] == "2.0.0"
    assert recorded["locked"] == {
        "package_name": "my_service",
        "postgres_version": 17,
        "project_slug": "my-service",
        "user_identifier": "username",
    }
    assert (recorded["package_name"], recorded["postgres_version"]) == ("my_service", 17)

    releases.commit()
    releases.release("2.1.0", package=lambda text: text.replace("FIRST = 2", "FIRST = 3"))
    assert releases.update().returncode == 0
    assert "FIRST = 3\nLAST = 1\n\n\nTEAM = 1\n" in (package / "__init__.py").read_text()
    assert answers_of(releases.project)["locked"] == recorded["locked"]


def test_a_longer_list_of_reserved_names_stops_new_projects_only(
    releases: Releases, tmp_path: Path
) -> None:
    releases.release(
        "2.0.0",
        copier=lambda text: text.replace("accounts common", "accounts common my_service").replace(
            "[a-z][a-z0-9]*(-[a-z0-9]+)*", "[a-z][a-z0-9]*"
        ),
        package=lambda text: text.replace("FIRST = 1", "FIRST = 2"),
    )
    with pytest.raises(ValueError, match="question 'project_slug'"):
        copy(releases.template, tmp_path / "fresh", project_slug="my-service")
    result = releases.update()
    assert result.returncode == 0, result.stderr
    assert answers_of(releases.project)["project_slug"] == "my-service"
    assert (
        "FIRST = 2\nLAST = 1\n\n\nTEAM = 1\n"
        in (releases.project / "src/my_service/__init__.py").read_text()
    )


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            "project_slug=other",
            "project_slug is my-service for ever: leave it out, or copy a new project.",
        ),
        (
            "user_identifier=email",
            "user_identifier is username for ever, as the users' table rests on it: leave it out.",
        ),
        (
            "package_name=other",
            "package_name is my_service, which follows from project_slug: leave it out.",
        ),
        (
            "postgres_version=16",
            "postgres_version is 17 and only goes up, as no server reads the data of a newer one.",
        ),
    ],
)
def test_an_update_refuses_to_change_what_was_decided_at_birth(
    releases: Releases, data: str, sentence: str
) -> None:
    releases.release("2.0.0", package=lambda text: text.replace("FIRST = 1", "FIRST = 2"))
    result = releases.update("--data", data)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].endswith(f": {sentence}")
    assert git(releases.project, "status", "--porcelain") == ""


def test_postgresql_is_raised_by_a_team_and_by_nobody_else(
    releases: Releases, isolated: Path
) -> None:
    isolated.write_text(yaml.safe_dump({"defaults": {"postgres_version": 19}}))
    assert releases.update("--vcs-ref", ":current:", "--data", "license=MIT").returncode == 0
    assert answers_of(releases.project)["postgres_version"] == 17
    releases.commit()

    raised = releases.update("--vcs-ref", ":current:", "--data", "postgres_version=18")

    assert raised.returncode == 0, raised.stderr
    assert (releases.project / "database.txt").read_text() == "postgres:18\n"
    assert answers_of(releases.project)["locked"]["postgres_version"] == 18
    releases.commit()
    releases.release("2.0.0", package=lambda text: text.replace("FIRST = 1", "FIRST = 2"))
    lowered = releases.update("--data", "postgres_version=17")
    assert lowered.stderr.splitlines()[-1].endswith(
        ": postgres_version is 18 and only goes up, as no server reads the data of a newer one."
    )
    assert releases.update().returncode == 0
    assert (releases.project / "database.txt").read_text() == "postgres:18\n"


def test_an_answers_file_that_was_edited_by_hand_is_refused(releases: Releases) -> None:
    answers = releases.project / ANSWERS
    answers.write_text(
        answers.read_text().replace("\nproject_slug: my-service", "\nproject_slug: other")
    )
    releases.commit()
    result = releases.update("--vcs-ref", ":current:")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].endswith(
        ": project_slug is my-service for ever: leave it out, or copy a new project."
    )


def test_an_update_does_not_ask_what_was_decided_at_birth(
    releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = record_prompts(monkeypatch)
    run_update(releases.project, overwrite=True, quiet=True)
    assert asked == [key for key in ASKED if key not in {"project_slug", "user_identifier"}]


def test_a_changed_name_renames_no_package(releases: Releases) -> None:
    result = releases.update("--vcs-ref", ":current:", "--data", "project_name=Other Name")
    assert result.returncode == 0, result.stderr
    recorded = answers_of(releases.project)
    assert recorded["project_name"] == "Other Name"
    assert recorded["project_slug"] == "my-service"
    assert recorded["package_name"] == "my_service"


def test_a_task_queue_switched_off_and_on_again_is_as_before(releases: Releases) -> None:
    assert releases.update("-r", ":current:", "--data", "broker=rabbitmq").returncode == 0
    releases.commit()
    before = answers_of(releases.project)
    assert before["broker"] == "rabbitmq"
    assert releases.update("-r", ":current:", "--data", "task_queue=none").returncode == 0
    assert "broker" not in answers_of(releases.project)
    assert (releases.project / "tasks.txt").read_text() == "end\n"
    releases.commit()
    result = releases.update("-r", ":current:", "-d", "task_queue=celery", "-d", "broker=rabbitmq")
    assert result.returncode == 0, result.stderr
    assert answers_of(releases.project) == before
    assert (releases.project / "tasks.txt").read_text() == "rabbitmq\nend\n"


def test_the_teams_files_are_the_teams(releases: Releases) -> None:
    (releases.project / "README.md").write_text("Ours\n")
    (releases.project / "Makefile").write_text("# Ours\n")
    shutil.rmtree(releases.project / "src/pages")
    releases.commit()
    releases.release(
        "2.0.0",
        readme=lambda text: text.replace("1", "2"),
        makefile=lambda text: text.replace("1", "2"),
        pages=lambda text: text.replace("1", "2"),
        package=lambda text: text.replace("FIRST = 1", "FIRST = 2"),
    )
    result = releases.update()
    assert result.returncode == 0, result.stderr
    assert "FIRST = 2" in (releases.project / "src/my_service/__init__.py").read_text()
    assert not (releases.project / "src/pages").exists()
    releases.commit()
    run_recopy(releases.project, defaults=True, overwrite=True, quiet=True)
    assert (releases.project / "README.md").read_text() == "Ours\n"
    assert (releases.project / "Makefile").read_text() == "# Ours\n"


def test_recopy_keeps_the_answers(releases: Releases) -> None:
    before = answers_of(releases.project)
    run_recopy(releases.project, defaults=True, overwrite=True, quiet=True)
    assert answers_of(releases.project) == before


# ---- The manifest -------------------------------------------------------------------------------


def test_starter_files_are_kept_by_recopy_too() -> None:
    settings = yaml.safe_load((ROOT / "copier.yml").read_text())
    (starters,) = [rows for rows in settings["_exclude"] if '"update"' in rows]
    rows = {row for row in starters.splitlines() if row.startswith("/")}
    assert rows
    assert rows <= set(settings["_skip_if_exists"])


def test_every_row_of_the_manifest_says_where_the_file_is() -> None:
    settings = yaml.safe_load((ROOT / "copier.yml").read_text())
    _never, *conditional = settings["_exclude"]
    rows = [row for rows in conditional for row in rows.splitlines()]
    paths = [row for row in rows if not row.startswith("# @")] + settings["_skip_if_exists"]
    assert paths
    for path in paths:
        assert path.startswith("/"), f"{path} would match in every folder"
        assert not path.endswith("/"), f"{path} would leave an empty folder"
