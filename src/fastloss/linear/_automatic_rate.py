"""A learning rate that is found by trial."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastloss import linear
from fastloss._checks.arrays import Array
from fastloss._core import Descent, RowLoss
from fastloss.linear._history import Checkpoint
from fastloss.linear._rows import taken

ROWS, STEPS = 2048, 32  # that the trials see at most, and that one takes at least
TRIALS = 100


def automatic_rate(
    begin: Callable[[Checkpoint], Descent],
    here: Checkpoint,
    sample: linear._Model,
    penalty: Callable[[Array], float],
) -> float:
    """Half of the constant learning rate that brings the objective farthest down, to a factor of 2.

    Bottou's programs find theirs like this. So many steps at a rate beyond the curvature lead up, or to infinity; the
    half is for rows that the sample has not. Every second row is stepped on, the others are looked at: where rows are
    separable, as in many columns, the former alone would have no rate too large. Few rows are used for both; then what
    the curvature allows is the limit.
    """
    few = sample.rows <= 2 * begin(here.resumed(False, False)).batch_size
    seen, others = (sample, sample) if few else (taken(sample, np.arange(i, sample.rows, 2)) for i in (0, 1))
    y = seen.targets()
    weight = None if seen.weight is None else seen.weight.astype(sample.dtype)

    def objective(lr: float) -> float:
        there = here.resumed(here.velocity is not None, False)
        descent = begin(there)
        each = -(-seen.rows // descent.batch_size)
        for _ in range(-(-STEPS // each)):
            if descent.run(seen.X, y, weight, None, seen.rows, np.full(each, lr)):
                return np.inf
        mean = others._sums(*sample.split("parameters", there.parameters, True))[0] / others.rows
        found = mean + penalty(there.parameters)
        return found if np.isfinite(found) else np.inf

    try:
        return _search(objective, sample, here)
    except ValueError:  # a row lies outside of the loss's domain; the first epoch says which
        return 1.0


def _search(objective: Callable[[float], float], sample: linear._Model, here: Checkpoint) -> float:
    with np.errstate(all="ignore"):
        square = _mean_square(sample)
        best, largest = 1 / (1 + square), _largest_stable(sample, here, square)
    if not 0 < best < np.inf:
        return 1.0  # the first step says what is wrong with X
    best = min(best, largest)
    lowest = objective(best)
    for factor in (2.0, 0.5):
        moved = False
        for _ in range(TRIALS):
            found = objective(factor * best) if factor * best <= largest else np.inf
            if not (found < lowest or (factor < 1 and found == lowest == np.inf)):
                break
            best, lowest, moved = factor * best, found, True
        if moved:
            break
    return best / 2


def _mean_square(sample: linear._Model) -> float:
    """Of the rows' norms; a weight is a repetition."""
    if isinstance(sample.X, tuple):
        values, starts, _ = sample.X
        squares = np.add.reduceat(np.append(values.astype(np.float64) ** 2, 0), starts[:-1])
        squares[np.diff(starts) == 0] = 0
    else:
        squares = (sample.X.astype(np.float64) ** 2).sum(axis=1)
    return float(squares.mean() if sample.weight is None else sample.weight @ squares / sample.rows)


def _largest_stable(sample: linear._Model, here: Checkpoint, square: float) -> float:
    """No constant rate beyond this is stable, if the curvature stays that of the start.

    The largest eigenvalue of X'X is at least the sum of all, divided by their number.
    """
    coef, intercept = sample.split("parameters", here.parameters, True)
    if isinstance(sample.loss, RowLoss):
        curvature = 1 / len(coef)  # of equal probabilities
    else:
        curvature = abs(sample.hess_vec(coef, np.zeros_like(coef), intercept, 1.0)[1]) / sample.rows
    bound = curvature * square / max(1, sample.columns)
    return 2 / bound if bound > 0 else np.inf
