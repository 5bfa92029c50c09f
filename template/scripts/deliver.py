# Delivery of a release. Maintained by the template: add steps of your own to the pipeline instead.
"""Bring a release to an environment, as a job of CI does, and see that it answers there.

    python3 scripts/deliver.py version v1.2.3         is this tag the version in pyproject.toml?
    python3 scripts/deliver.py deploy v1.2.3 IMAGE    bring it to the environment

Needs Python 3.9 or newer. docs/{@ ci @}.md says which variables an environment has.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SLUG = "{@ project_slug @}"
PAGE = "docs/{@ ci @}.md"
PATIENCE = float(os.environ.get("DEPLOY_PATIENCE", "300"))  # seconds until the release answers


class DeliveryError(Exception):
    """The release has not arrived; the message is the sentence that says why, and what runs now."""


def main(command: str = "", *arguments: str) -> int:
    """Run what the command line asks for and return the exit code."""
    try:
        if command == "version" and len(arguments) == 1:
            require_version(*arguments)
        elif command == "deploy" and len(arguments) == 2:
            deploy(*arguments)
        else:
            print("Usage: deliver.py version TAG | deploy TAG IMAGE", file=sys.stderr)
            return 2
    except DeliveryError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def require_version(tag: str) -> None:
    """Raise DeliveryError unless a tag is the project's version, by which a release is known."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (version,) = re.findall(r'(?m)^version = "([^"]+)"$', text)
    if tag != f"v{version}":
        raise DeliveryError(
            f"The tag is {tag} and pyproject.toml says {version}: set it there, bring the lock to"
            " it with `python3 scripts/bootstrap.py --lock`, and tag that commit."
        )
    print(f"{SLUG} {version}")


# @if deploy == "compose"
NOT_WELL = 3  # the exit code when the release serves, but something beside it is not well
LOST = 255  # that of ssh, when there is no connection


def deploy(tag: str, image: str) -> None:
    """Run the release on the server; when it does not answer, run what ran before."""
    import shlex
    import subprocess
    import tempfile

    host, url = required("DEPLOY_HOST"), required("URL")
    folder = shlex.quote(os.environ.get("DEPLOY_FOLDER") or SLUG)
    back = "git checkout --quiet -"
    # Of whatever has failed make says 2, and .env says which image serves.
    served = f"grep --quiet --line-regexp --fixed-strings {shlex.quote(f'APP_IMAGE={image}')} .env"
    release = (
        f"cd {folder} && git fetch --quiet --tags origin"
        f" && git checkout --quiet --detach {shlex.quote(tag)} || exit 1;"
        f" make deploy IMAGE={shlex.quote(image)} && exit 0;"
        f" {served} && exit {NOT_WELL}; {back}; exit 1"
    )
    with tempfile.TemporaryDirectory() as secret:
        ssh = server(Path(secret), host)
        asked = subprocess.run(
            [*ssh, f"cd {folder} && sed -n 's/^APP_IMAGE=//p' .env"],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if asked.returncode:
            raise DeliveryError(
                f"{host} does not say what runs in {folder}: see the lines above, and {PAGE}."
            )
        code = subprocess.call([*ssh, release])
        if code == LOST:
            raise DeliveryError(
                f"The connection was lost: look at {host}, where the deploy may go on."
            )
        if code not in {0, NOT_WELL}:
            raise DeliveryError(f"{host} has not deployed {tag}: what ran before runs on.")
        try:
            wait(url, tag.removeprefix("v"))
        except DeliveryError as error:
            if asked.stdout.strip() in {"", image}:
                raise DeliveryError(
                    f"{error} Nothing else ran before this job: look at {host}."
                ) from None
            if subprocess.call([*ssh, f"cd {folder} && {back} && make rollback"]):
                raise DeliveryError(
                    f"{error} The rollback has not ended well, either: look at {host}."
                ) from None
            raise DeliveryError(f"{error} What ran before runs again.") from None
    if code == NOT_WELL:
        raise DeliveryError(
            f"{url} runs {tag}, but something beside it is not well: `make deploy` says above what."
        )


def server(folder: Path, host: str) -> list[str]:
    """Return the beginning of a command that runs on the server, which is known by its key."""
    for name in ("DEPLOY_KEY", "DEPLOY_KNOWN_HOSTS"):
        path = folder / name
        path.touch(mode=0o600)
        # A variable of CI has lost the newline at its end, without which ssh reads no key.
        path.write_text(f"{required(name).strip()}\n", encoding="utf-8")
    options = {
        "IdentityFile": folder / "DEPLOY_KEY",
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": folder / "DEPLOY_KNOWN_HOSTS",
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
        "ConnectTimeout": 20,
        "ServerAliveInterval": 30,
    }
    return [
        "ssh",
        *(word for key, value in options.items() for word in ("-o", f"{key}={value}")),
        host,
    ]


# @else
def deploy(tag: str, image: str) -> None:
    """Call the platform, which takes the release itself, and wait until it answers."""
    hook, url = required("DEPLOY_HOOK"), required("URL")
    body = json.dumps({"image": image, "version": tag}).encode()
    request = urllib.request.Request(hook, data=body, method="POST")  # noqa: S310  the hook is ours
    request.add_header("Content-Type", "application/json")
    if token := os.environ.get("DEPLOY_TOKEN"):
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  the hook is ours
            print(f"The platform has answered {answer.status}.", flush=True)
    except (http.client.HTTPException, OSError) as error:
        raise DeliveryError(
            f"The platform has not taken {tag} ({error}): see DEPLOY_HOOK."
        ) from None
    wait(url, tag.removeprefix("v"))


# @endif
def wait(url: str, version: str) -> None:
    """Return when the service at an address is ready and of this version."""
    said, deadline = "nothing", time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            running, ready = ask(url, "/health/")["version"], ask(url, "/ready/")["status"]
            said = f"version {running}, {ready}"
            if (running, ready) == (version, "ready"):
                print(f"{url} runs {version}, and is ready.")
                return
        except (http.client.HTTPException, OSError, ValueError, KeyError, TypeError) as error:
            said = str(error)
        time.sleep(min(5, PATIENCE / 10))
    raise DeliveryError(f"{url} is not {version} and ready within {PATIENCE:.0f} s: {said}.")


def ask(url: str, path: str) -> dict[str, str]:
    """Return what a probe answers."""
    address = f"{url.rstrip('/')}{path}"
    with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310  the service's own
        found: dict[str, str] = json.load(answer)
    return found


def required(name: str) -> str:
    """Return a variable of the environment; raise DeliveryError when it is missing."""
    if not (value := os.environ.get(name)):
        raise DeliveryError(f"{name} is missing: see the table of variables in {PAGE}.")
    return value


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
