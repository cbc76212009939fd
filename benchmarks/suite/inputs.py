"""Random inputs within the domain of each loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastloss as fl

CLASSES = 10
SEED = 20240229


def make_inputs(loss: str, n: int, dtype: str, classes: int = CLASSES) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return y_true and y_pred, the same in every call. No temporary is much larger than they are.

    For losses of rows they have n // classes rows.
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

    def distributions() -> NDArray[Any]:
        return rng.dirichlet(np.ones(classes), rows).astype(kind)

    traits, rows = fl.get(loss).traits, max(1, n // classes)
    draw: dict[str, Callable[[], NDArray[Any]]] = {
        "real": lambda: normal(1),
        "above_minus_one": positive,
        "nonnegative": lambda: np.ceil(positive()),
        "positive": lambda: np.ceil(positive()),
        "binary": lambda: (rng.random(n, dtype=np.float32) < 0.5).astype(dtype),
        "probability": lambda: (rng.random(n, dtype=np.float32) < 0.5).astype(dtype),
        "class": lambda: rng.integers(classes, size=rows),
        "distribution": distributions,
    }
    labels = draw[traits.labels]()
    if traits.labels in ("class", "distribution"):
        if traits.takes == "probabilities":
            return labels, distributions()
        scores = rng.standard_normal((rows, classes), dtype=kind)
        scores *= kind(2)
        return labels, scores
    if traits.takes == "values":
        return labels, draw[traits.labels]()
    if traits.takes == "probabilities":
        return labels, rng.random(n, dtype=kind) * kind(0.98) + kind(0.01)
    return labels, normal(1 if traits.link == "log" else 2)


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
