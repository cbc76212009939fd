"""How the command trains: L-BFGS on rows in memory, or SGD, also on a stream of them."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastloss._checks.arrays import Array
from fastloss._core import Loss, RowLoss
from fastloss.data import Batches, DataError, required, together
from fastloss.linear import LbfgsSettings, Problem, SgdSettings, Solution, first_intercept, solve

Report = Callable[[str], None]
EPOCHS = {"lbfgs": 1000, "sgd": 20}


@dataclass
class Settings:
    """What the options of the command say."""

    solver: str = "sgd"
    l2: float = 0.0
    l1: float = 0.0
    epochs: int = 20
    batch_size: int = 32
    lr: float | None = None  # None: a rate that the first rows allow
    schedule: str = "cosine"
    momentum: float = 0.0
    early_stopping: bool = False
    seed: int = 0


def train(loss: Loss[...], batches: Batches, settings: Settings, report: Report) -> Solution:
    """Train a model; `report` gets a text for each epoch or iteration."""
    X, y, *weights = next(iter(batches)) if batches.streamed else together(iter(batches))
    weight = weights[0] if weights else None
    if batches.streamed and batches.held_out_bytes > batches.memory / 4:
        raise DataError(
            f"the rows for validation take {batches.held_out_bytes / 2**20:.3g} MB, more than a quarter of the memory "
            "that may be used; lower --validation, or raise --memory"
        )
    classes = batches.encoding.classes
    shape = (len(classes),) if classes and isinstance(loss, RowLoss) else ()
    intercept = np.full(shape or (1,), first_intercept(loss, y, weight))
    problem = Problem(
        loss,
        batches if batches.streamed else X,
        None if batches.streamed else y,
        np.zeros((*shape, X.shape[1])),
        intercept,
        None if batches.streamed else weight,
        l2=settings.l2,
        l1=settings.l1,
        validation=together(batches.held_out()) if batches.held_out_rows else None,
    )

    def watch(losses: list[float], validation_losses: list[float]) -> None:
        report(_text(losses, validation_losses))

    if settings.solver == "lbfgs":
        required("scipy.optimize", "the solver lbfgs")
        return solve(problem, LbfgsSettings(settings.epochs, 1e-6, "scale the columns, or raise --l2"), watch)
    lr = settings.lr
    if lr is None:
        lr = _safe_rate(loss, X, y, intercept.reshape(shape), settings.l2)
    return solve(problem, _sgd_settings(settings, lr), watch)


def _sgd_settings(settings: Settings, lr: float) -> SgdSettings:
    return SgdSettings(
        lr=lr,
        schedule=settings.schedule,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        momentum=settings.momentum,
        seed=settings.seed,
        tol=0.0 if settings.early_stopping or settings.schedule == "adaptive" else None,
        early_stopping=settings.early_stopping,
    )


def _safe_rate(loss: Loss[...], X: Any, y: Array, intercept: Array, l2: float) -> float:
    """Return 1 / a bound of the largest curvature at the start, for which a few rows suffice.

    There are no trials, as there are for ``lr='auto'``: the first rows of a stream may not be like the others.
    """
    scores = np.broadcast_to(intercept, (len(y), *intercept.shape)).copy()
    curvature = float(np.abs(loss.grad_and_hess(y, scores, reduction="sum")[1]).max())
    squares = X.multiply(X).sum(axis=1) if not isinstance(X, np.ndarray) else np.einsum("ij,ij->i", X, X)
    return 1 / ((curvature or 1.0) * (1 + float(squares.mean())) + l2)


def _text(losses: list[float], validation_losses: list[float]) -> str:
    names = {"loss": losses, "validation": validation_losses}
    return f"{len(losses)}: " + ", ".join(f"{name} {x[-1]:.6g}" for name, x in names.items() if x)
