"""What the template and a service made from it cost, as ratios within one run: `make bench`.

Times of these machines are those of whatever else they do, so every figure is the median of rounds
in which all candidates take turns, and requests are measured by the processor time of the workers,
which agrees within a few percent where requests a second vary by a factor of two.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.rendering import ROOT, SharedFolders
from tests.servers import PostgresServer, Process, RedisServer, free_port, require_tool
from tests.service import build_production, installed

if TYPE_CHECKING:
    from tests.service import Service

# The views that are measured, in the rendered service and in a plain project alike.
VIEWS = """
from django.contrib.contenttypes.models import ContentType
from django.http import HttpRequest, JsonResponse
from django.urls import path


def answer(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"answer": 42})


def row(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"model": ContentType.objects.get(pk=1).model})


urlpatterns = [path("json", answer), path("row", row)]
"""

BARE = """
def application(environ, start_response):
    body = b'{"status": "healthy"}'
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]
"""


def main() -> None:
    """Measure, and print each figure beside what it is compared with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="of each measurement (7)")
    parser.add_argument("--seconds", type=int, default=3, help="of requests in a round (3)")
    options = parser.parse_args()
    try:
        for tool in ("wrk", "initdb", "redis-server"):
            require_tool(tool)
    except pytest.skip.Exception as reason:
        raise SystemExit(f"{reason}: bench/README.md says what this needs.") from None
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench_copying(Path(folder), options.rounds)
        bench_serving(Path(folder), options.rounds, options.seconds)


# ---- Copying the template -----------------------------------------------------------------------


def bench_copying(folder: Path, rounds: int) -> None:
    """Time `copier copy --defaults` against the same questions with a single file."""
    template, floor = folder / "template", folder / "floor"
    command = ["git", "clone", "--quiet", "--no-tags", str(ROOT), str(template)]
    subprocess.run(command, check=True)
    shutil.copytree(template, floor)
    for path in (floor / "template").iterdir():
        if not path.name.startswith("{@ _copier_conf"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for repository in (template, floor):
        git = ["git", "-C", str(repository), "-c", "user.name=b", "-c", "user.email=b@localhost"]
        subprocess.run([*git, "add", "--all"], check=True)
        subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message=bench"], check=True)
        subprocess.run([*git, "tag", "1.0.0"], check=True)
    copies = folder / "copies"
    commands = {
        "copier --version": ["copier", "--version"],
        "copy, one file": ["copier", "copy", "--quiet", "--defaults", str(floor), str(copies)],
        "copy": ["copier", "copy", "--quiet", "--defaults", str(template), str(copies)],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    files = 0
    for _ in range(rounds):
        for name, words in commands.items():
            shutil.rmtree(copies, ignore_errors=True)
            started = time.perf_counter()
            subprocess.run(words, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - started)
        files = sum(path.is_file() for path in copies.rglob("*"))
    median = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"\nCopying ({files} files, median of {rounds})")
    for name, value in median.items():
        ratio = value / median["copy, one file"]
        goal = " (goal 2.00, at 100 files)" if name == "copy" else ""
        print(f"  {name:<18} {value * 1000:6.0f} ms  {ratio:5.2f} x the copy of one file{goal}")
    print(
        f"  a file             {(median['copy'] - median['copy, one file']) / files * 1000:6.1f} ms"
    )


# ---- Serving requests ---------------------------------------------------------------------------


@dataclass
class Candidate:
    """A running server, and a path on it."""

    name: str
    server: Process
    url: str
    # At most so many times the cost of the one before it.
    goal: float | None = None
    per_request: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)


def bench_serving(folder: Path, rounds: int, seconds: int) -> None:
    """Take turns at each server, and print the workers' processor time for a request."""
    shared = SharedFolders(folder / "shared")

    def install(target: Path) -> None:
        build_production(shared, shared.render(), target, add=())

    project = shared.get("service", install)
    service = installed(project)
    add_views(service)
    plain = start_project(service, folder / "plain")
    with ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer())
        redis = stack.enter_context(RedisServer())
        env = service.production_env(
            database_url=postgres.new_database(),
            cache_url=redis.new_database(),
            broker_url=redis.new_database(),
            SECURE_SSL_REDIRECT="0",
            ALLOWED_HOSTS="127.0.0.1",
        )
        service.manage("migrate", "--verbosity", "0", env=env)

        def serve(*words: str, path: Path = project, **more: str) -> tuple[Process, str]:
            port = free_port()
            variables = {**env, "GUNICORN_WORKERS": "2", "PORT": str(port), **more}
            log = folder / f"{port}.log"
            process = Process(
                [str(service.python.with_name("gunicorn")), *words],
                log=log,
                cwd=path,
                env={**service.variables, **variables},
            )
            stack.enter_context(process)
            return process, f"http://127.0.0.1:{port}"

        config = ("--config", str(project / "gunicorn.conf.py"))
        ours, at_ours = serve(*config, f"{service.package}.wsgi:application")
        quiet = (*config, "--access-logfile", "/dev/null")
        bare, at_bare = serve(*quiet, "bare:application", path=plain)
        theirs, at_theirs = serve(
            *quiet, "plain.wsgi:application", path=plain, DJANGO_SETTINGS_MODULE="plain.settings"
        )
        candidates = [
            Candidate("bare WSGI", bare, f"{at_bare}/"),
            Candidate("/health/", ours, f"{at_ours}/health/", goal=1.4),
            Candidate("startproject, JSON", theirs, f"{at_theirs}/json"),
            Candidate("JSON", ours, f"{at_ours}/json", goal=1.25),
            Candidate("startproject, a row", theirs, f"{at_theirs}/row"),
            Candidate("a row", ours, f"{at_ours}/row", goal=0.45),
        ]
        for candidate in candidates:
            candidate.server.wait_until(partial(answers, candidate.url), "it answered")
        for _ in range(rounds):
            for candidate in candidates:
                measure(candidate, seconds)
    report(candidates, rounds)


def add_views(service: Service) -> None:
    """Put the measured views among the service's addresses."""
    (service.path / "src/pages/bench.py").write_text(VIEWS, encoding="utf-8")
    urls = service.path / "src" / service.package / "urls.py"
    text = urls.read_text(encoding="utf-8")
    include = '    path("", include("pages.bench")),\n'
    urls.write_text(text.replace("urlpatterns = [\n", f"urlpatterns = [\n{include}"), "utf-8")


def start_project(service: Service, target: Path) -> Path:
    """Make a plain project as Django does, for PostgreSQL; return its folder."""
    target.mkdir()
    django_admin = str(service.python.with_name("django-admin"))
    service.run(django_admin, "startproject", "plain", str(target))
    settings = target / "plain/settings.py"
    text = settings.read_text(encoding="utf-8").replace("DEBUG = True", "DEBUG = False")
    text += "\nimport environ\nDATABASES = {'default': environ.Env().db()}\nALLOWED_HOSTS = ['*']\n"
    settings.write_text(text, encoding="utf-8")
    (target / "plain/urls.py").write_text(VIEWS, encoding="utf-8")
    (target / "bare.py").write_text(BARE, encoding="utf-8")
    return target


def answers(url: str) -> bool:
    """Tell whether a URL is answered with 200."""
    command = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", url]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout == "200"


def measure(candidate: Candidate, seconds: int) -> None:
    """Send requests for some seconds, and keep what one cost the workers."""
    before = processor_time(candidate.server)
    command = [require_tool("wrk"), "-t1", "-c16", f"-d{seconds}s", candidate.url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spent = processor_time(candidate.server) - before
    if "Non-2xx" in output or "Socket errors" in output:
        raise SystemExit(f"{candidate.name}: not every request was answered:\n{output}")
    requests = int(found(r"(\d+) requests in", output))
    candidate.per_request.append(spent / requests)
    candidate.per_second.append(float(found(r"Requests/sec:\s+([\d.]+)", output)))


def found(pattern: str, text: str) -> str:
    """Return what the pattern's group matches."""
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"wrk printed what is not understood:\n{text}")
    return match[1]


def processor_time(server: Process) -> float:
    """Return the seconds of processor time that the workers have taken, and those they replaced."""
    master = psutil.Process(server.pid).cpu_times()
    ended = master.children_user + master.children_system
    workers = (worker.cpu_times() for worker in server.children())
    return ended + sum(times.user + times.system for times in workers)


def report(candidates: list[Candidate], rounds: int) -> None:
    """Print the medians, each beside the one before it that it is compared with."""
    print(f"\nServing (2 workers, gthread, access log of ours on, median of {rounds})")
    base = 0.0
    for candidate in candidates:
        cost = statistics.median(candidate.per_request)
        spread = (max(candidate.per_request) - min(candidate.per_request)) / cost
        rate = statistics.median(candidate.per_second)
        line = (
            f"  {candidate.name:<20} {cost * 1e6:6.0f} us of CPU a request (+-{spread:4.0%}),"
            f" {rate:6.0f} a second"
        )
        if candidate.goal:
            line += f"  {cost / base:5.2f} x the line above (goal {candidate.goal:.2f})"
        print(line)
        base = cost


if __name__ == "__main__":
    main()
