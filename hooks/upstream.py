"""Turn a service's edit of a file into a patch of the template.

    python3 hooks/upstream.py ../my-service/Dockerfile > fix.patch

The file is compared with what the release that the service was made from renders for its answers.
Each changed line is then found in the template's own file, between its statements, and values
become variables again. The patch goes to standard output and is for review: `git apply fix.patch`.
Needs the packages of this repository; `make upstream FILE=…` calls it.
"""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import yaml
from jinja2_ansible_filters import AnsibleCoreFiltersExtension

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
ANSWERS = ".copier-answers.yml"
# Answers whose values are put back wherever they stand in a new line, and not only where they were.
NAMES = ("package_name", "project_slug", "project_name", "description", "author_name")
VARIABLE = re.compile(r"\{@ .*? @\}")


class UpstreamError(Exception):
    """There can be no patch; the message is the sentence that says why."""


def main(name: str = "") -> int:
    """Print the patch for a service's file and return the exit code."""
    if not name:
        print(
            "Name the service's file: make upstream FILE=../my-service/Dockerfile", file=sys.stderr
        )
        return 2
    try:
        patch = make_patch(Path(name).resolve())
    except (UpstreamError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if not patch:
        print(f"{name} is as the template renders it.", file=sys.stderr)
    sys.stdout.write(patch)
    return 0


def make_patch(file: Path) -> str:
    """Return the patch of the template that would render the file as the service has it."""
    project = next((folder for folder in file.parents if (folder / ANSWERS).is_file()), None)
    if project is None or not file.is_file():
        raise UpstreamError(f"{file} is no file of a project that was made from this template.")
    answers = yaml.safe_load((project / ANSWERS).read_text(encoding="utf-8"))
    answers = {**answers.get("locked", {}), **answers}
    name = file.relative_to(project).as_posix()
    source = source_of(name, answers)
    raw = git("show", f"{answers['_commit']}:{source}")
    rendered = render(project, name)
    engine = engine_of(answers["_commit"])
    changed = put_back(
        raw.splitlines(keepends=True),
        rendered.splitlines(keepends=True),
        file.read_text(encoding="utf-8").splitlines(keepends=True),
        lambda line: fill(engine, line, answers),
        answers,
    )
    return "".join(
        difflib.unified_diff(raw.splitlines(keepends=True), changed, f"a/{source}", f"b/{source}")
    )


def source_of(name: str, answers: dict[str, Any]) -> str:
    """Return where the template has the text of a project's file."""
    try:
        git("rev-parse", "--verify", "--quiet", f"{answers['_commit']}^{{commit}}")
    except UpstreamError:
        raise UpstreamError(
            f"This clone has no {answers['_commit']}, from which the project was made: `git fetch"
            " --tags` gets it."
        ) from None
    package = f"src/{answers['package_name']}/"
    path = name.replace(package, "src/{@ package_name @}/", 1) if name.startswith(package) else name
    try:
        text = git("show", f"{answers['_commit']}:template/{path}")
    except UpstreamError:
        raise UpstreamError(f"The template has no {path} in {answers['_commit']}.") from None
    # Such as scripts/bootstrap.py, which the template itself runs, too.
    included = re.fullmatch(r'# @include "([^"]+)"\n', text)
    return included[1] if included else f"template/{path}"


def render(project: Path, name: str) -> str:
    """Return a file as the recorded release renders it for the recorded answers."""
    with tempfile.TemporaryDirectory() as folder:
        recorded = (project / ANSWERS).read_text(encoding="utf-8")
        # From here: the service may have been made from a mirror.
        local = re.sub(r"(?m)^_src_path:.*$", f"_src_path: {ROOT}", recorded)
        (Path(folder) / ANSWERS).write_text(local, encoding="utf-8")
        options = ("--vcs-ref", ":current:", "--defaults", "--overwrite", "--quiet")
        run("copier", "recopy", *options, folder)
        return (Path(folder) / name).read_text(encoding="utf-8")


def engine_of(commit: str) -> jinja2.Environment:
    """Return Jinja with the delimiters of a release."""
    settings = yaml.safe_load(git("show", f"{commit}:copier.yml"))["_envops"]
    options = {**settings, "undefined": jinja2.StrictUndefined}
    return jinja2.Environment(  # noqa: S701 (it makes no HTML)
        extensions=[AnsibleCoreFiltersExtension], **options
    )


def fill(engine: jinja2.Environment, line: str, answers: dict[str, Any]) -> str:
    """Return a line of the template as it is rendered; a statement as it stands."""
    if line.lstrip().startswith("# @"):
        return line
    try:
        return engine.from_string(line).render(answers)
    except jinja2.TemplateError:
        return line


def put_back(
    raw: list[str],
    rendered: list[str],
    edited: list[str],
    filled: Callable[[str], str],
    answers: dict[str, Any],
) -> list[str]:
    """Return the template's lines with the service's changes in them."""
    found: dict[int, int] = {}
    matcher = difflib.SequenceMatcher(
        None, [filled(line) for line in raw], rendered, autojunk=False
    )
    for block in matcher.get_matching_blocks():
        for offset in range(block.size):
            found[block.b + offset] = block.a + offset
    changed: list[list[str]] = [[line] for line in raw]
    before: list[str] = []  # what comes before the first line
    changes = difflib.SequenceMatcher(None, rendered, edited, autojunk=False).get_opcodes()
    for kind, start, end, new_start, new_end in changes:
        if kind == "equal":
            continue
        if missing := [rendered[number] for number in range(start, end) if number not in found]:
            raise UpstreamError(
                f"{missing[0].strip()!r} stands in no single line of the template: change it there"
                " by hand."
            )
        removed = [found[number] for number in range(start, end)]
        lines = [
            variables_in(line, [raw[number] for number in removed], filled, answers)
            for line in edited[new_start:new_end]
        ]
        for number in removed:
            changed[number] = []
        anchor = removed[0] if removed else found.get(start - 1)
        (before if anchor is None else changed[anchor]).extend(lines)
    return [*before, *(line for lines in changed for line in lines)]


def variables_in(
    line: str, replaced: list[str], filled: Callable[[str], str], answers: dict[str, Any]
) -> str:
    """Return a new line with variables for the values that are answers.

    First those of the lines that it replaces, and then names that can only be this project's.
    """
    wanted: list[tuple[str, str]] = []
    for old in replaced:
        wanted += [(filled(variable), variable) for variable in VARIABLE.findall(old)]
    wanted += [(str(answers[name]), f"{{@ {name} @}}") for name in NAMES if name in answers]
    parts = [line]
    for value, variable in wanted:
        if not value.strip():
            continue
        pattern = re.compile(rf"(?<![\w{{-]){re.escape(value)}(?![\w-])")
        # A variable that has been put back is not looked into again.
        split: list[str] = []
        for part in parts:
            if VARIABLE.fullmatch(part):
                split.append(part)
                continue
            pieces = pattern.split(part)
            for number, piece in enumerate(pieces):
                split += [variable, piece] if number else [piece]
        parts = split
    return "".join(parts)


def git(*arguments: str) -> str:
    """Return what git prints in this repository."""
    return run("git", *arguments)


def run(*command: str) -> str:
    """Return what a command prints; raise UpstreamError with what it says when it fails."""
    program = Path(sys.executable).with_name(command[0])
    done = subprocess.run(
        [os.fspath(program) if program.exists() else command[0], *command[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UpstreamError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
