"""Every variant is a project that is right, as far as can be seen without installing it.

The variants hold every pair of choices between them; tests/combinations.py says how.
"""

from __future__ import annotations

import posixpath
import re
import subprocess
import tomllib
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest
import yaml
from packaging.requirements import Requirement

from tests.combinations import (
    OFF,
    axes,
    by_position,
    complete,
    every_choice_once,
    every_variant,
    everything,
    given,
    is_possible,
    pairs,
    possible_pairs,
    variables,
)
from tests.rendering import ROOT, questions, take_snapshot
from tests.trees import copy, each_file, find, left_over, misread, render_all, untidy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tests.rendering import SharedFolders
    from tests.trees import Tree

FENCE = re.MULTILINE | re.DOTALL

# ---- The variants -------------------------------------------------------------------------------


def test_every_pair_of_choices_is_in_a_variant() -> None:
    covered = {pair for variant in every_variant() for pair in pairs(variant)}

    assert possible_pairs() <= covered


def test_only_a_question_that_is_not_asked_makes_a_pair_impossible() -> None:
    every = {
        pair
        for variant in (dict([one, other]) for one in single() for other in single())
        for pair in pairs(variant)
    }
    conditional = {key for key, question in questions().items() if "when" in question}

    impossible = every - possible_pairs()

    assert all(conditional & dict(pair).keys() for pair in impossible)
    assert not any(is_possible(dict(pair)) for pair in impossible)


def single() -> list[tuple[str, str | bool]]:
    """Return each answer to each question."""
    return [(key, value) for key, values in axes().items() for value in values]


def test_every_choice_is_tried_alone() -> None:
    variants = every_variant()

    assert complete({}, by_position) in variants
    for key, value in single():
        assert complete({key: value}, by_position) in variants


def test_everything_is_tried_together_on_and_off() -> None:
    every, nothing = everything(on=True), everything(on=False)
    optional = {key for key, values in axes().items() if {*values} & {*OFF}}

    assert optional == {"ci", "deploy", "media_storage", "task_queue"}
    assert not {every[key] for key in optional} & {*OFF}
    assert {nothing[key] for key in optional} <= {*OFF}
    assert every["broker"] == "rabbitmq"
    assert every in every_variant()
    assert nothing in every_variant()


def test_what_is_rendered_fast_is_what_copier_renders(
    shared: SharedFolders, tmp_path: Path
) -> None:
    template = shared.get("template", take_snapshot)
    variants = every_choice_once()

    render_all(template, variants, tmp_path / "fast")
    for number, variant in enumerate(variants):
        copy(template, tmp_path / "plain" / f"{number:03}", given(variant))

    assert len(content(tmp_path / "plain")) > 50 * len(variants)
    assert content(tmp_path / "fast") == content(tmp_path / "plain")


def content(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    """Return mode and content of everything in a folder."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.read_bytes() if path.is_file() else None,
        )
        for path in folder.rglob("*")
    }


# ---- Files --------------------------------------------------------------------------------------


def test_every_file_is_of_the_language_that_its_name_says(trees: Sequence[Tree]) -> None:
    assert find(trees, misread) == {}


def test_nothing_of_the_template_is_left(trees: Sequence[Tree]) -> None:
    assert find(trees, left_over) == {}


def test_files_are_tidy(trees: Sequence[Tree]) -> None:
    assert find(trees, untidy) == {}


# Files without content, and why they are there.
EMPTY = {
    "src/accounts/migrations/__init__.py": "Django looks for migrations in packages",
}


def test_no_file_is_empty_without_a_reason(trees: Sequence[Tree]) -> None:
    empty = {path for tree in trees for path, text in tree.texts.items() if not text.strip()}

    assert empty == set(EMPTY)


def test_no_folder_is_empty(trees: Sequence[Tree]) -> None:
    for tree in trees:
        assert {folder for folder in tree.folders if not any((tree.path / folder).iterdir())} == (
            set()
        )


@pytest.mark.parametrize("command", ["check", "format --check"])
def test_ruff_finds_nothing(trees: Sequence[Tree], command: str) -> None:
    paths = [tree.path for tree in trees]
    done = subprocess.run(
        ["ruff", *command.split(), "--no-cache", "--quiet", *paths],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


# ---- Choices ------------------------------------------------------------------------------------

# What each choice brings and nothing else has: none of it may be left where the choice was not
# made, be it in the name or in the text of a file. Regular expressions, in any case.
WORDS: dict[str, dict[str | bool, list[str]]] = {
    "license": {
        "proprietary": ["LicenseRef-Proprietary", "no licence is given|all rights reserved\\."],
        "MIT": ['"MIT"', "MIT License"],
        "BSD-3-Clause": ["BSD-3-Clause", "BSD 3-Clause"],
        "Apache-2.0": ["Apache-2", "Apache License"],
        "GPL-3.0-or-later": ["GPL-3", "GNU GENERAL PUBLIC LICENSE"],
    },
    "python_version": {
        "3.12": [r"(python:|>=)3\.12\b"],
        "3.13": [r"(python:|>=)3\.13\b"],
        "3.14": [r"(python:|>=)3\.14\b"],
    },
    "django_version": {
        "5.2": [
            r"(?<![\d.])5\.2(?!\d)",
            r"\bcsp\.(constants|context_processors|middleware)",
            r"django.csp\b",
            "CONTENT_SECURITY_POLICY",
            "DEFAULT_AUTO_FIELD",
            "EMAIL_(BACKEND|HOST|PORT)",
        ],
        "6.1": [
            r"(?<!stubs>=)(?<![\d.])6\.1(?!\d)",  # the stubs of the newest Django are for all
            r"django\.(middleware|utils|template\.context_processors)\.csp",
            "SECURE_CSP",
            "MAILERS",
        ],
    },
    "package_manager": {
        "uv": [
            r"\buv (add|lock|run|sync)\b",
            r"\buv\.lock",
            "dependency-groups",
            r"tool\.uv",
            "UV_(IMAGE|COMPILE|LINK|PYTHON)",
        ],
        # Of whatever tool a list is, Renovate calls it pip_requirements, and has the same file.
        "pip": [r"requirements(/|\b.*\.txt)", r"\.lock\.txt", "require-hashes", "(?-i:PIP_)"],
    },
    "postgres_driver": {
        "psycopg": [r"psycopg\[", '"max_size"'],
        "psycopg2": ["psycopg2"],
    },
    "user_identifier": {
        "username": ["UnicodeUsernameValidator"],
        "email": ["USERNAME_FIELD", "AdminUserCreationForm", "email_case_insensitive"],
    },
    "media_storage": {
        "none": [r"common\.E003", "keeps? no uploads|takes no uploads"],
        "local": [r"\| `MEDIA_ROOT`", "FILE_UPLOAD_"],
        "s3": ["django.storages", "boto", "AWS_", r"\bs3:"],
    },
    "task_queue": {
        "celery": ["celery", r"\bbeat\b", "broker", "kombu", "billiard", "task queue"],
        "none": [],  # it brings nothing: the words of the others are missing
    },
    "broker": {
        "redis": ["visibility.timeout", r"celery\[redis\]"],
        "rabbitmq": ["rabbit", r"(?<!app\.)amqp", "quorum"],
    },
    "deploy": {
        "compose": [
            "devcontainer",
            r"docker[- ]compose(?! resource)",  # as Coolify calls one of its kinds
            "deploy/(backup|logs|monitoring|proxy)",
            "alloy",
            "grafana",
            r"\bpg_dump\b",
        ],
        "none": [],  # it brings nothing, either
    },
    "ci": {
        "github": [
            r"\.github/",
            "dependabot",
            r"\bgithub\.(ref|workflow)",
            "GITHUB_",
            r"ghcr\.io/\$",
        ],
        "gitlab": [r"\.gitlab", r"\$CI_"],
        "none": [],
    },
}

CHOICES = [
    pytest.param(key, choice, id=f"{key}={choice}")
    for key, question in questions().items()
    if "choices" in question or question["type"] == "bool"
    for choice in axes().get(key, ())
]


def test_every_choice_has_words_of_its_own() -> None:
    choices = [parameter.values for parameter in CHOICES]

    assert {(key, choice) for key, words in WORDS.items() for choice in words} == {*choices}


@pytest.mark.parametrize(("key", "choice"), CHOICES)
def test_a_choice_leaves_no_trace_where_it_was_not_made(
    trees: Sequence[Tree], key: str, choice: str | bool
) -> None:
    """Words that are not found where the choice was made would prove nothing elsewhere."""
    made = [tree for tree in trees if tree.answers.get(key) == choice]
    others = [tree for tree in trees if tree.answers.get(key) != choice]
    assert made
    assert others

    for word in WORDS[key][choice]:
        pattern = re.compile(word, re.IGNORECASE)
        assert mentions(others, pattern) == {}
        assert all(mentions([tree], pattern) for tree in made), f"{word} is not in every tree"


def test_what_all_hosts_have_is_not_there_without_one(trees: Sequence[Tree]) -> None:
    shared = re.compile(r"renovate|scripts/deliver|merge request|pull request", re.IGNORECASE)
    hosted = [tree for tree in trees if tree.answers["ci"] != "none"]

    assert all(mentions([tree], shared) for tree in hosted)
    assert mentions([tree for tree in trees if tree not in hosted], shared) == {}


def mentions(trees: Sequence[Tree], pattern: re.Pattern[str]) -> dict[str, str]:
    """Return the lines and paths that speak of something; the answers file speaks of all."""
    found = {}
    for path, text, tree in each_file(trees):
        if path == ".copier-answers.yml":
            continue
        where = pattern.search(f"{path}\n{text}")
        if where:
            line = where.string[where.string.rfind("\n", 0, where.start()) + 1 :]
            found[f"{path} ({tree})"] = line.partition("\n")[0]
    return found


# Answers that are kept for ever, or that only say how something is called.
KEPT = {"package_name", "project_slug", "user_identifier"}
TEXTUAL = {"author_name", "description", "project_name"}


def starter_files() -> list[Path]:
    """Return the files of the template that a project gets once."""
    manifest = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))["_exclude"]
    (rows,) = [entry for entry in manifest if "_copier_operation ==" in entry]
    roots = [ROOT / f"template{row}" for row in rows.splitlines() if row.startswith("/")]
    return [path for root in roots for path in (root, *root.rglob("*")) if path.is_file()]


def test_no_starter_file_uses_an_answer_that_can_be_switched() -> None:
    """An update leaves starter files alone: they would go on speaking of what was switched off."""
    files = {str(path): path.read_text(encoding="utf-8") for path in starter_files()}
    assert files

    switched = {path: variables(text) - KEPT - TEXTUAL for path, text in files.items()}

    assert {path: names for path, names in switched.items() if names} == {}


# ---- Dependencies -------------------------------------------------------------------------------


# What only one package manager needs, as uv has it in itself.
OF_PIP = {"uv", "cyclonedx-bom", "pip-audit"}


@pytest.mark.parametrize(
    ("group", "file"), [("base", "base"), ("production", "production"), ("tooling", "development")]
)
def test_both_package_managers_install_the_same(group: str, file: str) -> None:
    """Under the same conditions, too: these are compared as they stand in the template."""
    project = (ROOT / "template/pyproject.toml").read_text(encoding="utf-8")
    listed = re.search(rf"^{group} = \[\n(.*?)^\]", project, FENCE)
    assert listed

    lines = (ROOT / f"template/requirements/{file}.txt").read_text(encoding="utf-8").splitlines()

    assert [line for line in wanted(lines) if line.partition(">")[0] not in OF_PIP] == wanted(
        listed[1].splitlines()
    )


def wanted(lines: Iterable[str]) -> list[str]:
    """Return the dependencies and conditions in a list, without comments and references."""
    bare = [line.strip().strip('",') for line in lines]
    return [line for line in bare if re.match(r"# @|\w", line)]


def dependency_lists(tree: Tree) -> Iterator[list[str]]:
    """Yield each list of dependencies that the template writes, as names."""
    for path, text in tree.texts.items():
        if path.startswith("requirements/"):
            lines = [line for line in text.splitlines() if not line.startswith(("#", "-"))]
            yield [Requirement(line).name for line in lines]
    groups = tomllib.loads(tree.texts["pyproject.toml"]).get("dependency-groups", {})
    for group in groups.values():
        yield [Requirement(item).name for item in group if isinstance(item, str)]


def test_no_dependency_stands_twice_in_a_list(trees: Sequence[Tree]) -> None:
    for tree in trees:
        for names in dependency_lists(tree):
            assert len(names) == len(set(names)), tree


# ---- Documents ----------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """Return the anchors of a page, as GitHub and GitLab make them from its headings."""
    headings = re.findall(
        r"^#+ +(.+)$", re.sub(r"^```.*?^```", "", text, flags=FENCE), re.MULTILINE
    )
    slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    counts: Counter[str] = Counter()
    found = set()
    for slug in slugs:
        found.add(f"{slug}-{counts[slug]}" if counts[slug] else slug)
        counts[slug] += 1
    return found


def broken_links(tree: Tree) -> list[str]:
    """Return the relative links in the Markdown files of a tree that lead nowhere."""
    broken = []
    for path, text in tree.texts.items():
        if not path.endswith(".md"):
            continue
        for target in re.findall(r"(?<!\\)\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            found = posixpath.normpath(posixpath.join(posixpath.dirname(path), file))
            found = path if not file else found
            known = found in tree.texts or found in tree.folders
            if not known or (anchor and anchor not in anchors(tree.texts[found])):
                broken.append(f"{path}: {target}")
    return broken


def test_links_in_the_documents_resolve(trees: Sequence[Tree]) -> None:
    linked = sum(text.count("](") for text in trees[0].texts.values())

    assert linked > 0
    assert {str(tree): broken for tree in trees if (broken := broken_links(tree))} == {}


# Paths that are named where they are not yet, and who makes them.
MADE_LATER = {
    ".env": "scripts/bootstrap.py",
    "db.sqlite3": "migrate",
    "uv.lock": "scripts/bootstrap.py",
    "requirements/development.lock.txt": "scripts/bootstrap.py",
    "requirements/production.lock.txt": "scripts/bootstrap.py",
    "src/orders": "the reader, in an example of a new app",
}
NAMED_PATH = re.compile(
    r"(?<![\w./@{}<>*-])((?:deploy|docs|requirements|scripts|settings|src|tests)/[\w./-]*\w/?)(?![*{<])"
)


def lost_paths(tree: Tree) -> list[str]:
    """Return the paths that a file of a tree names, in a text or a comment, and that are not there.

    Paths in settings/ are said from the package's folder.
    """
    known = {*tree.texts, *tree.folders, *MADE_LATER}
    known |= {path.removeprefix(f"src/{tree.package}/") for path in known}
    return [
        f"{path}: {named}"
        for path, text in tree.texts.items()
        for named in NAMED_PATH.findall(text)
        if path != "LICENSE" and named.rstrip("/") not in known
    ]


def test_every_path_that_is_named_is_there(trees: Sequence[Tree]) -> None:
    assert {str(tree): lost for tree in trees if (lost := lost_paths(tree))} == {}


def make_targets(tree: Tree) -> set[str]:
    """Return what `make` can be asked for."""
    rules = tree.texts["Makefile"] + tree.texts["project.mk"]
    return set(re.findall(r"^([a-z][a-z-]*):", rules, re.MULTILINE))


def test_every_command_of_make_that_is_named_exists(trees: Sequence[Tree]) -> None:
    for tree in trees:
        targets = make_targets(tree)
        named = {
            word
            for path, text in tree.texts.items()
            for command in re.findall(r"(?:^|[`'\"])make ((?:[a-z-]+ ?)+)", text, re.MULTILINE)
            for word in command.split()
            if path != "LICENSE"
        }
        assert named
        assert named <= targets, tree


# What a person may give to `make`, and leave out.
OPTIONAL_VARIABLES = ["ANSWERS=", "ARGS=", "BACKUP=latest", "FORCE=", "IMAGE=", "URL="]


def test_make_reads_every_makefile(trees: Sequence[Tree]) -> None:
    read = set()
    for tree in trees:
        text = tree.texts["Makefile"] + tree.texts["project.mk"]
        if text not in read:
            read.add(text)
            targets = sorted(make_targets(tree))
            options = ["--dry-run", "--warn-undefined-variables", *OPTIONAL_VARIABLES]
            command = ["make", *options, *targets]
            done = subprocess.run(
                command, cwd=tree.path, capture_output=True, text=True, check=False
            )
            assert (done.returncode, done.stderr) == (0, ""), tree


# ---- What stays out of git and out of the image -------------------------------------------------

SECRET = [
    ".env",
    ".env.production",
    "db.sqlite3",
    "db.sqlite3-wal",
    "secrets/key.txt",
    "src/pages/.env",
]
LOCAL = [".venv/bin/python", "staticfiles/admin.css", "media/photo.jpg", "src/pages/__pycache__/x"]


def test_git_ignores_secrets_and_what_is_made(trees: Sequence[Tree], tmp_path: Path) -> None:
    rules = {tree.texts[".gitignore"]: tree for tree in trees}
    for number, (text, tree) in enumerate(rules.items()):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        subprocess.run(["git", "init", "--quiet", folder], check=True)
        (folder / ".gitignore").write_text(text, encoding="utf-8")
        assert set(git_ignored(folder, [*SECRET, *LOCAL])) == {*SECRET, *LOCAL}
        assert git_ignored(folder, tree.texts) == []


def git_ignored(folder: Path, paths: Iterable[str]) -> list[str]:
    """Return the paths that git ignores in a folder."""
    done = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin"],
        cwd=folder,
        input="\n".join(paths),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout.splitlines()


def test_no_secret_gets_into_the_image(trees: Sequence[Tree]) -> None:
    for tree in trees:
        rules = tree.texts[".dockerignore"]
        for path in [*SECRET, *LOCAL[:3], ".git/config", ".copier-answers.yml"]:
            assert not in_build_context(path, rules), f"{path} ({tree})"
        for path in ("manage.py", "gunicorn.conf.py", "pyproject.toml", "src/common/probe.py"):
            assert in_build_context(path, rules), f"{path} ({tree})"


def in_build_context(path: str, rules: str) -> bool:
    """Tell whether `docker build` sees a file: the last line that matches it or its folder decides.

    https://docs.docker.com/build/concepts/context/#dockerignore-files
    """
    seen = True
    parts = PurePosixPath(path)
    for line in rules.splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!").strip("/")
            if any(each.full_match(pattern) for each in (parts, *parts.parents[:-1])):
                seen = line.startswith("!")
    return seen


def test_the_image_holds_no_secret_in_its_variables(trees: Sequence[Tree]) -> None:
    secret = re.compile(
        r"^\s*((ARG|ENV)\s+)?\w*(KEY|PASSWORD|SECRET|TOKEN|DSN)\w*\s*=", re.MULTILINE
    )

    def look(path: str, text: str) -> str | None:
        match = secret.search(text) if path == "Dockerfile" else None
        return match[0] if match else None

    assert find(trees, look) == {}


# ---- Figures ------------------------------------------------------------------------------------


def test_figures(trees: Sequence[Tree], record_property: Callable[[str, object], None]) -> None:
    seconds = (trees[0].path.parent / "seconds").read_text(encoding="utf-8").split()
    clock, processor = map(float, seconds)
    files, count = sum(len(tree.texts) for tree in trees), len(trees)

    record_property(
        "figure",
        f"{count} variants with {files} files rendered in {clock:.1f} s, {processor:.1f} s of a"
        f" processor: {count / clock:.1f} variants a second, {count / processor:.1f} by processor",
    )
