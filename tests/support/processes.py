"""Python code in a process of its own, which a deadlock ends instead of the test run."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fastloss import _core

# Every call of some blocks uses the team, however quick; and whoever hangs prints where, and exits.
HEAD = """
import faulthandler, os, signal, sys, threading, time, warnings
faulthandler.dump_traceback_later({seconds}, exit=True)
{load}import numpy as np
import fastloss as fl
from fastloss import _core
_core.set_grain(0)
fl.set_num_threads(3)
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background process ignores

def view(x, n):
    return np.lib.stride_tricks.as_strided(np.array([x]), (n,), (0,))  # n elements without memory
"""
OWN = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "FASTLOSS_NUM_THREADS")

needs_openmp = pytest.mark.skipif(_core.openmp() == "none", reason="built without OpenMP: one thread only")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def run(code, head="", **environment):
    """What the code prints; it must end well. Of the environment, only what is given chooses threads."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", head + code],
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k not in OWN} | environment,
        timeout=300,  # of a machine that is busy; who hangs ends before
    )
    assert result.returncode == 0, f"exit status {result.returncode}\n{result.stdout}{result.stderr}"
    return result.stdout


def compute(code, load="", seconds=240, **environment):
    """`run`, with the team in use and a watchdog; `load` comes before the import of fastloss."""
    return run(code, HEAD.format(load=load, seconds=seconds), **environment)


def python(code, *arguments, **environment):
    """How code ends in a process of its own, which may die."""
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=300,
    )


def at_level(code, *arguments, level):
    """The same, at a SIMD level."""
    return python(code, *arguments, FASTLOSS_ISA=level)
