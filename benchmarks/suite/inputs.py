"""Random inputs within the domain of each loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastloss as fl

ON_PROBABILITIES = {"binary_cross_entropy", "brier"}
CLASSES = 10
SEED = 20240229
OF_DISTRIBUTIONS = ("kl_divergence", "js_divergence", "tv_distance")
ON_POSITIVE_VALUES = {"squared_log_error", "absolute_percentage_error"}


def make_inputs(loss: str, n: int, dtype: str, classes: int = CLASSES) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return y_true and y_pred, the same for every call; no temporary outgrows them by much.

    Of rows of scores these are n // classes rows.
    """
    rng = np.random.default_rng(SEED)
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
        rows = max(1, n // classes)
        if loss in OF_DISTRIBUTIONS:
            return tuple(rng.dirichlet(np.ones(classes), rows).astype(kind) for _ in range(2))
        labels = rng.integers(classes, size=rows)
        if loss == "cross_entropy":
            return labels, rng.dirichlet(np.ones(classes), rows).astype(kind)
        scores = rng.standard_normal((rows, classes), dtype=kind)
        scores *= kind(2)
        return labels, scores
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


def make_layer(
    n: int, features: int, classes: int, dtype: str
) -> tuple[NDArray[Any], tuple[NDArray[Any], NDArray[Any]]]:
    """Return labels, and the inputs and weights of the linear layer of a classifier."""
    rng = np.random.default_rng(SEED)
    kind = np.dtype(dtype).type
    inputs = rng.standard_normal((n, features), dtype=kind)
    weights = rng.standard_normal((classes, features), dtype=kind)
    weights /= kind(20)
    return rng.integers(classes, size=n), (inputs, weights)
