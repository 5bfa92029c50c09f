"""How a project's changes and releases are carried, and who proposes which newer pin."""

from __future__ import annotations

import functools
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.history import MANAGED, commit_all, git
from tests.servers import StandIn, require_tool
from tests.test_linters import NPM, require_linter
from tests.test_repository import DEPENDABOT, RENOVATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.rendering import Render
    from tests.servers import PostgresServer, RedisServer
    from tests.trees import Tree

# ---- Who owns which pin -------------------------------------------------------------------------

# Beside those that are the same in this repository.
READ = [*RENOVATE.values(), r"(^|/)\.copier-answers(\..+)?\.ya?ml", r"(^|/)\.python-version$"]


def read_by_renovate(path: str, settings: Mapping[str, Any]) -> bool:
    """Tell whether Renovate looks at a file of a project."""
    ignored = (pattern for row in settings["ignorePaths"] for pattern in without_braces(row))
    if any(fnmatch(path, pattern.replace("**", "*")) for pattern in ignored):
        return False
    more = settings.get("pip_requirements", {}).get("managerFilePatterns", ())
    return any(re.search(pattern, path) for pattern in (*READ, *(row.strip("/") for row in more)))


def without_braces(pattern: str) -> list[str]:
    """Return the patterns that one with braces stands for."""
    if not (found := re.search(r"\{([^}]*)\}", pattern)):
        return [pattern]
    head, tail = pattern[: found.start()], pattern[found.end() :]
    return [f"{head}{each}{tail}" for each in found[1].split(",")]


def test_renovate_proposes_nothing_for_a_file_that_the_template_maintains(
    trees: Sequence[Tree],
) -> None:
    with_bot = [tree for tree in trees if "renovate.json" in tree.texts]
    assert with_bot
    for tree in with_bot:
        settings = json.loads(tree.texts["renovate.json"])
        read = {path for path in tree.texts if read_by_renovate(path, settings)}

        # The first is how releases of the template come; the second is both's, told apart below.
        assert {".copier-answers.yml", "pyproject.toml"} <= read
        theirs = ".github/workflows/ci.yml" if tree.answers["ci"] == "github" else ".gitlab-ci.yml"
        assert theirs in read
        managed = {path for path in read if MANAGED in "".join(tree.texts[path].splitlines()[:3])}
        assert managed - {"pyproject.toml"} == set(), tree
        # Those that are ignored would be read otherwise: a name that is misspelt shows.
        assert read_by_renovate("Dockerfile", {"ignorePaths": []})
        assert not read_by_renovate("Dockerfile", settings)


def test_the_bots_read_what_a_team_adds_for_pip(render: Render) -> None:
    """And not the lists of the template, nor the locks."""
    tree = render(package_manager="pip")
    settings = json.loads((tree / "renovate.json").read_text(encoding="utf-8"))
    (entry,) = yaml.safe_load((tree / ".github/dependabot.yml").read_text(encoding="utf-8"))[
        "updates"
    ]

    for name in ("project.txt", "constraints.txt", "our-constraints.txt"):
        assert read_by_renovate(f"requirements/{name}", settings), name
        assert re.fullmatch(DEPENDABOT[entry["package-ecosystem"]], name)
    for name in ("base.txt", "production.txt", "development.txt", "production.lock.txt"):
        assert not read_by_renovate(f"requirements/{name}", settings), name


def test_the_ranges_of_the_template_are_left_to_the_template(render: Render) -> None:
    rules = json.loads((render() / "renovate.json").read_text(encoding="utf-8"))["packageRules"]
    by_type = {
        kind: rule["rangeStrategy"]
        for rule in rules if "rangeStrategy" in rule
        for kind in rule["matchDepTypes"]
    }  # fmt: skip

    assert by_type["project.dependencies"] == "update-lockfile"
    assert by_type["!project.dependencies"] == "in-range-only"
    disabled = {name for rule in rules if not rule.get("enabled", True)
                for name in rule["matchPackageNames"]}  # fmt: skip
    assert disabled == {"django", "python", "postgres"}


@pytest.mark.parametrize("manager", ["uv", "pip"])
def test_dependabot_proposes_security_fixes_alone(render: Render, manager: str) -> None:
    tree = render(package_manager=manager)
    (entry,) = yaml.safe_load((tree / ".github/dependabot.yml").read_text(encoding="utf-8"))[
        "updates"
    ]

    assert entry["package-ecosystem"] == manager
    assert entry["open-pull-requests-limit"] == 0
    assert (tree / entry["directory"].strip("/")).is_dir()


# ---- What a host does, done here ----------------------------------------------------------------

# As a runner of GitHub starts the lines of a step.
BASH = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c"]


def programs(folder: Path, **texts: str) -> Path:
    """Write programs that take the place of others, into a folder for the beginning of PATH."""
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


def read_workflow(tree: Path, name: str) -> dict[str, Any]:
    """Return a workflow of GitHub's."""
    text = (tree / f".github/workflows/{name}.yml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def read_pipeline(tree: Path) -> dict[str, Any]:
    """Return the pipeline of GitLab's that the template maintains."""
    found: dict[str, Any] = yaml.safe_load((tree / ".gitlab/pipeline.yml").read_text("utf-8"))
    return found


def test_the_name_of_an_image_at_github_has_no_capital_letters(
    render: Render, tmp_path: Path
) -> None:
    tree = render()
    jobs = read_workflow(tree, "deliver")["jobs"]
    (step,) = (step for step in jobs["image"]["steps"] if step.get("id") == "name")
    output = tmp_path / "output"
    variables = {"GITHUB_REPOSITORY": "Acme/My-Service", "GITHUB_OUTPUT": str(output)}

    subprocess.run([*BASH, step["run"]], env=variables, check=True)

    assert output.read_text(encoding="utf-8") == "image=ghcr.io/acme/my-service\n"
    # Nothing else makes a name of the repository's.
    text = (tree / ".github/workflows/deliver.yml").read_text(encoding="utf-8")
    assert text.count("ghcr.io/") == 1
    of_repository = [line.strip() for line in text.splitlines() if "github.repository" in line]
    assert [line.partition("=")[0] for line in of_repository if "=" in line] == [
        "org.opencontainers.image.source"
    ]
    assert jobs["image"]["outputs"] == {
        "image": "${{ steps.name.outputs.image }}@${{ steps.build.outputs.digest }}"
    }
    for name in ("staging", "production"):
        assert jobs[name]["steps"][-1]["env"]["IMAGE"] == "${{ needs.image.outputs.image }}"


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_a_pipeline_has_every_server_that_the_gates_ask_for(render: Render, broker: str) -> None:
    github, gitlab = render(broker=broker), render(broker=broker, ci="gitlab")
    script = runpy.run_path(str(github / "scripts/ci.py"))
    asked = {server.variable for server in script["SERVERS"].values()}
    assert {"DATABASE_URL", "CACHE_URL"} <= asked
    assert ("CELERY_BROKER_URL" in asked) is (broker == "rabbitmq")

    job = read_workflow(github, "gates")["jobs"]["gates"]
    ports = {row["ports"][0].partition(":")[0] for row in job["services"].values()}
    found = {name: url for name, url in job["env"].items() if name.endswith("_URL")}
    assert found.keys() == asked
    assert {urlsplit(url).hostname for url in found.values()} == {"localhost"}
    assert {str(urlsplit(url).port) for url in found.values()} == ports

    servers = read_pipeline(gitlab)[".servers"]
    aliases = {row["alias"] for row in servers["services"]}
    found = {name: url for name, url in servers["variables"].items() if name.endswith("_URL")}
    assert found.keys() == asked
    assert {urlsplit(url).hostname for url in found.values()} == aliases


# ---- Bringing a release to an environment -------------------------------------------------------


class Probes(StandIn):
    """A service that answers its probes, of the version that it is told to be."""

    def __init__(self) -> None:
        self.version = "0.1.0"
        self.speaks_http = True
        self.called: list[tuple[str, dict[str, str], str]] = []
        probes = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not probes.speaks_http:
                    self.wfile.write(b"nonsense\r\n\r\n")
                    return
                known = {"/health/": {"version": probes.version}, "/ready/": {"status": "ready"}}
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(known[self.path]).encode())

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                probes.called.append((self.path, dict(self.headers), body))
                probes.version = json.loads(body)["version"].removeprefix("v")
                self.send_response(202)
                self.end_headers()

        super().__init__(Handler)


@pytest.fixture
def probes() -> Iterator[Probes]:
    """Start a service that answers its probes."""
    with Probes() as service:
        yield service


# A server, as far as a command sees it: what is run there, and what `make` does there.
SSH = """#!/bin/sh
case " $* " in *" StrictHostKeyChecking=yes "*) ;; *) exit 255 ;; esac # any server would do
for key in DEPLOY_KEY DEPLOY_KNOWN_HOSTS; do
    file=$(printf '%s\\n' "$@" | sed -n "s/^.*File=\\(.*$key\\)$/\\1/p")
    stat --format '%a' "$file" >> "$SEEN"
    cat "$file" >> "$SEEN"
done
for word; do last=$word; done
echo "$last" >> "$SEEN"
case $last in *"${LOST:-nothing is lost}"*) exit 255 ;; esac
cd "$(dirname "$SEEN")" && PATH=$(dirname "$0"):$PATH sh -c "$last"
"""
# DEPLOYED is the exit code of scripts/deploy.py: 3 when the new image serves, but something beside
# it is not well. Of each failure make says 2.
MAKE = """#!/bin/sh
echo "make $*" >> "$SEEN"
[ "$1" = deploy ] || exit 0
[ "${DEPLOYED:-0}" = 1 ] || echo "APP_$2" > .env
[ "${DEPLOYED:-0}" = 0 ] || exit 2
"""


@pytest.fixture
def server(tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """Return what runs scripts/deliver.py with a server that notes what is asked of it."""
    git = '#!/bin/sh\necho "git $*" >> "$SEEN"\n'
    found = programs(tmp_path / "bin", ssh=SSH, make=MAKE, git=git)
    folder = tmp_path / "my-service"
    folder.mkdir()

    def run(
        tree: Path, *words: str, runs: str = "my-service:before", **variables: str
    ) -> tuple[int, str, str]:
        (folder / ".env").write_text(f"APP_IMAGE={runs}\n", encoding="utf-8")
        return deliver(tree, found, *words, **variables)

    return run


def deliver(tree: Path, found: Path, *words: str, **variables: str) -> tuple[int, str, str]:
    """Run scripts/deliver.py; return its exit code, what it says, and what the server has seen."""
    seen = found.with_name("seen")
    seen.write_text("", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "scripts/deliver.py", *words],
        cwd=tree,
        env={"PATH": f"{found}:/usr/bin:/bin", "SEEN": str(seen), "DEPLOY_PATIENCE": "2",
             **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    return done.returncode, said, seen.read_text(encoding="utf-8")


def test_a_tag_must_be_the_version_of_the_project(
    render: Render, server: Callable[..., tuple[int, str, str]]
) -> None:
    code, said, _ = server(render(), "version", "v0.1.0")
    assert (code, said) == (0, "my-service 0.1.0\n")

    code, said, _ = server(render(), "version", "v0.2.0")
    assert code == 1
    assert "The tag is v0.2.0 and pyproject.toml says 0.1.0" in said


IMAGE = "ghcr.io/acme/my-service@sha256:0123"
SECRETS = {"DEPLOY_KEY": "a private key", "DEPLOY_KNOWN_HOSTS": "example.com a key"}


def test_a_release_is_deployed_by_one_command_on_the_server(
    render: Render, server: Callable[..., tuple[int, str, str]], probes: Probes
) -> None:
    probes.version = "1.2.3"
    variables = {**SECRETS, "DEPLOY_HOST": "deploy@example.com", "URL": probes.url}

    code, said, seen = server(render(), "deploy", "v1.2.3", IMAGE, **variables)

    assert code == 0, said
    assert f"{probes.url} runs 1.2.3, and is ready." in said
    assert "600\na private key\n600\nexample.com a key\n" in seen
    assert seen.endswith(
        "git fetch --quiet --tags origin\ngit checkout --quiet --detach v1.2.3\n"
        f"make deploy IMAGE={IMAGE}\n"
    )
    assert "private" not in said


def test_a_release_that_does_not_answer_is_rolled_back(
    render: Render, server: Callable[..., tuple[int, str, str]], probes: Probes
) -> None:
    variables = {**SECRETS, "DEPLOY_HOST": "deploy@example.com", "URL": probes.url}

    code, said, seen = server(render(), "deploy", "v1.2.3", IMAGE, **variables)

    assert code == 1
    assert "is not 1.2.3 and ready within 2 s: version 0.1.0, ready. What ran before runs" in said
    assert seen.endswith("git checkout --quiet -\nmake rollback\n")


def test_a_deploy_that_fails_leaves_the_checkout_as_it_was(
    render: Render, server: Callable[..., tuple[int, str, str]], probes: Probes
) -> None:
    variables = {**SECRETS, "DEPLOY_HOST": "deploy@example.com", "URL": probes.url}

    code, said, seen = server(render(), "deploy", "v1.2.3", IMAGE, DEPLOYED="1", **variables)

    assert code == 1
    assert "has not deployed v1.2.3: what ran before runs on." in said
    assert seen.endswith(f"make deploy IMAGE={IMAGE}\ngit checkout --quiet -\n")


def test_a_release_beside_which_something_is_not_well_stays_and_is_told(
    render: Render, server: Callable[..., tuple[int, str, str]], probes: Probes
) -> None:
    variables = {**SECRETS, "DEPLOY_HOST": "deploy@example.com", "URL": probes.url, "DEPLOYED": "3"}

    code, said, seen = server(render(), "deploy", "v1.2.3", IMAGE, **variables)
    assert code == 1
    assert "is not 1.2.3 and ready within 2 s" in said
    assert seen.endswith("git checkout --quiet -\nmake rollback\n")

    probes.version = "1.2.3"
    code, said, seen = server(render(), "deploy", "v1.2.3", IMAGE, **variables)
    assert code == 1
    assert f"{probes.url} runs v1.2.3, but something beside it is not well" in said
    assert seen.endswith(f"make deploy IMAGE={IMAGE}\n")


@pytest.mark.parametrize("runs", [IMAGE, ""])
def test_nothing_is_rolled_back_where_nothing_else_ran(
    render: Render, server: Callable[..., tuple[int, str, str]], probes: Probes, runs: str
) -> None:
    variables = {**SECRETS, "DEPLOY_HOST": "deploy@example.com", "URL": probes.url}

    code, said, seen = server(render(), "deploy", "v1.2.3", IMAGE, runs=runs, **variables)

    assert code == 1
    assert "Nothing else ran before this job: look at deploy@example.com." in said
    assert seen.endswith(f"make deploy IMAGE={IMAGE}\n")


# Docker as scripts/deploy.py sees it: containers are lines in a file for each service. What Compose
# makes of the files is the real one's.
DOCKER = """#!/bin/sh
cd "$(dirname "$SEEN")" || exit 1
for service; do :; done
case $* in
    *" config "*) cd - > /dev/null && exec "$REAL_DOCKER" "$@" ;;
    version*|*" version "*) echo 27.0 ;;
    *" ps "*) [ ! -e "containers-$service" ] || cat "containers-$service" ;;
    *" up "*) echo "$service-$(date +%s%N)" >> "containers-$service" ;;
    *.Created*) date +%Y-%m-%dT%H:%M:%S ;;
    *.State*) echo running healthy ;;
    exec*) echo ready ;;
    rm*) for name; do sed -i "/^$name$/d" containers-*; done ;;
    pull*|*migrate) echo "docker $*" >> "$SEEN" ;;
    "image ls --quiet"*) echo 0123 ;;
esac
"""


@pytest.mark.slow
def test_a_release_is_deployed_and_rolled_back_in_a_real_checkout(
    render: Render, tmp_path: Path, probes: Probes
) -> None:
    """With git, make and scripts/deploy.py; only ssh and Docker's engine are made up."""
    origin = tmp_path / "origin"
    shutil.copytree(render(), origin)
    for version in ("0.1.0", "0.2.0"):
        pyproject = origin / "pyproject.toml"
        text = pyproject.read_text(encoding="utf-8").replace("0.1.0", version)
        pyproject.write_text(text, encoding="utf-8")
        commit_all(origin, version)
        git(origin, "tag", f"v{version}")
    checkout = tmp_path / "my-service"
    git(tmp_path, "clone", "--quiet", "--branch=v0.1.0", str(origin), str(checkout))
    initialise = [sys.executable, "scripts/deploy.py", "init", "DOMAIN=example.com", "TLS=internal"]
    subprocess.run(initialise, cwd=checkout, check=True, capture_output=True)
    found = programs(tmp_path / "bin", ssh=SSH, docker=DOCKER)
    variables = {**SECRETS, "DEPLOY_HOST": "deploy@example.com", "URL": probes.url,
                 "REAL_DOCKER": require_tool("docker"), "HOME": str(tmp_path)}  # fmt: skip

    def release(version: str, image: str) -> tuple[int, str, str]:
        return deliver(origin, found, "deploy", f"v{version}", image, **variables)

    def state() -> tuple[str, dict[str, str]]:
        lines = (checkout / ".env").read_text(encoding="utf-8").splitlines()
        names = ("APP_IMAGE", "PREVIOUS_APP_IMAGE")
        images = dict(line.split("=", 1) for line in lines if line.startswith(names))
        return git(checkout, "describe", "--tags").strip(), images

    code, said, seen = release("0.1.0", "acme:one")
    assert code == 0, said
    assert "docker pull --quiet acme:one" in seen
    assert "migrate" in seen
    assert state() == ("v0.1.0", {"APP_IMAGE": "acme:one", "PREVIOUS_APP_IMAGE": ""})

    # It starts, and does not answer from outside.
    code, said, _ = release("0.2.0", "acme:two")
    assert code == 1
    assert "acme:two runs." in said
    assert "is not 0.2.0 and ready within 2 s: version 0.1.0" in said
    assert said.endswith("What ran before runs again.\n")
    assert state() == ("v0.1.0", {"APP_IMAGE": "acme:one", "PREVIOUS_APP_IMAGE": "acme:two"})

    probes.version = "0.2.0"
    code, said, _ = release("0.2.0", "acme:two")
    assert code == 0, said
    assert state() == ("v0.2.0", {"APP_IMAGE": "acme:two", "PREVIOUS_APP_IMAGE": "acme:one"})
    # One container of web, whatever has come and gone.
    assert len((tmp_path / "containers-web").read_text(encoding="utf-8").splitlines()) == 1


def test_a_service_that_speaks_no_http_is_waited_for_and_rolled_back(
    render: Render, server: Callable[..., tuple[int, str, str]], probes: Probes
) -> None:
    probes.speaks_http = False
    variables = {**SECRETS, "DEPLOY_HOST": "deploy@example.com", "URL": probes.url}

    code, said, seen = server(render(), "deploy", "v1.2.3", IMAGE, **variables)

    assert code == 1
    assert "nonsense" in said
    assert seen.endswith("make rollback\n")


def test_a_connection_that_is_lost_is_told_and_nothing_is_undone(
    render: Render, server: Callable[..., tuple[int, str, str]], probes: Probes
) -> None:
    variables = {**SECRETS, "DEPLOY_HOST": "deploy@example.com", "URL": probes.url}

    for lost, sentence in (
        ("sed", "deploy@example.com does not say what runs in my-service"),
        ("make deploy", "The connection was lost: look at deploy@example.com"),
    ):
        code, said, seen = server(render(), "deploy", "v1.2.3", IMAGE, LOST=lost, **variables)
        assert code == 1
        assert sentence in said
        assert not seen.endswith(("make rollback\n", "git checkout --quiet -\n"))


def test_an_environment_without_its_variables_is_told_where_they_are_listed(
    render: Render, server: Callable[..., tuple[int, str, str]]
) -> None:
    for ci in ("github", "gitlab"):
        code, said, seen = server(render(ci=ci), "deploy", "v1.2.3", IMAGE)
        assert (code, seen) == (1, "")
        assert said == f"DEPLOY_HOST is missing: see the table of variables in docs/{ci}.md.\n"
        listed = (render(ci=ci) / f"docs/{ci}.md").read_text(encoding="utf-8")
        assert all(f"`{name}`" in listed for name in (*SECRETS, "DEPLOY_HOST", "URL"))


def test_a_platform_is_called_and_waited_for(
    render: Render, server: Callable[..., tuple[int, str, str]], probes: Probes
) -> None:
    tree = render(deploy="none")
    variables = {"URL": probes.url, "DEPLOY_HOOK": f"{probes.url}/hook", "DEPLOY_TOKEN": "t0ken"}

    code, said, _ = server(tree, "deploy", "v1.2.3", IMAGE, **variables)

    assert code == 0, said
    ((path, headers, body),) = probes.called
    assert (path, headers["Authorization"]) == ("/hook", "Bearer t0ken")
    assert json.loads(body) == {"image": IMAGE, "version": "v1.2.3"}

    code, said, _ = server(
        tree, "deploy", "v1.2.4", IMAGE, **{**variables, "DEPLOY_HOOK": "http://127.0.0.1:1"}
    )
    assert code == 1
    assert "The platform has not taken v1.2.4" in said


# ---- What no bot can propose --------------------------------------------------------------------


@pytest.fixture
def proposed(tmp_path: Path) -> Callable[[str], tuple[str, str]]:
    """Return what runs the last lines of a proposal in a project with a change, as a host does."""
    project, bare = tmp_path / "project", tmp_path / "bare.git"
    git(tmp_path, "init", "--quiet", "--bare", str(bare))
    git(bare, "config", "receive.advertisePushOptions", "true")
    project.mkdir()
    (project / "file").write_text("before\n", encoding="utf-8")
    commit_all(project, "Start")
    gh = '#!/bin/sh\necho "gh $*" >> "$SEEN"\n[ "$2" != list ] || echo 0\n'
    found = programs(tmp_path / "bin", gh=gh)
    (tmp_path / "gitconfig").write_text(
        f'[url "file://{bare}"]\n\tinsteadOf = https://x-access-token:t0ken@github.com/acme/orders\n'
        "\tinsteadOf = https://propose:t0ken@gitlab.example.com/acme/orders.git\n",
        encoding="utf-8",
    )

    def run(script: str) -> tuple[str, str]:
        seen = tmp_path / "seen"
        seen.write_text("", encoding="utf-8")
        done = subprocess.run(
            [*BASH, script],
            cwd=project,
            env={
                "PATH": f"{found}:{os.environ['PATH']}",
                "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"),
                "GIT_TRACE2_EVENT": "", "SEEN": str(seen), "HOME": str(tmp_path),
                "TITLE": "Update from the template", "BRANCH": "propose/template",
                "TARGETS": "update", "BASE": "main", "GH_TOKEN": "t0ken", "PROPOSE_TOKEN": "t0ken",
                "GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "acme/orders",
                "CI_SERVER_HOST": "gitlab.example.com", "CI_PROJECT_PATH": "acme/orders",
                "CI_DEFAULT_BRANCH": "main",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert "t0ken" not in said
        branches = git(bare, "for-each-ref", "--format=%(refname:short) %(subject)")
        return branches + seen.read_text(encoding="utf-8"), said

    def change_and_run(script: str) -> tuple[str, str]:
        nothing, said = run(script)
        assert (nothing, "Nothing has changed." in said) == ("", True)
        git(project, "switch", "--quiet", "main")
        git(project, "branch", "--delete", "--quiet", "propose/template")
        (project / "file").write_text("after\n", encoding="utf-8")
        return run(script)

    return change_and_run


def test_github_proposes_what_an_update_has_changed(
    render: Render, proposed: Callable[[str], tuple[str, str]]
) -> None:
    workflow = read_workflow(render(), "propose")

    seen, _ = proposed(workflow["jobs"]["propose"]["steps"][-1]["run"])

    assert seen.startswith("propose/template Update from the template\n")
    assert "gh pr create --base main --head propose/template --title Update from the" in seen


def test_gitlab_proposes_what_an_update_has_changed(
    render: Render, proposed: Callable[[str], tuple[str, str]]
) -> None:
    pipeline = read_pipeline(render(ci="gitlab"))

    seen, _ = proposed("\n".join(pipeline[".propose"]["script"][1:]))

    assert seen == "propose/template Update from the template\n"


def test_what_gitlab_caches_is_not_proposed(render: Render) -> None:
    tree = render(ci="gitlab")
    (folder,) = read_pipeline(tree)[".install"]["cache"]["paths"]

    assert f"/{folder}/" in (tree / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_a_release_that_waits_for_production_lets_the_next_reach_staging(render: Render) -> None:
    workflow = read_workflow(render(), "deliver")

    assert workflow["concurrency"]["group"] == "deliver-${{ github.ref }}"
    assert {
        name: job["concurrency"] for name, job in workflow["jobs"].items() if "concurrency" in job
    } == {name: {"group": name, "cancel-in-progress": False} for name in ("staging", "production")}


@pytest.mark.parametrize("manager", ["uv", "pip"])
def test_only_a_lock_that_no_bot_knows_is_proposed(render: Render, manager: str) -> None:
    expected = {"update"} | ({"lock setup check"} if manager == "pip" else set())

    workflow = read_workflow(render(package_manager=manager), "propose")
    pipeline = read_pipeline(render(package_manager=manager, ci="gitlab"))

    rows = workflow["jobs"]["propose"]["strategy"]["matrix"]["include"]
    assert {row["targets"] for row in rows} == expected
    jobs = [job for name, job in pipeline.items() if name.startswith("propose-")]
    assert {job["variables"]["TARGETS"] for job in jobs} == expected


# ---- GitLab's pipeline, run ---------------------------------------------------------------------


class Pipeline:
    """A project of GitLab's in a repository, whose jobs are run here by gitlab-ci-local."""

    def __init__(self, tree: Path, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(tree, folder)
        commit_all(folder, "Start")
        git(folder, "remote", "add", "origin", "https://gitlab.example.com/acme/my-service.git")
        self.run = functools.partial(run_pipeline, folder)

    def without_images(self) -> None:
        """Let jobs run in a shell of this machine: no registry needs to be reached."""
        pipeline = read_pipeline(self.folder)
        for job in pipeline.values():
            if isinstance(job, dict):
                job.pop("image", None)
                job.pop("services", None)
        text = yaml.safe_dump(pipeline, sort_keys=False)
        (self.folder / ".gitlab/pipeline.yml").write_text(text, encoding="utf-8")
        commit_all(self.folder, "Without images")


def run_pipeline(folder: Path, *words: str, codes: tuple[int, ...] = (0,)) -> str:
    """Run gitlab-ci-local, and return what it says."""
    require_tool("rsync")
    done = subprocess.run(
        [require_linter(NPM / "gitlab-ci-local"), "--home", str(folder.parent), *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    assert done.returncode in codes, said
    return said


def jobs(listed: str) -> list[str]:
    """Return the names of the jobs in a list of gitlab-ci-local."""
    return re.findall(r"(?m)^([\w-]+) .* (?:on_success|manual) ", listed)


def test_gitlab_runs_gates_on_a_change_and_everything_on_a_tag(
    render: Render, tmp_path: Path
) -> None:
    pipeline = Pipeline(render(ci="gitlab"), tmp_path / "project")
    gates = ["gates", "next-python", "image-gate"]

    assert jobs(pipeline.run("--list")) == gates

    git(pipeline.folder, "tag", "v0.1.0")
    on_tag = jobs(pipeline.run("--list", "--variable", "CI_COMMIT_TAG=v0.1.0"))
    assert on_tag == [
        *gates, "version", "build", "scan", "name-image", "deploy-staging", "deploy-production",
        "release-notes",
    ]  # fmt: skip


# As far as `build` sees it: what it pushes is known by a digest.
DOCKER_THAT_PUSHES = """#!/bin/sh
echo "docker $*" >> "$SEEN"
case $* in
login*) cat > /dev/null ;; # who pipes the password is not to find the pipe closed
*--metadata-file*) echo '{"containerimage.digest": "sha256:0123"}' > image.json ;;
esac
"""
SSH_THAT_LISTENS = """#!/bin/sh
for word; do last=$word; done
echo "$last" >> "$SEEN"
"""


class Releases(StandIn):
    """The part of GitLab that keeps packages and releases."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, bytes]] = []
        releases = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                releases.got.append((self.path, self.headers["JOB-TOKEN"], body))
                self.send_response(201)
                self.end_headers()

            def do_POST(self) -> None:
                self.do_PUT()

        super().__init__(Handler)


@pytest.fixture
def releases() -> Iterator[Releases]:
    """Start what keeps releases."""
    with Releases() as kept:
        yield kept


@pytest.fixture
def servers(postgres: PostgresServer, redis: RedisServer) -> dict[str, str]:
    """Return what names the servers beside a job."""
    return {"DATABASE_URL": postgres.new_database(), "CACHE_URL": redis.new_database()}


@pytest.fixture
def gitlab(render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """Return a pipeline whose jobs run here, beside a Docker and an ssh that only listen."""
    pipeline = Pipeline(render(ci="gitlab"), tmp_path / "project")
    pipeline.without_images()
    found = programs(tmp_path / "bin", docker=DOCKER_THAT_PUSHES, ssh=SSH_THAT_LISTENS)
    monkeypatch.setenv("PATH", str(found), prepend=":")
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    return pipeline


def test_a_release_goes_through_the_jobs_of_gitlabs_pipeline(
    gitlab: Pipeline, servers: dict[str, str], probes: Probes, releases: Releases
) -> None:
    """Each job by itself, as it stands but for its image and the servers beside it.

    Not run: `scan` and `name-image`, which need a registry, and `image-gate`, whose command is
    another test's. Made up are Docker, ssh and GitLab itself. The gate `audit` has found nobody
    where the network ends here; it has a test of its own, too.
    """
    seen = gitlab.folder.with_name("seen")
    variables = {
        **SECRETS,
        **servers,
        "CI_API_V4_URL": releases.url,
        "CI_COMMIT_TAG": "v0.1.0",
        "CI_JOB_TOKEN": "t0ken",
        "CI_REGISTRY_IMAGE": "registry.example.com/acme/my-service",
        "DEPLOY_HOST": "deploy@example.com",
        "URL": probes.url,
        # Packages that this machine has got before.
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser()),
    }

    def job(name: str, codes: tuple[int, ...] = (0,), **changed: str) -> str:
        given = [f"{key}={value}" for key, value in {**variables, **changed}.items()]
        options = [word for text in given for word in ("--variable", text)]
        return gitlab.run(name, *options, codes=codes)

    assert "my-service 0.1.0" in job("version")
    said = job("version", (1,), CI_COMMIT_TAG="v9.9.9")
    assert "The tag is v9.9.9 and pyproject.toml says 0.1.0" in said

    said = job("gates", (0, 1))
    results = dict(re.findall(r"(?m)^gates > ([a-z-]+) +(passed|FAILED|not run) +[\d.]+", said))
    assert results.pop("audit") in {"passed", "FAILED"}
    assert results == dict.fromkeys(results, "passed")
    assert len(results) == 14  # and the image, which is another job's
    # None is skipped, as the way through the broker is where none is named.
    assert re.search(r"(?m)^gates > \d+ passed in", said)
    assert (gitlab.folder / "reports/coverage.xml").exists()

    job("build")
    assert "--tag registry.example.com/acme/my-service:" in seen.read_text(encoding="utf-8")
    assert "and is ready" in job("deploy-staging")
    image = "registry.example.com/acme/my-service@sha256:0123"
    assert f"make deploy IMAGE={image} " in seen.read_text(encoding="utf-8")

    job("release-notes")
    (package, token, sbom), (path, _, body) = releases.got
    assert token == "t0ken"
    assert json.loads(sbom)["bomFormat"] == "CycloneDX"
    assert path.endswith("/releases")
    release = json.loads(body)
    assert release["tag_name"] == "v0.1.0"
    assert "registry.example.com/acme/my-service:v0.1.0" in release["description"]
    (link,) = release["assets"]["links"]
    assert link == {"name": "sbom.cdx.json", "url": releases.url + package}
