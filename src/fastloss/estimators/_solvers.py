"""Estimators' fits by stochastic gradient descent: all epochs, or one that goes on."""

# ruff: noqa: N803 - X is the field's name

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]

from fastloss._checks.arrays import Array
from fastloss._core import Loss, RowLoss
from fastloss.linear._descent import sgd
from fastloss.linear._history import Checkpoint, DivergenceError, History
from fastloss.linear._problem import Solution

RETRIES = 8  # of an automatic learning rate that some row beyond its sample makes diverge


def fit(
    model: Any,
    loss: Loss[...],
    X: Any,
    y: Array,
    weight: Array | None,
    coef: Array,
    intercept: Array,
    seed: Any,
) -> Solution:
    """Until the loss no longer decreases."""
    schedule = "adaptive" if model.schedule == "auto" else model.schedule
    options = _options(model) | {
        "schedule": schedule,
        "epochs": int(model.max_iter),
        "tol": float(model.tol),
        "n_iter_no_change": model.n_iter_no_change,
        "early_stopping": bool(model.early_stopping),
        "validation_fraction": model.validation_fraction if model.early_stopping else None,
        "sample_weight": weight,
        "seed": seed,
        "progress": bool(model.verbose),
    }
    for left in reversed(range(RETRIES)):
        w, b = _updatable(model, loss, coef, intercept)
        try:
            history = sgd(loss, X, y, w, b, **options)
            break
        except DivergenceError as error:
            if model.learning_rate != "auto" or not left or not error.history.steps:
                raise
            options["lr"] = error.history.learning_rate[0] / 8
    if history.stopped == "epochs" and schedule != "cosine":
        warnings.warn(
            f"{type(model).__name__} has not converged after {len(history.loss)} epochs: the loss still decreases by "
            f"more than tol={model.tol:.2g}; raise max_iter or tol",
            ConvergenceWarning,
            stacklevel=4,
        )
    return _solution(history, w, b)


def go_on(
    model: Any,
    loss: Loss[...],
    X: Any,
    y: Array,
    weight: Array | None,
    coef: Array,
    intercept: Array,
    seed: Any,
    before: History | None,
) -> Solution:
    """Once over these rows, whose weights are taken as they are."""
    if model.early_stopping:
        raise ValueError("early_stopping=True needs several epochs; partial_fit has one")
    if model.schedule in ("cosine", "adaptive"):
        raise ValueError(
            f"schedule={model.schedule!r} needs several epochs; partial_fit takes 'constant', 'invscaling' and 'optimal'"
        )
    inverse = {"schedule": "invscaling", "power_t": 0.25}
    options = _options(model) | (inverse if model.schedule == "auto" else {"schedule": model.schedule})
    checkpoint: Checkpoint | None = None if before is None else before.checkpoint
    w, b = _updatable(model, loss, coef, intercept)
    history = sgd(
        loss, [(X, y, weight)], None, w, b, epochs=1, tol=None, seed=seed, resume=checkpoint, **options
    )
    return _solution(history if before is None else before.extended(history), w, b)


def _options(model: Any) -> dict[str, Any]:
    return {
        "lr": model.learning_rate,
        "batch_size": model.batch_size,
        "shuffle": model.shuffle,
        "l2": float(model.l2),
        "l1": float(model.l1),
        "momentum": model.momentum,
        "average": model.average,
    }


def _updatable(model: Any, loss: Loss[...], coef: Array, intercept: Array) -> tuple[Array, Array | None]:
    """Copies, of the shapes that `sgd` takes."""
    rows = coef if isinstance(loss, RowLoss) else coef[0]
    return rows.copy(), intercept.copy() if model.fit_intercept else None


def _solution(history: History, coef: Array, intercept: Array | None) -> Solution:
    if history.interrupted:
        raise KeyboardInterrupt
    offset = coef[:0].ravel() if intercept is None else intercept
    return Solution(np.atleast_2d(coef), offset, history.loss, len(history.loss), history)
