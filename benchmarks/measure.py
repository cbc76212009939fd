"""Times of several functions, measured in turns."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from timeit import Timer
from typing import Any

import numpy as np
from contestants import Array, Entry

Samples = dict[str, list[float]]

# After a parallel region the threads of OpenMP and OpenBLAS spin until the next one, and would take the processor from
# the next contestant, which has threads of its own. So each waits for this many seconds first. The threads of OpenBLAS
# spin for 2^26 ticks of the clock and more: after a pause of 0.04 s, a call of 15.6 ms still took 21.
SETTLE = 0.1


def interleave(
    entries: dict[str, Entry], rounds: int, seconds: float, threadless: Collection[str] = ()
) -> Samples:
    """Time every entry once a round, in random order; a sample is the mean of calls that last `seconds`.

    After those named in `threadless` comes no pause, since no threads of theirs can spin.
    """
    timers = {
        name: Timer("function(y, p)", globals={"function": entry.function, "y": entry.y, "p": entry.p})
        for name, entry in entries.items()
    }
    numbers = {name: calls_for(timer, seconds) for name, timer in timers.items()}
    samples: Samples = {name: [] for name in entries}
    order, shuffle, last = list(entries), random.Random(0).shuffle, ""
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            if last not in threadless:
                time.sleep(SETTLE)
            last = name
            timers[name].timeit(1)  # wakes the threads, of all contestants alike
            samples[name].append(timers[name].timeit(numbers[name]) / numbers[name])
    return samples


def calls_for(timer: Timer, seconds: float) -> int:
    """Return the number of calls that last about `seconds`."""
    number = 1
    while (lasted := timer.timeit(number)) < seconds / 10:
        number *= 10
    return max(1, round(number * seconds / lasted))


def times_as_fast(samples: Samples, ours: str, theirs: str) -> float:
    """Return the median ratio over the rounds, since within a round the machine is equally busy for all."""
    return median(b / a for a, b in zip(samples[ours], samples[theirs], strict=True))


def readers(y: Array, p: Array, threads: int) -> dict[str, Entry]:
    """Return functions that read both arrays once and do little else: the fastest is the limit of every value."""
    ys, ps = np.array_split(y, threads), np.array_split(p, threads)
    entries = {
        "memory: np.dot": Entry(np.dot, y, p, lambda result: ()),
        "memory: np.max": in_threads(lambda y, p: (y.max(), p.max()), ys, ps),
    }
    if find_spec("torch"):
        import torch

        tensors = torch.from_numpy(y), torch.from_numpy(p)
        entries["memory: torch.dot"] = Entry(torch.dot, *tensors, lambda result: ())
        entries["memory: torch.sum"] = Entry(lambda y, p: (y.sum(), p.sum()), *tensors, lambda result: ())
    return entries


def copiers(p: Array, threads: int) -> dict[str, Entry]:
    """Return functions that read the scores and write as many numbers to given memory: the limit of every gradient."""
    out = np.empty_like(p)
    ps, outs = np.array_split(p, threads), np.array_split(out, threads)
    entries = {"memory: np.copyto": in_threads(np.copyto, outs, ps)}
    if find_spec("torch"):
        import torch

        tensors = torch.from_numpy(out), torch.from_numpy(p)
        entries["memory: torch.copy_"] = Entry(lambda y, p: y.copy_(p), *tensors, lambda result: ())
    return entries


def triads(size: int, dtype: str, threads: int) -> dict[str, Entry]:
    """Return functions that read two arrays and write a third, by which bandwidths are measured."""
    a, b, c = (np.ones(size, dtype) for _ in range(3))
    entries = {"triad: np.add": Entry(lambda b, c: np.add(b, c, a), b, c, lambda result: ())}
    if threads > 1:
        parts = [np.array_split(array, threads) for array in (b, c, a)]
        entries["triad: np.add in threads"] = in_threads(np.add, *parts)
    if find_spec("torch"):
        import torch

        out, *tensors = map(torch.from_numpy, (a, b, c))
        entries["triad: torch.add"] = Entry(
            lambda b, c: torch.add(b, c, alpha=3, out=out), *tensors, lambda result: ()
        )
    return entries


def in_threads(function: Callable[..., Any], *parts: list[Array]) -> Entry:
    pool = _pool(len(parts[0]))
    return Entry(lambda y, p: list(pool.map(function, *parts)), None, None, lambda result: ())


@lru_cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


def peak_memory(entry: Entry) -> float:
    """Return by how many MB one call raises the memory of this process, its results included. Linux alone."""

    def status(field: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))

    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = status("VmRSS")
    entry.function(entry.y, entry.p)
    return status("VmHWM") - before
