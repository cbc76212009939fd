"""Random inputs within the domain of each loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastloss as fl

ON_PROBABILITIES = {"binary_cross_entropy", "brier"}
CLASSES = 10
OF_DISTRIBUTIONS = ("cross_entropy", "kl_divergence", "js_divergence", "tv_distance")
ON_POSITIVE_VALUES = {"squared_log_error", "absolute_percentage_error"}


def make_inputs(loss: str, n: int, dtype: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return y_true and y_pred, the same for every call; no temporary outgrows them by much.

    Of rows of scores these are n // 10 rows of 10 classes.
    """
    rng = np.random.default_rng(20240229)
    kind = np.dtype(dtype).type

    def normal(scale: float) -> NDArray[Any]:
        values = rng.standard_normal(n, dtype=kind)
        values *= kind(scale)
        return values

    def positive() -> NDArray[Any]:
        values = rng.standard_exponential(n, dtype=kind)
        values *= kind(3)
        values += kind(0.5)
        return values

    family = fl.get(loss).family
    if family == "multiclass":
        rows = max(1, n // CLASSES)
        if loss in OF_DISTRIBUTIONS:
            return tuple(rng.dirichlet(np.ones(CLASSES), rows).astype(kind) for _ in range(2))
        labels = rng.integers(CLASSES, size=rows)
        return labels, rng.standard_normal((rows, CLASSES), dtype=kind) * kind(2)
    if family == "binary":
        labels = (rng.random(n, dtype=np.float32) < 0.5).astype(dtype)
        if loss in ON_PROBABILITIES:
            return labels, rng.random(n, dtype=kind) * kind(0.98) + kind(0.01)
        return labels, normal(2)
    if family == "count":
        return np.ceil(positive()), normal(1)
    if loss in ON_POSITIVE_VALUES:
        return positive(), positive()
    if family == "regression":
        return normal(1), normal(1)
    raise NotImplementedError(f"no inputs for {loss}: the family {family!r} is not known here")
