"""What the estimators share: the checks of their data, their solvers, and what they keep of a solution."""

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
from fastloss._core import Loss
from fastloss.estimators import _solvers as _epochs
from fastloss.linear import _lbfgs
from fastloss.linear._history import History
from fastloss.linear._problem import Solution

DTYPES = [np.float64, np.float32]


def _mean_curve(curves: list[list[float]]) -> NDArray[np.float64]:
    """Of curves of several lengths, the mean; each stays where it ends."""
    length = max(map(len, curves))
    padded = [np.pad(curve, (0, length - len(curve)), mode="edge") for curve in curves]
    return np.asarray(np.mean(padded, axis=0))


def can_go_on(model: LinearModel) -> bool:
    if model._by_sgd:
        return True
    raise AttributeError("partial_fit needs solver='sgd'")


class LinearModel(BaseEstimator):  # type: ignore[misc]
    """What regression and classification share: the checks of the data, and the optimisation."""

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
        self, rows: int, columns: int, intercept: float = 0.0, going_on: bool = False
    ) -> tuple[Array, Array]:
        """Coefficients and intercepts to begin with, a row for each score."""
        if not ((self.warm_start or going_on) and hasattr(self, "coef_")):
            return np.zeros((rows, columns)), np.full(rows, intercept if self.fit_intercept else 0.0)
        coef, offset = np.atleast_2d(self.coef_), np.atleast_1d(self.intercept_)
        if rows == 2:  # of the softmax: what is kept is the difference
            coef, offset = np.vstack([-coef, coef]) / 2, np.concatenate([-offset, offset]) / 2
        if coef.shape != (rows, columns):
            raise ValueError(
                f"warm_start=True continues with coef_ of shape {coef.shape}, but these data need {(rows, columns)}; "
                "set warm_start=False"
            )
        return coef, offset

    @property
    def _by_sgd(self) -> bool:
        return self.solver == "sgd" or (self.solver == "auto" and bool(self.l1))

    def _solve(
        self,
        loss: Loss[...],
        X: Any,
        targets: list[Array],
        weight: Array | None,
        coef: Array,
        intercept: Array,
        going_on: bool,
    ) -> list[Solution]:
        """A solution for each target; a single one has all rows of coefficients."""
        earlier = getattr(self, "history_", None) if going_on else None
        histories = earlier if isinstance(earlier, list) else [earlier] * len(targets)
        seed = None
        if self._by_sgd and earlier is None:
            seed = check_random_state(self.random_state).randint(2**31)
        solutions = []
        for i, (y, history) in enumerate(zip(targets, histories, strict=True)):
            rows = slice(i, i + 1) if len(targets) > 1 else slice(None)
            problem = self, loss, X, y, weight, coef[rows], intercept[rows]
            if going_on:
                solutions.append(_epochs.go_on(*problem, seed, history))
            elif self._by_sgd:
                solutions.append(_epochs.fit(*problem, seed))
            else:
                solutions.append(_lbfgs.solve(*problem))
        return solutions

    def _keep(self, dtype: Any, solutions: list[Solution]) -> tuple[Array, Array]:
        """Set what all models have; return coefficients and intercepts, a row for each score."""
        self.n_iter_ = max(solution.iterations for solution in solutions)
        self.loss_curve_ = _mean_curve([solution.curve for solution in solutions])
        histories = [solution.history for solution in solutions if solution.history is not None]
        for name in ("history_", "validation_loss_curve_"):
            self.__dict__.pop(name, None)
        if histories:
            self.history_ = histories if len(histories) > 1 else histories[0]
            if histories[0].validation_loss:
                self.validation_loss_curve_ = _mean_curve([h.validation_loss for h in histories])
        coef = np.vstack([solution.coef for solution in solutions]).astype(dtype)
        if not self.fit_intercept:
            return coef, np.zeros(len(coef), dtype)
        return coef, np.concatenate([solution.intercept for solution in solutions]).astype(dtype)

    def _scores(self, X: Any) -> Any:
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=DTYPES, reset=False)
        return X @ self.coef_.T + self.intercept_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
