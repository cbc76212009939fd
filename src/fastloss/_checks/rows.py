"""Checks of the arguments of losses of rows: what is refused, what the errors say, and the weights of the rows."""

from __future__ import annotations

import operator
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from fastloss._checks.arrays import Array, convert, rescale_weight


def check_options(*, class_weight: ArrayLike | None, ignore_index: int | None, axis: int) -> dict[str, Any]:
    """Return the options that all row losses share, in a form that is hashable."""
    if class_weight is not None:
        class_weight = tuple(float(w) for w in _class_weight(class_weight))
    return {
        "class_weight": class_weight,
        "ignore_index": None if ignore_index is None else _integer("ignore_index", ignore_index),
        "axis": _integer("axis", axis),
    }


def _integer(name: str, value: object) -> int:
    """Return an integer, or raise an error that names the argument."""
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None


def _class_weight(class_weight: ArrayLike) -> Array:
    """Return finite weights >= 0, of any number of classes."""
    if isinstance(class_weight, dict | str):
        raise TypeError("class_weight must be an array of one weight per class")
    weights = convert("class_weight", class_weight).astype(np.float64)
    if weights.ndim != 1:
        raise ValueError(f"class_weight must have one number per class, got shape {weights.shape}")
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        k = int(np.argmax(bad))
        raise ValueError(f"class_weight must be finite and >= 0; found {weights[k]} for class {k}")
    return weights


def check_class_weight(class_weight: ArrayLike, classes: int) -> Array:
    """Return one finite weight >= 0 per class."""
    weights = _class_weight(class_weight)
    if len(weights) != classes:
        raise ValueError(f"class_weight has {len(weights)} numbers, but there are {classes} classes")
    return weights


def row_weights(
    y: Array, given: bool, weight: Array | None, factors: Array | None, ignore_index: int | None, classes: int
) -> tuple[Array | None, Array]:
    """Return two weights for each row: its own, and its own times that of its class, by which it counts in the mean.

    `given` says that the labels are rows of probabilities, `factors` are the weights of the classes.
    """
    if given:
        rows = np.ones(y.shape[:-1]) if weight is None else weight
        return rows, rows
    numbers = (
        y.astype(np.uint8) if y.dtype == bool else y
    )  # NumPy compares uint8, but not bool, with an integer of any size
    counts = np.ones(y.shape, bool) if ignore_index is None else np.asarray(numbers != ignore_index)
    counted = counts if weight is None else np.where(counts, weight, weight.dtype.type(0))
    if factors is not None:
        inside = (y >= 0) & (
            y < classes
        )  # a label that is no class keeps its weight, so that it is refused later
        counted = np.where(
            inside & counts, counted * factors[np.where(inside, y, 0).astype(np.intp)], counted
        )
    return weight, counted


def mixed_weights(y: Array, weight: Array | None, factors: Array, mean: bool) -> tuple[Array, Array, Array]:
    """Return the weights of the rows, of the classes, and both together, for labels that are rows of probabilities.

    Both together, a row counts in the mean by its own weight times the mean weight of its classes.
    """
    rows = np.ones(y.shape[:-1]) if weight is None else weight
    if mean:  # a mean does not change when all weights are multiplied by a power of two
        rows, factors = rescale_weight(rows), rescale_weight(factors)
    with np.errstate(all="ignore"):
        mass = np.asarray(y @ factors)
        fine = (
            (rows != 0) & (mass >= 0) & (mass < np.inf)
        )  # other rows are absent, or refused for their labels
        counted = np.where(fine, rows * np.where(fine, mass, 0), 0)
        if mean:
            small = counted
            counted = rescale_weight(small)
            largest = np.argmax(np.abs(small))
            if small.size and small.flat[largest]:
                rows = np.asarray(rows * (counted.flat[largest] / small.flat[largest]))
    return rows, factors, counted


def refuse_axis(p: Array, axis: int) -> NoReturn:
    """Raise for an axis that y_pred does not have."""
    if not p.ndim:
        raise ValueError("y_pred must have an axis of classes, got a scalar")
    raise ValueError(f"axis {axis} is out of range for y_pred of shape {p.shape}")


def refuse_classes(p: Array, axis: int) -> NoReturn:
    """Raise for no classes, or too many."""
    raise ValueError(f"y_pred has shape {p.shape}: there must be 1 to 2**28 classes along axis {axis}")


def refuse_rows(name: str) -> NoReturn:
    """Raise for rows of labels where a class is needed."""
    raise ValueError(
        f"{name}: y_true has the shape of y_pred, but must be class indices; for one-hot rows pass "
        "y_true.argmax(axis); softmax_cross_entropy takes rows of probabilities, too"
    )


def refuse_class_weight(name: str) -> NoReturn:
    """Raise for weights of classes where a label is no single class."""
    raise ValueError(
        f"{name}: class_weight needs class indices as y_true; pass sample_weight, one weight a row"
    )


def refuse_labels(name: str, y: Array, p: Array, axis: int, labels: int) -> NoReturn:
    """Raise for labels of the wrong shape or dtype.

    `labels` is what the loss takes: 1 for class indices, 2 for rows of probabilities, 3 for both.
    """
    rows = p.shape[:axis] + p.shape[axis + 1 :]
    forms = [f"class indices of shape {rows}"] * (labels & 1) + [f"rows of shape {p.shape}"] * (labels >> 1)
    if not labels & 1 or y.shape != rows:
        advice = "; y_true.ravel() would match" if labels & 1 and len(rows) == 1 and y.size == rows[0] else ""
        raise ValueError(
            f"{name}: y_true has shape {y.shape} and y_pred {p.shape} with classes along axis {axis}; pass "
            f"{' or '.join(forms)}{advice}"
        )
    raise TypeError(f"{name}: class indices must be integers, got {y.dtype}; pass y_true.astype(np.int64)")


def refuse_label(name: str, flat_index: int, y: Array, classes: int) -> NoReturn:
    """Raise for a label that is no class."""
    index = tuple(int(i) for i in np.unravel_index(flat_index, y.shape))
    at = f" at index {index[0] if len(index) == 1 else index}" if index else ""
    raise ValueError(
        f"{name}: y_true must lie in [0, {classes}), the classes of y_pred; got {y[index]}{at}; "
        "ignore_index= names a label to leave out"
    )


def refuse_domain(
    name: str, requirement: str, given: bool, y: Array, p: Array, weight: Array | None
) -> NoReturn:
    """Raise for rows outside of a loss's domain; y and p have the classes along the last axis."""
    counts = np.ones(p.shape[:-1], bool) if weight is None else np.asarray(weight != 0)
    arrays = {"y_true": y} if given else {}
    if "y_pred" in requirement:
        arrays["y_pred"] = p
    for label, array in arrays.items():
        if "rows of 0 and 1" in requirement:
            fine = (array == 0) | (array == 1)
        else:
            fine = (array >= 0) & (array <= 1)
        if requirement:
            fine |= np.isnan(array)  # NaN is no violation: the result is NaN
        bad = counts[..., None] & ~fine
        if bad.any():
            index = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), array.shape))
            rule = requirement or "y_true has the shape of y_pred, so it must be probabilities in [0, 1]"
            raise ValueError(
                f"{name}: {rule}; got {label}={array[index]}{_in_row(index[:-1])}, class {index[-1]}"
            )
    for label, array in arrays.items():
        off = np.abs(array.sum(axis=-1, dtype=np.float64) - 1)
        off = np.where(counts & ~np.isnan(off), off, 0)
        index = tuple(int(i) for i in np.unravel_index(int(np.argmax(off)), off.shape))
        if off[index] > 0.01 and "add up" in requirement:
            total = array[index].sum(dtype=np.float64)
            raise ValueError(f"{name}: {requirement}; {label} adds up to {total:.6g}{_in_row(index)}")
    raise ValueError(f"{name}: {requirement}")


def _in_row(index: tuple[int, ...]) -> str:
    """Describe the place of a row in an error; "" where there is only one row."""
    return f" in row {index[0] if len(index) == 1 else index}" if index else ""
