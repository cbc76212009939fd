"""A linear model with a pointwise loss: its checked data, and its value and derivatives on them."""

# ruff: noqa: N803 - X is the field's name

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from fastloss._checks.arrays import Array
from fastloss._checks.parameters import nonnegative
from fastloss._core import Loss, RowLoss, as_array, linear_pass, new_array, padded
from fastloss.linear._matrix import SparseParts, checked_matrix, selected_rows, stacked_rows
from fastloss.registry import get


class LinearModel:
    """A loss and the rows that it is computed on, checked once; the parameters are not part of it.

    Scores are computed in `dtype`: float32 where `X` has it, else float64. Arrays are views of the caller's arrays,
    whose own shapes and dtypes may change later.
    """

    X: Array | SparseParts

    def __init__(
        self,
        loss: Loss[...] | str,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        l2: float = 0.0,
        reduction: str = "mean",
    ) -> None:
        self.loss = self.accepted_loss(loss)
        if reduction not in ("mean", "sum"):
            raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
        self.mean = reduction == "mean"
        self.l2 = nonnegative(l2=l2)
        self.X, self.dtype, self.rows, self.columns = checked_matrix(X)
        self.y = self._one_per_row("y", y)
        self.weight = None if sample_weight is None else self._one_per_row("sample_weight", sample_weight)
        if not self.rows and self.mean:
            raise ValueError("X has no rows, and the mean of nothing is undefined; use reduction='sum'")

    def accepted_loss(self, loss: Loss[...] | str) -> Loss[...]:
        """Return the loss, or refuse one that this model cannot take."""
        found = loss_of(loss)
        if isinstance(found, RowLoss):
            raise ValueError(
                f"{found.name} is a loss of rows of scores; here a linear model takes a pointwise loss, and for its "
                "value and gradient softmax_cross_entropy"
            )
        return found

    def _one_per_row(self, name: str, x: ArrayLike) -> Array:
        array = as_array(name, x).view()
        if array.shape != (self.rows,):
            advice = f"; pass {name}.ravel()" if array.size == self.rows and array.ndim else ""
            raise ValueError(
                f"{name} has shape {array.shape}, but X has {self.rows} rows; pass shape ({self.rows},){advice}"
            )
        return array

    # ---- the rows -------------------------------------------------------------------------------------------

    @property
    def is_sparse(self) -> bool:
        return isinstance(self.X, tuple)

    def targets(self) -> Array:
        """Return the labels in the form that SGD's steps read: contiguous, in the dtype of the scores."""
        y = self.y
        if y.dtype != self.dtype or not y.flags.c_contiguous or not y.flags.aligned:
            y = new_array(y.shape, self.dtype)
            with np.errstate(all="ignore"):
                y[...] = self.y
        return y

    def selected(self, order: Array) -> Self:
        """Return the model on a copy of these rows."""
        part = copy(self)
        part.rows, part.y = len(order), self.y[order]
        part.weight = None if self.weight is None else self.weight[order]
        part.X = selected_rows(self.X, order, self.dtype)
        return part

    # ---- the parameters -------------------------------------------------------------------------------------

    def check_start(self, coef: Array, intercept: Array | None) -> None:
        """Refuse arrays to be updated in place whose shapes are not those of the parameters."""
        if coef.shape != (self.columns,):
            raise ValueError(
                f"coef has shape {coef.shape}, but X has {self.columns} columns; pass shape ({self.columns},)"
            )
        if intercept is not None and intercept.shape not in ((), (1,)):
            raise ValueError(f"intercept has shape {intercept.shape}; pass an array of shape (1,)")

    def parameters(self, coef: ArrayLike, intercept: ArrayLike, name: str = "coef") -> tuple[Array, Any]:
        """Return coefficients and intercept as arrays of the right shapes, or say which is wrong."""
        array, number = as_array(name, coef), as_array(intercept_name(name), intercept)
        if array.shape != (self.columns,):
            advice = f"; pass {name}.ravel()" if array.size == self.columns and array.ndim else ""
            raise ValueError(
                f"{name} has shape {array.shape}, but X has {self.columns} columns; "
                f"pass shape ({self.columns},){advice}"
            )
        if number.shape:
            raise ValueError(f"{intercept_name(name)} must be a number, got shape {number.shape}")
        return array, float(number)

    def split(self, name: str, w: Array, fit_intercept: bool) -> tuple[Array, Any]:
        """Return coefficients and intercept of a flat vector of parameters, the intercept last."""
        size = self.columns + fit_intercept
        if w.shape != (size,):
            what = "the coefficients and the intercept" if fit_intercept else "the coefficients"
            raise ValueError(f"{name} has shape {w.shape}; pass shape ({size},): {what}")
        return (w[:-1], float(w[-1])) if fit_intercept else (w, 0.0)

    def padded(self, vector: Array) -> Array:
        """Return the vector as the kernels read it: in their dtype, with zeros up to whole groups of LANES."""
        return padded(vector, self.columns, self.dtype)

    # ---- value and derivatives ------------------------------------------------------------------------------

    def value_and_grad(self, coef: Array, intercept: Any) -> tuple[float, Array, Any]:
        value, grad, grad_intercept = self.loss_and_grad(coef, intercept)
        if self.l2:
            with np.errstate(all="ignore"):
                coef = coef.astype(np.float64)
                value += self.l2 / 2 * float(np.vdot(coef, coef))
                grad += self.l2 * coef
        return value, grad, grad_intercept

    def hess_vec(
        self, coef: Array, vector: Array, intercept: float, vector_intercept: float
    ) -> tuple[Array, float]:
        _, product, product_intercept = self._pass(coef, intercept, self.padded(vector), vector_intercept)
        if self.l2:
            with np.errstate(all="ignore"):
                product += self.l2 * vector.astype(np.float64)
        return product, product_intercept

    def loss_and_grad(self, coef: Array, intercept: Any) -> tuple[float, Array, Any]:
        """Return value and derivatives without the penalty; raise ValueError where a row leaves the domain."""
        return self._pass(coef, intercept)

    def loss_at(self, parameters: Array) -> float:
        """Return the loss, without the penalty, of a flat vector of parameters with the intercepts last."""
        return self.loss_and_grad(*self.split("parameters", parameters, True))[0]

    def _pass(self, coef: Array, intercept: float, *vector: Any) -> tuple[float, Array, float]:
        return linear_pass(
            self.loss,
            self.X,
            self.y,
            self.columns,
            self.padded(coef),
            intercept,
            self.weight,
            self.mean,
            *vector,
        )


def stacked(models: Sequence[LinearModel]) -> LinearModel:
    """Return one model on the rows of all; each is as `LinearModel.selected` returns it."""
    whole = copy(models[0])
    whole.rows, whole.y = sum(model.rows for model in models), np.concatenate([model.y for model in models])
    if any(model.weight is not None for model in models):
        ones = (np.ones(model.rows) if model.weight is None else model.weight for model in models)
        whole.weight = np.concatenate(list(ones))
    whole.X = stacked_rows([model.X for model in models])
    return whole


def loss_of(loss: object) -> Loss[...]:
    """Return the loss that was given, or the one of this name."""
    found = get(loss) if isinstance(loss, str) else loss
    if not isinstance(found, Loss):
        raise TypeError(f"loss must be a loss of fastloss or its name, got {found!r}")
    if found.name is None:
        raise TypeError("this loss was never initialised; use fastloss.get")
    return found


def intercept_name(name: str) -> str:
    """Return what an error calls the intercept that goes with the coefficients of this name."""
    return "intercept" if name == "coef" else f"{name}_intercept"
