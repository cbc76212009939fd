"""The configuration: version, SIMD level and threads, and how much memory of freed results is kept."""

from __future__ import annotations

import operator
import sys
from typing import Literal, overload

import numpy as np

from fastloss._core import level, num_threads, openmp, supported_levels
from fastloss._core import set_kept_memory as set_kept_bytes
from fastloss._version import __version__


@overload
def show_config(mode: Literal["stdout"] = "stdout") -> None: ...
@overload
def show_config(mode: Literal["dicts"]) -> dict[str, str]: ...
def show_config(mode: str = "stdout") -> dict[str, str] | None:
    """Show the version, the SIMD level, the OpenMP runtime and the number of threads.

    Parameters
    ----------
    mode : {'stdout', 'dicts'}
        Print, or return a dict, as ``numpy.show_config`` does.

    Returns
    -------
    dict of str to str, or None
        The dict has the keys 'version', 'simd', 'simd supported', 'openmp', 'threads' and 'numpy'.

    Raises
    ------
    ValueError
        If `mode` is something else.

    Examples
    --------
    >>> import fastloss as fl
    >>> sorted(fl.show_config(mode="dicts"))
    ['numpy', 'openmp', 'simd', 'simd supported', 'threads', 'version']
    """
    config = {
        "version": __version__,
        "simd": level(),
        "simd supported": ", ".join(supported_levels()),
        "openmp": openmp() if openmp() != "none" else "none (built without OpenMP: one thread)",
        "threads": str(num_threads()),
        "numpy": np.__version__,
    }
    if not isinstance(mode, str) or mode not in ("stdout", "dicts"):
        raise ValueError(f"mode must be 'stdout' or 'dicts', got {mode!r}")
    if mode == "dicts":
        return config
    for key, value in config.items():
        print(f"{key:<15} {value}")
    return None


def set_kept_memory(n: int) -> int:
    """Set how much memory of freed results is kept for later ones.

    Writing to memory that the operating system has just handed out takes longer than computing most losses, since the
    memory is mapped and zeroed a page at a time. So the memory of the last results, from 256 KiB each, is kept when
    they are freed, and the next result of the same size gets it, as the gradient of the next training step does.

    Parameters
    ----------
    n : int
        Bytes, of all threads together; at first 2**28, that is 256 MiB. 0 keeps none and hands back what is kept.

    Returns
    -------
    int
        The number of bytes before.

    Raises
    ------
    TypeError, ValueError
        If `n` is no integer or negative.

    Notes
    -----
    Arrays in use do not count. Nothing is kept of results in ``out=``, nor where NumPy's own allocator is replaced.

    Examples
    --------
    >>> import fastloss as fl
    >>> before = fl.set_kept_memory(0)
    >>> fl.set_kept_memory(before)
    0
    """
    try:
        count = operator.index(n)
    except TypeError:
        raise TypeError(f"n must be an integer, got {n!r}") from None
    if not 0 <= count <= sys.maxsize:
        raise ValueError(f"n must be a number of bytes >= 0, got {n!r}")
    return set_kept_bytes(count)
