"""How the command trains: L-BFGS on rows in memory, or SGD, also on a stream of them."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastloss import linear
from fastloss._checks.arrays import Array
from fastloss._core import Loss, RowLoss
from fastloss.data import Batches, together
from fastloss.data._formats import DataError, required
from fastloss.linear import _lbfgs
from fastloss.linear._descent import sgd

Report = Callable[[str], None]
Schedule = Literal["constant", "invscaling", "optimal", "adaptive", "cosine"]
EPOCHS = {"lbfgs": 1000, "sgd": 20}


@dataclass
class Settings:
    """What was asked for."""

    solver: str = "sgd"
    l2: float = 0.0
    l1: float = 0.0
    epochs: int = 20
    batch_size: int = 32
    lr: float | None = None  # None: by the first rows
    schedule: Schedule = "cosine"
    momentum: float = 0.0
    early_stopping: bool = False
    seed: int = 0


@dataclass
class Fit:
    """What training found, and the mean losses behind each epoch or iteration, without penalties."""

    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]
    training: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    best: int | None = None
    interrupted: bool = False
    note: str = ""


def train(loss: Loss[...], batches: Batches, settings: Settings, report: Report) -> Fit:
    """Train a model; `report` gets a text for each epoch."""
    classes = batches.encoding.classes
    shape = (len(classes),) if classes and isinstance(loss, RowLoss) else ()
    X, y, *weight = first = next(iter(batches)) if batches.streamed else together(iter(batches))
    fit = Fit(np.zeros((*shape, X.shape[1])), np.full(shape, _middle(loss, y)))
    if batches.streamed and batches.held_out_bytes > batches.memory / 4:
        raise DataError(
            f"the rows for validation take {batches.held_out_bytes / 2**20:.3g} MB, more than a quarter of the memory "
            "that may be used; lower --validation, or raise --memory"
        )
    held = together(batches.held_out()) if batches.held_out_rows else None
    if settings.solver == "lbfgs":
        _by_lbfgs(loss, first, held, settings, fit, report)
        return fit

    def watch(state: Any) -> None:
        report(_text(state.history.loss, state.history.validation_loss))

    history = sgd(
        loss,
        batches if batches.streamed else X,
        None if batches.streamed else y,
        fit.coef,
        fit.intercept if shape else fit.intercept.reshape(1),
        sample_weight=None if batches.streamed or not weight else weight[0],
        lr=_rate(loss, X, y, fit.intercept, settings.l2) if settings.lr is None else settings.lr,
        schedule=settings.schedule,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        l1=settings.l1,
        l2=settings.l2,
        momentum=settings.momentum,
        seed=settings.seed,
        tol=0.0 if settings.early_stopping or settings.schedule == "adaptive" else None,
        validation=held,
        early_stopping=settings.early_stopping,
        callback=watch,
    )
    fit.training, fit.validation = history.loss, history.validation_loss
    fit.learning_rate, fit.best, fit.interrupted = (
        history.learning_rate,
        history.best_epoch,
        history.interrupted,
    )
    return fit


def _middle(loss: Loss[...], y: Array) -> float:
    """The intercept to begin with."""
    if loss.family == "count":
        return math.log(y.mean()) if y.mean() > 0 else 0.0
    return float(np.median(y)) if loss.family == "regression" else 0.0


def _rate(loss: Loss[...], X: Any, y: Array, intercept: Array, l2: float) -> float:
    """A learning rate that is safe at the start, of a few rows as well: 1 / a bound of the largest curvature there."""
    scores = np.broadcast_to(intercept, (len(y), *intercept.shape)).copy()
    curvature = float(np.abs(loss.grad_and_hess(y, scores, reduction="sum")[1]).max())
    squares = X.multiply(X).sum(axis=1) if not isinstance(X, np.ndarray) else np.einsum("ij,ij->i", X, X)
    return 1 / ((curvature or 1.0) * (1 + float(squares.mean())) + l2)


def _text(training: list[float], validation: list[float]) -> str:
    names = {"loss": training, "validation": validation}
    return f"{len(training)}: " + ", ".join(f"{name} {x[-1]:.6g}" for name, x in names.items() if x)


def _by_lbfgs(
    loss: Loss[...],
    rows: tuple[Any, ...],
    held: tuple[Any, ...] | None,
    settings: Settings,
    fit: Fit,
    report: Report,
) -> None:
    required("scipy.optimize", "the solver lbfgs")
    X, y, *weight = rows
    objective = linear.Objective(loss, X, y, sample_weight=weight[0] if weight else None, l2=settings.l2)

    def keep(w: Array) -> None:
        fit.coef[...] = w[: fit.coef.size].reshape(fit.coef.shape)
        fit.intercept[...] = w[fit.coef.size :].reshape(fit.intercept.shape)

    def step(intermediate_result: Any) -> None:  # SciPy goes by the argument's name
        keep(intermediate_result.x)
        fit.training.append(
            float(intermediate_result.fun) - settings.l2 / 2 * float(np.vdot(fit.coef, fit.coef))
        )
        if held is not None:
            fit.validation.append(mean_loss(loss, held, fit))
        report(_text(fit.training, fit.validation))

    try:
        found = _lbfgs.minimum(
            objective,
            np.concatenate([fit.coef.ravel(), fit.intercept.ravel()]),
            iterations=settings.epochs,
            tol=1e-6,
            gain=1e-13,
            callback=step,
        )
    except KeyboardInterrupt:
        if not fit.training:
            raise
        fit.interrupted = True
        return
    if not _lbfgs.is_finite(found):
        raise ValueError(f"{loss.name} overflows on these data; scale the columns, or raise --l2")
    keep(found.x)
    if not found.success:
        slope = float(np.abs(found.jac).max())
        fit.note = (
            f"lbfgs has not converged after {found.nit} iterations: the largest derivative is {slope:.2g}"
        )


def mean_loss(loss: Loss[...], rows: tuple[Any, ...], fit: Fit) -> float:
    """Return the mean loss of rows (X, y[, sample_weight])."""
    X, y, *weight = rows
    scores = X @ fit.coef.T + fit.intercept
    return float(loss(y, scores, sample_weight=weight[0] if weight else None))
