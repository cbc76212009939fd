"""Fits by L-BFGS, on one pass over the data for an evaluation; those of the estimators."""

# ruff: noqa: N803 - X is the field's name

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from fastloss._checks.arrays import Array
from fastloss._core import Loss
from fastloss.linear import Objective
from fastloss.linear._problem import Solution

# An iteration that gains less, relatively, is led by rounding errors.
GAIN = {"float64": 1.4e-14, "float32": 1.5e-8}
# Losses with kinks, at which a line search gets stuck, and their smooth relatives.
SMOOTH = {
    "absolute_error": "pseudo_huber",
    "absolute_percentage_error": "pseudo_huber",
    "epsilon_insensitive": "squared_epsilon_insensitive",
    "hinge": "squared_hinge",
    "pinball": "expectile",
}


def minimum(
    evaluate: Callable[[Array], tuple[float, Array]],
    start: Array,
    *,
    iterations: int,
    tol: float,
    gain: float,
    callback: Callable[..., None],
) -> Any:
    """Return SciPy's result: `tol` is for the largest derivative, `gain` for the relative gain of an iteration."""
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    return minimize(
        _within_domain(evaluate),
        start,
        jac=True,
        method="L-BFGS-B",
        callback=callback,
        options={"maxiter": iterations, "maxls": 50, "maxfun": 52 * iterations, "gtol": tol, "ftol": gain},
    )


def _within_domain(
    evaluate: Callable[[Array], tuple[float, Array]],
) -> Callable[[Array], tuple[float, Array]]:
    """Lead a line search that leaves the loss's domain back: beyond it goes a parabola on, with its minimum at a tenth."""
    before: list[Any] = []

    def extended(w: Array) -> tuple[float, Array]:
        try:
            value, grad = evaluate(w)
        except ValueError:
            if not before:  # it is the start, so a label lies outside
                raise
            inside, value, grad = before
            step = w - inside
            slope = abs(float(grad @ step))
            return value + 4 * slope, 9 * slope / float(step @ step) * step
        before[:] = w.copy(), value, grad
        return value, grad

    return extended


def is_finite(found: Any) -> bool:
    return bool(np.isfinite(found.x).all() and np.isfinite(found.fun))


def solve(
    model: Any, loss: Loss[...], X: Any, y: Array, weight: Array | None, coef: Array, intercept: Array
) -> Solution:
    """From these coefficients and intercepts on; the curve is the objective there and after each iteration."""
    curve: list[float] = []
    objective = Objective(loss, X, y, sample_weight=weight, l2=model.l2, fit_intercept=model.fit_intercept)

    def evaluate(w: Array) -> tuple[float, Array]:
        value, grad = objective(w)
        if not curve:
            curve.append(value)
        return value, grad

    def record(intermediate_result: Any) -> None:  # SciPy goes by the argument's name
        curve.append(float(intermediate_result.fun))

    found = minimum(
        evaluate,
        np.concatenate([coef.ravel(), intercept]) if model.fit_intercept else coef.ravel(),
        iterations=int(model.max_iter),
        tol=model.tol,
        gain=GAIN[X.dtype.name],
        callback=record,
    )
    if not is_finite(found):
        raise ValueError(f"{loss.name} overflows on these data; scale X, as with StandardScaler, or raise l2")
    if not found.success:
        _advise(model, loss, found)
    coef, intercept = np.split(found.x, [coef.size])
    return Solution(coef.reshape(-1, X.shape[1]), intercept, curve, len(curve) - 1)


def _advise(model: Any, loss: Loss[...], found: Any) -> None:
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]

    if loss.name in SMOOTH:
        advice = f"{loss.name} has kinks, where this solver may get stuck: {SMOOTH[loss.name]} has none"
    else:
        advice = (
            "scale the columns of X, as with sklearn.preprocessing.StandardScaler, or raise max_iter or tol"
        )
    warnings.warn(
        f"{type(model).__name__} has not converged after {found.nit} iterations: the largest derivative is "
        f"{np.abs(found.jac).max():.2g}, tol={model.tol:.2g}; {advice}",
        ConvergenceWarning,
        stacklevel=5,
    )
