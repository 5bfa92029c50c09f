"""Run the step of one major release in the project that is being updated: `run.py 2.0.0`.

Copier starts it in the project's folder, before it renders the release, as README.md says.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


class MigrationError(Exception):
    """The step cannot be done; the message is the sentence that the team gets."""


@dataclass(frozen=True)
class Project:
    """The project that is being updated."""

    root: Path

    def move(self, old: str, new: str) -> None:
        """Give a file or folder another path, if it is still there under the old one.

        Raise MigrationError when the team has something of its own at the new path.
        """
        if not (self.root / old).exists():
            return
        if (self.root / new).exists():
            raise MigrationError(
                f"{old} moves to {new}, where you have a file of your own: give it another name,"
                " commit, and update again."
            )
        (self.root / new).parent.mkdir(parents=True, exist_ok=True)
        # Copier reads the team's changes from git's index, so that a plain rename would lose them.
        command = ["git", "mv", old, new]
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MigrationError(f"`git mv {old} {new}` failed: {done.stderr.strip()}")
        print(f"{old} is {new} now.", file=sys.stderr)


def main(version: str, folder: Path = Path(__file__).parent) -> int:
    """Run the step of this version from `folder` in the current directory; return the exit code."""
    path = folder / f"v{version.replace('.', '_')}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        print(f"The template has no step {path.name} for {version}: report it.", file=sys.stderr)
        return 1
    step = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(step)
        step.migrate(Project(Path.cwd()))
    except MigrationError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
