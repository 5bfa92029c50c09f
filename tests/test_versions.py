"""The pins of one thing are equal wherever they stand, and `make versions` keeps them new.

What is broken and what is refreshed is a repository of one package and a few pins, with a package
index of its own, so that nothing here depends on what came out today.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.rendering import ROOT

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "copier.yml": """\
_envops: {variable_start_string: "{@", variable_end_string: "@}", line_statement_prefix: "# @"}
python_version:
  choices: {"3.13, the default": "3.13", "3.12": "3.12"}
django_version:
  choices: {"6.1": "6.1", "5.2 LTS": "5.2"}
broker:
  choices: {"redis": "redis", "rabbitmq": "rabbitmq"}
""",
    "Makefile": "PYTHON_VERSIONS := 3.13 3.12\n",
    "pyproject.toml": """\
[project]
name = "template"
version = "1.0.0"
requires-python = ">=3.12"
dependencies = ["engine>=9.1"]

[dependency-groups]
dev = ["linter>=1.0,<2"]
""",
    "template/pyproject.toml": """\
[project]
name = "{@ project_slug @}"

[dependency-groups]
base = [
    # @if django_version == "6.1"
    "django>=6.1.1,<6.2",
    # @else
    "django>=5.2.1,<5.3",
    # @endif
    # @if broker == "redis"
    "tasks[redis]>=5.0,<6",
    # @else
    "tasks>=5.0,<6",
    # @endif
]
tooling = [
    "linter>=1.0,<2",
]
""",
    "template/requirements/base.txt": """\
-r project.txt
# @if django_version == "6.1"
django>=6.1.1,<6.2
# @else
django>=5.2.1,<5.3
# @endif
# @if broker == "redis"
tasks[redis]>=5.0,<6
# @else
tasks>=5.0,<6
# @endif
""",
    "template/requirements/development.txt": "-r base.txt\nlinter>=1.0,<2\nuv>=0.13\n",
    "template/Dockerfile": (
        "ARG UV_IMAGE=ghcr.io/astral-sh/uv:0.13.1\nFROM python:{@ python_version @}-slim\n"
    ),
    "template/docker-compose.yml": (
        'services:\n  cache:\n    image: "${CACHE_IMAGE:-redis:8}"\n'
        '  web:\n    image: "python:{@ python_version @}-slim"\n'
        '  broker:\n    image: "rabbitmq:4"\n'
    ),
    "template/.gitlab-ci.yml": (
        'test:\n  image: redis:8-alpine\n  services:\n    - name: "rabbitmq:4"\n'
        '  variables:\n    UV_VERSION: "0.13.1"\n'
    ),
    "template/.pre-commit-config.yaml": "repos:\n  - repo: local\n    hooks: []\n",
    ".github/workflows/ci.yml": f"      - uses: actions/checkout@{COMMIT} # v7.0.1\n",
    "template/.github/workflows/ci.yml": f"      - uses: actions/checkout@{COMMIT} # v7.0.1\n",
}

# What the package index has: the releases, and what each depends on.
RELEASES: dict[str, dict[str, list[str]]] = {
    "django": {"6.1.1": [], "6.1.4": [], "6.2.0": [], "5.2.1": [], "5.2.3": []},
    "engine": {"9.1.0": [], "9.2.3": []},
    "linter": {"1.0.0": [], "1.4.2": [], "2.0.0": []},
    "tasks": {"5.0.0": [], "5.1.0": ["django<6.2", "transport<4"], "5.2.0": ["django<6"]},
    "transport": {"3.0.0": [], "4.0.0": []},
    "uv": {"0.13.1": [], "0.14.2": []},
}


@dataclass(frozen=True)
class Difference:
    """A pin that is changed in one file alone, and what is said about it."""

    file: str
    old: str
    new: str
    said: str


DIFFERENCES = {
    "a package, for pip": Difference(
        "template/requirements/base.txt",
        "django>=6.1.1,<6.2",
        "django>=6.1.3,<6.2",
        "django: >=5.2.1,<5.3 at template/pyproject.toml:9 and >=6.1.1,<6.2 at"
        " template/pyproject.toml:7, but >=5.2.1,<5.3 at template/requirements/base.txt:5 and"
        " >=6.1.3,<6.2 at template/requirements/base.txt:3. Write the same.",
    ),
    "a package, in the repository itself": Difference(
        "pyproject.toml",
        "linter>=1.0",
        "linter>=1.4",
        "linter: >=1.4,<2 at pyproject.toml:8, but >=1.0,<2 at template/pyproject.toml:18."
        " Write the same.",
    ),
    "an image": Difference(
        "template/.gitlab-ci.yml",
        "redis:8",
        "redis:8.2",
        "The image redis: 8 at template/docker-compose.yml:3 and 8.2 at template/.gitlab-ci.yml:2."
        " Write the same.",
    ),
    "an image that is a service of GitLab's": Difference(
        "template/.gitlab-ci.yml",
        "rabbitmq:4",
        "rabbitmq:4.1",
        "The image rabbitmq: 4 at template/docker-compose.yml:7 and 4.1 at"
        " template/.gitlab-ci.yml:4. Write the same.",
    ),
    "an image whose tag holds an answer": Difference(
        "template/docker-compose.yml",
        "python:{@ python_version @}-slim",
        "python:3.13-slim",
        "The image python: 3.13 at template/docker-compose.yml:5 and {@ python_version @} at"
        " template/Dockerfile:2. Write the same.",
    ),
    "an action": Difference(
        ".github/workflows/ci.yml",
        " # v7.0.1",
        " # v7.0.0",
        f"The action actions/checkout: {COMMIT} # v7.0.0 at .github/workflows/ci.yml:1 and {COMMIT}"
        " # v7.0.1 at template/.github/workflows/ci.yml:1. Write the same.",
    ),
    "a tool of the pipeline": Difference(
        "template/.gitlab-ci.yml",
        "0.13.1",
        "0.13.0",
        "The tool UV: 0.13.0 at template/.gitlab-ci.yml:6 and 0.13.1 at template/Dockerfile:1."
        " Write the same.",
    ),
    "a hook of pre-commit": Difference(
        "template/.pre-commit-config.yaml",
        "repo: local\n",
        "repo: https://example.com/linter-pre-commit\n    rev: v1.0.0\n",
        "pre-commit has its own linter at template/.pre-commit-config.yaml:2. Run the project's by"
        " a local hook.",
    ),
    "a Python": Difference(
        "Makefile",
        "3.13 3.12",
        "3.14 3.13",
        "Python: 3.13 3.12 in copier.yml, but 3.14 3.13 in Makefile. Write the same, in the same"
        " order.",
    ),
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a small repository whose pins are equal."""
    folder = tmp_path / "repository"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "hooks").mkdir()
    shutil.copy(ROOT / "hooks/versions.py", folder / "hooks")
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    return folder


@pytest.fixture
def index(tmp_path: Path) -> str:
    """Return the address of a package index with a few releases."""
    folder = tmp_path / "index"
    for name, releases in RELEASES.items():
        (folder / name).mkdir(parents=True)
        links = [wheel(folder / name, name, *release).name for release in releases.items()]
        page = "".join(f'<a href="{link}">{link}</a>\n' for link in links)
        (folder / name / "index.html").write_text(page, encoding="utf-8")
    return folder.as_uri()


def wheel(folder: Path, name: str, version: str, dependencies: list[str]) -> Path:
    """Write a package without code."""
    about = f"{name}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nProvides-Extra: redis\n"]
    metadata += [f"Requires-Dist: {dependency}\n" for dependency in dependencies]
    files = {
        f"{about}/METADATA": "".join(metadata),
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
        record += f"{path},sha256={digest.rstrip('=')},{len(text)}\n"
    target = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for path, text in {**files, f"{about}/RECORD": record}.items():
            archive.writestr(path, text)
    return target


def run(root: Path, *arguments: str, index: str = "", code: int = 0) -> str:
    """Run hooks/versions.py and return what it says."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    uv = {
        "UV_DEFAULT_INDEX": index or "file:///nowhere",
        "UV_CACHE_DIR": os.fspath(root.parent / "cache"),
        "UV_NO_CONFIG": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    done = subprocess.run(
        [sys.executable, root / "hooks/versions.py", *arguments],
        env={**inherited, **uv},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_pins_of_one_thing_are_equal_everywhere() -> None:
    assert run(ROOT, "check") == ""


def test_equal_pins_are_left_alone(repository: Path) -> None:
    assert run(repository, "check") == ""


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_difference_is_told_with_its_places(repository: Path, name: str) -> None:
    change = DIFFERENCES[name]
    text = (repository / change.file).read_text(encoding="utf-8")
    assert change.old in text
    (repository / change.file).write_text(text.replace(change.old, change.new), encoding="utf-8")

    assert run(repository, "check", code=1) == f"{change.said}\n"


def test_floors_are_raised_everywhere_and_what_is_held_back_is_told(
    repository: Path, index: str
) -> None:
    said = run(repository, "refresh", index=index)

    changed = {
        "django>=6.1.1,<6.2": "django>=6.1.4,<6.2",
        "django>=5.2.1,<5.3": "django>=5.2.3,<5.3",
        "engine>=9.1": "engine>=9.2",
        "linter>=1.0": "linter>=1.4",
        "tasks[redis]>=5.0,<6": "tasks[redis]>=5.1,<6",
        "tasks>=5.0,<6": "tasks>=5.1,<6",
        "uv>=0.13": "uv>=0.14",
        "uv:0.13.1": "uv:0.14.2",
        'UV_VERSION: "0.13.1"': 'UV_VERSION: "0.14.2"',
    }
    for name, text in FILES.items():
        expected = text
        for old, new in changed.items():
            expected = expected.replace(old, new)
        assert (repository / name).read_text(encoding="utf-8") == expected
    assert 'version = "9.2.3"\n' in (repository / "uv.lock").read_text(encoding="utf-8")

    raised, _, held = said.partition("Held back:\n")
    assert "  engine: >=9.1 is now >=9.2\n" in raised
    assert "  uv: 0.13.1 is now 0.14.2\n" in raised
    lines = {line.split(",")[0].strip(): line for line in held.splitlines()}
    # By the template's own limit, ...
    assert lines["linter 1.4.2"].endswith("2.0.0 is out: the limit is the template's own, <2")
    # ... by a package that caps Django, ...
    assert "though 6.2.0 is out: the limit is the template's own, <6.2;" in lines["django 6.1.4"]
    assert "tasks>=5.1.0" in lines["django 6.1.4"]
    assert "depends on django<6" in lines["django 6.1.4"]
    # ... and by the Django that one can choose.
    assert "though 5.2.0 is out: for Django 6.1 on Python 3.1" in lines["tasks 5.1.0"]
    assert "tasks>=5.2.0 depends on django<6" in lines["tasks 5.1.0"]


def test_a_second_refresh_changes_nothing(repository: Path, index: str) -> None:
    run(repository, "refresh", index=index)

    assert "Raised:\n  nothing\n" in run(repository, "refresh", index=index)


def test_a_refresh_makes_equal_what_a_bot_has_raised_in_one_file_alone(
    repository: Path, index: str
) -> None:
    own = repository / "pyproject.toml"
    own.write_text(own.read_text("utf-8").replace("linter>=1.0,<2", "linter>=1.4,<2"), "utf-8")
    (repository / "Makefile").write_text("PYTHON_VERSIONS := 3.13\n", encoding="utf-8")

    said = run(repository, "refresh", index=index, code=1)

    for name in ("pyproject.toml", "template/pyproject.toml"):
        assert '"linter>=1.4,<2"' in (repository / name).read_text(encoding="utf-8")
    # What no package index knows is still told.
    assert said.splitlines()[-1].startswith("Python: 3.13 3.12 in copier.yml, but 3.13 in Makefile")


def test_a_refresh_raises_an_image_and_an_action_where_a_bot_does_not(
    repository: Path, index: str
) -> None:
    raised = f"{'f' * 40} # v8.0.0"
    for name, old, new in (
        ("template/docker-compose.yml", "redis:8", "redis:8.2"),
        ("template/docker-compose.yml", "rabbitmq:4", "rabbitmq:4.1-alpine"),
        (".github/workflows/ci.yml", f"{COMMIT} # v7.0.1", raised),
    ):
        text = (repository / name).read_text(encoding="utf-8")
        assert old in text
        (repository / name).write_text(text.replace(old, new), encoding="utf-8")

    said = run(repository, "refresh", index=index)

    assert run(repository, "check") == ""
    pipeline = (repository / "template/.gitlab-ci.yml").read_text(encoding="utf-8")
    assert "image: redis:8.2-alpine\n" in pipeline
    assert 'name: "rabbitmq:4.1"\n' in pipeline
    workflow = (repository / "template/.github/workflows/ci.yml").read_text(encoding="utf-8")
    assert workflow.endswith(f"actions/checkout@{raised}\n")
    assert "  redis: 8-alpine is now 8.2\n" in said
    # An answer is no version, and stays.
    compose = (repository / "template/docker-compose.yml").read_text(encoding="utf-8")
    assert "python:{@ python_version @}-slim" in compose


def test_an_index_that_cannot_be_read_is_told_without_a_traceback(repository: Path) -> None:
    said = run(repository, "refresh", code=1)

    assert "Traceback" not in said
    assert said.strip()
