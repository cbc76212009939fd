"""Peak memory by asv. A call needs its output and no temporary: the two benchmarks differ by a constant."""

from __future__ import annotations

import numpy as np

import fastloss as fl

from .losses import DTYPES, LARGE


class PeakMemory:
    param_names = ("dtype",)
    params = (DTYPES,)

    def setup(self, dtype: str) -> None:
        # asv counts the setup, so it may not need more than the arrays that it makes.
        self.y, self.p = np.full(LARGE, 0.5, dtype), np.full(LARGE, 2.0, dtype)

    def peakmem_value_and_grad(self, dtype: str) -> None:
        fl.squared_error.value_and_grad(self.y, self.p)

    def peakmem_inputs_and_output(self, dtype: str) -> None:
        np.full(LARGE, 1.0, dtype)
