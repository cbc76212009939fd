"""The epochs of stochastic gradient descent: their steps, what is recorded of them, and when they end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from fastloss._checks.arrays import Array
from fastloss._core import Descent
from fastloss.linear._history import Checkpoint, DivergenceError, History
from fastloss.linear._model import LinearModel
from fastloss.linear._progress import Report
from fastloss.linear._rows import Piece, named_errors
from fastloss.linear._schedules import Rates

SMALLEST_RATE = 1e-6  # to which "adaptive" divides; as in scikit-learn


@dataclass
class Training:
    """The epochs after a checkpoint, which each step changes.

    Attributes
    ----------
    descent : Descent
        What takes the steps.
    checkpoint : Checkpoint
    coef, intercept : ndarray
        The caller's arrays, which `publish` writes to; the intercept may be None.
    held_out : LinearModel or None
        The rows for validation.
    early_stopping : bool
        Whether the validation loss decides on the end, and the parameters of its best epoch are the result.
    penalty : callable
        Returns the penalties for given parameters.
    report : callable
        Shows progress.
    """

    descent: Descent
    checkpoint: Checkpoint
    coef: Array
    intercept: Array | None
    held_out: LinearModel | None
    early_stopping: bool
    penalty: Callable[[Array], float]
    report: Report
    watched: float = field(init=False, default=np.inf)  # the loss by which a Plateau decides
    lowest: float = field(init=False, default=np.inf)
    best: Array | None = field(
        init=False, default=None
    )  # parameters of the epoch with the lowest validation loss
    failed: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.history = History(checkpoint=self.checkpoint)
        self.before = self.coef.copy(), None if self.intercept is None else self.intercept.copy()

    @property
    def parameters(self) -> Array:
        """The result so far: the average, where there is one."""
        average = self.checkpoint.average
        return self.checkpoint.parameters if average is None else average

    def publish(self) -> None:
        """Write the result so far to the caller's arrays; after an error, what they held before."""
        self.history.steps = self.checkpoint.steps = self.descent.steps
        w = self.parameters if self.best is None else self.best
        coef, intercept = self.before if self.failed else (w[: self.coef.size], w[self.coef.size :])
        self.coef[...] = coef.reshape(self.coef.shape)
        if self.intercept is not None and intercept is not None:
            self.intercept[...] = intercept.reshape(self.intercept.shape)

    def run_epoch(self, pieces: Iterable[Piece], rate: Rates) -> None:
        """Take the steps of an epoch, and record what they led to."""
        began, sums = time.perf_counter(), _Sums()
        first, penalty_before = self.descent.steps, self.penalty(self.checkpoint.parameters)
        try:
            for piece in pieces:
                self._take_steps(piece, rate, sums, began)
                del piece  # so that a stream holds one block, not two
            if not sums.weight > 0:
                raise ValueError("the weights of an epoch's rows must have a positive sum")
            if self.held_out is not None:
                self.history.validation_loss.append(self.held_out.loss_at(self.parameters))
        except (KeyboardInterrupt, DivergenceError):
            raise
        except BaseException:  # this includes what the caller's stream raises
            self.failed = True
            raise
        loss = sums.loss / sums.weight
        steps, penalty_after = self.descent.steps - first, self.penalty(self.checkpoint.parameters)
        # Each loss is that before its step. The mean of the penalties before the steps is this mixture of the first and
        # the last one, if the penalty changes linearly in between.
        share = (steps + 1) / (2 * steps)
        objective = loss + share * penalty_before + (1 - share) * penalty_after
        self.watched = self.history.validation_loss[-1] if self.early_stopping else objective
        if self.early_stopping and self.watched < self.lowest:
            self.lowest, self.best = self.watched, self.parameters.copy()
            self.history.best_epoch = len(self.history.loss)
        self._record(sums, loss, began)

    def _take_steps(self, piece: Piece, rate: Rates, sums: _Sums, began: float) -> None:
        descent, first = self.descent, self.descent.steps
        steps = np.arange(first, first - (-piece.rows // descent.batch_size), dtype=np.float64)
        lrs = self.checkpoint.factor * rate(steps)
        outcome = descent.run(piece.X, piece.y, piece.weight, piece.order, piece.rows, lrs)
        sums.largest_grad, sums.grad_norm = max(sums.largest_grad, descent.largest), descent.norm
        if outcome == "violated":
            for name, model in piece.sources:
                with named_errors(name):
                    model.loss_at(self.checkpoint.parameters)  # raises an error that names the row
            raise ValueError("y or a score lies outside of the loss's domain")
        sums.lr = float(lrs[descent.steps - first if outcome else -1])
        if outcome == "diverged":
            self.history.stopped = "diverged"
            self._record(sums, np.nan, began)
            raise DivergenceError(_advice(descent.steps, descent.nonfinite, sums.lr), self.history)
        sums.loss += descent.loss
        sums.weight += piece.weight_sum
        if sums.weight > 0:
            self.report(len(self.history.loss), piece.rows, sums.loss / sums.weight)

    def _record(self, sums: _Sums, loss: float, began: float) -> None:
        history = self.history
        history.learning_rate.append(sums.lr)
        history.loss.append(loss)
        history.grad_norm.append(sums.grad_norm)
        history.largest_grad.append(sums.largest_grad)
        history.nonfinite.append(self.descent.nonfinite)
        history.seconds.append(time.perf_counter() - began)
        self.report(len(history.loss), 0, loss)


@dataclass
class _Sums:
    """The sums of losses and weights of an epoch so far, its largest derivative, and its last norm and rate."""

    loss: float = 0.0
    weight: float = 0.0
    largest_grad: float = 0.0
    grad_norm: float = 0.0
    lr: float = 0.0


def _advice(step: int, nonfinite: int, lr: float) -> str:
    advice = (
        f"lr was {lr:.3g}: lower it, scale the columns of X, pass clip_norm=, or look for inf and NaN in X and y"
        if step
        else "that was the first step: look for inf, NaN and huge numbers in X and y, or lower lr"
    )
    return (
        f"step {step} would have led to a loss, gradient or parameters that are not finite "
        f"({nonfinite} numbers), and was not taken; {advice}"
    )


@dataclass(frozen=True)
class Plateau:
    """The rule by which the work ends, or the learning rate is divided, when the loss no longer decreases.

    Attributes
    ----------
    tol : float or None
        What an epoch must gain on the lowest loss so far; None: the loss does not matter.
    patience : int
        So many epochs in a row may gain less.
    divides_rate : bool
        Whether the learning rate is divided first.
    may_rise : bool
        Whether the end may come where the loss is more than twice the first epoch's: a validation loss may be.
    """

    tol: float | None
    patience: int
    divides_rate: bool
    may_rise: bool

    def is_reached(self, checkpoint: Checkpoint, loss: float, lr: float) -> bool:
        """Whether the work ends after an epoch of this loss; the checkpoint keeps count."""
        if self.tol is None:
            return False
        checkpoint.first = loss if checkpoint.first is None else checkpoint.first
        checkpoint.idle = 0 if loss < checkpoint.lowest - self.tol else checkpoint.idle + 1
        checkpoint.lowest = min(checkpoint.lowest, loss)
        if checkpoint.idle < self.patience:
            return False
        if self.divides_rate and lr > SMALLEST_RATE:
            checkpoint.factor, checkpoint.idle = checkpoint.factor / 5, 0
            return False
        # A training loss that has risen so far has found nothing: the steps diverge, and the error is to say so.
        return self.may_rise or loss <= checkpoint.first + abs(checkpoint.first)
