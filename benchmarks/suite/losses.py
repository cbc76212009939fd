"""Speed of the losses by asv.

Each sample is a million elements in calls of n, so that numbers compare across n, and that a sample lasts
long enough for asv, which times a benchmark with a setup one call at a time.
"""

from __future__ import annotations

from functools import lru_cache
from timeit import repeat

import fastloss as fl

from .inputs import make_inputs

ELEMENTS = 1_000_000
LARGE = 10_000_000
SIZES = [100, 2048, ELEMENTS]
DTYPES = ["float32", "float64"]
METHODS = ["value", "grad", "value_and_grad", "grad_and_hess"]
# A loss that is bound by memory, one that is bound by transcendental functions, and the one with the most parameters.
REPRESENTATIVE = ["squared_error", "logistic", "barron"]

inputs = lru_cache(maxsize=1)(make_inputs)  # asv repeats the setup before every sample


class Loss:
    """Every loss, on one thread."""

    param_names = ("loss", "dtype", "n")
    params = ([name for family in fl.losses().values() for name in family], DTYPES, SIZES)

    def setup(self, loss: str, dtype: str, n: int) -> None:
        fl.set_num_threads(1)
        self.y, self.p = inputs(loss, n, dtype)
        self.call = fl.get(loss).value_and_grad
        self.calls = max(1, ELEMENTS // n)

    def time_value_and_grad(self, loss: str, dtype: str, n: int) -> None:
        call, y, p = self.call, self.y, self.p
        for _ in range(self.calls):
            call(y, p)


class Method:
    """Every method and two threads, for a few losses."""

    param_names = ("loss", "method", "dtype", "n", "threads")
    params = (REPRESENTATIVE, METHODS, DTYPES, SIZES, [1, 2])

    def setup(self, loss: str, method: str, dtype: str, n: int, threads: int) -> None:
        fl.set_num_threads(threads)
        self.y, self.p = inputs(loss, n, dtype)
        self.call = fl.get(loss) if method == "value" else getattr(fl.get(loss), method)
        self.calls = max(1, ELEMENTS // n)

    def time_call(self, loss: str, method: str, dtype: str, n: int, threads: int) -> None:
        call, y, p = self.call, self.y, self.p
        for _ in range(self.calls):
            call(y, p)


class Bandwidth:
    """The bytes per second that are read by a loss that hardly computes anything."""

    param_names = ("dtype", "threads")
    params = (DTYPES, [1, 2])
    unit = "GB/s"

    def setup(self, dtype: str, threads: int) -> None:
        fl.set_num_threads(threads)
        self.y, self.p = inputs("squared_error", LARGE, dtype)

    def track_bandwidth(self, dtype: str, threads: int) -> float:
        seconds = min(repeat(lambda: fl.squared_error(self.y, self.p), number=1, repeat=5))
        return (self.y.nbytes + self.p.nbytes) / seconds / 1e9
