"""Linear models in one pass over their data: the value of any pointwise loss, its gradient, its Hessian."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

import math
import sys
import warnings
from copy import copy
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastloss._checks.arrays import Array
from fastloss._checks.parameters import nonnegative
from fastloss._core import LANES, Loss, RowLoss, as_array, linear_pass, new_array
from fastloss.blocks.linear_cross_entropy import check_labels, model_gradients, rows_that_count
from fastloss.registry import get

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

    A block of rows is scored, its loss and derivatives are computed, and their products with the rows are added up
    while these are still in cache. So `X` is read from memory once. Allocated are some vectors of d: sums in float64,
    up to eight of them, or about 2 MB where that is more, copies of `coef` and the results.

    Parameters
    ----------
    loss : Loss or str
        A pointwise loss, with parameters of its own as in ``fl.huber.bind(delta=2.0)``, or its name. With
        `softmax_cross_entropy` `coef` and its gradient have shape (K, d), `intercept` and its gradient (K,); for more
        than 16 classes or 2**14 coefficients the matrix products of `linear_cross_entropy` read `X` twice, and for
        sparse rows SciPy's, which take memory for the scores of all of them.
    X : array_like or sparse matrix of SciPy, shape (n, d)
        float32 and float64 are computed as they are, float16 as float32, all else as float64. In C or Fortran
        order it is read where it lies, also rows of a larger array; of other layouts a block at a time is copied. Sparse
        matrices are in CSR format, with indices of int32 or int64, in any order, also more than once in a row; other
        formats are converted, with a warning.
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
    Scores are computed in the dtype that `X` is computed in. Products of up to four rows (in Fortran order eight) are added
    in it, and these sums in float64; with `softmax_cross_entropy` all of them in that dtype.

    The bits depend on neither the number of threads nor, among SIMD levels with fused multiply-add, the level; Fortran
    order and sparse rows have sums in an order of their own. Rows whose derivative is 0 are left out of the gradient.

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
    model = _kind(loss)(loss, X, y, sample_weight, l2, reduction)
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
    model = _Model(loss, X, y, sample_weight, l2, reduction)
    coef, intercept = model.parameters(coef, intercept)
    vector, vector_intercept = model.parameters(vector, vector_intercept, "vector")
    product, product_intercept = model.hess_vec(coef, vector, intercept, vector_intercept)
    return _narrowed(product, vector), product_intercept


class Objective:
    """A linear model's loss as a function of one flat vector of parameters, for SciPy's optimisers.

    The parameters are the coefficients, row by row with `softmax_cross_entropy`, and last the intercepts. Called, it returns value and gradient, as
    ``scipy.optimize.minimize(objective, x0, jac=True)`` expects them; ``hessp=objective.hess_vec`` goes with it.

    Parameters
    ----------
    loss, X, y, sample_weight, l2, reduction
        As in `value_and_grad`. Shapes are checked once. Arrays, and sparse matrices in CSR format, are not copied, so
        that what is written to them counts; what is not in a format that C reads is.
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
        self._model = _kind(loss)(loss, X, y, sample_weight, l2, reduction)
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

    def __repr__(self) -> str:
        model = self._model
        return f"<fastloss.linear.Objective of {model.loss!r}, {model.rows} rows of {model.columns}>"


class _Model:
    """All but the parameters, checked; what is computed is in float64, or in float32 as X.

    Arrays are views of the caller's, whose own shapes and dtypes may change later.
    """

    def __init__(
        self,
        loss: Loss[...] | str,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        l2: float,
        reduction: str,
    ) -> None:
        self.loss = self.accepted(loss)
        if reduction not in ("mean", "sum"):
            raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
        self.mean = reduction == "mean"
        self.l2 = nonnegative(l2=l2)
        self.X, self.dtype, (self.rows, self.columns) = _matrix(X)
        self.y = self.per_row("y", y)
        self.weight = None if sample_weight is None else self.per_row("sample_weight", sample_weight)
        if not self.rows and self.mean:
            raise ValueError("X has no rows, and the mean of nothing is undefined; use reduction='sum'")

    def accepted(self, loss: Loss[...] | str) -> Loss[...]:
        found = _named(loss)
        if isinstance(found, RowLoss):
            raise ValueError(
                f"{found.name} is a loss of rows of scores; here a linear model takes a pointwise loss, and for its "
                "value and gradient softmax_cross_entropy"
            )
        return found

    def per_row(self, name: str, x: ArrayLike) -> Array:
        array = as_array(name, x).view()
        if array.shape != (self.rows,):
            advice = f"; pass {name}.ravel()" if array.size == self.rows and array.ndim else ""
            raise ValueError(
                f"{name} has shape {array.shape}, but X has {self.rows} rows; pass shape ({self.rows},){advice}"
            )
        return array

    def targets(self) -> Array:
        """The labels as the steps of SGD take them."""
        y = self.y
        if y.dtype != self.dtype or not y.flags.c_contiguous or not y.flags.aligned:
            y = new_array(y.shape, self.dtype)
            with np.errstate(all="ignore"):
                y[...] = self.y
        return y

    def check_start(self, coef: Array, intercept: Array | None) -> None:
        """Refuse arrays of other shapes than those of the parameters."""
        if coef.shape != (self.columns,):
            raise ValueError(
                f"coef has shape {coef.shape}, but X has {self.columns} columns; pass shape ({self.columns},)"
            )
        if intercept is not None and intercept.shape not in ((), (1,)):
            raise ValueError(f"intercept has shape {intercept.shape}; pass an array of shape (1,)")

    def parameters(self, coef: ArrayLike, intercept: ArrayLike, name: str = "coef") -> tuple[Array, Any]:
        array, number = as_array(name, coef), as_array(_intercept_of(name), intercept)
        if array.shape != (self.columns,):
            advice = f"; pass {name}.ravel()" if array.size == self.columns and array.ndim else ""
            raise ValueError(
                f"{name} has shape {array.shape}, but X has {self.columns} columns; "
                f"pass shape ({self.columns},){advice}"
            )
        if number.shape:
            raise ValueError(f"{_intercept_of(name)} must be a number, got shape {number.shape}")
        return array, float(number)

    def split(self, name: str, w: Array, fit_intercept: bool) -> tuple[Array, Any]:
        size = self.columns + fit_intercept
        if w.shape != (size,):
            what = "the coefficients and the intercept" if fit_intercept else "the coefficients"
            raise ValueError(f"{name} has shape {w.shape}; pass shape ({size},): {what}")
        return (w[:-1], float(w[-1])) if fit_intercept else (w, 0.0)

    def working(self, vector: Array) -> Array:
        """The vector as the kernels read it: with zeros up to whole groups of LANES."""
        padded = np.zeros(-(-self.columns // LANES) * LANES, self.dtype)
        with np.errstate(all="ignore"):
            padded[: self.columns] = vector
        return padded

    def value_and_grad(self, coef: Array, intercept: Any) -> tuple[float, Array, Any]:
        value, grad, grad_intercept = self._sums(coef, intercept)
        if self.l2:
            with np.errstate(all="ignore"):
                coef = coef.astype(np.float64)
                value += self.l2 / 2 * float(np.vdot(coef, coef))
                grad += self.l2 * coef
        return value, grad, grad_intercept

    def hess_vec(
        self, coef: Array, vector: Array, intercept: float, vector_intercept: float
    ) -> tuple[Array, float]:
        _, product, product_intercept = self._sums(coef, intercept, self.working(vector), vector_intercept)
        if self.l2:
            with np.errstate(all="ignore"):
                product += self.l2 * vector.astype(np.float64)
        return product, product_intercept

    def _sums(self, coef: Array, intercept: Any, *vector: Any) -> tuple[float, Array, Any]:
        return linear_pass(
            self.loss,
            self.X,
            self.y,
            self.columns,
            self.working(coef),
            intercept,
            self.weight,
            self.mean,
            *vector,
        )


class _Softmax(_Model):
    """The softmax cross-entropy: coefficients of shape (K, d), intercepts (K,)."""

    def accepted(self, loss: Loss[...] | str) -> Loss[...]:
        found = _named(loss)
        axis: Any = found.params["axis"]
        if axis not in (-1, 1):
            raise ValueError(
                f"axis must be -1, since the classes are the last axis of the scores, got {axis}"
            )
        return found

    def parameters(self, coef: ArrayLike, intercept: ArrayLike, name: str = "coef") -> tuple[Array, Any]:
        array, offsets = as_array(name, coef), as_array(_intercept_of(name), intercept)
        if array.ndim != 2 or array.shape[1] != self.columns:
            raise ValueError(
                f"{name} has shape {array.shape}, but X has {self.columns} columns; "
                f"pass shape (K, {self.columns}), a row for each class"
            )
        if not offsets.shape:
            offsets = np.full(len(array), offsets)
        if offsets.shape != array.shape[:1]:
            raise ValueError(f"{_intercept_of(name)} has shape {offsets.shape}; pass shape ({len(array)},)")
        return array, offsets

    def targets(self) -> Array:
        classes = np.iinfo(np.int32).max  # others are of rows that do not count
        return np.require(np.where((self.y >= 0) & (self.y < classes), self.y, -1), np.int32, ["C", "A"])

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

    def _sums(self, coef: Array, intercept: Any, *_: Any) -> tuple[float, Array, Any]:
        with np.errstate(all="ignore"):
            parameters = coef.astype(self.dtype), intercept.astype(self.dtype)
        reduction: Any = "mean" if self.mean else "sum"
        if isinstance(self.X, tuple):
            found = self._sparse_sums(self.X, *parameters, reduction)
        else:
            found = model_gradients(self.y, self.X, *parameters, self.weight, reduction, self.loss.params)
        value, grad, grad_intercept = found
        return value, grad.astype(np.float64), grad_intercept.astype(np.float64)

    def _sparse_sums(
        self, parts: tuple[Array, ...], coef: Array, intercept: Array, reduction: Any
    ) -> tuple[float, Array, Array]:
        """By SciPy's products, with the scores of all rows at once."""
        X, y, weight = _csr(parts, (self.rows, self.columns)), self.y, self.weight
        present = rows_that_count(y, len(coef), weight, self.loss.params)
        if present is not None:  # the others may hold anything
            X, y, weight = X[present], y[present], None if weight is None else weight[present]
        with np.errstate(all="ignore"):
            scores = np.asarray(X @ coef.T) + intercept
            if not len(y):
                return 0.0, np.zeros_like(coef), np.zeros_like(intercept)
            value, grad = self.loss.value_and_grad(
                y, scores, sample_weight=weight, reduction=reduction, out=scores
            )
            return value, (X.T @ grad).T, grad.sum(axis=0, dtype=np.float64)


def _kind(loss: Loss[...] | str) -> type[_Model]:
    return _Softmax if _named(loss).name == "softmax_cross_entropy" else _Model


def _intercept_of(name: str) -> str:
    return "intercept" if name == "coef" else f"{name}_intercept"


def _matrix(X: Any) -> tuple[Array | tuple[Array, ...], np.dtype[Any], tuple[int, ...]]:
    """What C reads of X, the dtype that it is computed in, and its shape."""
    sparse = _is_sparse(X)
    array = X if sparse else as_array("X", X).view()
    if len(array.shape) != 2:
        advice = "; pass X.reshape(-1, 1) for one column" if len(array.shape) == 1 else ""
        raise ValueError(f"X must have 2 dimensions, got shape {array.shape}{advice}")
    if not sparse:
        if math.prod(max(1, length) for length in array.shape) > sys.maxsize // 8:
            raise ValueError(f"X has shape {array.shape}: more elements than an array of float64 can have")
        return array, _working(array), array.shape
    if X.format != "csr":
        warnings.warn(
            f"X is sparse in {X.format.upper()} format, and is converted; pass X.tocsr()", stacklevel=4
        )
        X = _checked(X).tocsr()
    parts = as_array("X.data", X.data), np.asarray(X.indptr), np.asarray(X.indices)
    values, indptr, indices = (part.view() for part in parts)
    whole = all(a.dtype.kind in "iu" for a in (indptr, indices))
    if not whole or values.ndim != 1 or indices.ndim != 1 or indptr.shape != (X.shape[0] + 1,):
        raise ValueError(
            "X is not a valid CSR matrix: X.data and X.indices must have 1 dimension, X.indptr a place more than "
            "X rows, and X.indptr and X.indices must be integers; X.check_format() says more"
        )
    dtype = _working(values)
    index = np.int32 if indptr.dtype == indices.dtype == np.int32 else np.int64
    stored = min(len(values), len(indices))
    kinds = (values[:stored], dtype), (indptr, index), (indices[:stored], index)
    return tuple(np.require(part, kind, ["C", "A"]) for part, kind in kinds), dtype, X.shape


def _is_sparse(X: Any) -> bool:
    known = any(base.__module__.startswith("scipy.sparse") for base in type(X).__mro__)
    return known and hasattr(X, "format") and hasattr(X, "tocsr")  # a LinearOperator has neither


def _csr(parts: tuple[Array, ...], shape: tuple[int, ...]) -> Any:
    from scipy.sparse import csr_array  # type: ignore[import-untyped]

    values, starts, indices = parts
    try:
        return _checked(csr_array((values, indices, starts), shape=shape))
    except ValueError as error:
        if str(error).startswith("X is not"):
            raise
        raise ValueError(f"X is not a valid CSR matrix: {error}; X.check_format() says more") from None


def _checked(X: Any) -> Any:
    """The sparse matrix, with indices that its conversion, which does not look at them, may follow."""
    X = copy(X)  # the check shortens arrays
    try:
        if X.format in ("csc", "bsr", "csr"):
            X.check_format(full_check=True)
            if (np.diff(X.indptr) < 0).any():  # also where nothing counts as stored
                raise ValueError("index pointer values must form a non-decreasing sequence")
        elif X.format == "coo" and X.nnz:
            for axis, length in enumerate(X.shape):
                at = X.coords[axis] if hasattr(X, "coords") else (X.row, X.col)[axis]
                if not (at.min() >= 0 and at.max() < length):
                    raise ValueError(f"coordinates along axis {axis} must lie in [0, {length})")
    except ValueError as error:
        raise ValueError(
            f"X is not a valid {X.format.upper()} matrix: {error}; correct its indices, or build it anew"
        ) from None
    return X


def _is_single(array: Array) -> bool:
    return bool(array.dtype.kind == "f" and array.dtype.itemsize <= 4)


def _working(array: Array) -> np.dtype[Any]:
    return np.dtype(np.float32 if _is_single(array) else np.float64)


def _named(loss: object) -> Loss[...]:
    found = get(loss) if isinstance(loss, str) else loss
    if not isinstance(found, Loss):
        raise TypeError(f"loss must be a loss of fastloss or its name, got {found!r}")
    if found.name is None:
        raise TypeError("this loss was never initialised; use fastloss.get")
    return found


def _narrowed(grad: Array, coef: Array) -> Array:
    """The gradient in the precision of the coefficients."""
    with np.errstate(all="ignore"):
        return grad.astype(np.float32) if _is_single(coef) else grad


from fastloss.linear._descent import Checkpoint, DivergenceError, History, sgd  # noqa: E402, F401 - built on the model above
