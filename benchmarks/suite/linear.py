"""Speed of linear models by asv: a pass over the rows, and an epoch of SGD. A sample is a million elements of X."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

from typing import Any

import numpy as np

import fastloss as fl

from .losses import DTYPES, ELEMENTS


def rows(kind: str, dtype: str, columns: int) -> tuple[Any, Any]:
    """Return X and y. Sparse rows have as many elements as dense ones, spread over 50 times the columns."""
    rng = np.random.default_rng(0)
    n = max(2, ELEMENTS // columns)
    if kind == "dense":
        X = rng.standard_normal((n, columns)).astype(dtype)
    else:
        from scipy.sparse import csr_array

        parts = rng.standard_normal(n * columns).astype(dtype), rng.integers(0, 50 * columns, n * columns)
        X = csr_array((*parts, np.arange(0, n * columns + 1, columns)), shape=(n, 50 * columns))
    return X, rng.integers(0, 2, n).astype(dtype)


class Pass:
    """The value of the logistic loss and its gradient."""

    param_names = ("kind", "dtype", "columns", "threads")
    params = (["dense", "CSR"], DTYPES, [30, 1000], [1, 2])

    def setup(self, kind: str, dtype: str, columns: int, threads: int) -> None:
        fl.set_num_threads(threads)
        X, y = rows(kind, dtype, columns)
        self.objective, self.w = fl.linear.Objective("logistic", X, y), np.zeros(X.shape[1] + 1)

    def time_value_and_grad(self, *_: Any) -> None:
        self.objective(self.w)


class Epoch:
    """`linear.sgd` over all rows once."""

    param_names = ("kind", "dtype", "batch_size", "shuffle")
    params = (["dense", "CSR"], DTYPES, [1, 256], ["blocks", "rows"])

    def setup(self, kind: str, dtype: str, batch_size: int, shuffle: str) -> None:
        self.X, self.y = rows(kind, dtype, 100)
        self.coef, self.intercept = np.zeros(self.X.shape[1]), np.zeros(1)

    def time_epoch(self, kind: str, dtype: str, batch_size: int, shuffle: Any) -> None:
        fl.linear.sgd(
            "logistic", self.X, self.y, self.coef, self.intercept, lr=1e-3, l2=1e-4, epochs=1,
            batch_size=batch_size, shuffle=shuffle,
        )  # fmt: skip


class Classes:
    """The softmax cross-entropy: a pass, and an epoch in batches of 16."""

    param_names = ("kind", "dtype", "classes")
    params = (["dense", "CSR"], DTYPES, [3, 10])

    def setup(self, kind: str, dtype: str, classes: int) -> None:
        self.X, self.y = rows(kind, dtype, 100)[0], np.arange(ELEMENTS // 100) % classes
        self.objective = fl.linear.Objective("softmax_cross_entropy", self.X, self.y)
        self.coef, self.intercept = np.zeros((classes, self.X.shape[1])), np.zeros(classes)
        self.w = np.zeros(self.coef.size + classes)

    def time_value_and_grad(self, *_: Any) -> None:
        self.objective(self.w)

    def time_epoch(self, *_: Any) -> None:
        fl.linear.sgd(
            "softmax_cross_entropy", self.X, self.y, self.coef, self.intercept, lr=1e-3, l2=1e-4, epochs=1, batch_size=16
        )  # fmt: skip
