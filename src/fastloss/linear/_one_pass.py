"""A linear model's loss in one pass over its data: the value, the gradient, and products with the Hessian."""

# ruff: noqa: N803 - X is the field's name

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastloss._checks.arrays import Array
from fastloss._core import Loss, as_array, straight_pass
from fastloss.linear._matrix import is_single
from fastloss.linear._model import LinearModel, loss_of
from fastloss.linear._softmax import model_class

_Reduction = Literal["mean", "sum"]


def value_and_grad(
    loss: Loss[...] | str,
    X: ArrayLike,
    y: ArrayLike,
    coef: ArrayLike,
    intercept: ArrayLike = 0.0,
    *,
    sample_weight: ArrayLike | None = None,
    l2: float = 0.0,
    reduction: _Reduction = "mean",
) -> tuple[float, NDArray[Any], Any]:
    """The loss of a linear model and its gradient, in one pass over the rows of `X`.

    ::

        value = mean(loss(y, X @ coef + intercept)) + l2 / 2 * ||coef||^2

    For each block of rows, the scores, the loss and its derivatives are computed, and the derivatives' products with
    the rows are added up while the rows are still in cache. So `X` is read from memory once. The memory that this takes
    is some vectors of length d: up to eight sums in float64, or about 2 MB where that is more, copies of `coef` and
    the results.

    Parameters
    ----------
    loss : Loss or str
        A pointwise loss, with parameters of its own as in ``fl.huber.bind(delta=2.0)``, or its name. With
        `softmax_cross_entropy`, `coef` and its gradient have shape (K, d), `intercept` and its gradient (K,). For more
        than 16 classes or 2**14 coefficients, the matrix products of `linear_cross_entropy` read `X` twice; for
        sparse rows SciPy's products do, which take memory for the scores of all rows.
    X : array_like or sparse matrix of SciPy, shape (n, d)
        float32 and float64 are computed as they are, float16 as float32, all else as float64. An array in C or
        Fortran order, or rows of a larger one, is not copied; of other layouts one block at a time is. Sparse matrices
        are in CSR format, with indices of int32 or int64, in any order, also repeated in a row; other formats are
        converted, with a warning.
    y : array_like, shape (n,)
        The labels or targets, as `loss` takes them.
    coef : array_like, shape (d,)
    intercept : float, default 0
    sample_weight : array_like, shape (n,), optional
        Finite numbers that multiply the rows' values and derivatives. A row of weight 0 counts as absent, whatever
        `X` and `y` hold there.
    l2 : float, default 0
        The factor of the penalty; >= 0. The intercept has no penalty, and `l2` is not divided by the number of rows:
        scikit-learn's ``LogisticRegression(C=C)`` minimises the mean with ``l2 = 1 / (C * sum(sample_weight))``, and
        the sum with ``l2 = 1 / C``; ``Ridge(alpha)`` the sum of `half_squared_error` with ``l2 = alpha``.
    reduction : {'mean', 'sum'}
        How the losses of the rows become one number. The mean is their sum, divided by the sum of the weights.

    Returns
    -------
    value : float
    grad_coef : ndarray, shape (d,)
        float32 if `coef` is float32 or float16, else float64. See the notes for how it is summed.
    grad_intercept : float, or ndarray of shape (K,)

    Raises
    ------
    TypeError
        If `loss` is no loss, or an array has no real dtype.
    ValueError
        If shapes do not fit, a label lies outside of the loss's domain, a weight or `l2` is not finite, or there are
        no rows and the reduction is 'mean'.

    Notes
    -----
    Scores are computed in the dtype of `X`, float32 or float64. The gradient's products of up to four rows (in Fortran
    order eight) are added in that dtype, and these sums in float64; with `softmax_cross_entropy`, all are added in
    that dtype.

    The bits depend on neither the number of threads nor, among SIMD levels with fused multiply-add, the level. Arrays
    in Fortran order and sparse rows are added in another order, which may change the last bits. Rows whose derivative
    is 0 are left out of the gradient.

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
    if sample_weight is None and type(l2) is float and l2 == 0 and reduction in ("mean", "sum"):
        found = straight_pass(loss_of(loss), X, y, coef, intercept, reduction == "mean")
        if found is not None:
            return found
    model = model_class(loss)(loss, X, y, sample_weight, l2, reduction)
    coef, intercept = model.parameters(coef, intercept)
    value, grad, grad_intercept = model.value_and_grad(coef, intercept)
    return value, _narrowed(grad, coef), grad_intercept


def hess_vec(
    loss: Loss[...] | str,
    X: ArrayLike,
    y: ArrayLike,
    coef: ArrayLike,
    vector: ArrayLike,
    intercept: float = 0.0,
    vector_intercept: float = 0.0,
    *,
    sample_weight: ArrayLike | None = None,
    l2: float = 0.0,
    reduction: _Reduction = "mean",
) -> tuple[NDArray[Any], float]:
    """The Hessian of `value_and_grad`'s value times a vector, in one pass over the rows of `X`.

    ::

        X' (h * (X @ vector + vector_intercept)) + l2 * vector

    where h is the exact second derivative of the (reduced) loss by each score. The Hessian itself, a matrix of d + 1
    rows and columns, is never formed.

    Parameters
    ----------
    loss, X, y, coef, intercept, sample_weight, l2, reduction
        As in `value_and_grad`.
    vector : array_like, shape (d,)
        The direction in the coefficients.
    vector_intercept : float, default 0
        Its component in the intercept.

    Returns
    -------
    product : ndarray, shape (d,)
        float32 if `vector` is float32 or float16, else float64. It is summed as the gradient of `value_and_grad`.
    product_intercept : float

    Raises
    ------
    TypeError, ValueError
        As `value_and_grad` does.

    References
    ----------
    Nocedal, J. & Wright, S. J. (2006). Numerical optimization, chapter 7. Springer.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> X, y = np.array([[0.0], [1.0], [2.0]]), np.array([4.0, 7.0, 10.0])
    >>> fl.linear.hess_vec("half_squared_error", X, y, [2.0], [3.0], reduction="sum")
    (array([15.]), 9.0)
    """
    model = LinearModel(loss, X, y, sample_weight, l2, reduction)
    coef, intercept = model.parameters(coef, intercept)
    vector, vector_intercept = model.parameters(vector, vector_intercept, "vector")
    product, product_intercept = model.hess_vec(coef, vector, intercept, vector_intercept)
    return _narrowed(product, vector), product_intercept


class Objective:
    """A linear model's loss as a function of one flat vector of parameters, for SciPy's optimisers.

    The parameters are the coefficients, row by row with `softmax_cross_entropy`, and last the intercepts. A call
    returns value and gradient, as ``scipy.optimize.minimize(objective, x0, jac=True)`` expects them;
    ``hessp=objective.hess_vec`` goes with it.

    Parameters
    ----------
    loss, X, y, sample_weight, l2, reduction
        As in `value_and_grad`. Shapes are checked once. Arrays, and sparse matrices in CSR format, are not copied: what
        is written to them later counts. Other formats are copied.
    fit_intercept : bool, default True
        Whether there is an intercept among the parameters.

    Raises
    ------
    TypeError, ValueError
        As `value_and_grad` does.

    References
    ----------
    Nocedal, J. & Wright, S. J. (2006). Numerical optimization, chapter 7. Springer.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> X, y = np.array([[0.0], [1.0], [2.0]]), np.array([4.0, 7.0, 10.0])
    >>> objective = fl.linear.Objective("half_squared_error", X, y)
    >>> value, gradient = objective(np.array([2.0, 4.0]))
    >>> gradient
    array([-1.66666667, -1.        ])

    With SciPy, ``minimize(objective, np.zeros(2), jac=True, hessp=objective.hess_vec, method="trust-krylov")`` finds
    the line 3 x + 4.
    """

    __module__ = "fastloss.linear"  # where pickles look for the class

    def __init__(
        self,
        loss: Loss[...] | str,
        X: ArrayLike,
        y: ArrayLike,
        *,
        fit_intercept: bool = True,
        sample_weight: ArrayLike | None = None,
        l2: float = 0.0,
        reduction: _Reduction = "mean",
    ) -> None:
        self._model = model_class(loss)(loss, X, y, sample_weight, l2, reduction)
        self.fit_intercept = bool(fit_intercept)

    def value_and_grad(self, w: ArrayLike) -> tuple[float, NDArray[np.float64]]:
        """The value, and its derivatives by the parameters; float64.

        Parameters
        ----------
        w : array_like, shape (d + 1,)
            The parameters, the intercept last; of shape (d,) without intercept. With `softmax_cross_entropy` K times
            as many, the intercepts last: of shape (K * (d + 1),), or (K * d,).

        Returns
        -------
        value : float
        gradient : ndarray
            Of the shape of `w`.

        Raises
        ------
        TypeError, ValueError
            If `w` is not real or has another shape, or as `value_and_grad` does.
        """
        value, *grad = self._model.value_and_grad(*self._split("w", w))
        return value, self._join(*grad)

    __call__ = value_and_grad

    def hess_vec(self, w: ArrayLike, v: ArrayLike) -> NDArray[np.float64]:
        """The Hessian at `w` times `v`; float64.

        Parameters
        ----------
        w, v : array_like, shape (d + 1,)
            The parameters and the vector, the intercept last; of shape (d,) without intercept.

        Returns
        -------
        ndarray
            Of the shape of `w`.

        Raises
        ------
        TypeError, ValueError
            If `w` or `v` is not real or has another shape, or as `value_and_grad` does.
        """
        (coef, intercept), (vector, vector_intercept) = self._split("w", w), self._split("v", v)
        return self._join(*self._model.hess_vec(coef, vector, intercept, vector_intercept))

    def _split(self, name: str, w: ArrayLike) -> tuple[Array, Any]:
        return self._model.split(name, as_array(name, w), self.fit_intercept)

    def _join(self, grad: Array, grad_intercept: ArrayLike) -> NDArray[np.float64]:
        return np.concatenate((grad, grad_intercept), axis=None) if self.fit_intercept else grad.ravel()

    def __getstate__(self) -> dict[str, Any]:
        return {"fit_intercept": self.fit_intercept, "model": self._model.__dict__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_model" in state:  # a pickle of 0.1.0
            self.__dict__.update(state)
            return
        self.fit_intercept = state["fit_intercept"]
        model = object.__new__(model_class(state["model"]["loss"]))
        model.__dict__.update(state["model"])
        self._model = model

    def __repr__(self) -> str:
        model = self._model
        return f"<fastloss.linear.Objective of {model.loss!r}, {model.rows} rows of {model.columns}>"


def _narrowed(grad: Array, coef: Array) -> Array:
    """The gradient in the precision of the coefficients."""
    with np.errstate(all="ignore"):
        return grad.astype(np.float32) if is_single(coef) else grad
