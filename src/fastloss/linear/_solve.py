"""A problem's solution by either solver, and where a solver should start."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from fastloss._checks.arrays import Array
from fastloss._core import Loss
from fastloss.linear._descent import descend
from fastloss.linear._history import DivergenceError, State
from fastloss.linear._lbfgs import solve_by_lbfgs
from fastloss.linear._problem import LbfgsSettings, Problem, SgdSettings, Solution, Watch

RETRIES = (
    8  # attempts with lower and lower rates, where an automatic one diverges on rows outside of its sample
)


def solve(problem: Problem, settings: LbfgsSettings | SgdSettings, watch: Watch | None = None) -> Solution:
    """Return a solution; the problem's own arrays stay as they are.

    `watch` is called after each iteration or epoch with the losses so far, and those of the validation rows.
    """
    if isinstance(settings, LbfgsSettings):
        return solve_by_lbfgs(problem, settings, watch)
    return _solve_by_sgd(problem, settings, watch)


def _solve_by_sgd(problem: Problem, settings: SgdSettings, watch: Watch | None) -> Solution:
    if watch is not None:
        settings = replace(settings, callback=_callback(watch))
    retries = RETRIES if isinstance(settings.lr, str) and problem.y is not None else 1
    for left in reversed(range(retries)):
        coef = np.array(problem.coef)
        intercept = None if problem.intercept is None else np.array(problem.intercept)
        try:
            history = descend(replace(problem, coef=coef, intercept=intercept), settings)
            break
        except DivergenceError as error:
            if not left or not error.history.steps:
                raise
            settings = replace(settings, lr=error.history.learning_rate[0] / 8)
    decreasing = history.stopped == "epochs" and settings.schedule != "cosine" and settings.tol is not None
    return Solution(
        coef,
        intercept,
        losses=history.loss,
        validation_losses=history.validation_loss,
        history=history,
        converged=not decreasing,
        reason=(
            f"has not converged after {len(history.loss)} epochs: the loss still decreases by more than "
            f"tol={settings.tol:.2g}"
            if decreasing
            else ""
        ),
        interrupted=history.interrupted,
    )


def _callback(watch: Watch) -> Any:
    def callback(state: State) -> None:
        watch(state.history.loss, state.history.validation_loss)

    return callback


def first_intercept(loss: Loss[...], y: Array, weight: Array | None) -> float:
    """Return an intercept to start from: for numbers their median, with a log link the logarithm of their mean, for classes 0.

    A row of weight w counts as w rows.
    """
    if loss.traits.link == "log":
        mean = float(np.average(y, weights=weight))
        return math.log(mean) if mean > 0 else 0.0
    return _median(y, weight) if loss.traits.takes == "values" else 0.0


def _median(y: Array, weight: Array | None) -> float:
    order = np.argsort(y)
    sums = np.arange(1, len(y) + 1) if weight is None else np.cumsum(weight[order])
    return float(y[order[np.searchsorted(sums, sums[-1] / 2)]])
