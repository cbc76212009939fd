"""The rows that SGD is trained on, where they are in memory: their order, their weights, and those held out."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from fastloss._checks.arrays import Array, refuse_weight
from fastloss._checks.parameters import fraction, nonnegative
from fastloss._core import Loss, new_array
from fastloss.linear._matrix import SparseParts
from fastloss.linear._model import LinearModel
from fastloss.linear._problem import SgdSettings
from fastloss.linear._softmax import model_class


@dataclass(frozen=True)
class Piece:
    """Rows of one matrix that steps are taken on.

    Attributes
    ----------
    sources : list of (str, LinearModel)
        The models that the rows were taken from, each with its name in errors. If the steps meet a row outside of the
        loss's domain, these models find it.
    X : ndarray, or tuple of ndarray
        The matrix as C reads it.
    y, weight : ndarray
        In the form that the steps read; the weight may be None.
    order : ndarray of int64, or None
        The rows that the steps are taken on; None: the first ones, in order.
    rows : int
        The number of these rows.
    weight_sum : float
        The sum of their weights.
    """

    sources: list[tuple[str, LinearModel]]
    X: Array | SparseParts
    y: Array
    weight: Array | None
    order: Array | None
    rows: int
    weight_sum: float


@contextmanager
def named_errors(name: str) -> Iterator[None]:
    """Put a name before the messages of errors, where there is one."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}" if name else str(error)) from None


class RowsInMemory:
    """All rows at once, without those that are held out for validation."""

    def __init__(self, model: LinearModel, settings: SgdSettings, rng: np.random.Generator) -> None:
        self.model, self.orders = model, Orders(settings.shuffle, settings.batch_size)
        model.weight = weights_of_rows(model, settings.class_weight)
        self.training, self.held_out = _held_out(model, settings.validation_fraction, rng)
        self.count = model.rows if self.training is None else len(self.training)
        self.steps = -(-self.count // settings.batch_size)
        self.y = model.targets()
        self.weight = (
            None if model.weight is None else _with_mean_1(model.weight, self.training).astype(model.dtype)
        )

    def sample(self, most: int) -> LinearModel:
        """Return at most so many of the rows, evenly spread, with their weights and the sum as reduction."""
        order = np.arange(0, self.count, -(-self.count // most))
        model = copy(self.model)
        model.weight, model.mean = self.weight, False
        return model.selected(order if self.training is None else self.training[order])

    def pieces(self, rng: np.random.Generator) -> Iterator[Piece]:
        """Yield the rows of an epoch, as one piece."""
        order = self.orders.draw(self.count, rng)
        if self.training is not None:
            order = self.training if order is None else self.training[order]
        yield Piece([("", self.model)], self.model.X, self.y, self.weight, order, self.count, self.count)


class Orders:
    """The order of the rows in each epoch."""

    def __init__(self, shuffle: str | None, batch_size: int) -> None:
        if shuffle not in ("blocks", "rows", None):
            raise ValueError(f"shuffle must be 'blocks', 'rows' or None, got {shuffle!r}")
        self.shuffle, self.block = shuffle, max(8, batch_size // 4)
        self.within_blocks = batch_size < 32

    def draw(self, rows: int, rng: np.random.Generator) -> Array | None:
        """Return the int64 indices of all rows in a new order, or None for the order that they have."""
        if self.shuffle is None:
            return None
        if self.shuffle == "rows":
            return rng.permutation(rows)
        starts = rng.permutation(-(-rows // self.block)) * self.block
        within = rng.permutation(self.block) if self.within_blocks else np.arange(min(self.block, rows))
        # new_array reuses freed memory: new pages took 0.5 of 0.7 ms for 200 000 rows. It has no int64, but elements of
        # float64 are as long.
        order: Array = new_array((len(starts), len(within)), np.dtype(np.float64)).view(np.int64)
        order = np.add.outer(starts, within, out=order).ravel()
        return order if rows % self.block == 0 else order[order < rows]


# ---- weights --------------------------------------------------------------------------------------------


def weights_of_rows(model: LinearModel, class_weight: Any, all_labels: bool = True) -> Array | None:
    """Return the weight of each row times that of its class.

    Without `all_labels`, `class_weight` may have labels that these rows do not have, but others may.
    """
    weight = model.weight
    if weight is not None and not np.isfinite(weight).all():
        refuse_weight(weight)
    if class_weight is None:
        return weight
    labels, which, counts = np.unique(model.y, return_inverse=True, return_counts=True)
    if isinstance(class_weight, str) and class_weight == "balanced":
        factors = model.rows / (len(labels) * counts)
    elif isinstance(class_weight, Mapping):
        unknown = [label for label in class_weight if label not in labels]
        if unknown and all_labels:
            raise ValueError(f"class_weight has {unknown[0]!r}, which is no label in y")
        factors = np.array([nonnegative(class_weight=class_weight.get(x, 1.0)) for x in labels.tolist()])
    else:
        raise TypeError(f"class_weight must be a dict or 'balanced', got {class_weight!r}")
    each: Array = factors[which]
    return each if weight is None else weight * each


def _with_mean_1(weight: Array, rows: Array | None) -> Array:
    """Return the weights, divided by their mean over these rows."""
    weight = weight / max(np.abs(weight).max(), np.finfo(np.float64).tiny)
    mean = float((weight if rows is None else weight[rows]).mean())
    if not mean > 0:
        raise ValueError("sample_weight and class_weight must have a positive sum over the rows for training")
    weight /= mean
    return weight


# ---- validation -----------------------------------------------------------------------------------------


def validation_model(validation: Any, loss: Loss[...], columns: int) -> LinearModel:
    """Return the model on the rows that were given for validation."""
    if not isinstance(validation, tuple) or len(validation) not in (2, 3):
        raise TypeError("validation must be a tuple (X, y) or (X, y, sample_weight)")
    X, y, weight = (*validation, None)[:3]
    model = model_class(loss)(loss, cast(ArrayLike, X), cast(ArrayLike, y), weight)
    if model.columns != columns:
        raise ValueError(f"validation has {model.columns} columns, but X has {columns}")
    return model


def _held_out(
    model: LinearModel, part: float | None, rng: np.random.Generator
) -> tuple[Array | None, LinearModel | None]:
    """Return the rows for training, None for all, and the model on the others."""
    if part is None:
        return None, None
    count = round(fraction(validation_fraction=part) * model.rows)
    if not 0 < count < model.rows:
        raise ValueError(f"validation_fraction={part} of {model.rows} rows leaves no rows on one side")
    chosen = np.zeros(model.rows, bool)
    chosen[rng.permutation(model.rows)[:count]] = True
    return np.flatnonzero(~chosen), model.selected(np.flatnonzero(chosen))
