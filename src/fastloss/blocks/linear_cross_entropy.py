"""The softmax cross-entropy of a linear layer, whose matrix of scores is never held."""

# ruff: noqa: N803 - X and W are the field's names

from __future__ import annotations

import math
import operator
from typing import Any, Literal, NamedTuple, SupportsFloat

import numpy as np
from numpy.typing import ArrayLike

from fastloss._checks.arrays import Array, refuse_weight, rescale_weight
from fastloss._checks.parameters import positive
from fastloss._checks.rows import check_class_weight, check_options, row_weights
from fastloss._core import LANES, Descent, as_array
from fastloss.families.multiclass import softmax_cross_entropy
from fastloss.families.regression import absolute_error

BLOCK_BYTES = 64 * 1024 * 1024
MOST_IN_ONE_PASS = 16, 1 << 14  # classes, coefficients: with more of either BLAS's products are faster


class LinearCrossEntropy:
    """Softmax cross-entropy of a linear layer: of the scores ``X @ W.T + bias``, which are never held as a whole.

    Blocks of rows go through NumPy's matrix product into one buffer, which the loss turns into gradients in
    place. So the memory beside the gradients is one block, however many rows and classes there are. Rows of
    weight 0, as those of `ignore_index`, cost nothing.

    Parameters
    ----------
    y : array_like of int, shape (n,)
        The classes, in [0, K).
    X : array_like, shape (n, d)
    W : array_like, shape (K, d)
        The weights of the classes. What is contiguous and of the dtype of `X` is not copied.
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
        Multiplies the rows of a class.
    softcap : float, optional
        c > 0 bounds the scores: ``c tanh(s / c)``. The block holds half as many rows then.
    block_bytes : int, default 64 MiB
        What a block may take: at least one row.

    Returns
    -------
    float
        And from `value_and_grad` a tuple: value, gradients of X and W, and of bias where there is one.

    Raises
    ------
    TypeError
        If an array has no real dtype, or the labels are no integers.
    ValueError
        If shapes differ, a label is no class, a parameter is out of range, a weight is not finite, or there are
        no rows and the reduction is 'mean'. All is checked before anything is computed.

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
        work = _prepare(
            y, X, W, bias, sample_weight, reduction, ignore_index, class_weight, softcap, block_bytes
        )
        return _run(work, label_smoothing, z_loss, None)

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
        """The value, and its derivatives by X, W and, where there is one, bias; see the class."""
        work = _prepare(
            y, X, W, bias, sample_weight, reduction, ignore_index, class_weight, softcap, block_bytes
        )
        grads = [np.zeros(a.shape, work.dtype) for a in (work.X, work.W, work.bias) if a is not None]
        return _run(work, label_smoothing, z_loss, grads), *grads

    def __repr__(self) -> str:
        return "fastloss.linear_cross_entropy"

    def __reduce__(self) -> str:
        return "linear_cross_entropy"


linear_cross_entropy = LinearCrossEntropy()


class _Work(NamedTuple):
    y: Array
    X: Array
    W: Array
    bias: Array | None
    dtype: np.dtype[Any]
    weight: Array | None  # of the rows, class weights included
    present: Array | None  # the rows whose weight is not 0; None: all
    divisor: float
    softcap: float | None
    block_bytes: int


def _prepare(
    y: ArrayLike,
    X: ArrayLike,
    W: ArrayLike,
    bias: ArrayLike | None,
    sample_weight: ArrayLike | None,
    reduction: str,
    ignore_index: int | None,
    class_weight: ArrayLike | None,
    softcap: SupportsFloat | None,
    block_bytes: int,
    matrix: str = "W",
) -> _Work:
    """Check all arguments, and find the weights: the divisor must be known before the first gradient."""
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
    ignore_index = check_options(class_weight=None, ignore_index=ignore_index, axis=-1)["ignore_index"]
    cap = None if softcap is None else positive(softcap=softcap)
    try:
        block_bytes = operator.index(block_bytes)
    except TypeError:
        raise TypeError(f"block_bytes must be an integer, got {block_bytes!r}") from None
    if block_bytes < 1:
        raise ValueError(f"block_bytes must be >= 1, got {block_bytes}")

    labels, x, w = as_array("y", y), as_array("X", X), as_array("W", W)
    b = None if bias is None else as_array("bias", bias)
    for name, array in (("X", x), ("W", w)):
        if array.ndim != 2:
            advice = f"; pass {name}.reshape(-1, {name}.shape[-1])" if array.ndim > 2 else ""
            raise ValueError(f"{name} must have 2 dimensions, got shape {array.shape}{advice}")
    rows, classes = len(x), len(w)
    if w.shape[1] != x.shape[1]:
        advice = "; pass W.T" if len(w) == x.shape[1] else ""
        raise ValueError(
            f"X has shape {x.shape} and W {w.shape}: they must have as many columns, W a row for each class{advice}"
        )
    if not 0 < classes <= 2**28:
        raise ValueError(f"{matrix} has shape {w.shape}: there must be 1 to 2**28 classes")
    if b is not None and b.shape != (classes,):
        raise ValueError(f"bias has shape {b.shape}, but W has {classes} classes; pass shape ({classes},)")
    if labels.shape != (rows,):
        advice = "; pass y.ravel()" if labels.size == rows else ""
        raise ValueError(f"y has shape {labels.shape}, but X has {rows} rows; pass shape ({rows},){advice}")
    if not rows and reduction == "mean":
        raise ValueError("X has no rows, and the mean of nothing is undefined; use reduction='sum'")

    weight, present, divisor = None, None, float(rows)
    if not (sample_weight is None and ignore_index is None and class_weight is None):
        factors = None if class_weight is None else check_class_weight(class_weight, classes)
        weight = None if sample_weight is None else _row_weight(sample_weight, rows)
        weight = row_weights(labels, False, weight, factors, ignore_index, classes)[1]
        if reduction == "mean":
            weight = rescale_weight(weight)  # nothing over- or underflows, and the mean is the same
        divisor = _sum(weight)
        if not divisor and weight.any() and reduction == "mean":
            raise ValueError(
                "sample_weight sums to 0, so the weighted mean is undefined; use reduction='sum'"
            )
        if not weight.all():
            present = np.flatnonzero(weight)
    check_labels(labels, classes, weight, matrix)
    divisor = divisor or 1.0
    dtype = np.result_type(*(a.dtype for a in (x, w, b) if a is not None))
    dtype = np.dtype(np.float32 if dtype in (np.float16, np.float32) else np.float64)
    if b is not None:
        b = b.astype(dtype)
    divisor = divisor if reduction == "mean" else 1.0
    return _Work(labels, x, _for_blas(w, dtype), b, dtype, weight, present, divisor, cap, block_bytes)


def _sum(weight: Array) -> float:
    """Return the sum in the order, and with the precision, of every other sum."""
    ones = np.broadcast_to(1.0, weight.shape)
    return absolute_error(0.0, ones, sample_weight=weight, reduction="sum")


def _row_weight(sample_weight: ArrayLike, rows: int) -> Array:
    weight = as_array("sample_weight", sample_weight)
    if weight.shape not in ((), (1,), (rows,)):
        raise ValueError(
            f"sample_weight has shape {weight.shape}, but X has {rows} rows; pass shape ({rows},)"
        )
    if not np.isfinite(weight).all():
        refuse_weight(weight)
    return np.broadcast_to(weight, (rows,))


def check_labels(y: Array, classes: int, weight: Array | None, name: str) -> None:
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
    """Return the matrix in a form that NumPy hands to the BLAS as it is; other strides go through a slow loop."""
    a = a.astype(dtype, copy=False)
    for v in (a, a.T):
        step, inner = v.strides
        if inner == a.itemsize and step >= v.shape[1] * inner and step % inner == 0 and a.flags.aligned:
            return a
    return np.ascontiguousarray(a)


def model_gradients(
    y: Array,
    X: Array,
    W: Array,
    bias: Array,
    sample_weight: Array | None,
    reduction: str,
    params: dict[str, Any],
) -> tuple[float, Array, Array]:
    """Return the value of the loss with these parameters, and its derivatives by W and bias, without that by X."""
    ignored, class_weight = params["ignore_index"], params["class_weight"]
    work = _prepare(y, X, W, bias, sample_weight, reduction, ignored, class_weight, None, BLOCK_BYTES, "coef")
    classes, coefs = MOST_IN_ONE_PASS
    if len(y) and len(W) <= classes and W.size <= coefs:
        return _in_one_pass(work, bias, params["label_smoothing"], params["z_loss"])
    grads = np.zeros(work.W.shape, work.dtype), np.zeros(len(work.W), work.dtype)
    return _run(work, params["label_smoothing"], params["z_loss"], [None, *grads]), *grads


def _in_one_pass(
    work: _Work, bias: Array, label_smoothing: float, z_loss: float
) -> tuple[float, Array, Array]:
    """The same as of the batch of an SGD, whose rows are still in cache when they are read again."""
    classes, d = work.W.shape
    loss = softmax_cross_entropy.bind(label_smoothing=label_smoothing, z_loss=z_loss)
    labels, weight, working = work.y, work.weight, np.zeros((classes, -(-d // LANES) * LANES), work.dtype)
    working[:, :d] = work.W
    if weight is not None:
        labels = np.where(weight != 0, labels, 0)  # of other rows they may be anything
        with np.errstate(all="ignore"):
            weight = np.require(weight, work.dtype, ["C", "A"])
    parameters = np.concatenate((work.W, bias), axis=None, dtype=np.float64)
    descent = Descent(loss, parameters, working, batch_size=len(labels))
    sums = descent.gradient(work.X, np.require(labels, np.int32, ["C", "A"]), weight)
    assert not isinstance(sums, str)  # the labels are known to be classes
    with np.errstate(all="ignore"):
        sums /= work.divisor
    return descent.loss / work.divisor, sums[:, :d], sums[:, d]


def rows_that_count(y: Array, classes: int, weight: Array | None, params: dict[str, Any]) -> Array | None:
    """Return where the rows are whose weight is not 0, or None for all; refuse their labels that are no class."""
    ignored, factors = params["ignore_index"], params["class_weight"]
    counted = None
    if not (weight is None and ignored is None and factors is None):
        factors = None if factors is None else check_class_weight(factors, classes)
        weight = None if weight is None else _row_weight(weight, len(y))
        counted = row_weights(y, False, weight, factors, ignored, classes)[1]
    check_labels(y, classes, counted, "coef")
    return None if counted is None or counted.all() else np.flatnonzero(counted)


def _run(work: _Work, label_smoothing: float, z_loss: float, grads: list[Any] | None) -> float:
    """Return the value, and add to the gradients."""
    loss = softmax_cross_entropy.bind(label_smoothing=label_smoothing, z_loss=z_loss)
    size, (classes, d) = work.dtype.itemsize, work.W.shape
    rows = len(work.X) if work.present is None else len(work.present)
    # A row's scores, for the cap its argument, and of the row itself two copies, or one, and the gradient.
    row_bytes = size * (classes * (1 if work.softcap is None else 2) + (2 if classes < d else 3) * d)
    room = max(1, work.block_bytes // row_bytes)
    part = 0  # classes whose gradient is added at a time
    if rows > room and grads is not None:
        part = min(classes, max(1, work.block_bytes // 8 // max(1, size * d)))
        room = max(1, (work.block_bytes - part * size * d) // row_bytes)
    blocks = max(1, -(-rows // room))
    room = -(-rows // blocks)  # of equal length
    scores = np.empty((room, classes), work.dtype)
    inner = None if work.softcap is None else np.empty_like(scores)
    sums, scratch = [], np.empty((part, d), work.dtype)
    bias_sum, divisor = np.zeros(classes), work.dtype.type(work.divisor)
    with np.errstate(all="ignore"):
        for start in range(0, rows, max(1, room)):
            stop = min(start + room, rows)
            these: Any = slice(start, stop) if work.present is None else work.present[start:stop]
            x, s = _for_blas(work.X[these], work.dtype), scores[: stop - start]
            u = None if inner is None else inner[: stop - start]
            np.matmul(x, work.W.T, out=s)
            if work.bias is not None:
                s += work.bias
            if work.softcap is not None and u is not None:
                np.divide(s, work.softcap, out=u)
                np.tanh(u, out=s)
                s *= work.softcap
            y, weight = work.y[these], None if work.weight is None else work.weight[these]
            if grads is None:
                sums.append(loss(y, s, sample_weight=weight, reduction="sum"))
                continue
            sums.append(loss.value_and_grad(y, s, sample_weight=weight, reduction="sum", out=s)[0])
            if u is not None:  # 1 / cosh^2 is exact where 1 - tanh^2 cancels
                np.cosh(u, out=u)
                u *= u
                s /= u
            # Threads of OpenBLAS wait less for each other here than in s @ W.
            if grads[0] is not None:
                grads[0][these] = (work.W.T @ s.T).T / divisor
            if work.bias is not None:
                bias_sum += np.ones(len(s), work.dtype) @ s
            if classes < d:  # of the factors of a product the smaller one
                s /= divisor
            else:
                x = x / divisor
            if start == 0:
                np.matmul(s.T, x, out=grads[1])
            else:
                _add_product(grads[1], s, x, scratch)
        if grads is not None and work.bias is not None:
            grads[2][...] = bias_sum / work.divisor
    return math.fsum(sums) / work.divisor


def _add_product(total: Array, s: Array, x: Array, scratch: Array) -> None:
    """``total += s.T @ x``, by parts that are still in cache when they are added."""
    for k in range(0, len(total), len(scratch)):
        part = scratch[: len(total) - k]
        np.matmul(s[:, k : k + len(part)].T, x, out=part)
        total[k : k + len(part)] += part
