"""Cut releases of the template, and publish their git tags.

    python3 hooks/release.py cut 0.2.0               two commits: the release, and its entry in
                                                     releases.toml
    python3 hooks/release.py publish-tags [REMOTE]   tags that REMOTE (origin) has not, from there

Needs git, and Python 3.11 or newer with its standard library. Ends with one sentence and exit code
1 when something is in the way; nothing is changed then.
"""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
UNRELEASED = "## Unreleased"
UPGRADE_NOTES = "### Upgrade notes"


class ReleaseError(Exception):
    """There can be no release; the message is the sentence that says why."""


@dataclass(frozen=True)
class Release:
    """An entry of releases.toml."""

    version: str
    commit: str

    @property
    def numbers(self) -> tuple[int, ...]:
        """Major, minor and patch, to compare it by."""
        return numbers(self.version)


def main(command: str = "", *arguments: str) -> int:
    """Run what the command line asks for and return the exit code."""
    try:
        match command, arguments:
            case "cut", (version,):
                cut(version)
            case "publish-tags", () | (_,):
                publish_tags(*arguments)
            case _:
                usage = "Usage: release.py cut VERSION | publish-tags [REMOTE]"
                print(usage, file=sys.stderr)
                return 2
    except (ReleaseError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def releases(root: Path = ROOT) -> list[Release]:
    """Return what releases.toml lists, oldest first."""
    listed = tomllib.loads((root / "releases.toml").read_text(encoding="utf-8"))
    return [Release(**entry) for entry in listed.get("release", [])]


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version; raise ReleaseError unless it is of the form 1.2.3."""
    if not VERSION.fullmatch(version):
        raise ReleaseError(f"{version} is no version: give three numbers, such as 1.2.3.")
    return tuple(map(int, version.split(".")))


def cut(version: str) -> None:
    """Commit a release of this version, and then its entry in releases.toml."""
    wanted, listed = numbers(version), releases()
    last = listed[-1].numbers if listed else (0, 0, 0)
    if wanted <= last:
        raise ReleaseError(f"{version} is not newer than {listed[-1].version}, the last release.")
    if changed := git("status", "--porcelain"):
        raise ReleaseError(f"Commit or stash this first:\n{changed}")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    before, heading, after = changelog.partition(f"{UNRELEASED}\n")
    notes = after.partition("\n## ")[0]
    if not heading or not notes.strip():
        raise ReleaseError(f"CHANGELOG.md says nothing under {UNRELEASED!r}: write what changed.")
    if listed and wanted[0] > last[0] and UPGRADE_NOTES not in notes:
        raise ReleaseError(
            f"{version} is a major release, so CHANGELOG.md says under {UPGRADE_NOTES!r} which step"
            " is left to do by hand."
        )

    today = datetime.datetime.now(tz=datetime.UTC).date()
    write("CHANGELOG.md", f"{before}{heading}\n## {version} - {today}\n{after}")
    # What names the version, and how: uv.lock lists the project itself, too.
    replace("pyproject.toml", r'(?m)^version = "[^"]*"', f'version = "{version}"')
    name = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    itself = f'name = "{name}"\nversion = "'
    replace("uv.lock", rf'{re.escape(itself)}[^"]*"', f'{itself}{version}"')
    git("commit", "--quiet", "--all", "--message", f"Release {version}")
    commit = git("rev-parse", "HEAD")
    entry = f'\n[[release]]\nversion = "{version}"\ncommit = "{commit}"\n'
    write("releases.toml", (ROOT / "releases.toml").read_text(encoding="utf-8") + entry)
    git("commit", "--quiet", "--all", "--message", f"List release {version}")
    print(f"{version} is {commit}: push it, then `make publish-tags`.")


def publish_tags(remote: str = "origin") -> None:
    """Make each release's tag and push it, unless the remote has it already."""
    there: dict[str, str] = {}
    for line in git("ls-remote", "--tags", remote).splitlines():
        commit, ref = line.split("\t")
        # The line of an annotated tag's commit follows that of the tag and ends in ^{}.
        there[ref.removeprefix("refs/tags/").removesuffix("^{}")] = commit
    for release in releases():
        published = there.get(release.version)
        if published is None:
            git("push", "--quiet", remote, f"{release.commit}:refs/tags/{release.version}")
            print(f"{release.version} is published.")
        elif published != release.commit:
            raise ReleaseError(
                f"{remote} has the tag {release.version} on {published}, releases.toml on"
                f" {release.commit}: a published tag never moves, so correct the entry."
            )
    print(f"{remote} has the tags of all releases.")


def replace(name: str, pattern: str, text: str) -> None:
    """Replace the first match in a file; raise ReleaseError when there is none."""
    found = (ROOT / name).read_text(encoding="utf-8")
    changed, count = re.subn(pattern, lambda _: text, found, count=1)
    if not count:
        raise ReleaseError(f"{name} has no line that names the version.")
    write(name, changed)


def write(name: str, text: str) -> None:
    """Write a file of the repository."""
    (ROOT / name).write_text(text, encoding="utf-8")


def git(*arguments: str) -> str:
    """Return what git prints; raise ReleaseError with what it says when it fails."""
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(f"`{' '.join(command)}` failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
