"""A learning rate that is found by trial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastloss._checks.arrays import Array
from fastloss._core import Descent, RowLoss
from fastloss.linear._history import Checkpoint
from fastloss.linear._matrix import squared_row_norms
from fastloss.linear._model import LinearModel

MOST_ROWS = 2048  # in the sample
LEAST_STEPS = 32  # in a trial
MOST_TRIALS = 100


@dataclass
class RateSearch:
    """Trials of constant learning rates on a sample of the rows.

    Attributes
    ----------
    begin : callable
        Returns a descent that starts at a checkpoint, which its steps change.
    checkpoint : Checkpoint
        Where a trial begins; it is not changed.
    sample : LinearModel
        At most `MOST_ROWS` rows, with the sum as reduction.
    penalty : callable
        Returns the penalties for given parameters.
    """

    begin: Callable[[Checkpoint], Descent]
    checkpoint: Checkpoint
    sample: LinearModel
    penalty: Callable[[Array], float]

    def __post_init__(self) -> None:
        sample = self.sample
        few = sample.rows <= 2 * self.begin(self.checkpoint.resumed(False, False)).batch_size
        self.training = sample if few else sample.selected(np.arange(0, sample.rows, 2))
        self.validation = sample if few else sample.selected(np.arange(1, sample.rows, 2))
        self.y = self.training.targets()
        weight = self.training.weight
        self.weight = None if weight is None else weight.astype(sample.dtype)

    def find(self) -> float:
        """Return half of the rate that brings the objective farthest down, to a factor of 2.

        Bottou's programs find theirs like this. At a rate beyond what the curvature allows, the objective rises or
        overflows within so many steps; the half is for rows that the sample does not have. The steps are on every
        second row, and the objective is that of the others: where the rows can be separated, as in many columns, the
        objective of the former alone would fall at any rate. Where there are few rows, they are used for both, and
        what the curvature allows is the limit.
        """
        try:
            return self._search()
        except ValueError:  # a row lies outside of the loss's domain; the first epoch says which
            return 1.0

    def _search(self) -> float:
        with np.errstate(all="ignore"):
            square = self._mean_square()
            best, largest = 1 / (1 + square), self._largest_stable(square)
        if not 0 < best < np.inf:
            return 1.0  # the first step says what is wrong with X
        best = min(best, largest)
        lowest = self._objective_after(best)
        for factor in (2.0, 0.5):
            moved = False
            for _ in range(MOST_TRIALS):
                found = self._objective_after(factor * best) if factor * best <= largest else np.inf
                if not (found < lowest or (factor < 1 and found == lowest == np.inf)):
                    break
                best, lowest, moved = factor * best, found, True
            if moved:
                break
        return best / 2

    def _objective_after(self, lr: float) -> float:
        """Return the objective after a trial, inf where it diverges."""
        trial = self.checkpoint.resumed(self.checkpoint.velocity is not None, False)
        descent, training = self.begin(trial), self.training
        steps = -(-training.rows // descent.batch_size)  # of an epoch
        for _ in range(-(-LEAST_STEPS // steps)):
            if descent.run(training.X, self.y, self.weight, None, training.rows, np.full(steps, lr)):
                return np.inf
        mean = self.validation.loss_at(trial.parameters) / self.validation.rows
        found = mean + self.penalty(trial.parameters)
        return found if np.isfinite(found) else np.inf

    def _mean_square(self) -> float:
        """Return the mean of the rows' squared norms; a row of weight w counts as w rows."""
        sample = self.sample
        squares = squared_row_norms(sample.X)
        return float(squares.mean() if sample.weight is None else sample.weight @ squares / sample.rows)

    def _largest_stable(self, square: float) -> float:
        """Return a bound: no larger constant rate is stable, if the curvature stays that of the start.

        The largest eigenvalue of X'X is at least the sum of all, divided by their number.
        """
        sample = self.sample
        coef, intercept = sample.split("parameters", self.checkpoint.parameters, True)
        if isinstance(sample.loss, RowLoss):
            curvature = 1 / len(coef)  # of equal probabilities
        else:
            curvature = abs(sample.hess_vec(coef, np.zeros_like(coef), intercept, 1.0)[1]) / sample.rows
        bound = curvature * square / max(1, sample.columns)
        return 2 / bound if bound > 0 else np.inf
