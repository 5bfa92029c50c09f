"""How many processors this process may use. Maintained by the template."""

import math
import os
from contextlib import suppress
from pathlib import Path


def available_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the processors of this process: those it may run on, less where a quota says so.

    Python knows nothing of the quota by which Docker and Kubernetes limit a container, and would
    start 129 workers in a container of one processor on a machine of 64. ``cgroup`` is where the
    cgroup file system is mounted; in a container its root is the container's own group.
    https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    return max(1, min(cpus, math.ceil(quota)) if quota else cpus)


def _quota(cgroup: Path) -> float | None:
    """Return the quota in processors: version 2 of cgroups has one file for it, version 1 two."""
    for files in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):
        with suppress(OSError, ValueError):
            quota, period = " ".join((cgroup / name).read_text() for name in files).split()
            return None if quota in {"max", "-1"} else int(quota) / int(period)
    return None
