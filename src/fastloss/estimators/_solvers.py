"""How estimators' parameters become settings of the solvers, and what they warn of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]

from fastloss._warnings import warn_caller
from fastloss.linear import History, LbfgsSettings, Problem, SgdSettings, Solution, loss_of, solve


def fit_lbfgs(model: Any, problem: Problem) -> Solution:
    """Fit by L-BFGS; warn where it has not converged."""
    advice = "scale X, as with StandardScaler, or raise l2"
    solution = _uninterrupted(problem, LbfgsSettings(int(model.max_iter), float(model.tol), advice))
    if not solution.converged:
        loss = loss_of(problem.loss)
        relative = loss.traits.smooth_relative
        if relative is not None:
            advice = f"{loss.name} has kinks, where this solver may get stuck: {relative} has none"
        else:
            advice = "scale the columns of X, as with sklearn.preprocessing.StandardScaler, or raise max_iter or tol"
        _warn(model, f"{solution.reason}, tol={model.tol:.2g}; {advice}")
    return solution


def fit_sgd(model: Any, problem: Problem, seed: Any) -> Solution:
    """Fit by epochs until the loss no longer decreases; warn where it still does."""
    settings = replace(
        _shared_settings(model),
        schedule="adaptive" if model.schedule == "auto" else model.schedule,
        epochs=int(model.max_iter),
        tol=float(model.tol),
        n_iter_no_change=model.n_iter_no_change,
        early_stopping=bool(model.early_stopping),
        validation_fraction=model.validation_fraction if model.early_stopping else None,
        seed=seed,
        progress=bool(model.verbose),
    )
    solution = _uninterrupted(problem, settings)
    if not solution.converged:
        _warn(model, f"{solution.reason}; raise max_iter or tol")
    return solution


def fit_one_epoch(model: Any, problem: Problem, seed: Any, earlier: History | None) -> Solution:
    """Continue from an earlier history by one epoch on these rows, whose weights are taken as they are."""
    if model.early_stopping:
        raise ValueError("early_stopping=True needs several epochs; partial_fit has one")
    if model.schedule in ("cosine", "adaptive"):
        raise ValueError(
            f"schedule={model.schedule!r} needs several epochs; partial_fit takes 'constant', 'invscaling' and 'optimal'"
        )
    settings = replace(
        _shared_settings(model),
        epochs=1,
        tol=None,
        seed=seed,
        resume=None if earlier is None else earlier.checkpoint,
    )
    if model.schedule == "auto":
        settings = replace(settings, schedule="invscaling", power_t=0.25)
    else:
        settings = replace(settings, schedule=model.schedule)
    stream = [(problem.X, problem.y, problem.weight)]
    solution = _uninterrupted(replace(problem, X=stream, y=None, weight=None), settings)
    if earlier is None or solution.history is None:
        return solution
    history = earlier.extended(solution.history)
    return replace(solution, history=history, losses=history.loss)


def _shared_settings(model: Any) -> SgdSettings:
    """Return the settings that all epochs and a single one share."""
    return SgdSettings(
        lr=model.learning_rate,
        batch_size=model.batch_size,
        shuffle=model.shuffle,
        momentum=model.momentum,
        average=model.average,
    )


def _uninterrupted(problem: Problem, settings: LbfgsSettings | SgdSettings) -> Solution:
    """Return a solution; an estimator that was interrupted stays as it was before."""
    solution = solve(problem, settings)
    if solution.interrupted:
        raise KeyboardInterrupt
    return solution


def _warn(model: Any, text: str) -> None:
    warn_caller(f"{type(model).__name__} {text}", ConvergenceWarning)
