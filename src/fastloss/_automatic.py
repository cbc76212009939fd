"""A learning rate that is found by trial."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastloss import linear
from fastloss._core import Descent
from fastloss._history import Checkpoint

ROWS, STEPS = 1024, 32  # that a trial sees at most, and takes at least
TRIALS = 100


def automatic_rate(
    begin: Callable[[Checkpoint], Descent], here: Checkpoint, sample: linear._Model, l2: float, l1: float
) -> float:
    """Half of the constant learning rate that brings a sample of the rows farthest down, to a factor of 2.

    Bottou's programs find theirs like this. So many steps at a rate beyond the curvature lead up, or to infinity. The
    half is for rows that the sample has not.
    """
    y = np.require(sample.y, sample.dtype, ["C", "A"])
    weight = None if sample.weight is None else sample.weight.astype(sample.dtype)

    def objective(lr: float) -> float:
        there = here.resumed(here.velocity is not None, False)
        descent = begin(there)
        each = -(-sample.rows // descent.batch_size)
        for _ in range(-(-STEPS // each)):
            if descent.run(sample.X, y, weight, None, sample.rows, np.full(each, lr)):
                return np.inf
        w = there.parameters
        with np.errstate(all="ignore"):
            penalty = l2 / 2 * float(w[:-1] @ w[:-1]) + l1 * float(np.abs(w[:-1]).sum())
        found = sample._sums(w[:-1], w[-1])[0] / sample.rows + penalty
        return found if np.isfinite(found) else np.inf

    with np.errstate(all="ignore"):
        values = (sample.X[0] if isinstance(sample.X, tuple) else sample.X).astype(np.float64).ravel()
        best = 1 / (1 + float(values @ values) / sample.rows)
    if not 0 < best < np.inf:
        return 1.0  # the first step says what is wrong with X
    lowest = objective(best)
    for factor in (2.0, 0.5):
        moved = False
        for _ in range(TRIALS):
            found = objective(factor * best)
            if not (found < lowest or (factor < 1 and found == lowest == np.inf)):
                break
            best, lowest, moved = factor * best, found, True
        if moved:
            break
    return best / 2
