"""How many threads a call may use: in the process, in a block of code, and by the environment at import."""

from __future__ import annotations

import operator
import os
import threading
from types import TracebackType

from fastloss._core import num_threads, set_cpu_limit, set_main_thread, set_thread_limit, thread_limit
from fastloss._core import set_num_threads as set_threads_of_process
from fastloss.runtime.cgroups import cgroup_cpus


def _count(name: str, n: int) -> int:
    """Return a number of threads, or raise an error that names the argument."""
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
    set_threads_of_process(_count("n", n))


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
    return num_threads()


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
        self._local.before = [*getattr(self._local, "before", []), thread_limit()]
        set_thread_limit(self._n)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        set_thread_limit(self._local.before.pop())


def from_environment() -> None:
    """Apply FASTLOSS_NUM_THREADS and, where OMP_NUM_THREADS is not set, the limits of CPUs; once, at import."""
    if not os.environ.get("OMP_NUM_THREADS"):
        set_cpu_limit(cgroup_cpus() or 1024)
    value = os.environ.get("FASTLOSS_NUM_THREADS", "")
    if value:
        try:
            set_num_threads(int(value))
        except ValueError:
            raise ImportError(
                f"FASTLOSS_NUM_THREADS must be an integer of 1 to 1024, got {value!r}"
            ) from None


def follow_main_thread() -> None:
    """Tell the core which thread may be interrupted by a signal, also in a process that was forked; once, at import."""

    def set_it() -> None:
        set_main_thread(threading.main_thread().ident)

    set_it()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=set_it)
