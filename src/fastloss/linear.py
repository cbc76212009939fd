"""Linear models in one pass over their data: the value of any pointwise loss, its gradient, its Hessian."""

# ruff: noqa: N803 - X is the field's name

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastloss._arguments import Array
from fastloss._checks import nonnegative
from fastloss._core import Loss, RowLoss, as_array, linear_pass
from fastloss.registry import get

_Reduction = Literal["mean", "sum"]


def value_and_grad(
    loss: Loss[...] | str,
    X: ArrayLike,
    y: ArrayLike,
    coef: ArrayLike,
    intercept: float = 0.0,
    *,
    sample_weight: ArrayLike | None = None,
    l2: float = 0.0,
    reduction: _Reduction = "mean",
) -> tuple[float, NDArray[Any], float]:
    """The loss of a linear model and its gradient, in one pass over the rows of `X`.

    ::

        value = mean(loss(y, X @ coef + intercept)) + l2 / 2 * ||coef||^2

    A block of rows is scored, its loss and derivatives are computed, and their products with the rows are added up
    while these are still in cache. So `X` is read from memory once, and nothing of its size is allocated.

    Parameters
    ----------
    loss : Loss or str
        A pointwise loss, with parameters of its own as in ``fl.huber.bind(delta=2.0)``, or its name.
    X : array_like, shape (n, d)
        float32 and float64 are computed as they are, float16 as float32, all else as float64. A C-contiguous array,
        or rows of one, is read where it lies; of others a block at a time is copied.
    y : array_like, shape (n,)
        The labels or targets, as `loss` takes them.
    coef : array_like, shape (d,)
    intercept : float, default 0
    sample_weight : array_like, shape (n,), optional
        Finite numbers that multiply the rows' values and derivatives. A row of weight 0 counts as absent, whatever
        `X` and `y` hold there.
    l2 : float, default 0
        The factor of the penalty; >= 0. It does not touch the intercept, and is not divided by the number of rows:
        scikit-learn's ``LogisticRegression(C=C)`` minimises the mean with ``l2 = 1 / (C * sum(sample_weight))``, and
        the sum with ``l2 = 1 / C``; ``Ridge(alpha)`` the sum of `half_squared_error` with ``l2 = alpha``.
    reduction : {'mean', 'sum'}
        Of the loss. The mean is divided by the sum of the weights.

    Returns
    -------
    value : float
    grad_coef : ndarray, shape (d,)
        float32 if `coef` is float32 or float16, else float64; summed in float64 in any case.
    grad_intercept : float

    Raises
    ------
    TypeError
        If `loss` is no loss, or an array has no real dtype.
    ValueError
        If shapes do not fit, a label lies outside of the loss's domain, a weight or `l2` is not finite, or there are
        no rows and the reduction is 'mean'.

    Notes
    -----
    The bits depend on neither the number of threads nor, among SIMD levels with fused multiply-add, the level. Rows
    whose derivative is 0 are left out of the gradient.

    References
    ----------
    Bottou, L., Curtis, F. E. & Nocedal, J. (2018). Optimization methods for large-scale machine learning. SIAM
    Review 60.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> X, y = np.array([[0.0], [1.0], [2.0]]), np.array([4.0, 7.0, 10.0])
    >>> fl.linear.value_and_grad("half_squared_error", X, y, [2.0], 4.0)
    (0.8333333333333334, array([-1.66666667]), -1.0)
    """
    model = _Model(loss, X, y, sample_weight, l2, reduction)
    coef = model.vector("coef", coef)
    value, grad, grad_intercept = model.value_and_grad(coef, _number("intercept", intercept))
    return value, _narrowed(grad, coef), grad_intercept


class _Model:
    """All but the parameters, checked; what is computed is in float64, or in float32 as X."""

    def __init__(
        self,
        loss: Loss[...] | str,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        l2: float,
        reduction: str,
    ) -> None:
        self.loss = _pointwise(loss)
        if reduction not in ("mean", "sum"):
            raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
        self.mean = reduction == "mean"
        self.l2 = nonnegative(l2=l2)
        self.X = as_array("X", X)
        if self.X.ndim != 2:
            advice = "; pass X.reshape(-1, 1) for one column" if self.X.ndim == 1 else ""
            raise ValueError(f"X must have 2 dimensions, got shape {self.X.shape}{advice}")
        single = self.X.dtype.kind == "f" and self.X.dtype.itemsize <= 4
        self.dtype = np.dtype(np.float32 if single else np.float64)
        self.rows, self.columns = self.X.shape
        self.y = self.per_row("y", y)
        self.weight = None if sample_weight is None else self.per_row("sample_weight", sample_weight)
        if not self.rows and self.mean:
            raise ValueError("X has no rows, and the mean of nothing is undefined; use reduction='sum'")

    def per_row(self, name: str, x: ArrayLike) -> Array:
        array = as_array(name, x)
        if array.shape != (self.rows,):
            advice = f"; pass {name}.ravel()" if array.size == self.rows and array.ndim else ""
            raise ValueError(
                f"{name} has shape {array.shape}, but X has {self.rows} rows; pass shape ({self.rows},){advice}"
            )
        return array

    def vector(self, name: str, x: ArrayLike) -> Array:
        array = as_array(name, x)
        if array.shape != (self.columns,):
            advice = f"; pass {name}.ravel()" if array.size == self.columns and array.ndim else ""
            raise ValueError(
                f"{name} has shape {array.shape}, but X has {self.columns} columns; "
                f"pass shape ({self.columns},){advice}"
            )
        return array

    def working(self, vector: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.ascontiguousarray(vector, self.dtype)

    def value_and_grad(self, coef: Array, intercept: float) -> tuple[float, Array, float]:
        value, grad, grad_intercept = linear_pass(
            self.loss, self.X, self.y, self.working(coef), intercept, self.weight, self.mean
        )
        if self.l2:
            coef = coef.astype(np.float64)
            value += self.l2 / 2 * float(coef @ coef)
            grad += self.l2 * coef
        return value, grad, float(grad_intercept)


def _pointwise(loss: object) -> Loss[...]:
    found = get(loss) if isinstance(loss, str) else loss
    if not isinstance(found, Loss):
        raise TypeError(f"loss must be a loss of fastloss or its name, got {found!r}")
    if isinstance(found, RowLoss):
        raise ValueError(
            f"{found.name} is a loss of rows of scores; a linear model here takes a pointwise loss"
        )
    return found


def _number(name: str, x: ArrayLike) -> float:
    array = as_array(name, x)
    if array.shape:
        raise ValueError(f"{name} must be a number, got shape {array.shape}")
    return float(array)


def _narrowed(grad: Array, coef: Array) -> Array:
    """The gradient in the precision of the coefficients."""
    single = coef.dtype.kind == "f" and coef.dtype.itemsize <= 4
    with np.errstate(all="ignore"):
        return grad.astype(np.float32) if single else grad
