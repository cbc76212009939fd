"""What the estimators share: checks of parameters and data, the problems that they solve, and their fitted attributes."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator  # type: ignore[import-untyped]
from sklearn.utils import check_random_state  # type: ignore[import-untyped]
from sklearn.utils.validation import (  # type: ignore[import-untyped]
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from fastloss._checks.arrays import Array
from fastloss._checks.parameters import finite, nonnegative
from fastloss._core import Loss, RowLoss
from fastloss.estimators._solvers import fit_lbfgs, fit_one_epoch, fit_sgd
from fastloss.linear import History, Problem, Solution, loss_of

DTYPES = [np.float64, np.float32]


def linear_loss(loss: Loss[...] | str) -> Loss[...]:
    """Return a loss that a linear model can be fitted by, or say which one takes its place."""
    found = loss_of(loss)
    traits = found.traits
    if traits.linear:
        return found
    instead = None if isinstance(found, RowLoss) else traits.of_scores or traits.smooth_relative
    advice = "" if instead is None else f"; use loss={instead!r}"
    raise ValueError(f"{found.name} {traits.not_linear}{advice}")


def can_continue(model: LinearEstimator) -> bool:
    """Whether the estimator has partial_fit; else an AttributeError says why not."""
    if model._by_sgd:
        return True
    raise AttributeError("partial_fit needs solver='sgd'")


class LinearEstimator(BaseEstimator):  # type: ignore[misc]
    """What regression and classification share."""

    loss: Loss[...] | str
    l2: float
    l1: float
    fit_intercept: bool
    solver: str
    max_iter: int
    tol: float
    warm_start: bool
    random_state: Any
    history_: History | list[History]
    validation_loss_curve_: NDArray[np.float64]
    coef_: Array
    intercept_: Any
    n_iter_: int
    loss_curve_: NDArray[np.float64]

    @property
    def _by_sgd(self) -> bool:
        return self.solver == "sgd" or (self.solver == "auto" and bool(self.l1))

    def _check_parameters(self) -> None:
        if self.solver not in ("auto", "lbfgs", "sgd"):
            raise ValueError(f"solver must be 'auto', 'lbfgs' or 'sgd', got {self.solver!r}")
        nonnegative(l2=self.l2)
        if nonnegative(l1=self.l1) and not self._by_sgd:
            raise ValueError("solver='lbfgs' has no l1, which has a kink; pass solver='sgd'")
        nonnegative(tol=self.tol)
        if finite(max_iter=self.max_iter) < 1 or self.max_iter != int(self.max_iter):
            raise ValueError(f"max_iter must be a whole number > 0, got {self.max_iter!r}")

    def _check_data(
        self, X: Any, y: Any, sample_weight: Any, **options: Any
    ) -> tuple[Any, Array, Array | None]:
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=DTYPES, **options)
        if sample_weight is None:
            return X, y, None
        weight: Array = _check_sample_weight(sample_weight, X, dtype=np.float64)
        if weight.min() < 0:
            raise ValueError("sample_weight must be >= 0; leave out the rows of negative weight")
        if not weight.any():
            raise ValueError("sample_weight is 0 for all rows; at least one must count")
        return X, y, weight

    def _start(
        self, scores: int, columns: int, intercept: float = 0.0, continues: bool = False
    ) -> tuple[Array, Array]:
        """Return coefficients and intercepts to start from, a row for each score."""
        if not ((self.warm_start or continues) and hasattr(self, "coef_")):
            return np.zeros((scores, columns)), np.full(scores, intercept if self.fit_intercept else 0.0)
        coef, intercepts = np.atleast_2d(self.coef_), np.atleast_1d(self.intercept_)
        if scores == 2:  # the softmax's of two classes, of which the difference is kept
            coef = np.vstack([-coef, coef]) / 2
            intercepts = np.concatenate([-intercepts, intercepts]) / 2
        if coef.shape != (scores, columns):
            raise ValueError(
                f"warm_start=True continues with coef_ of shape {coef.shape}, but these data need "
                f"{(scores, columns)}; set warm_start=False"
            )
        return coef, intercepts

    def _problems(
        self, loss: Loss[...], X: Any, targets: list[Array], weight: Array | None, start: tuple[Array, Array]
    ) -> list[Problem]:
        """Return a problem for each target; that of the softmax has all rows of coefficients."""
        coef, intercepts = start
        problems = []
        for i, y in enumerate(targets):
            own, offsets = (
                (coef, intercepts) if isinstance(loss, RowLoss) else (coef[i], intercepts[i : i + 1])
            )
            problems.append(
                Problem(
                    loss,
                    X,
                    y,
                    own,
                    offsets if self.fit_intercept else None,
                    weight,
                    l2=float(self.l2),
                    l1=float(self.l1),
                )
            )
        return problems

    def _solve(self, problems: list[Problem], continues: bool) -> list[Solution]:
        """Return a solution for each problem; `continues`: by one epoch, from where the last call ended."""
        if not self._by_sgd:
            return [fit_lbfgs(self, problem) for problem in problems]
        earlier = getattr(self, "history_", None) if continues else None
        histories = earlier if isinstance(earlier, list) else [earlier] * len(problems)
        seed = check_random_state(self.random_state).randint(2**31) if earlier is None else None
        if not continues:
            return [fit_sgd(self, problem, seed) for problem in problems]
        pairs = zip(problems, histories, strict=True)
        return [fit_one_epoch(self, problem, seed, history) for problem, history in pairs]

    def _keep(self, dtype: Any, solutions: list[Solution]) -> tuple[Array, Array]:
        """Set the attributes that all estimators have; return coefficients and intercepts, a row for each score."""
        curves = [solution.objective or solution.losses for solution in solutions]
        self.n_iter_ = max(len(solution.losses) for solution in solutions)
        self.loss_curve_ = _mean_curve(curves)
        histories = [solution.history for solution in solutions if solution.history is not None]
        for name in ("history_", "validation_loss_curve_"):
            self.__dict__.pop(name, None)
        if histories:
            self.history_ = histories if len(histories) > 1 else histories[0]
            if histories[0].validation_loss:
                self.validation_loss_curve_ = _mean_curve([h.validation_loss for h in histories])
        coef = np.vstack([solution.coef for solution in solutions]).astype(dtype)
        intercepts = [solution.intercept for solution in solutions if solution.intercept is not None]
        return coef, np.concatenate(intercepts).astype(dtype) if intercepts else np.zeros(len(coef), dtype)

    def _scores(self, X: Any) -> Any:
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=DTYPES, reset=False)
        return X @ self.coef_.T + self.intercept_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _mean_curve(curves: list[list[float]]) -> NDArray[np.float64]:
    """Return the mean of curves; where one is shorter, its last value continues."""
    length = max(map(len, curves))
    padded = [np.pad(curve, (0, length - len(curve)), mode="edge") for curve in curves]
    return np.asarray(np.mean(padded, axis=0))
