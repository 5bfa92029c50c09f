"""Show what the template makes of some answers, and what a change to it means for a project.

    python hooks/preview.py render         one variant, in rendered/
    python hooks/preview.py diff [BASE]    what the work tree changes in that variant since BASE, a
                                           revision of this repository (when missing: HEAD)

The variable ANSWERS has the answers as a shell would read them, such as `broker=rabbitmq
"description=Takes orders"`; the others are the defaults. Needs Copier and git on PATH; `make
render` and `make diff` call it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

ROOT = Path(__file__).resolve().parents[1]


class PreviewError(Exception):
    """Nothing can be shown; the message is the sentence that the reader gets."""


def main(command: str = "", base: str = "") -> int:
    """Run what the command line asks for and return the exit code."""
    try:
        answers = read_answers(os.environ.get("ANSWERS", ""))
        if command == "render":
            render(answers)
        elif command == "diff":
            show_difference(base or "HEAD", answers)
        else:
            print("Usage: preview.py render | diff [BASE]", file=sys.stderr)
            return 2
    except PreviewError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def read_answers(text: str) -> list[str]:
    """Return the answers in a text; a wrong key Copier would pass over without a word."""
    settings = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    questions = [
        key
        for key, question in settings.items()
        if not key.startswith("_") and question.get("when") is not False
    ]
    try:
        answers = shlex.split(text)
    except ValueError as error:
        raise PreviewError(f"ANSWERS cannot be read ({error}): check its quotes.") from None
    for answer in answers:
        key, equals, _ = answer.partition("=")
        if key not in questions or not equals:
            raise PreviewError(
                f"{answer} answers no question: write one of {', '.join(questions)}, then =, then"
                " the answer."
            )
    return answers


def render(answers: list[str]) -> None:
    """Render the work tree into rendered/, instead of what is there."""
    target = ROOT / "rendered"
    if target.exists():
        shutil.rmtree(target)
    copy("HEAD", answers, target)
    print(f"rendered/ has {sum(path.is_file() for path in target.rglob('*'))} files.")


def show_difference(base: str, answers: list[str]) -> None:
    """Print the difference between the projects that BASE and the work tree give."""
    # A hash, as to Copier HEAD means the work tree.
    revision = run("git", "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}").strip()
    if not revision:
        raise PreviewError(f"{base} is no revision of this repository: give another BASE.")
    with TemporaryDirectory(prefix="shipshape-") as folder:
        before, after = Path(folder, "before"), Path(folder, "after")
        copy(revision, answers, before)
        copy("HEAD", answers, after)
        for project in (before, after):
            forget_origin(project)
        options = ("--no-index", "--no-prefix", "--stat", "--patch")
        command = ["git", "diff", *options, before.name, after.name]
        # Shown as git shows it: in colour and page by page where there is a terminal.
        if subprocess.run(command, cwd=folder, check=False).returncode == 0:
            print(f"With these answers the work tree gives the same project as {base}.")


def copy(revision: str, answers: list[str], target: Path) -> None:
    """Render a revision of the template; HEAD is the work tree, what is not committed included."""
    data = [f"--data={answer}" for answer in answers]
    options = ("--quiet", "--defaults", f"--vcs-ref={revision}", *data)
    done = subprocess.run(
        ["copier", "copy", *options, ROOT, target], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1]
        # Jinja's traceback ends in the line of the file that it could not render.
        places = re.findall(r'File "[^"]*?/(template/[^"]+)", line (\d+)', done.stderr)
        where = f" at {':'.join(places[-1])}" if places else ""
        raise PreviewError(f"{revision} cannot be rendered with these answers{where}: {reason}")


def forget_origin(project: Path) -> None:
    """Take out of the answers file where the template came from: it always differs."""
    file = project / ".copier-answers.yml"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(("_commit:", "_src_path:"))]
    file.write_text("".join(kept), encoding="utf-8")


def run(*command: str) -> str:
    """Return what a command prints to standard output, whether it succeeds or not."""
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False).stdout


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
