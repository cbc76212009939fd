"""The epochs of stochastic gradient descent, what is written down of them, and when they end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from fastloss import linear
from fastloss._checks.arrays import Array
from fastloss._core import Descent
from fastloss.linear._history import Checkpoint, DivergenceError, History
from fastloss.linear._progress import Report
from fastloss.linear._rows import Piece, saying
from fastloss.linear._schedules import Rates

SMALLEST_RATE = 1e-6  # to which "adaptive" divides; as in scikit-learn


class Training:
    """Epochs from a checkpoint on, which is moved along, and what the caller's arrays get."""

    def __init__(
        self,
        descent: Descent,
        checkpoint: Checkpoint,
        coef: Array,
        intercept: Array | None,
        held_out: linear._Model | None,
        early_stopping: bool,
        penalty: Callable[[Array], float],
        report: Report,
    ) -> None:
        self.penalty, self.report = penalty, report
        self.descent, self.checkpoint, self.held_out = descent, checkpoint, held_out
        self.coef, self.intercept, self.early_stopping = coef, intercept, early_stopping
        self.history = History(checkpoint=checkpoint)
        self.watched = self.lowest = np.inf
        self.kept: Array | None = None  # instead of where the last step led
        self.before = coef.copy(), None if intercept is None else intercept.copy()
        self.failed = False

    @property
    def parameters(self) -> Array:
        mean = self.checkpoint.average
        return self.checkpoint.parameters if mean is None else mean

    def publish(self) -> None:
        self.history.steps = self.checkpoint.steps = self.descent.steps
        w = self.parameters if self.kept is None else self.kept
        coef, intercept = self.before if self.failed else (w[: self.coef.size], w[self.coef.size :])
        self.coef[...] = coef.reshape(self.coef.shape)
        if self.intercept is not None and intercept is not None:
            self.intercept[...] = intercept.reshape(self.intercept.shape)

    def run_epoch(self, pieces: Iterable[Piece], rate: Rates) -> None:
        began, seen = time.perf_counter(), _Seen()
        first, start = self.descent.steps, self.penalty(self.checkpoint.parameters)
        try:
            for piece in pieces:
                self._run(piece, rate, seen, began)
                del piece  # a stream is to hold one block, not two
            if not seen.weight > 0:
                raise ValueError("the weights of an epoch's rows must have a positive sum")
            if self.held_out is not None:
                found = self.held_out._sums(*self.held_out.split("parameters", self.parameters, True))[0]
                self.history.validation_loss.append(found)
        except (KeyboardInterrupt, DivergenceError):
            raise
        except BaseException:  # also of the caller's stream
            self.failed = True
            raise
        loss = seen.loss / seen.weight
        taken, end = self.descent.steps - first, self.penalty(self.checkpoint.parameters)
        share = (taken + 1) / (2 * taken)  # as a loss is before its step: of one that is linear in between
        objective = loss + share * start + (1 - share) * end
        self.watched = self.history.validation_loss[-1] if self.early_stopping else objective
        if self.early_stopping and self.watched < self.lowest:
            self.lowest, self.kept = self.watched, self.parameters.copy()
            self.history.best_epoch = len(self.history.loss)
        self._write_down(seen, loss, began)

    def _run(self, piece: Piece, rate: Rates, seen: _Seen, began: float) -> None:
        descent, first = self.descent, self.descent.steps
        steps = np.arange(first, first - (-piece.rows // descent.batch_size), dtype=np.float64)
        lrs = self.checkpoint.factor * rate(steps)
        outcome = descent.run(piece.X, piece.y, piece.weight, piece.order, piece.rows, lrs)
        seen.largest, seen.norm = max(seen.largest, descent.largest), descent.norm
        if outcome == "violated":
            w = self.checkpoint.parameters
            for name, model in piece.suspects:
                with saying(name):
                    model._sums(*model.split("parameters", w, True))
            raise ValueError("y or a score lies outside of the loss's domain")
        seen.lr = float(lrs[descent.steps - first if outcome else -1])
        if outcome == "diverged":
            self.history.stopped = "diverged"
            self._write_down(seen, np.nan, began)
            raise DivergenceError(_advice(descent.steps, descent.nonfinite, seen.lr), self.history)
        seen.loss += descent.loss
        seen.weight += piece.weight_sum
        if seen.weight > 0:
            self.report(len(self.history.loss), piece.rows, seen.loss / seen.weight)

    def _write_down(self, seen: _Seen, loss: float, began: float) -> None:
        history = self.history
        history.learning_rate.append(seen.lr)
        history.loss.append(loss)
        history.grad_norm.append(seen.norm)
        history.largest_grad.append(seen.largest)
        history.nonfinite.append(self.descent.nonfinite)
        history.seconds.append(time.perf_counter() - began)
        self.report(len(history.loss), 0, loss)


@dataclass
class _Seen:
    """Of the pieces of an epoch so far: sums, the largest, and the last."""

    loss: float = 0.0
    weight: float = 0.0
    largest: float = 0.0
    norm: float = 0.0
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
    """When the loss has stopped to decrease, and the work ends or the learning rate is divided."""

    tol: float | None
    patience: int
    divides: bool
    may_rise: bool

    def is_reached(self, here: Checkpoint, loss: float, lr: float) -> bool:
        if self.tol is None:
            return False
        here.first = loss if here.first is None else here.first
        here.idle = 0 if loss < here.lowest - self.tol else here.idle + 1
        here.lowest = min(here.lowest, loss)
        if here.idle < self.patience:
            return False
        if self.divides and lr > SMALLEST_RATE:
            here.factor, here.idle = here.factor / 5, 0
            return False
        return self.may_rise or loss <= here.first + abs(here.first)  # else it diverges: nothing is found yet
