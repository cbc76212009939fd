"""Linear models by SciPy's L-BFGS-B, which evaluates value and gradient in one pass over the data."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastloss._checks.arrays import Array
from fastloss.linear._model import loss_of
from fastloss.linear._one_pass import Objective
from fastloss.linear._problem import LbfgsSettings, Problem, Solution, Watch

# An iteration that gains less than this, relative to the value, is led by rounding errors.
GAIN = {"float64": 1.4e-14, "float32": 1.5e-8}

Evaluate = Callable[[Array], tuple[float, Array]]


def solve_by_lbfgs(problem: Problem, settings: LbfgsSettings, watch: Watch | None = None) -> Solution:
    """Minimise; `watch` is called after each iteration.

    Ctrl-C before the end of the first iteration raises; later it ends the work, and the solution is that of the last
    complete iteration.
    """
    loss = loss_of(problem.loss)
    objective = Objective(
        loss,
        problem.X,
        problem.y,
        sample_weight=problem.weight,
        l2=problem.l2,
        fit_intercept=problem.intercept is not None,
    )
    start = np.asarray(problem.coef, np.float64).ravel()
    if problem.intercept is not None:
        start = np.concatenate([start, np.ravel(problem.intercept)])
    solution = Solution(np.array(problem.coef), problem.intercept)

    def evaluate(w: Array) -> tuple[float, Array]:
        value, grad = objective(w)
        if not solution.objective:
            solution.objective.append(value)
        return value, grad

    def record(intermediate_result: Any) -> None:  # SciPy finds out by the argument's name what to pass
        value = float(intermediate_result.fun)
        _keep(solution, problem, intermediate_result.x)
        solution.objective.append(value)
        with np.errstate(all="ignore"):
            penalty = problem.l2 / 2 * float(np.vdot(solution.coef, solution.coef))
        solution.losses.append(value - penalty)
        if problem.validation is not None:
            solution.validation_losses.append(_mean_loss(loss, problem.validation, solution))
        if watch is not None:
            watch(solution.losses, solution.validation_losses)

    try:
        found = _minimum(evaluate, start, settings, GAIN[objective._model.dtype.name], record)
    except KeyboardInterrupt:
        if not solution.losses:
            raise
        solution.interrupted = True
        return solution
    if not (np.isfinite(found.x).all() and np.isfinite(found.fun)):
        raise ValueError(f"{loss.name} overflows on these data; {settings.advice}")
    _keep(solution, problem, found.x)
    solution.converged = bool(found.success)
    if not found.success:
        solution.reason = f"has not converged after {found.nit} iterations: the largest derivative is {np.abs(found.jac).max():.2g}"
    return solution


def _keep(solution: Solution, problem: Problem, w: Array) -> None:
    """Write a flat vector of parameters to the solution, in the shapes of the problem."""
    coef, intercept = np.split(w.copy(), [np.size(problem.coef)])  # SciPy may write to its own array again
    solution.coef = coef.reshape(np.shape(problem.coef))
    if problem.intercept is not None:
        solution.intercept = intercept.reshape(np.shape(problem.intercept))


def _mean_loss(loss: Any, rows: tuple[Any, ...], solution: Solution) -> float:
    X, y, *weight = rows
    scores = X @ solution.coef.T + (0.0 if solution.intercept is None else solution.intercept)
    return float(loss(y, scores, sample_weight=weight[0] if weight else None))


def _minimum(
    evaluate: Evaluate, start: Array, settings: LbfgsSettings, gain: float, record: Callable[..., None]
) -> Any:
    """Return SciPy's result; the end also comes where an iteration gains less than `gain`, relatively."""
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    return minimize(
        _extended_beyond_domain(evaluate),
        start,
        jac=True,
        method="L-BFGS-B",
        callback=record,
        options={
            "maxiter": settings.max_iter,
            "maxls": 50,
            "maxfun": 52 * settings.max_iter,
            "gtol": settings.tol,
            "ftol": gain,
        },
    )


def _extended_beyond_domain(evaluate: Evaluate) -> Evaluate:
    """Continue a function beyond its domain by a parabola, so that a line search that leaves the domain comes back.

    The parabola goes through the last point inside of the domain; its minimum is at a tenth of the step from there to
    the point outside.
    """
    last_inside: list[Any] = []

    def extended(w: Array) -> tuple[float, Array]:
        try:
            value, grad = evaluate(w)
        except ValueError:
            if not last_inside:  # w is the start, so a label lies outside of the domain
                raise
            inside, value, grad = last_inside
            step = w - inside
            slope = abs(float(grad @ step))
            return value + 4 * slope, 9 * slope / float(step @ step) * step
        last_inside[:] = w.copy(), value, grad
        return value, grad

    return extended
