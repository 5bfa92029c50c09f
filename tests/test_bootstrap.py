"""The first steps of a project: they succeed on any machine, and can be repeated at any time."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.rendering import ROOT, Render

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.service import GetService

pytestmark = pytest.mark.slow

ENV_EXAMPLE = "# The environment.\nSECRET_KEY=\n\n# PORT=8000\n"

# Stands in for Django, as these tests are about the steps around it.
MANAGE = """\
import os, sys
with open("database", "a") as file:
    print(*sys.argv[1:], os.environ.get("DJANGO_SETTINGS_MODULE", "-"), file=file)
"""


@pytest.fixture
def project(tmp_path: Path, render: Render) -> Path:
    """Return a small project that has the bootstrap of a uv variant and no dependencies."""
    folder = tmp_path / "my-service"
    write_project(folder, (render() / "scripts" / "bootstrap.py").read_text(encoding="utf-8"))
    return folder


def write_project(folder: Path, script: str) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    files = {
        ".env.example": ENV_EXAMPLE,
        ".gitignore": ".env\n.uv/\n.venv/\n/database\n*.egg-info\n",
        ".python-version": f"{version}\n",
        "manage.py": MANAGE,
        "pyproject.toml": (
            f'[project]\nname = "my-service"\nversion = "1"\nrequires-python = ">={version}"\n'
        ),
        "scripts/bootstrap.py": script,
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def shell(**variables: str) -> dict[str, str]:
    """Return an environment that knows where packages come from, but no git identity."""
    return {
        **os.environ,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        # Without this git makes an identity up where the machine's name allows it.
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "user.useConfigOnly",
        "GIT_CONFIG_VALUE_0": "true",
        **variables,
    }


def bootstrap(
    project: Path, *arguments: str, env: Mapping[str, str] | None = None, code: int = 0
) -> str:
    """Run the script, which must end with this exit code, and return what it said."""
    done = subprocess.run(
        [sys.executable, "scripts/bootstrap.py", *arguments],
        cwd=project,
        env=env or shell(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def git(project: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Run git and return what it prints."""
    done = subprocess.run(
        ["git", *arguments], cwd=project, env=env or shell(), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return done.stdout.strip()


def succeeds(*command: str, cwd: Path) -> bool:
    """Tell whether a command ends with exit code 0."""
    done = subprocess.run(command, cwd=cwd, env=shell(), capture_output=True, check=False)
    return done.returncode == 0


def start_repository(folder: Path) -> None:
    """Make a repository with one commit."""
    folder.mkdir()
    git(folder, "init", "--quiet")
    identity = ("-c", "user.name=Someone", "-c", "user.email=someone@example.com")
    git(folder, *identity, "commit", "--quiet", "--allow-empty", "--message", "Start")


def test_one_command_sets_a_fresh_project_up(project: Path) -> None:
    said = bootstrap(project)

    env = (project / ".env").read_text(encoding="utf-8")
    key = env.splitlines()[1].removeprefix("SECRET_KEY=")
    assert len(key) >= 50
    assert env == ENV_EXAMPLE.replace("SECRET_KEY=", f"SECRET_KEY={key}")
    assert stat.S_IMODE((project / ".env").stat().st_mode) == 0o600
    assert (project / "uv.lock").exists()
    assert (project / ".venv/bin/python").exists()
    assert (project / "database").read_text() == "migrate --verbosity 0 -\n"
    assert git(project, "log", "--format=%s") == "Start my-service"
    assert git(project, "status", "--porcelain") == ""
    assert {"uv.lock", "manage.py"} <= set(git(project, "ls-files").splitlines())
    assert ".env" not in git(project, "ls-files").splitlines()

    # Each step is a line with the plain command behind it.
    for command in (
        "git init --quiet",
        "uv lock --python",
        "uv sync --locked",
        ".venv/bin/python manage.py migrate",
        "git add --all",
        "commit --quiet --message 'Start my-service'",
    ):
        assert command in said
    assert key not in said


def test_commands_before_it_say_what_is_missing(render: Render, tmp_path: Path) -> None:
    project = tmp_path / "checkout"
    shutil.copytree(render(), project)

    for target in ("run", "worker", "beat", "test", "lint", "format", "types", "migrations"):
        done = subprocess.run(
            ["make", target], cwd=project, capture_output=True, text=True, check=False
        )
        assert done.returncode != 0
        assert ".venv/bin/python is missing: make setup installs it.\n" in done.stderr


def test_each_project_gets_a_key_of_its_own(project: Path) -> None:
    bootstrap(project)
    first = (project / ".env").read_text(encoding="utf-8")
    (project / ".env").unlink()
    bootstrap(project)
    assert (project / ".env").read_text(encoding="utf-8") != first


def test_a_second_run_changes_nothing(project: Path) -> None:
    bootstrap(project)
    before = {
        name: (project / name).read_bytes() for name in (".env", "uv.lock", ".venv/pyvenv.cfg")
    }
    head = git(project, "rev-parse", "HEAD")

    bootstrap(project)

    assert {name: (project / name).read_bytes() for name in before} == before
    assert git(project, "rev-parse", "HEAD") == head
    assert git(project, "status", "--porcelain") == ""


def test_an_existing_env_is_never_overwritten(project: Path) -> None:
    (project / ".env").write_text("SECRET_KEY=mine\n")
    (project / ".env").chmod(0o640)
    bootstrap(project)
    assert (project / ".env").read_text() == "SECRET_KEY=mine\n"
    assert stat.S_IMODE((project / ".env").stat().st_mode) == 0o640


def test_the_first_commit_needs_no_git_identity(project: Path) -> None:
    bootstrap(project)
    assert git(project, "log", "--format=%an <%ae>") == "my-service <my-service@localhost>"


def test_the_first_commit_is_made_in_the_name_that_git_knows(project: Path) -> None:
    identity = {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Ada"), ("EMAIL", "ada@example.com"))
    }
    bootstrap(project, env=shell(**identity))
    assert git(project, "log", "--format=%an <%ae> %cn") == "Ada <ada@example.com> Ada"


def test_uncommitted_work_of_a_project_with_commits_is_left_alone(project: Path) -> None:
    bootstrap(project)
    (project / "notes.txt").write_text("not yet\n")
    bootstrap(project)
    assert git(project, "status", "--porcelain") == "?? notes.txt"


def test_a_part_of_a_larger_repository_is_neither_initialised_nor_committed(
    project: Path, tmp_path: Path
) -> None:
    start_repository(tmp_path / "monorepo")
    project = project.rename(tmp_path / "monorepo" / "my-service")
    bootstrap(project)
    assert not (project / ".git").exists()
    assert git(project, "log", "--format=%s") == "Start"
    assert (project / "database").exists()


def test_a_larger_repository_without_commits_is_not_committed(
    project: Path, tmp_path: Path
) -> None:
    (tmp_path / "monorepo").mkdir()
    git(tmp_path / "monorepo", "init", "--quiet")
    project = project.rename(tmp_path / "monorepo" / "my-service")
    bootstrap(project)
    assert not succeeds("git", "rev-parse", "--verify", "HEAD", cwd=project)


def test_a_folder_that_a_repository_ignores_becomes_one_of_its_own(
    project: Path, tmp_path: Path
) -> None:
    start_repository(tmp_path / "outer")
    (tmp_path / "outer" / ".gitignore").write_text("/my-service/\n")
    project = project.rename(tmp_path / "outer" / "my-service")
    bootstrap(project)
    assert git(project, "log", "--format=%s") == "Start my-service"


def test_a_version_of_python_that_cannot_be_had_is_named_in_a_sentence(project: Path) -> None:
    (project / ".python-version").write_text("3.99\n")
    said = bootstrap(project, env=shell(UV_PYTHON_DOWNLOADS="never"), code=1)
    assert said.splitlines()[-1] == (
        "Python 3.99 is missing, and uv could not download it: install it, for example with"
        " `uv python install 3.99` or `pyenv install 3.99`, and run this again."
    )
    assert not (project / ".venv").exists()


def test_programs_on_the_path_that_fail_or_are_another_version_are_passed_over(
    project: Path, tmp_path: Path
) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shims = tmp_path / "shims"
    shims.mkdir()
    # As pyenv does when another version is selected.
    failing = "#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n"
    other = "#!/bin/sh\necho cpython 3.6.1 /usr/bin/python3.6\n"
    for name, text in ((f"python{version}", failing), ("python3", other), ("uv", failing)):
        (shims / name).write_text(text)
        (shims / name).chmod(0o755)
    env = shell(PATH=f"{shims}:{os.environ['PATH']}")

    found = bootstrap(project, "find-python", version, env=env).strip()
    assert not found.startswith(str(shims))
    assert version in subprocess.check_output([found, "--version"], text=True)
    assert not bootstrap(project, "find-uv", env=env).startswith(str(shims))
    bootstrap(project, env=env)


def test_versions_that_pyenv_has_installed_are_found_without_its_shims(
    project: Path, tmp_path: Path
) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    programs = tmp_path / "pyenv" / "versions" / f"{version}.99" / "bin"
    programs.mkdir(parents=True)
    for name, target in ((f"python{version}", sys.executable), ("uv", find_uv(project))):
        (programs / name).symlink_to(target)
    (tmp_path / "bin").mkdir()
    env = shell(PATH=str(tmp_path / "bin"), PYENV_ROOT=str(tmp_path / "pyenv"))

    assert bootstrap(project, "find-uv", env=env).strip() == str(programs / "uv")
    assert version in bootstrap(project, "find-python", version, env=env)


def find_uv(project: Path) -> str:
    return bootstrap(project, "find-uv").strip()


def test_the_first_version_that_is_found_is_taken(project: Path) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    asked = bootstrap(project, "find-python", "3.99", version)
    assert asked == bootstrap(project, "find-python", version)


def test_without_uv_and_pip_a_sentence_says_what_to_install(project: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    # The interpreter of the tests is one without pip.
    env = shell(PATH=str(tmp_path / "bin"), PYENV_ROOT=str(tmp_path))
    said = bootstrap(project, "find-uv", env=env, code=1)
    assert said.startswith(f"uv is missing, and {sys.executable} has no pip")
    assert len(said.splitlines()) == 1


def test_without_git_a_sentence_says_so(project: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    said = bootstrap(project, env=shell(PATH=str(tmp_path / "bin")), code=1)
    assert said.splitlines()[-1].startswith("git is missing")


def test_a_step_that_fails_is_named_and_the_next_run_goes_on(project: Path) -> None:
    (project / "manage.py").write_text("print('no such table'); raise SystemExit(3)\n")
    said = bootstrap(project, code=1)
    assert "no such table" in said
    assert said.splitlines()[-1] == (
        "`.venv/bin/python manage.py migrate --verbosity 0` failed with exit code 3:"
        " mend the cause and run this again."
    )

    (project / "manage.py").write_text(MANAGE)
    bootstrap(project)
    assert git(project, "log", "--format=%s") == "Start my-service"


def test_a_missing_file_is_named_in_a_sentence(project: Path) -> None:
    (project / ".env.example").unlink()
    said = bootstrap(project, code=1)
    assert ".env.example" in said.splitlines()[-1]
    assert not (project / ".env").exists()


def test_an_interrupted_run_is_repeated(project: Path) -> None:
    (project / "manage.py").write_text("import time\nopen('database', 'w')\ntime.sleep(60)\n")
    with subprocess.Popen(
        [sys.executable, "scripts/bootstrap.py"],
        cwd=project,
        env=shell(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        wait_for((project / "database").exists)
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
        said = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert said.splitlines()[-1] == "Interrupted: run this again to go on."

    (project / "manage.py").write_text(MANAGE)
    bootstrap(project)
    assert git(project, "log", "--format=%s") == "Start my-service"


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_a_killed_run_has_left_is_no_obstacle(project: Path) -> None:
    # Killed while .env was written, with an environment half made and nothing committed.
    (project / ".env.draft").write_text("SECRET_")
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / "bin" / "python").symlink_to("/nowhere/python")
    git(project, "init", "--quiet")

    bootstrap(project)

    assert not (project / ".env.draft").exists()
    assert subprocess.check_output([project / ".venv/bin/python", "-c", "print(1)"]) == b"1\n"
    assert git(project, "log", "--format=%s") == "Start my-service"


def test_an_environment_of_another_version_is_replaced(project: Path) -> None:
    bootstrap(project)
    # What a move of .python-version leaves: an environment that runs, but not this version.
    python = project / ".venv" / "bin" / "python"
    python.unlink()
    python.write_text("#!/bin/sh\necho cpython 3.8.1 /usr/bin/python3.8\n")
    python.chmod(0o755)
    bootstrap(project)
    assert python.is_symlink()


def test_the_calling_shells_own_project_does_not_matter(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    bootstrap(
        project,
        env=shell(
            DJANGO_SETTINGS_MODULE="other.settings.production",
            UV_PROJECT_ENVIRONMENT=str(other),
            VIRTUAL_ENV=str(other),
        ),
    )
    assert (project / "database").read_text() == "migrate --verbosity 0 -\n"
    assert not other.exists()


def test_upgrade_writes_the_lock_and_nothing_else(project: Path) -> None:
    bootstrap(project, "--upgrade")
    assert (project / "uv.lock").exists()
    assert not (project / ".env").exists()
    assert not (project / ".venv").exists()


def test_lock_follows_the_dependencies_and_keeps_the_versions_that_are_there(
    project: Path,
) -> None:
    bootstrap(project, "--lock")
    path = project / "uv.lock"
    before = path.read_text(encoding="utf-8")
    pyproject = project / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    pyproject.write_text(text.replace('version = "', 'version = "9'), encoding="utf-8")

    bootstrap(project, "--lock")

    assert path.read_text(encoding="utf-8") != before
    assert not (project / ".env").exists()
    assert not (project / ".venv").exists()


def test_a_wrong_argument_is_answered_with_the_usage(project: Path) -> None:
    assert bootstrap(project, "--help", code=2).startswith("Usage: ")
    assert bootstrap(project, "find-python", code=2).startswith("Usage: ")


@pytest.fixture
def pip_project(tmp_path: Path, render: Render) -> Path:
    """Return a small project that has the bootstrap of a pip variant and one dependency."""
    folder = tmp_path / "my-service"
    tree = render(package_manager="pip")
    write_project(folder, (tree / "scripts" / "bootstrap.py").read_text(encoding="utf-8"))
    requirements = {"base": "sqlparse\n-e .\n", "production": "-r base.txt\n"}
    for name, text in {**requirements, "development": "-r base.txt\n"}.items():
        (folder / "requirements").mkdir(exist_ok=True)
        (folder / "requirements" / f"{name}.txt").write_text(text)
    return folder


def test_pip_projects_are_locked_with_hashes(pip_project: Path) -> None:
    bootstrap(pip_project)
    for name in ("production", "development"):
        lock = (pip_project / "requirements" / f"{name}.lock.txt").read_text(encoding="utf-8")
        assert "sqlparse==" in lock
        assert "--hash=sha256:" in lock
        # Neither the project itself nor a path of the machine that made the lock.
        assert "my-service==" not in lock
        assert "-e ." not in lock
        assert str(pip_project.parent) not in lock
        assert sys.prefix not in lock
    code = "import importlib.metadata as m; print(m.version('my-service'), m.version('sqlparse'))"
    subprocess.run([pip_project / ".venv/bin/python", "-c", code], check=True)
    assert git(pip_project, "log", "--format=%s") == "Start my-service"
    assert git(pip_project, "status", "--porcelain") == ""


def test_an_environment_that_uv_has_made_is_replaced_by_one_with_pip(pip_project: Path) -> None:
    uv, version = find_uv(pip_project), f"{sys.version_info.major}.{sys.version_info.minor}"
    subprocess.run([uv, "venv", "--quiet", "--python", version], cwd=pip_project, check=True)
    assert not (pip_project / ".venv/bin/pip").exists()

    bootstrap(pip_project)

    assert (pip_project / ".venv/bin/pip").exists()
    assert (pip_project / "database").exists()


def test_pip_projects_need_no_ensurepip(pip_project: Path, tmp_path: Path) -> None:
    # As on a Debian without its package python3-venv.
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "ensurepip.py").write_text("raise ImportError\n")
    said = bootstrap(pip_project, env=shell(PYTHONPATH=str(tmp_path / "modules")))
    assert "uv venv --seed" in said
    assert (pip_project / "database").exists()


def test_pip_projects_with_locks_need_no_uv(pip_project: Path, tmp_path: Path) -> None:
    bootstrap(pip_project, "--upgrade")
    before = (pip_project / "requirements" / "production.lock.txt").read_bytes()
    (tmp_path / "bin").mkdir()
    for name, program in (("python3", sys.executable), ("git", shutil.which("git") or "")):
        (tmp_path / "bin" / name).symlink_to(program)
    bootstrap(pip_project, env=shell(PATH=str(tmp_path / "bin"), PYENV_ROOT=str(tmp_path)))
    assert (pip_project / "requirements" / "production.lock.txt").read_bytes() == before
    assert not (pip_project / ".uv").exists()


def test_the_source_of_the_script_runs_as_it_stands() -> None:
    command = [sys.executable, "hooks/bootstrap.py", "find-python", "3.13", "3.12"]
    found = subprocess.check_output(command, cwd=ROOT, text=True).strip()
    assert subprocess.check_output([found, "--version"], text=True).startswith("Python 3.1")


def test_the_source_of_the_script_runs_on_every_python_since_3_9() -> None:
    ran = []
    for version in (f"3.{minor}" for minor in range(9, 15)):
        command = ["hooks/bootstrap.py", "find-python", version]
        env = shell(UV_PYTHON_DOWNLOADS="never")
        found = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        if found.returncode == 0:
            python = found.stdout.strip()
            ran.append(subprocess.check_output([python, *command], cwd=ROOT, env=env, text=True))
            assert ran[-1] == found.stdout
    assert ran


def test_the_real_project_is_set_up_by_it(development: GetService) -> None:
    service = development("default")
    assert git(service.path, "log", "--format=%s") == "Start my-service"
    assert git(service.path, "status", "--porcelain") == ""
    assert service.manage("migrate", "--check", settings="development").returncode == 0
    assert stat.S_IMODE((service.path / ".env").stat().st_mode) == 0o600
