"""How many threads a call may use."""

from __future__ import annotations

import operator
import os
import threading
from types import TracebackType

from fastloss import _core


def _count(name: str, n: int) -> int:
    try:
        count = operator.index(n)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {n!r}") from None
    if not 1 <= count <= 1024:
        raise ValueError(f"{name} must lie in 1 to 1024, got {n!r}")
    return count


def set_num_threads(n: int) -> None:
    """Set the number of threads of every later call in this process.

    The results do not depend on it, to the last bit.

    Parameters
    ----------
    n : int
        1 to 1024. At the start it is the environment's ``FASTLOSS_NUM_THREADS``, else what OpenMP offers:
        ``OMP_NUM_THREADS``, or the CPUs that the process may use.

    Raises
    ------
    TypeError, ValueError
        If `n` is no integer or out of range.

    See Also
    --------
    threads : for a block of code and the calling thread alone.

    Examples
    --------
    >>> import fastloss as fl
    >>> before = fl.get_num_threads()
    >>> fl.set_num_threads(1)
    >>> fl.get_num_threads()
    1
    >>> fl.set_num_threads(before)
    """
    _core.set_num_threads(_count("n", n))


def get_num_threads() -> int:
    """Return the number of threads that a large call from this thread may use.

    Returns
    -------
    int
        1 where fastloss was built without OpenMP.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.get_num_threads() >= 1
    True
    """
    return _core.num_threads()


class threads:  # noqa: N801 - used like a function
    """Limit the calls of the calling thread within a ``with`` block.

    Parameters
    ----------
    n : int
        1 to 1024.

    Raises
    ------
    TypeError, ValueError
        If `n` is no integer or out of range.

    Examples
    --------
    >>> import fastloss as fl
    >>> with fl.threads(1):
    ...     fl.get_num_threads()
    1
    """

    def __init__(self, n: int) -> None:
        self._n = _count("n", n)
        self._local = threading.local()  # one object may serve several threads

    def __enter__(self) -> threads:
        self._local.before = [*getattr(self._local, "before", []), _core.thread_limit()]
        _core.set_thread_limit(self._n)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _core.set_thread_limit(self._local.before.pop())


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:  # a group may have any name
            return file.read()
    except (OSError, ValueError):
        return ""


def cgroup_cpus(proc: str = "/proc", sys: str = "/sys") -> int | None:
    """Return how many CPUs the process's control groups grant (as to a container), rounded up; None: all."""
    grants = []
    for line in _read(f"{proc}/self/cgroup").splitlines():
        _, controllers, group = [*line.split(":", 2), "", "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        while True:  # a limit of any group above holds as well
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


def from_environment() -> None:
    """Apply FASTLOSS_NUM_THREADS and, unless OMP_NUM_THREADS says it all, the limits of CPUs; once, at import."""
    if not os.environ.get("OMP_NUM_THREADS"):
        _core.set_cpu_limit(cgroup_cpus() or 1024)
    value = os.environ.get("FASTLOSS_NUM_THREADS", "")
    if value:
        try:
            set_num_threads(int(value))
        except ValueError:
            raise ImportError(
                f"FASTLOSS_NUM_THREADS must be an integer of 1 to 1024, got {value!r}"
            ) from None
