"""Speed of the optimiser's update by asv. As for losses, a sample is a million parameters in updates of n."""

from __future__ import annotations

import numpy as np

import fastloss as fl

from .losses import DTYPES, ELEMENTS, SIZES

RULES = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-4},
}


class SGD:
    param_names = ("rule", "dtype", "n", "threads")
    params = (list(RULES), DTYPES, SIZES, [1, 2])

    def setup(self, rule: str, dtype: str, n: int, threads: int) -> None:
        fl.set_num_threads(threads)
        self.w, self.g = np.ones(n, dtype), np.full(n, 1e-3, dtype)
        self.optimizer = fl.SGD(lr=1e-3, **RULES[rule])
        self.optimizer.update(self.w, self.g)  # makes the velocities
        self.calls = max(1, ELEMENTS // n)

    def time_update(self, rule: str, dtype: str, n: int, threads: int) -> None:
        update, w, g = self.optimizer.update, self.w, self.g
        for _ in range(self.calls):
            update(w, g)
