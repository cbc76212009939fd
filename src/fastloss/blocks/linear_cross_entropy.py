"""The softmax cross-entropy of a linear layer, computed so that the whole matrix of scores is never held."""

# ruff: noqa: N803 - X and W are the field's names

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any, Literal, SupportsFloat

import numpy as np
from numpy.typing import ArrayLike

from fastloss._checks.arrays import Array, refuse_weight, rescale_weight
from fastloss._checks.parameters import positive
from fastloss._checks.rows import check_class_weight, check_options, row_weights
from fastloss._core import Loss, as_array
from fastloss.families.multiclass import softmax_cross_entropy
from fastloss.families.regression import absolute_error

BLOCK_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Options:
    """The keyword arguments of `linear_cross_entropy`, whose documentation explains them."""

    sample_weight: ArrayLike | None = None
    reduction: str = "mean"
    ignore_index: int | None = None
    label_smoothing: float = 0.0
    class_weight: ArrayLike | None = None
    softcap: SupportsFloat | None = None
    z_loss: float = 0.0
    block_bytes: int = BLOCK_BYTES


class LinearCrossEntropy:
    """Softmax cross-entropy of a linear layer: of the scores ``X @ W.T + bias``, which are never held as a whole.

    Blocks of rows go through NumPy's matrix product into one buffer, which the loss turns into gradients in
    place. So the memory beside the gradients is one block, however many rows and classes there are. Rows of
    weight 0, and rows labelled `ignore_index`, cost nothing.

    Parameters
    ----------
    y : array_like of int, shape (n,)
        The classes, in [0, K).
    X : array_like, shape (n, d)
    W : array_like, shape (K, d)
        The weights of the classes. `W` is not copied if it is contiguous and has the dtype of `X`.
    bias : array_like, shape (K,), optional
    sample_weight : array_like, optional
        Finite numbers that multiply the rows' values and derivatives. A row of weight 0 counts as absent.
    reduction : {'mean', 'sum'}
        The mean is divided by the sum of sample weight times class weight over the rows that are not ignored.
    ignore_index : int, optional
        A label to leave out, inside or outside of [0, K).
    label_smoothing, z_loss : float
        As in `softmax_cross_entropy`.
    class_weight : array_like, shape (K,), optional
        Finite numbers >= 0, one per class, that multiply the rows of that class.
    softcap : float, optional
        A number c > 0 that bounds the scores, which become ``c tanh(s / c)``. A block then holds half as many rows.
    block_bytes : int, default 64 MiB
        The memory that a block may take. A block has at least one row.

    Returns
    -------
    float
        The value. `value_and_grad` returns a tuple: the value, the gradients by X and W and, where there is a bias,
        the gradient by it.

    Raises
    ------
    TypeError
        If an array has no real dtype, or the labels are no integers.
    ValueError
        If shapes differ, a label is no class, a parameter is out of range, a weight is not finite, or there are
        no rows and the reduction is 'mean'. All arguments are checked before anything is computed.

    Notes
    -----
    NumPy's matrix product has threads of its own, which `set_num_threads` does not limit; their number may
    change the last bits, as `block_bytes` does.

    References
    ----------
    Wijmans, E. et al. (2025). Cut your losses in large-vocabulary language models. ICLR. The cap: Gemma Team
    (2024), Gemma 2: improving open language models at a practical size.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> X, W = np.eye(2), np.array([[0.0, 0.0], [0.0, 9.0], [0.0, 0.0]])
    >>> round(fl.linear_cross_entropy([0, 1], X, W), 6)
    0.54943
    >>> value, grad_X, grad_W = fl.linear_cross_entropy.value_and_grad([0, 1], X, W)
    >>> grad_W[:, 0].round(3)
    array([-0.333,  0.167,  0.167])
    """

    __module__ = "fastloss"  # where pickles look for it

    def __call__(
        self,
        y: ArrayLike,
        X: ArrayLike,
        W: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Literal["mean", "sum"] = "mean",
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        class_weight: ArrayLike | None = None,
        softcap: float | None = None,
        z_loss: float = 0.0,
        block_bytes: int = BLOCK_BYTES,
    ) -> float:
        options = Options(
            sample_weight,
            reduction,
            ignore_index,
            label_smoothing,
            class_weight,
            softcap,
            z_loss,
            block_bytes,
        )
        return compute(checked_layer(y, X, W, bias, options))

    def value_and_grad(
        self,
        y: ArrayLike,
        X: ArrayLike,
        W: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Literal["mean", "sum"] = "mean",
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        class_weight: ArrayLike | None = None,
        softcap: float | None = None,
        z_loss: float = 0.0,
        block_bytes: int = BLOCK_BYTES,
    ) -> tuple[Any, ...]:
        """Return the value and its derivatives by X, W and, where there is one, bias; the class has the arguments."""
        options = Options(
            sample_weight,
            reduction,
            ignore_index,
            label_smoothing,
            class_weight,
            softcap,
            z_loss,
            block_bytes,
        )
        layer = checked_layer(y, X, W, bias, options)
        grads = [np.zeros(a.shape, layer.dtype) for a in (layer.X, layer.W, layer.bias) if a is not None]
        return compute(layer, grads), *grads

    def __repr__(self) -> str:
        return "fastloss.linear_cross_entropy"

    def __reduce__(self) -> str:
        return "linear_cross_entropy"


linear_cross_entropy = LinearCrossEntropy()


@dataclass(frozen=True)
class Layer:
    """The checked arguments: a linear layer, its labels, and the loss.

    Attributes
    ----------
    y, X, W, bias : ndarray
        The arrays that were given, but `W` in a layout that BLAS takes.
    dtype : dtype
        The dtype in which scores and gradients are computed.
    weight : ndarray or None
        The weight of each row times that of its class. None: all rows count the same.
    present : ndarray or None
        The indices of the rows whose weight is not 0. None: no row has weight 0.
    divisor : float
        What the sum over the rows is divided by.
    loss : Loss
        The softmax cross-entropy with its parameters.
    softcap : float or None
        The bound of the scores.
    block_bytes : int
        The memory that a block of scores may take.
    """

    y: Array
    X: Array
    W: Array
    bias: Array | None
    dtype: np.dtype[Any]
    weight: Array | None
    present: Array | None
    divisor: float
    loss: Loss[...]
    softcap: float | None
    block_bytes: int


def checked_layer(
    y: ArrayLike, X: ArrayLike, W: ArrayLike, bias: ArrayLike | None, options: Options, name: str = "W"
) -> Layer:
    """Check all arguments, and compute the weights: the divisor must be known before the first gradient.

    `name` is the name of `W` in errors about classes.
    """
    reduction = options.reduction
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
    shared = check_options(class_weight=None, ignore_index=options.ignore_index, axis=-1)
    cap = None if options.softcap is None else positive(softcap=options.softcap)
    try:
        block_bytes = operator.index(options.block_bytes)
    except TypeError:
        raise TypeError(f"block_bytes must be an integer, got {options.block_bytes!r}") from None
    if block_bytes < 1:
        raise ValueError(f"block_bytes must be >= 1, got {block_bytes}")

    labels, x, w = as_array("y", y), as_array("X", X), as_array("W", W)
    b = None if bias is None else as_array("bias", bias)
    _check_shapes(labels, x, w, b, name)
    rows, classes = len(x), len(w)
    if not rows and reduction == "mean":
        raise ValueError("X has no rows, and the mean of nothing is undefined; use reduction='sum'")

    weight = weights_of_rows(
        labels, classes, options.sample_weight, options.class_weight, shared["ignore_index"]
    )
    present, divisor = None, float(rows)
    if weight is not None:
        if reduction == "mean":
            weight = rescale_weight(weight)  # so nothing overflows or underflows; the mean stays the same
        divisor = _sum(weight)
        if not divisor and weight.any() and reduction == "mean":
            raise ValueError(
                "sample_weight sums to 0, so the weighted mean is undefined; use reduction='sum'"
            )
        if not weight.all():
            present = np.flatnonzero(weight)
    check_labels(labels, classes, weight, name)
    dtype = np.result_type(*(a.dtype for a in (x, w, b) if a is not None))
    dtype = np.dtype(np.float32 if dtype in (np.float16, np.float32) else np.float64)
    return Layer(
        y=labels,
        X=x,
        W=_for_blas(w, dtype),
        bias=None if b is None else b.astype(dtype),
        dtype=dtype,
        weight=weight,
        present=present,
        divisor=(divisor or 1.0) if reduction == "mean" else 1.0,
        loss=softmax_cross_entropy.bind(label_smoothing=options.label_smoothing, z_loss=options.z_loss),
        softcap=cap,
        block_bytes=block_bytes,
    )


def _check_shapes(y: Array, x: Array, w: Array, b: Array | None, name: str) -> None:
    for matrix, array in (("X", x), ("W", w)):
        if array.ndim != 2:
            advice = f"; pass {matrix}.reshape(-1, {matrix}.shape[-1])" if array.ndim > 2 else ""
            raise ValueError(f"{matrix} must have 2 dimensions, got shape {array.shape}{advice}")
    rows, classes = len(x), len(w)
    if w.shape[1] != x.shape[1]:
        advice = "; pass W.T" if len(w) == x.shape[1] else ""
        raise ValueError(
            f"X has shape {x.shape} and W {w.shape}: they must have as many columns, W a row for each class{advice}"
        )
    if not 0 < classes <= 2**28:
        raise ValueError(f"{name} has shape {w.shape}: there must be 1 to 2**28 classes")
    if b is not None and b.shape != (classes,):
        raise ValueError(f"bias has shape {b.shape}, but W has {classes} classes; pass shape ({classes},)")
    if y.shape != (rows,):
        advice = "; pass y.ravel()" if y.size == rows else ""
        raise ValueError(f"y has shape {y.shape}, but X has {rows} rows; pass shape ({rows},){advice}")


def weights_of_rows(
    y: Array,
    classes: int,
    sample_weight: ArrayLike | None,
    class_weight: ArrayLike | None,
    ignore_index: int | None,
) -> Array | None:
    """Return the weight of each row times that of its class; None where all rows count the same."""
    if sample_weight is None and ignore_index is None and class_weight is None:
        return None
    factors = None if class_weight is None else check_class_weight(class_weight, classes)
    weight = None if sample_weight is None else _sample_weight(sample_weight, len(y))
    return row_weights(y, False, weight, factors, ignore_index, classes)[1]


def _sample_weight(sample_weight: ArrayLike, rows: int) -> Array:
    weight = as_array("sample_weight", sample_weight)
    if weight.shape not in ((), (1,), (rows,)):
        raise ValueError(
            f"sample_weight has shape {weight.shape}, but X has {rows} rows; pass shape ({rows},)"
        )
    if not np.isfinite(weight).all():
        refuse_weight(weight)
    return np.broadcast_to(weight, (rows,))


def _sum(weight: Array) -> float:
    """Return the sum, as the core adds the terms of a loss: in the same order and with the same precision."""
    ones = np.broadcast_to(1.0, weight.shape)
    return absolute_error(0.0, ones, sample_weight=weight, reduction="sum")


def check_labels(y: Array, classes: int, weight: Array | None, name: str) -> None:
    """Raise for a label that is no class, in a row that counts; `name` is that of the matrix with a row for each class."""
    if y.dtype.kind == "f":
        raise TypeError(f"y must be class indices, of integers, got {y.dtype}; pass y.astype(np.int64)")
    bad = (y < 0) | (y >= classes)
    if weight is not None:
        bad &= weight != 0
    if bad.any():
        i = int(np.argmax(bad))
        raise ValueError(
            f"y must lie in [0, {classes}), the rows of {name}; got {y[i]} at index {i}; "
            + (
                "ignore_index= names a label to leave out"
                if name == "W"
                else "a sample_weight of 0 leaves a row out"
            )
        )


def _for_blas(a: Array, dtype: np.dtype[Any]) -> Array:
    """Return the matrix in a layout that NumPy passes on to BLAS; other strides would go through a slow loop."""
    a = a.astype(dtype, copy=False)
    for v in (a, a.T):
        step, inner = v.strides
        if inner == a.itemsize and step >= v.shape[1] * inner and step % inner == 0 and a.flags.aligned:
            return a
    return np.ascontiguousarray(a)


def compute(layer: Layer, grads: list[Any] | None = None) -> float:
    """Return the value; write the gradients by X (unless it is None), W and, where there is one, bias to `grads`."""
    classes, d = layer.W.shape
    rows = len(layer.X) if layer.present is None else len(layer.present)
    block_rows, part_rows = _block_rows(layer, rows, grads is not None)
    scores = np.empty((block_rows, classes), layer.dtype)
    inner = None if layer.softcap is None else np.empty_like(scores)
    sums, scratch = [], np.empty((part_rows, d), layer.dtype)
    bias_sum, divisor = np.zeros(classes), layer.dtype.type(layer.divisor)
    with np.errstate(all="ignore"):
        for start in range(0, rows, max(1, block_rows)):
            stop = min(start + block_rows, rows)
            block: Any = slice(start, stop) if layer.present is None else layer.present[start:stop]
            x, s = _for_blas(layer.X[block], layer.dtype), scores[: stop - start]
            u = None if inner is None else inner[: stop - start]
            np.matmul(x, layer.W.T, out=s)
            if layer.bias is not None:
                s += layer.bias
            if layer.softcap is not None and u is not None:
                np.divide(s, layer.softcap, out=u)
                np.tanh(u, out=s)
                s *= layer.softcap
            y, weight = layer.y[block], None if layer.weight is None else layer.weight[block]
            if grads is None:
                sums.append(layer.loss(y, s, sample_weight=weight, reduction="sum"))
                continue
            value, _ = layer.loss.value_and_grad(y, s, sample_weight=weight, reduction="sum", out=s)
            sums.append(value)
            if u is not None:  # 1 / cosh^2 keeps its digits where 1 - tanh^2 cancels
                np.cosh(u, out=u)
                u *= u
                s /= u
            # OpenBLAS's threads wait less for each other in this product than in s @ W.
            if grads[0] is not None:
                grads[0][block] = (layer.W.T @ s.T).T / divisor
            if layer.bias is not None:
                bias_sum += np.ones(len(s), layer.dtype) @ s
            if classes < d:  # the smaller of the product's two factors is divided
                s /= divisor
            else:
                x = x / divisor
            if start == 0:
                np.matmul(s.T, x, out=grads[1])
            else:
                _add_product(grads[1], s, x, scratch)
        if grads is not None and layer.bias is not None:
            grads[2][...] = bias_sum / layer.divisor
    return math.fsum(sums) / layer.divisor


def _block_rows(layer: Layer, rows: int, with_gradient: bool) -> tuple[int, int]:
    """Return the number of rows of a block, and the number of classes whose gradients are added at a time."""
    size, (classes, d) = layer.dtype.itemsize, layer.W.shape
    # The scores of a row, with a cap also before it is applied; one or two copies of the row itself; its gradient.
    row_bytes = size * (classes * (1 if layer.softcap is None else 2) + (2 if classes < d else 3) * d)
    block_rows, part_rows = max(1, layer.block_bytes // row_bytes), 0
    if rows > block_rows and with_gradient:
        part_rows = min(classes, max(1, layer.block_bytes // 8 // max(1, size * d)))
        block_rows = max(1, (layer.block_bytes - part_rows * size * d) // row_bytes)
    blocks = max(1, -(-rows // block_rows))
    return -(-rows // blocks), part_rows  # blocks of equal length


def _add_product(total: Array, s: Array, x: Array, scratch: Array) -> None:
    """Add ``s.T @ x`` to the total, in parts that are still in cache when they are added."""
    for k in range(0, len(total), len(scratch)):
        part = scratch[: len(total) - k]
        np.matmul(s[:, k : k + len(part)].T, x, out=part)
        total[k : k + len(part)] += part
