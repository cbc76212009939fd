"""How much slower the baseline SIMD level is: a process for each level, driven in turns through pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import lru_cache
from itertools import product
from statistics import median
from timeit import Timer
from types import TracebackType

from measure import calls_for
from suite.inputs import make_inputs

import fastloss as fl

BASELINE, REFERENCE = "v2", "v3"


class Worker:
    """A process that runs this file as a script, since fastloss chooses its level when it is imported."""

    def __init__(self, level: str) -> None:
        environment = {**os.environ, "FASTLOSS_ISA": level, "FASTLOSS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.communicate()

    def time(self, loss: str, dtype: str, n: int, seconds: float) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps([loss, dtype, n, seconds]), file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def slowdowns(n: int, rounds: int, seconds: float) -> dict[str, float]:
    """Return the ratio of the times for every loss and dtype; nothing where a level is missing."""
    if not {BASELINE, REFERENCE} <= set(fl.show_config(mode="dicts")["simd supported"].split(", ")):
        return {}
    ratios: dict[str, float] = {}
    with Worker(BASELINE) as slow, Worker(REFERENCE) as fast:
        names = [name for family in fl.losses().values() for name in family]
        for loss, dtype in product(names, ("float32", "float64")):
            task = (loss, dtype, n, seconds)
            ratios[f"{loss} {dtype}"] = median(slow.time(*task) / fast.time(*task) for _ in range(rounds))
    return ratios


@lru_cache(maxsize=1)
def _timer(loss: str, dtype: str, n: int, seconds: float) -> tuple[Timer, int]:
    y, p = make_inputs(loss, n, dtype)
    timer = Timer("function(y, p)", globals={"function": fl.get(loss).value_and_grad, "y": y, "p": p})
    return timer, calls_for(timer, seconds)


def work() -> None:
    """Answer each task on stdin with the seconds that a call takes."""
    for line in sys.stdin:
        timer, calls = _timer(*json.loads(line))
        print(timer.timeit(calls) / calls, flush=True)


if __name__ == "__main__":
    work()
