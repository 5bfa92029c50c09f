"""The repository around the template keeps the rules that the template makes for others."""

from __future__ import annotations

import json
import posixpath
import re
import subprocess
from functools import cache
from typing import TYPE_CHECKING

import pytest
import yaml

from hooks import versions
from tests.rendering import ROOT, questions
from tests.test_linters import LINTERS_BY_NAME, Linter, schema
from tests.test_pairwise import anchors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Linters of what a repository has and a rendered project has not.
MORE_LINTERS = {
    "issue forms": schema(
        "vendor.github-issue-forms",
        r"\.github/ISSUE_TEMPLATE/(?!config)\w+\.yml",
        (".github/ISSUE_TEMPLATE/bug.yml", "name: x\ndescription: y\nbody: 1\n"),
    ),
    "issue templates": schema(
        "vendor.github-issue-config",
        r"\.github/ISSUE_TEMPLATE/config\.yml",
        (".github/ISSUE_TEMPLATE/config.yml", "blank_issues_enabled: 1\n"),
    ),
}
LINTERS: dict[str, Linter] = {**LINTERS_BY_NAME, **MORE_LINTERS}

# Images that the tests make for themselves, of whatever Debian has on that day.
STAND_INS = "tests/containers/"

CI = ROOT / ".github/workflows/ci.yml"
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@cache
def own_files() -> dict[str, str]:
    """Return the repository's files outside of template/, as text."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {
        name: (ROOT / name).read_text(encoding="utf-8")
        for name in sorted({*listed.split("\0")} - {""})
        if not name.startswith(("template/", STAND_INS)) and (ROOT / name).is_file()
    }


@pytest.mark.parametrize("name", LINTERS)
def test_a_linter_finds_nothing_in_the_repository(name: str) -> None:
    linter = LINTERS[name]
    paths = [ROOT / path for path, text in own_files().items() if linter.reads(path, text)]

    found = linter.run(paths) if paths else ""

    assert found == ""


@pytest.mark.parametrize("name", MORE_LINTERS)
def test_a_linter_of_the_repository_finds_a_fault(tmp_path: Path, name: str) -> None:
    linter = LINTERS[name]
    path, text = linter.fault
    target = tmp_path / path
    target.parent.mkdir(parents=True)
    target.write_text(text, encoding="utf-8")

    assert linter.reads(path, text)
    assert linter.run([target]) != ""


def test_links_in_the_repositorys_documents_resolve() -> None:
    broken = []
    for path, text in own_files().items():
        links = re.findall(r"(?<!\\)\]\(([^)\s]+)\)", text) if path.endswith(".md") else []
        for target in links:
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            found = posixpath.normpath(posixpath.join(posixpath.dirname(path), file))
            found = found if file else path
            if not (ROOT / found).exists() or (anchor and anchor not in anchors_in(found)):
                broken.append(f"{path}: {target}")

    assert broken == []


def anchors_in(path: str) -> set[str]:
    """Return what a link can point at in a Markdown file."""
    return anchors((ROOT / path).read_text(encoding="utf-8"))


# ---- Continuous integration ---------------------------------------------------------------------


def test_ci_runs_what_a_developer_runs() -> None:
    """A step that does something of its own would be tried for the first time in a pull request."""
    jobs = yaml.safe_load(CI.read_text(encoding="utf-8"))["jobs"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {*re.findall(r"(?m)^([a-z-]+):.*##", makefile)}

    commands = [
        command
        for job in jobs.values()
        for step in job["steps"]
        for command in step.get("run", "").split(" && ")
        if command
    ]

    assert "sudo .ci/run" in commands
    # What the linters need before they run; .ci/run begins with the same.
    assert commands[: commands.index("make linters fast")] == ["sudo .ci/docker", "make lint"]
    assert ".ci/docker\n" in (ROOT / ".ci/run").read_text(encoding="utf-8")
    known = ("sudo .ci/run", "sudo .ci/docker", "gh auth setup-git")
    asked = {word for line in commands if line not in known for word in line.split()[1:]}
    assert all(line in known or line.startswith("make ") for line in commands)
    assert asked <= targets
    assert {"lint", "linters", "fast", "publish-tags"} <= asked


# Each notes how it was called; what is missing on the machine is in $MISSING.
DOCKER = """#!/bin/sh
case " $MISSING " in *" docker-$1 "*) exit 1 ;; esac
"""
PROMTOOL = """#!/bin/sh
case " $MISSING " in *" promtool "*) exit 1 ;; esac
"""
APT = """#!/bin/sh
echo "apt-get $*" >> "$SEEN"
case $* in
    *SourceList=*update)
        list=$(echo "$*" | sed 's/.*SourceList=\\([^ ]*\\).*/\\1/')
        sed 's/\\[.*\\] //' "$list" >> "$SEEN" ;;
    *" download "*) for name; do case $name in [a-z]*) touch "$name.deb" ;; esac; done ;;
esac
"""
DPKG = """#!/bin/sh
case $2 in
    */promtool.deb) path=$3/usr/bin/promtool ;;
    */docker-*.deb) path=$3/usr/libexec/docker/cli-plugins/$(basename "$2" .deb) ;;
    *) exit 0 ;;
esac
mkdir -p "$(dirname "$path")" && touch "$path"
"""


@pytest.mark.parametrize(
    ("system", "missing", "archive"),
    [
        ("debian", ["docker-compose", "docker-buildx", "promtool"], "http://mirror.example/debian"),
        ("debian", ["docker-compose"], "http://mirror.example/debian"),
        ("ubuntu", ["promtool"], "http://deb.debian.org/debian"),
        ("ubuntu", [], ""),
    ],
)
def test_what_is_missing_beside_docker_comes_from_a_debian(
    tmp_path: Path, system: str, missing: list[str], archive: str
) -> None:
    root, programs, seen = tmp_path / "root", tmp_path / "bin", tmp_path / "seen"
    sources = root / "etc/apt" / f"sources.list.d/{system}.sources"
    sources.parent.mkdir(parents=True)
    sources.write_text(f"Types: deb\nURIs: http://mirror.example/{system}\n", encoding="utf-8")
    (root / "etc/os-release").write_text(f"NAME=x\nID={system}\nID_LIKE=debian\n", "utf-8")
    if system == "debian":
        keyring = root / "usr/share/keyrings/debian-archive-keyring.gpg"
        keyring.parent.mkdir(parents=True)
        keyring.touch()
    programs.mkdir()
    texts = {"docker": DOCKER, "promtool": PROMTOOL, "apt-get": APT, "dpkg-deb": DPKG}
    for name, text in texts.items():
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)
    seen.touch()

    subprocess.run(
        [ROOT / ".ci/docker"],
        env={"PATH": f"{programs}:/usr/bin:/bin", "ROOT": str(root), "SEEN": str(seen),
             "MISSING": " ".join(missing)},
        check=True,
    )  # fmt: skip

    lines = seen.read_text(encoding="utf-8").splitlines()
    assert (f"deb {archive} trixie main" in lines) is bool(missing)
    downloads = [line.partition(" download ")[2] for line in lines if " download " in line]
    assert downloads == ([" ".join(missing)] if missing else [])
    keyrings = [line for line in lines if line.endswith(" debian-archive-keyring")]
    assert len(keyrings) == (1 if system == "ubuntu" and missing else 0)
    installed = {path.name for path in (root / "usr").rglob("local/**/*") if path.is_file()}
    assert installed == set(missing)
    assert lines or not missing


def test_ci_has_the_history_that_updates_are_tested_across() -> None:
    jobs = yaml.safe_load(CI.read_text(encoding="utf-8"))["jobs"]

    for job in jobs.values():
        (checkout,) = (step for step in job["steps"] if "checkout" in step.get("uses", ""))
        assert checkout["with"] == {"fetch-depth": 0, "persist-credentials": False}


def test_actions_are_pinned_to_commits_and_name_their_versions() -> None:
    used = versions.pins(versions.ACTION, versions.IMAGE_FILES)

    assert used
    loose = [
        pin for pin in used if not re.fullmatch(r"[0-9a-f]{40}\s+# v\d+(\.\d+){0,2}", pin.value)
    ]
    assert loose == []


# ---- Bots that propose newer pins ---------------------------------------------------------------

# Which files Renovate looks at by itself: `managerFilePatterns` in
# https://docs.renovatebot.com/modules/manager/, of version 44.
RENOVATE = {
    "docker-compose": r"(^|/)(?:docker-)?compose[^/]*\.ya?ml$",
    "dockerfile": r"(^|/)([Dd]ocker|[Cc]ontainer)file[^/]*$",
    "github-actions": r"(^|/)\.github/(?:workflows|actions)/.+\.ya?ml$",
    "gitlabci": r"\.gitlab-ci\.ya?ml$",
    "npm": r"(^|/)package\.json$",
    "pep621": r"(^|/)pyproject\.toml$",
    "pip_requirements": r"(^|/)[\w-]*requirements([-._]\w+)?\.(txt|pip)$",
}
# Which files Dependabot looks at in the directory of an entry: the file fetchers in
# https://github.com/dependabot/dependabot-core.
DEPENDABOT = {
    "docker": r"[^/]*(dockerfile|containerfile)[^/]*",
    "docker-compose": r"[^/]*(docker-)?compose(-\w+)?(\.[\w-]+)?\.ya?ml",
    "github-actions": r"(\.github/workflows/)?[^/]+\.ya?ml",
    "npm": r"package\.json",
    "pip": r"pyproject\.toml|([^/]+/)?[^/]+\.txt",
    "uv": r"pyproject\.toml|uv\.lock",
}
# Of GitLab's pipelines Dependabot knows nothing, and of a Dockerfile only what stands behind FROM.
NOT_FOR_DEPENDABOT = re.compile(r"template/(\.gitlab(-ci\.yml|/.*)|Dockerfile)")


def pinned_files() -> set[str]:
    """Return the files with a pin in them that is no answer, and that of the linters from npm."""
    found = [
        *versions.packages(),
        *versions.pins(versions.IMAGE, versions.IMAGE_FILES),
        *versions.pins(versions.ACTION, versions.IMAGE_FILES),
    ]
    literal = [pin for pin in found if "{@" not in pin.value]
    files = {pin.file for pin in literal if not pin.file.startswith(STAND_INS)}
    return files | {"tests/linters/package.json"}


def read_by_renovate(path: str) -> bool:
    """Tell whether Renovate looks at a file, as .github/renovate.json has it."""
    settings = json.loads((ROOT / ".github/renovate.json").read_text(encoding="utf-8"))
    more = [
        pattern.strip("/")
        for manager in RENOVATE
        for pattern in settings.get(manager, {}).get("managerFilePatterns", ())
    ]
    # The default leaves out every folder of tests.
    ignored = settings["ignorePaths"]
    assert all(row.endswith("/**") for row in ignored)
    if path.startswith(tuple(row.removesuffix("**") for row in ignored)):
        return False
    return any(re.search(pattern, path) for pattern in (*RENOVATE.values(), *more))


def sent_to_dependabot() -> Iterator[tuple[str, str]]:
    """Yield each folder of .github/dependabot.yml, with the pattern of what is read in it."""
    settings = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text(encoding="utf-8"))
    for entry in settings["updates"]:
        for folder in entry.get("directories") or [entry["directory"]]:
            yield folder.strip("/"), DEPENDABOT[entry["package-ecosystem"]]


def read_by_dependabot(path: str) -> bool:
    """Tell whether Dependabot looks at a file."""
    for folder, pattern in sent_to_dependabot():
        inside = path.removeprefix(f"{folder}/") if folder else path
        if (inside != path or not folder) and re.fullmatch(pattern, inside, re.IGNORECASE):
            return True
    return False


def test_the_bots_look_at_every_file_with_a_pin() -> None:
    files = pinned_files()

    for name in (
        "template/pyproject.toml",
        "template/requirements/base.txt",
        "template/Dockerfile",
    ):
        assert name in files
    assert [path for path in files if not read_by_renovate(path)] == []
    assert [
        path
        for path in files
        if not NOT_FOR_DEPENDABOT.fullmatch(path) and not read_by_dependabot(path)
    ] == []


# What the bots find in a file, by expressions of their own: `lib/modules/manager/dockerfile` of
# https://github.com/renovatebot/renovate, and docker's and docker-compose's parsers in
# https://github.com/dependabot/dependabot-core.
DEFAULT = re.compile(r"""^\$\{.+?:-"?(?P<value>.*?)"?\}$""")
ARG = re.compile(r"(?im)^[ \t]*ARG[ \t]+(\w+)[ =](\S*)")
FROM = re.compile(r"(?im)^[ \t]*FROM[ \t]+(?:--platform=\S+[ \t]+)?(\S+)")
COMPONENT = r"[a-z\d]+(?:(?:[._]|__|[-]*)[a-z\d]+)*"
DEPENDABOTS_IMAGE = re.compile(
    rf"(?:[a-zA-Z\d.-]+\.[a-zA-Z\d.-]+(?::\d+)?/)?{COMPONENT}(?:/{COMPONENT})*:\w[\w.-]{{0,127}}"
)


def written_images(path: str) -> Iterator[str]:
    """Yield what stands where an image is named in a file, with an ARG in its place."""
    text = (ROOT / path).read_text(encoding="utf-8")
    if "Dockerfile" in path:
        values = dict(ARG.findall(text))
        for image in FROM.findall(text):
            yield re.sub(r"\$\{?(\w+)\}?", lambda name: values.get(name[1], name[0]), image)
        return
    for image in re.findall(r"(?m)^ *(?:- )?(?:image|name): *[\"']?([^\"'\n]+)", text):
        found = DEFAULT.match(image)
        yield found["value"] if found else image


def test_renovate_finds_every_image_that_is_pinned() -> None:
    pins = versions.pins(versions.IMAGE, versions.IMAGE_FILES)
    literal = [pin for pin in pins if "{@" not in pin.value and not pin.file.startswith(STAND_INS)]
    assert {"template/Dockerfile", "template/.gitlab/pipeline.yml"} <= {p.file for p in literal}

    for pin in literal:
        assert f"{pin.name}:{pin.value}" in written_images(pin.file), pin


def test_dependabot_finds_every_image_of_a_compose_file_and_make_versions_raises_the_rest() -> None:
    """It reads the default of a variable there, and no ARG of a Dockerfile: only uv is in one."""
    pins = versions.pins(versions.IMAGE, versions.IMAGE_FILES)
    literal = [pin for pin in pins if "{@" not in pin.value and not pin.file.startswith(STAND_INS)]
    compose = {pin.name for pin in literal if "compose" in pin.file}
    elsewhere = {pin.name for pin in literal if "compose" not in pin.file}

    assert all(
        DEPENDABOTS_IMAGE.fullmatch(f"{pin.name}:{pin.value}")
        for pin in literal
        if "compose" in pin.file
    )
    # As CONTRIBUTING.md says: the first by `make versions`, the others by hand.
    assert elsewhere - compose == {versions.UV_IMAGE, "docker", "aquasec/trivy"}


def test_a_file_that_no_bot_knows_is_noticed() -> None:
    for path in ("template/versions.txt.jinja", "template/tests/pyproject.toml"):
        assert not read_by_dependabot(path)
        assert not read_by_renovate(path)


def test_every_folder_that_dependabot_is_sent_to_has_something_for_it() -> None:
    """It fails as a whole where there is nothing."""
    for folder, pattern in sent_to_dependabot():
        paths = [path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*")]
        assert any(re.fullmatch(pattern, path.as_posix(), re.IGNORECASE) for path in paths), folder


def test_the_pins_of_the_template_are_literal() -> None:
    """A bot reads the raw file, so a variable in a pin is an answer, or the project's own image."""
    answers = {"django_version", "postgres_version", "project_slug", "python_version"}
    assert answers <= questions().keys()

    for pin in (*versions.packages(), *versions.pins(versions.IMAGE, versions.IMAGE_FILES)):
        used = set(re.findall(r"\{@ *(\w+) *@\}", pin.name + pin.value))
        assert used <= answers, pin
        assert "{@%" not in pin.value, pin


# ---- Documents ----------------------------------------------------------------------------------


def test_every_command_of_the_contributing_guide_exists() -> None:
    blocks = re.findall(r"(?ms)^```console\n(.*?)^```", CONTRIBUTING)
    lines = [line for block in blocks for line in block.splitlines()]
    targets = {
        word
        for line in [*lines, *re.findall(r"`(make [^`]+)`", CONTRIBUTING)]
        for words in re.findall(r"^make ((?:[a-z-]+(?![a-z-=]) ?)+)", line)
        for word in words.split()
    }

    assert {"setup", "fast", "test", "render", "diff", "lint", "versions"} <= targets
    for target in targets:
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)
    for path, test in re.findall(r"(tests/\w+\.py)(?:::(\w+))?", CONTRIBUTING):
        text = (ROOT / path).read_text(encoding="utf-8")
        assert not test or f"def {test}(" in text
