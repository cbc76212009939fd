"""Throughput of many Python threads that call at once, and what their threads leave behind.

    python benchmarks/callers.py [--quick]

Each of 1 to 32 callers evaluates arrays of its own, and all callers together as many elements as one caller alone. The
ratio is to the throughput of the best number of callers. Rounds are interleaved, and medians are taken.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import fastloss as fl

CALLERS = (1, 2, 4, 8, 32)
SIZES = (1_000, 10_000, 100_000, 1_000_000)


def data(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return (
        (rng.random(n) < 0.5).astype(np.float32),
        rng.normal(size=n).astype(np.float32),
        np.empty(n, np.float32),
    )


def seconds(pool: ThreadPoolExecutor, callers: int, arrays: list, calls: int) -> float:
    def work(i: int) -> None:
        y, p, out = arrays[i]
        for _ in range(calls // callers):
            fl.logistic.value_and_grad(y, p, out=out)

    start = time.perf_counter()
    list(pool.map(work, range(callers)))
    return (time.perf_counter() - start) / (calls // callers * callers)


def throughput(n: int, budget: float, rounds: int) -> dict[int, float]:
    """Return the elements per second for each number of callers."""
    arrays = [data(n, i) for i in range(max(CALLERS))]
    pools = {c: ThreadPoolExecutor(c) for c in CALLERS}
    once = seconds(pools[1], 1, arrays, 4)
    calls = max(max(CALLERS), int(budget / once) // max(CALLERS) * max(CALLERS))
    samples: dict[int, list[float]] = {c: [] for c in CALLERS}
    for _ in range(rounds):
        for c in CALLERS:
            samples[c].append(seconds(pools[c], c, arrays, calls))
    for pool in pools.values():
        pool.shutdown()
    return {c: n / statistics.median(times) for c, times in samples.items()}


def os_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def left_behind() -> tuple[int, int, int]:
    """Return the number of OS threads before 32 callers use the team, while they live, and after they have ended."""
    arrays = [data(4_000_000, 0)] * 32
    before = os_threads()
    with ThreadPoolExecutor(32) as pool:
        seconds(pool, 32, arrays, 64)
        during = os_threads()
    time.sleep(0.2)
    return before, during, os_threads()


def neighbour(work: Callable[[], object], seconds: float = 2.0) -> float:
    """Return the iterations per second of another process on one CPU while this one does `work`."""
    code = f"import time\nend = time.perf_counter() + {seconds}\ni = 0\nwhile time.perf_counter() < end: i += 1\nprint(i)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    while process.poll() is None:
        work()
    assert process.stdout
    return int(process.stdout.read()) / seconds


def cpu_share(work: Callable[[], None]) -> float:
    """Return the part of a CPU that this process takes while it repeats `work`."""
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(100):
        work()
    return (time.process_time() - cpu) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="short samples: a rough picture")
    quick = parser.parse_args().quick
    print(f"{fl.get_num_threads()} threads, {os.cpu_count()} CPUs; M elements/s (part of the best)")
    print("elements   " + "".join(f"{c:>4} callers   " for c in CALLERS))
    for n in SIZES:
        found = throughput(n, 0.03 if quick else 0.3, 3 if quick else 9)
        best = max(found.values())
        print(f"{n:<10} " + "".join(f"{v / 1e6:6.0f} ({v / best:4.0%}) " for v in found.values()))
    if os.path.isdir("/proc/self/task"):
        before, during, after = left_behind()
        print(
            f"OS threads: {before}, with 32 callers that have used the team {during}, after they have ended {after}"
        )

    y, p, out = data(1_000_000, 0)

    def call_and_pause() -> None:
        fl.logistic.value_and_grad(y, p, out=out)
        time.sleep(0.005)

    alone, idle = neighbour(lambda: time.sleep(0.005)), neighbour(call_and_pause)
    print(f"A neighbour process beside a call each 5 ms: {idle / alone:.0%} of its speed beside none")
    print(f"CPU time of such calls: {cpu_share(call_and_pause):.0%} of a CPU")
    with fl.threads(1):
        print(f"the same with one thread: {cpu_share(call_and_pause):.0%} of a CPU")


if __name__ == "__main__":
    main()
