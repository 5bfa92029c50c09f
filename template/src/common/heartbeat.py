"""Tell whether a worker or beat is alive. Maintained by the template.

    python -m common.heartbeat worker
    python -m common.heartbeat beat

For the health checks of containers. Each process touches a file every few seconds, and this asks
for the file's age: it takes a twentieth of a second, where `celery inspect ping` starts Celery.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

# Seconds between two beats, and the age at which a process counts as stuck: a slow broker holds
# an event loop up for some seconds, as workers and beat wait for it.
INTERVAL = 5
MAX_AGE = 60

SLUG = "{@ project_slug @}"

# This user's own, as beat trusts what it finds there, and everybody may write beside it.
USER = os.getuid() if hasattr(os, "getuid") else 0
DEFAULT_FOLDER = Path(tempfile.gettempdir(), f"{SLUG}-{USER}")


def folder() -> Path:
    """Return CELERY_STATE_FOLDER, or the default; it may not exist yet."""
    return Path(os.environ.get("CELERY_STATE_FOLDER") or DEFAULT_FOLDER)


def make_folder() -> None:
    """Make the folder, for this user alone; raise OSError when that cannot be or is not so."""
    path = folder()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path == DEFAULT_FOLDER and path.stat().st_uid != USER:
        raise PermissionError(f"{path} belongs to another user: set CELERY_STATE_FOLDER.")


def beat(name: str) -> None:
    """Note that ``name`` (worker or beat) is alive at this moment; raise OSError when it cannot."""
    (folder() / f"{name}.heartbeat").touch()


def age(name: str) -> float | None:
    """Return the seconds since the last beat of ``name``, or None when there was none."""
    try:
        return time.time() - (folder() / f"{name}.heartbeat").stat().st_mtime
    except FileNotFoundError:
        return None


def main() -> None:
    """Exit with status 0 when the process that the argument names is alive, or say why not.

    A second argument is the age in seconds at which it counts as stuck, instead of MAX_AGE.
    """
    name, *rest = sys.argv[1:] or [""]
    if name not in {"worker", "beat"}:
        sys.exit("Say which is meant: python -m common.heartbeat worker|beat [seconds].")
    seconds = age(name)
    if seconds is None:
        sys.exit(f"There is no heartbeat of a {name} in {folder()}: it has not started.")
    if seconds > float(rest[0] if rest else MAX_AGE):
        sys.exit(f"The heartbeat of the {name} is {seconds:.0f} s old: it hangs, or is gone.")


if __name__ == "__main__":
    main()
