"""What this fastloss is and runs on."""

from __future__ import annotations

from typing import Literal, overload

import numpy as np

from fastloss import _core
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
        "simd": _core.level(),
        "simd supported": ", ".join(_core.supported_levels()),
        "openmp": _core.openmp() if _core.openmp() != "none" else "none (built without OpenMP: one thread)",
        "threads": str(_core.num_threads()),
        "numpy": np.__version__,
    }
    if not isinstance(mode, str) or mode not in ("stdout", "dicts"):
        raise ValueError(f"mode must be 'stdout' or 'dicts', got {mode!r}")
    if mode == "dicts":
        return config
    for key, value in config.items():
        print(f"{key:<15} {value}")
    return None
