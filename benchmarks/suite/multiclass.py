"""Speed of rows of few and many classes, and of a layer and its loss, by asv. A sample is a million scores."""

from __future__ import annotations

import fastloss as fl

from .inputs import make_inputs, make_layer
from .losses import DTYPES, ELEMENTS


class Classes:
    param_names = ("method", "dtype", "classes", "threads")
    params = (["value_and_grad", "grad_and_hess"], DTYPES, [3, 10, 1000, 128_256], [1, 2])

    def setup(self, method: str, dtype: str, classes: int, threads: int) -> None:
        fl.set_num_threads(threads)
        self.y, self.p = make_inputs("softmax_cross_entropy", ELEMENTS, dtype, classes)
        self.call = getattr(fl.softmax_cross_entropy, method)

    def time_call(self, method: str, dtype: str, classes: int, threads: int) -> None:
        self.call(self.y, self.p)


class Layer:
    """linear_cross_entropy, by the size of its blocks in MB."""

    param_names = ("dtype", "block")
    params = (DTYPES, [0.5, 64.0])

    def setup(self, dtype: str, block: float) -> None:
        self.y, self.layer = make_layer(max(1, ELEMENTS // 4000), 64, 4000, dtype)
        self.call = fl.linear_cross_entropy.value_and_grad
        self.block_bytes = int(block * 2**20)

    def time_value_and_grad(self, dtype: str, block: float) -> None:
        self.call(self.y, *self.layer, block_bytes=self.block_bytes)

    peakmem_value_and_grad = time_value_and_grad
