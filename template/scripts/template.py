# Releases of the template. Maintained by the template: add a target to Makefile instead.
"""Take a release of the template, or show what was changed in the files that it maintains.

    python3 scripts/template.py update                      the newest release
    python3 scripts/template.py update KEY=VALUE...         the same release, other answers
    python3 scripts/template.py diff [--exit-code]          files that should not have been changed

Needs git and Python 3.9 or newer, and runs Copier from PATH or by uv. An update ends with exit code
1, and with sentences that say what to do, whenever a hand is needed: Copier itself does not.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

ROOT = Path(__file__).resolve().parent.parent
ANSWERS = ".copier-answers.yml"
OLDEST_COPIER = "9.19"
# @if package_manager == "uv"
LOCKS = ("uv.lock",)

# @else
LOCKS = ("requirements/development.lock.txt", "requirements/production.lock.txt")

# @endif
# What says in a file's first lines that the template maintains it, and what opens a team's part in
# such a file: up to the next blank line, or up to the end.
MANAGED = "Maintained by the template"
YOURS = "# Yours"
YOURS_TO_THE_END = "# Yours from here"
# What is managed and cannot say so, with what changes it instead.
SILENT = {
    ".python-version": 'make update ANSWERS="python_version=…"',
    "LICENSE": 'make update ANSWERS="license=…"',
}

# What Copier says when it cannot go on, and what that means.
TROUBLES = {
    r"Unknown revision|pathspec .* did not match|not our ref|couldn't find remote ref": (
        "The template has no release {release} any more, from which this project was made, so there"
        " is nothing to compare with: ask its maintainers to publish the tag again. Without it,"
        " `copier recopy --defaults` renders the newest release over this project; look at every"
        " line of `git diff` then."
    ),
    r"requires Copier version": (
        "The template needs a newer Copier: `uv tool upgrade copier`, or however it was installed."
    ),
    r"must be a directory|git-tracked templates|clone|fetch|ls-remote": (
        "The template cannot be read from {source}: check the network, your access, and `_src_path`"
        f" in {ANSWERS}."
    ),
    r"No git tags found|Downgrades are not supported": (
        "The template at {source} has no release that is newer than {release}."
    ),
    r"potentially unsafe": (
        "This release moves files by a script of its own, which needs your trust: read its upgrade"
        " notes, run `copier update --defaults --trust`, then look at `git status`."
    ),
}


class HandNeededError(Exception):
    """A person has to do something first; the message is the sentence that says what."""


def main(command: str = "", *arguments: str) -> int:
    """Run what the command line asks for and return the exit code."""
    try:
        if command == "update" and "--help" not in arguments:
            return update([argument for argument in arguments if argument != "--data"])
        if command == "diff" and arguments in {(), ("--exit-code",)}:
            drifted = show_drift()
            return 1 if drifted and arguments else 0
    except (HandNeededError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    usage = "Usage: template.py update [KEY=VALUE]... | diff [--exit-code]"
    print(usage, file=sys.stderr)
    return 2


# ---- Update -------------------------------------------------------------------------------------


def update(data: Sequence[str]) -> int:
    """Take the newest release, or other answers; return 1 when something is left to do by hand."""
    require_clean_tree()
    options: list[str] = []
    if data:
        # One thing at a time: the release stays, so that every change comes from the answer.
        given = [f"--data={pair(answer)}" for answer in data]
        require_questions(given)
        options = ["--vcs-ref", ":current:", *given]
    elif not (release := newer_release()):
        print(f"This project is at {recorded('_commit')}, the newest release.")
        return 0
    else:
        say(f"Updating from {recorded('_commit')} to {release}.")
    with tempfile.TemporaryDirectory() as folder:
        rendered = render(Path(folder))
        edited = {name for name, text in rendered.items() if read(name) not in {None, text}}
    before = answers()
    copier("update", "--defaults", "--quiet", *options)

    for sentence in (*new_answers(before), *left_behind(before)):
        say(sentence)
    problems = [
        *conflicts(),
        *lost(edited),
        *met(rendered.keys()),
        *changed_answers(before, data),
    ]
    if problems:
        print("\n".join(["The update needs your hand:", *problems]), file=sys.stderr)
        print(
            "When all is well: `python3 scripts/bootstrap.py --lock && make setup check`, then"
            " commit. `git reset --hard && git clean -d --force` takes the update back.",
            file=sys.stderr,
        )
        return 1
    for command in ([sys.executable, "scripts/bootstrap.py", "--lock"], ["make", "setup", "check"]):
        say(shlex.join(command))
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            raise HandNeededError(
                f"The files are updated, but `{shlex.join(command)}` failed: mend what it says, and"
                " run it again before you commit."
            )
    print(
        f"This project is at {recorded('_commit')} now: look at it with `git add --all && git diff"
        " --cached`, then commit."
    )
    return 0


def pair(answer: str) -> str:
    """Return an answer as it is; raise HandNeededError when it is none."""
    if not re.match(r"\w+=", answer):
        raise HandNeededError(
            f"{answer} is no answer: write KEY=VALUE, and put it in quotes where it has a blank, as"
            " in `make update ANSWERS=\"'author_name=Acme GmbH' license=MIT\"`."
        )
    return answer


def require_questions(given: Sequence[str]) -> None:
    """Raise HandNeededError when an answer (`--data=KEY=VALUE`) is none: Copier passes over it."""
    with tempfile.TemporaryDirectory() as folder:
        render(Path(folder), *given)
        asked = {key for key in answers(Path(folder)) if key != "locked" and key[0] != "_"}
    for key in (option.split("=")[1] for option in given):
        if key not in asked:
            raise HandNeededError(
                f"{key} is no answer of this release, so nothing is changed: there are"
                f" {', '.join(sorted(asked))}."
            )


def require_clean_tree() -> None:
    """Raise HandNeededError unless everything here is committed, so that nothing can be lost."""
    done = run("git", "status", "--porcelain", "--", ".")
    if done.returncode:
        raise HandNeededError("An update needs git: `make setup` makes this a repository.")
    if done.stdout:
        raise HandNeededError(
            "There are changes that are not committed: commit or stash them, so that the update can"
            f" be told from them.\n{done.stdout.rstrip()}"
        )


def newer_release() -> str:
    """Return the newest release, or nothing when the project is at it."""
    found = json.loads(copier("check-update", "--output-format", "json"))
    return str(found["latest_version"]) if found["update_available"] else ""


def conflicts() -> list[str]:
    """Return a sentence for each file that the update could not merge."""
    unmerged = lines("git", "diff", "--name-only", "--diff-filter=U", "--relative")
    marked = lines("git", "grep", "--untracked", "-l", "-E", "^(<<<<<<<|>>>>>>>) (before|after) ")
    refused = lines("git", "ls-files", "--others", "--", "*.rej")
    return [
        *(
            f"- {name}: keep what is right between the lines <<<<<<< and >>>>>>>, remove these, and"
            f" `git add {shlex.quote(name)}`. {hint(name, read(name) or '')}".rstrip()
            for name in sorted({*unmerged, *marked})
        ),
        *(
            f"- {name} holds a change that did not fit: put it in and remove it."
            for name in refused
        ),
    ]


def is_managed(name: str, text: str) -> bool:
    """Tell whether the template maintains a file."""
    return name in SILENT or MANAGED in "".join(text.splitlines()[:3])


def hint(name: str, text: str) -> str:
    """Return where to put what differs from a managed file, from what its first lines say.

    In a conflict, others stand above them.
    """
    if name in SILENT:
        return f"{MANAGED}: change it by `{SILENT[name]}`."
    words = " ".join(line.strip('#/"<!-> ') for line in text.splitlines())
    if MANAGED not in words:
        return ""
    sentence = re.split(r'\. |",', words[words.index(MANAGED) :])[0]
    return f"{sentence.rstrip('.')}."


def new_answers(before: dict[str, str]) -> list[str]:
    """Return a sentence on the questions that the release has brought, when there are any."""
    fresh = [
        f"{key}={value}"
        for key, value in answers().items()
        if key not in before and not key.startswith("_")
    ]
    return [
        f"New questions of the template are answered by {', '.join(fresh)}; its changelog says what"
        f' else there is, and `make update ANSWERS="{answer.partition("=")[0]}=…"` takes it.'
        for answer in fresh[:1]
    ]


def left_behind(before: dict[str, str]) -> list[str]:
    """Return a sentence for each lock of the package manager that is not used any more."""
    if answers().get("package_manager") == before.get("package_manager"):
        return []
    return [
        f"Nothing reads {name} any more: `git rm {name}`."
        for name in LOCKS
        if read(name) is not None
    ]


def lost(edited: set[str]) -> list[str]:
    """Return a sentence for each file that was changed here and that the update has removed."""
    return [
        f"- {name} was removed, and you had changed it: `git show HEAD:./{name}` has it; move what"
        " is worth keeping."
        for name in sorted(edited)
        if read(name) is None
    ]


def met(known: Collection[str]) -> list[str]:
    """Return a sentence for each of the team's files whose place a file of the release has taken.

    `known` are the paths of the release before. What the template maintains is a conflict by now;
    this is what it only starts, which an update leaves alone.
    """
    here = lines("git", "ls-tree", "-r", "--name-only", "HEAD")
    with tempfile.TemporaryDirectory() as folder:
        rendered = render(Path(folder))
    sentences = []
    for name in sorted(rendered.keys() & {*here} - {*known}):
        mine, fresh = read(name) or "", rendered[name]
        if mine == fresh or is_managed(name, fresh):
            continue
        sides = (mine.splitlines(keepends=True), fresh.splitlines(keepends=True))
        diff = "".join(difflib.unified_diff(*sides, f"project/{name}", f"template/{name}"))
        sentences.append(
            f"- {name} is yours and stays as it is. The template has one, too, which its files may"
            f" count on: take over what you need.\n{diff}"
        )
    return sentences


def changed_answers(before: dict[str, str], data: Sequence[str]) -> list[str]:
    """Return a sentence for each answer that the update has changed without being asked to."""
    asked = {answer.partition("=")[0] for answer in data}
    after = answers()
    return [
        f"- The answer {key}={before[key]} is no longer possible and has become {after[key]}: the"
        " template's changelog says why; if it is not what you want,"
        f' `make update ANSWERS="{key}=…"` chooses another.'
        for key in sorted(before.keys() & after.keys() - asked)
        if not key.startswith("_") and before[key] != after[key]
    ]


# ---- Drift --------------------------------------------------------------------------------------


def show_drift() -> int:
    """Print how managed files differ from the release they are of; return how many do."""
    with tempfile.TemporaryDirectory() as folder:
        rendered = render(Path(folder))
    drifted = 0
    for name, text in rendered.items():
        if not is_managed(name, text) or (mine := read(name)) == text:
            continue
        diff = difflib.unified_diff(
            managed_part(text), managed_part(mine or ""), f"template/{name}", f"project/{name}"
        )
        shown = "".join(diff)
        if mine is None or shown:
            drifted += 1
            what = "differs from the template's" if mine is not None else "is missing"
            print(f"{name} {what}. {hint(name, text)}\n{shown if mine is not None else ''}")
    if not drifted:
        print("Every file that the template maintains is as the template has it.")
    return drifted


def managed_part(text: str) -> list[str]:
    """Return the lines of a managed file without those that are marked as the team's."""
    kept, ours = [], True
    for line in text.splitlines(keepends=True):
        if line.startswith(YOURS_TO_THE_END):
            break
        ours = ours or not line.strip()
        if ours:
            kept.append(line)
        if line.startswith(YOURS):
            ours = False
    return kept


# ---- Files, answers, programs -------------------------------------------------------------------


def render(folder: Path, *options: str) -> dict[str, str]:
    """Return every file of the release and the answers that this project has recorded, by path.

    `folder` is an empty one that belongs to the caller; `options` are more of Copier's.
    """
    (folder / ANSWERS).write_text(recorded_text(), encoding="utf-8")
    current = ("--vcs-ref", ":current:", "--defaults", "--overwrite", "--quiet", "--skip-tasks")
    copier("recopy", *current, *options, str(folder))
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8", errors="replace")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ANSWERS
    }


def read(name: str) -> str | None:
    """Return the text of a file of this project, or None when it is not there."""
    path = ROOT / name
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def recorded_text(project: Path = ROOT) -> str:
    """Return the file in which a project has recorded its answers."""
    try:
        return (project / ANSWERS).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise HandNeededError(
            f"{ANSWERS} is missing: `git log -- {ANSWERS}` knows where it went."
        ) from None


def answers(project: Path = ROOT) -> dict[str, str]:
    """Return the answers that a project has recorded, as they are written."""
    text = recorded_text(project)
    # A key begins its line; the lines of a long value are indented.
    found = re.findall(r"(?m)^(\w+):((?:.*)(?:\n[ \t].*)*)", text)
    return {key: " ".join(value.split()) for key, value in found}


def recorded(key: str) -> str:
    """Return one recorded answer; raise HandNeededError when it is not there."""
    try:
        return answers()[key].strip("'\"")
    except KeyError:
        raise HandNeededError(
            f"{ANSWERS} has no {key}: this project was not copied from a release."
        ) from None


def copier(*arguments: str) -> str:
    """Run Copier in the project's folder and return what it prints; tell in a sentence what failed.

    Its own settings in the user's home count, as they did when the project was copied.
    """
    context = {"release": recorded("_commit"), "source": recorded("_src_path")}
    done = run(*copier_program(), *arguments)
    if done.returncode == 0:
        return done.stdout
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stderr).strip()
    for pattern, sentence in TROUBLES.items():
        if re.search(pattern, said):
            raise HandNeededError(f"{sentence.format(**context)}\nCopier said: {last_line(said)}")
    raise HandNeededError(f"`copier {arguments[0]}` failed: {last_line(said)}")


def last_line(text: str) -> str:
    """Return the last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip(" |")), "")


def copier_program() -> list[str]:
    """Return the command that runs Copier: one on PATH that is new enough, or uv's."""
    for folder in os.get_exec_path():
        program = Path(folder) / "copier"
        if os.access(program, os.X_OK):
            version = re.findall(r"\d+", run(str(program), "--version").stdout)[:2]
            if list(map(int, version)) >= list(map(int, OLDEST_COPIER.split("."))):
                return [str(program)]
    found = run(sys.executable, "scripts/bootstrap.py", "find-uv")
    if found.returncode:
        raise HandNeededError(found.stderr.strip())
    return [found.stdout.strip(), "tool", "run", "--from", f"copier>={OLDEST_COPIER}", "copier"]


def say(text: str) -> None:
    """Print a line of progress at once, so that it stands above what is run next."""
    print(text, flush=True)


def lines(*command: str) -> list[str]:
    """Return the lines that a command prints."""
    return run(*command).stdout.splitlines()


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project's folder and return its output with its exit code."""
    return subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
