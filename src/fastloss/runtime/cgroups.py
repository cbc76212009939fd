"""How many CPUs the control groups of Linux grant to this process, as those of a container do."""

from __future__ import annotations

import os


def _read(path: str) -> str:
    """Return what a file holds; "" if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:  # a group may have any name
            return file.read()
    except (OSError, ValueError):
        return ""


def cgroup_cpus(proc: str = "/proc", sys: str = "/sys") -> int | None:
    """Return how many CPUs the control groups of this process grant, rounded up; None if they set no limit.

    Both versions of control groups are read: where a line of ``/proc/self/cgroup`` names controllers, it is version 1.
    """
    grants = []
    for line in _read(f"{proc}/self/cgroup").splitlines():
        _, controllers, group = [*line.split(":", 2), "", "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        while True:  # the limits of all groups above hold as well
            folder = f"{sys}/fs/cgroup{'/cpu' if controllers else ''}{group.rstrip('/')}"
            if controllers:
                quota = [
                    _read(f"{folder}/cpu.cfs_quota_us").strip(),
                    _read(f"{folder}/cpu.cfs_period_us").strip(),
                ]
            else:
                quota = _read(f"{folder}/cpu.max").split()
            if len(quota) == 2 and all(part.isdecimal() for part in quota) and int(quota[1]):
                grants.append(max(1, -(-int(quota[0]) // int(quota[1]))))
            if group in ("/", ""):
                break
            group = os.path.dirname(group)
    return min(grants, default=None)
