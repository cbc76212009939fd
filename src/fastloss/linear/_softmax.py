"""A linear model with the softmax cross-entropy: a score for each class, from coefficients of shape (K, d)."""

# ruff: noqa: N803, N806 - X and W are the field's names

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastloss._checks.arrays import Array
from fastloss._core import LANES, Descent, Loss, RowLoss, as_array
from fastloss.blocks.linear_cross_entropy import (
    Layer,
    Options,
    check_labels,
    checked_layer,
    compute,
    weights_of_rows,
)
from fastloss.linear._matrix import SparseParts, scipy_matrix
from fastloss.linear._model import LinearModel, intercept_name, loss_of

# With more classes or coefficients, BLAS's matrix products are faster than one pass over the rows.
MOST_CLASSES_IN_ONE_PASS = 16
MOST_COEFFICIENTS_IN_ONE_PASS = 1 << 14


def model_class(loss: Loss[...] | str) -> type[LinearModel]:
    """Return the kind of linear model that a loss needs."""
    found = loss_of(loss)
    return SoftmaxModel if isinstance(found, RowLoss) and found.traits.linear else LinearModel


class SoftmaxModel(LinearModel):
    """As `LinearModel`, with coefficients of shape (K, d) and intercepts of shape (K,)."""

    def accepted_loss(self, loss: Loss[...] | str) -> Loss[...]:
        found = loss_of(loss)
        axis: Any = found.params["axis"]
        if axis not in (-1, 1):
            raise ValueError(
                f"axis must be -1, since the classes are the last axis of the scores, got {axis}"
            )
        return found

    def targets(self) -> Array:
        most = np.iinfo(np.int32).max  # only rows that do not count may have labels beyond it
        return np.require(np.where((self.y >= 0) & (self.y < most), self.y, -1), np.int32, ["C", "A"])

    def check_start(self, coef: Array, intercept: Array | None) -> None:
        for option in ("class_weight", "ignore_index"):
            if self.loss.params[option] is not None:
                raise ValueError(
                    f"{option}= belongs to sgd, not to the loss; pass class_weight=, or rows a sample_weight of 0"
                )
        self.parameters(coef, 0.0 if intercept is None else intercept)
        if intercept is not None and intercept.shape != (len(coef),):
            raise ValueError(f"intercept has shape {intercept.shape}; pass an array of shape ({len(coef)},)")
        check_labels(self.y, len(coef), self.weight, "coef")

    def parameters(self, coef: ArrayLike, intercept: ArrayLike, name: str = "coef") -> tuple[Array, Any]:
        array, offsets = as_array(name, coef), as_array(intercept_name(name), intercept)
        if array.ndim != 2 or array.shape[1] != self.columns:
            raise ValueError(
                f"{name} has shape {array.shape}, but X has {self.columns} columns; "
                f"pass shape (K, {self.columns}), a row for each class"
            )
        if not offsets.shape:
            offsets = np.full(len(array), offsets)
        if offsets.shape != array.shape[:1]:
            raise ValueError(f"{intercept_name(name)} has shape {offsets.shape}; pass shape ({len(array)},)")
        return array, offsets

    def split(self, name: str, w: Array, fit_intercept: bool) -> tuple[Array, Any]:
        size = self.columns + fit_intercept
        if w.ndim != 1 or not w.size or w.size % max(1, size):
            raise ValueError(
                f"{name} has shape {w.shape}; pass {size} parameters for each class, in 1 dimension"
            )
        classes = w.size // max(1, size)
        coef = w[: classes * self.columns].reshape(classes, self.columns)
        return coef, w[coef.size :] if fit_intercept else np.zeros(classes)

    def hess_vec(self, *_: Any) -> Any:
        raise ValueError(
            f"{self.loss.name} has no hess_vec; use a method that needs gradients alone, such as L-BFGS-B"
        )

    def loss_and_grad(self, coef: Array, intercept: Any) -> tuple[float, Array, Any]:
        with np.errstate(all="ignore"):
            coef, intercept = coef.astype(self.dtype), intercept.astype(self.dtype)
        if isinstance(self.X, tuple):
            found = self._loss_and_grad_of_sparse_rows(self.X, coef, intercept)
        else:
            found = self._loss_and_grad_of_dense_rows(self.X, coef, intercept)
        value, grad, grad_intercept = found
        return value, grad.astype(np.float64), grad_intercept.astype(np.float64)

    def _loss_and_grad_of_dense_rows(
        self, X: Array, coef: Array, intercept: Array
    ) -> tuple[float, Array, Array]:
        params = self.loss.params
        options = Options(
            self.weight,
            "mean" if self.mean else "sum",
            params["ignore_index"],  # type: ignore[arg-type]
            params["label_smoothing"],  # type: ignore[arg-type]
            params["class_weight"],
            z_loss=params["z_loss"],  # type: ignore[arg-type]
        )
        layer = checked_layer(self.y, X, coef, intercept, options, "coef")
        few = len(coef) <= MOST_CLASSES_IN_ONE_PASS and coef.size <= MOST_COEFFICIENTS_IN_ONE_PASS
        if self.rows and few:
            return _in_one_pass(layer, intercept)
        grads = np.zeros(coef.shape, layer.dtype), np.zeros(len(coef), layer.dtype)
        return compute(layer, [None, *grads]), *grads

    def _loss_and_grad_of_sparse_rows(
        self, parts: SparseParts, coef: Array, intercept: Array
    ) -> tuple[float, Array, Array]:
        """Compute them by SciPy's products, with the scores of all rows at once."""
        X, y, weight = scipy_matrix(parts, (self.rows, self.columns)), self.y, self.weight
        params: dict[str, Any] = self.loss.params
        counted = weights_of_rows(y, len(coef), weight, params["class_weight"], params["ignore_index"])
        check_labels(y, len(coef), counted, "coef")
        if counted is not None and not counted.all():  # rows that do not count may hold anything
            present = np.flatnonzero(counted)
            X, y, weight = X[present], y[present], None if weight is None else weight[present]
        with np.errstate(all="ignore"):
            scores = np.asarray(X @ coef.T) + intercept
            if not len(y):
                return 0.0, np.zeros_like(coef), np.zeros_like(intercept)
            value, grad = self.loss.value_and_grad(
                y, scores, sample_weight=weight, reduction="mean" if self.mean else "sum", out=scores
            )
            return value, (X.T @ grad).T, grad.sum(axis=0, dtype=np.float64)


def _in_one_pass(layer: Layer, bias: Array) -> tuple[float, Array, Array]:
    """Return value and gradients as SGD's steps compute those of a batch: its rows are read once, and then from cache."""
    classes, d = layer.W.shape
    labels, weight = layer.y, layer.weight
    padded = np.zeros((classes, -(-d // LANES) * LANES), layer.dtype)
    padded[:, :d] = layer.W
    if weight is not None:
        labels = np.where(weight != 0, labels, 0)  # labels of rows that do not count may be anything
        with np.errstate(all="ignore"):
            weight = np.require(weight, layer.dtype, ["C", "A"])
    parameters = np.concatenate((layer.W, bias), axis=None, dtype=np.float64)
    descent = Descent(layer.loss, parameters, padded, batch_size=len(labels))
    sums = descent.gradient(layer.X, np.require(labels, np.int32, ["C", "A"]), weight)
    assert not isinstance(sums, str)  # the labels are known to be classes
    with np.errstate(all="ignore"):
        sums /= layer.divisor
    return descent.loss / layer.divisor, sums[:, :d], sums[:, d]
