# First steps in a fresh checkout. Maintained by the template: add a target to Makefile instead.
"""Bring a fresh checkout to life: `.env`, git, uv, Python, lock, packages, migrations, a commit.

    python3 scripts/bootstrap.py                     all steps; can be repeated at any time
    python3 scripts/bootstrap.py --lock              the lock alone, changed as little as can be
    python3 scripts/bootstrap.py --upgrade           the lock alone, with the newest versions
    python3 scripts/bootstrap.py find-uv             print the path of a uv that runs
    python3 scripts/bootstrap.py find-python 3.13    print the path of a Python of this version
                                                     (of several versions: the first that is found)

Needs git and Python 3.9 or newer with its standard library. Each step is one line with the plain
command behind it, so that everything here can be done by hand. A step that is done already is left
alone; a step that fails ends the run with one sentence and exit code 1: mend the cause, run again.
"""

from __future__ import annotations

import functools
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
SLUG = "{@ project_slug @}"
PYTHON = ".venv/bin/python"
# @if package_manager == "pip"
LOCKED = ("production", "development")
# @endif
SECRETS = ("SECRET_KEY",)  # variables of .env.example that get a fresh random value
OLDEST_UV = [0, 9]  # older ones do not know every option used here

# What the calling shell has set up for another project must not decide where this one is installed
# and which database is migrated.
NOT_INHERITED = ("VIRTUAL_ENV", "PYTHONHOME", "UV_PROJECT_ENVIRONMENT", "DJANGO_SETTINGS_MODULE")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}


class StepFailedError(Exception):
    """A step cannot go on; the message is the sentence that the reader gets."""


def main(command: str = "", *versions: str) -> int:
    """Run what the command line asks for and return the exit code."""
    try:
        if command == "":
            bootstrap()
        elif command in {"--lock", "--upgrade"}:
            options = [command] if command == "--upgrade" else []
            # @if package_manager == "uv"
            lock_with_uv(*options)
            # @endif
            # @if package_manager == "pip"
            lock_with_pip(*options)
            # @endif
        elif command == "find-uv":
            print(find_uv())
        elif command == "find-python" and versions:
            print(find_python(*versions))
        else:
            usage = "Usage: bootstrap.py [--lock | --upgrade | find-uv | find-python VERSION...]"
            print(usage, file=sys.stderr)
            return 2
    except StepFailedError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error}: mend the cause and run this again.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted: run this again to go on.", file=sys.stderr)
        return 130
    return 0


def bootstrap() -> None:
    """Do every step that is not done yet."""
    write_env_file()
    start_repository()
    # @if package_manager == "uv"
    install_with_uv()
    # @endif
    # @if package_manager == "pip"
    install_with_pip()
    # @endif
    run("Database", PYTHON, "manage.py", "migrate", "--verbosity", "0")
    commit()
    say("Done", "`make run` serves it")


def write_env_file() -> None:
    """Copy .env.example to .env with fresh secrets, for its owner alone; leave an existing .env."""
    target = ROOT / ".env"
    if target.exists():
        say("Variables", ".env is there and stays as it is")
        return
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    for name in SECRETS:
        text = re.sub(rf"(?m)^{name}=.*$", f"{name}={secrets.token_urlsafe(50)}", text)
    # Written beside and renamed: an interrupted run leaves no half file that the next one keeps.
    draft = ROOT / ".env.draft"
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text, encoding="utf-8")
    draft.replace(target)
    say("Variables", f".env is .env.example with a fresh {' and '.join(SECRETS)}")


def start_repository() -> None:
    """Run `git init`, unless this folder is a repository already, or part of one."""
    if shutil.which("git") is None:
        raise StepFailedError(
            "git is missing: install it (on Debian: `apt-get install git`) and run this again."
        )
    tops = [folder for folder in (ROOT, *ROOT.parents) if (folder / ".git").exists()]
    # A folder that the repository around it ignores is no part of it.
    if tops and not succeeds("git", "check-ignore", "--quiet", str(ROOT)):
        say("Repository", f"{tops[0]} is under git")
    else:
        run("Repository", "git", "init", "--quiet", "--initial-branch=main")


# @if package_manager == "uv"
def install_with_uv() -> None:
    """Write uv.lock when it is missing, and bring .venv to what it says."""
    remove_broken_environment()
    if not (ROOT / "uv.lock").exists():
        lock_with_uv()
    run("Packages", find_uv(), "sync", "--locked", "--python", find_python(wanted_python()))


def lock_with_uv(*options: str) -> None:
    """Write uv.lock."""
    run("Lock", find_uv(), "lock", "--python", find_python(wanted_python()), *options)


# @endif
# @if package_manager == "pip"
def install_with_pip() -> None:
    """Compile the locks when one is missing, and install what the development lock says into .venv.

    pip takes nothing away: what has left the lock goes when .venv is removed and made anew.
    """
    remove_broken_environment()
    if (ROOT / PYTHON).exists() and not succeeds(PYTHON, "-m", "pip", "--version"):
        remove_environment()  # made by uv, before this project went over to pip
    if not (ROOT / PYTHON).exists():
        python = find_python(wanted_python())
        # Debian's Python has no ensurepip without its package python3-venv.
        if succeeds(python, "-c", "import ensurepip, venv"):
            run("Environment", python, "-m", "venv", ".venv")
        else:
            run("Environment", find_uv(), "venv", "--seed", "--python", python, ".venv")
    if not all((ROOT / f"requirements/{name}.lock.txt").exists() for name in LOCKED):
        lock_with_pip()
    pip = (PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run("Packages", *pip, "--require-hashes", "--requirement", "requirements/development.lock.txt")
    run("Project", *pip, "--no-deps", "--editable", ".")


def lock_with_pip(*options: str) -> None:
    """Compile requirements/<name>.txt into requirements/<name>.lock.txt, with hashes."""
    compiler: tuple[str, ...]
    compiler = (find_uv(), "pip", "compile", "--quiet", "--universal", "--generate-hashes")
    compiler += ("--python-version", wanted_python(), "--no-emit-package", SLUG)
    compiler += ("--custom-compile-command", "make lock")  # what the file names as its origin
    for name in LOCKED:
        source, target = f"requirements/{name}.txt", f"requirements/{name}.lock.txt"
        run("Lock", *compiler, *options, source, "--output-file", target)
        # The next one takes the same version of whatever both have.
        options = (*options, "--constraints", target)


# @endif
def commit() -> None:
    """Make the first commit, in a repository that has none and whose top is this folder."""
    if not (ROOT / ".git").exists() or succeeds("git", "rev-parse", "--verify", "HEAD"):
        return
    identity: list[str] = []
    if not all(succeeds("git", "var", f"GIT_{who}_IDENT") for who in ("AUTHOR", "COMMITTER")):
        identity = ["-c", f"user.name={SLUG}", "-c", f"user.email={SLUG}@localhost"]
    run("First commit", "git", "add", "--all")
    run("First commit", "git", *identity, "commit", "--quiet", "--message", f"Start {SLUG}")


@functools.cache
def find_uv() -> str:
    """Return the path of a uv that runs: on PATH, in pyenv, in .uv, or put into .uv by pip."""
    own = ROOT / ".uv" / "bin" / "uv"
    for candidate in (*on_path("uv"), *of_pyenv("uv"), own):
        # A shim of pyenv may be there and fail, which only running it shows.
        version = output(str(candidate), "--version")
        if version.startswith("uv ") and numbers(version) >= OLDEST_UV:
            return str(candidate)
    if not succeeds(sys.executable, "-m", "pip", "--version"):
        raise StepFailedError(
            f"uv is missing, and {sys.executable} has no pip to install it with: install uv"
            " (https://docs.astral.sh/uv/) or pip (on Debian: `apt-get install python3-pip`), and"
            " run this again."
        )
    # A folder as the target needs no environment and does not touch the system's Python;
    # --upgrade replaces what an interrupted installation has left.
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run("uv", *pip, "--upgrade", "--target", str(ROOT / ".uv"), "uv")
    return str(own)


def wanted_python() -> str:
    """Return the version of Python that this project runs on, such as 3.13."""
    return (ROOT / ".python-version").read_text(encoding="utf-8").strip()


@functools.cache
def find_python(*versions: str) -> str:
    """Return the path of an interpreter of the first of these versions that can be had.

    A version is 3.13 or 3.13.1. Looked for on PATH, among the versions that pyenv and uv have
    installed, and at last downloaded by uv.
    """
    for version in versions:
        for candidate in local_pythons(version):
            if found := interpreter(str(candidate), version):
                return found
    uv = find_uv()
    managed = (uv, "python", "find", "--managed-python", "--no-project", "--no-python-downloads")
    for version in versions:
        if found := output(*managed, version):
            return found
    for version in versions:
        say(f"Python {version}", shlex.join([uv, "python", "install", version]))
        if succeeds(uv, "python", "install", version) and (found := output(*managed, version)):
            return found
    first = versions[0]
    raise StepFailedError(
        f"Python {' or '.join(versions)} is missing, and uv could not download it: install it, for"
        f" example with `uv python install {first}` or `pyenv install {first}`, and run this again."
    )


def local_pythons(version: str) -> Iterator[Path]:
    """Yield the programs on this machine that may be a Python of this version."""
    minor = ".".join(version.split(".")[:2])
    for name in (f"python{minor}", "python3", "python"):
        yield from on_path(name)
    yield from of_pyenv(f"python{minor}")


def on_path(name: str) -> Iterator[Path]:
    """Yield every program of this name on PATH: a shim that fails may hide one that works."""
    for folder in os.get_exec_path():
        if os.access(program := Path(folder) / name, os.X_OK):
            yield program


def of_pyenv(name: str) -> Iterator[Path]:
    """Yield every program of this name in the versions that pyenv has installed, newest first."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    programs = root.glob(f"versions/*/bin/{name}")
    yield from sorted(programs, key=lambda program: numbers(program.parts[-3]), reverse=True)


def numbers(version: str) -> list[int]:
    """Return the numbers in a version, to compare it by."""
    return [int(number) for number in re.findall(r"\d+", version)]


def interpreter(program: str, version: str) -> str:
    """Return the real path behind a program that is a CPython of this version, else nothing."""
    # The base executable, as the environment that happens to be active may be gone tomorrow.
    code = (
        "import sys; print(sys.implementation.name, '%d.%d.%d' % sys.version_info[:3],"
        " getattr(sys, '_base_executable', None) or sys.executable)"
    )
    name, _, rest = output(program, "-c", code).partition(" ")
    actual, _, path = rest.partition(" ")
    return path if name == "cpython" and f"{actual}.".startswith(f"{version}.") else ""


def remove_broken_environment() -> None:
    """Remove a .venv whose Python does not run (an interrupted run) or is of another version."""
    if (ROOT / ".venv").exists() and not interpreter(PYTHON, wanted_python()):
        remove_environment()


def remove_environment() -> None:
    """Remove .venv."""
    say("Environment", f"rm -r {ROOT / '.venv'}")
    shutil.rmtree(ROOT / ".venv")


def say(step: str, text: str) -> None:
    """Print a line of progress, to standard error: standard output is for the answers of find-…."""
    print(f"{step}: {text}", file=sys.stderr, flush=True)


def run(step: str, *command: str) -> None:
    """Run a command in the project's folder, its output shown; its failure ends the whole run."""
    shown = shlex.join(command)
    say(step, shown)
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, stdout=sys.stderr, check=False)
    if done.returncode:
        raise StepFailedError(
            f"`{shown}` failed with exit code {done.returncode}: mend the cause and run this again."
        )


def output(*command: str) -> str:
    """Return what a command prints, without the line's end; nothing when it fails or is missing."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return "" if done.returncode else done.stdout.strip()


def succeeds(*command: str) -> bool:
    """Tell whether a command ends with exit code 0; its output is not shown."""
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, check=False)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
