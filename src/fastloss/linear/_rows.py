"""Where the rows come from that SGD is trained on, in which order, and what each of them counts."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import Any, NamedTuple

import numpy as np

from fastloss import linear
from fastloss._checks.arrays import Array, refuse_weight
from fastloss._checks.parameters import fraction, nonnegative
from fastloss._core import new_array


class Piece(NamedTuple):
    """Rows of one matrix, for steps."""

    suspects: list[
        tuple[str, linear._Model]
    ]  # that say, by name, where a row lies outside of the loss's domain
    X: Any  # as C reads it
    y: Array  # in the dtype that X is computed in, and so is weight
    weight: Array | None
    order: Array | None  # int64 indices; None: the first rows as they lie
    rows: int
    weight_sum: float  # of these rows


@contextmanager
def saying(name: str) -> Iterator[None]:
    """Errors say whose they are."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}" if name else str(error)) from None


def taken(model: linear._Model, order: Array) -> linear._Model:
    """A copy of these rows, and what says where they lie outside of the loss's domain."""
    part = copy(model)
    part.rows, part.y = len(order), model.y[order]
    part.weight = None if model.weight is None else model.weight[order]
    if isinstance(model.X, tuple):
        part.X = _taken_sparse(model.X, order)
    else:
        part.X = model.X[order].astype(model.dtype)
    return part


def _taken_sparse(X: tuple[Array, ...], order: Array) -> tuple[Array, ...]:
    values, starts, indices = X
    begins, ends = starts[order].astype(np.int64), starts[order + 1].astype(np.int64)
    if not ((begins >= 0) & (begins <= ends) & (ends <= len(values))).all():
        raise ValueError("X is not a valid CSR matrix: X.indptr must not decrease nor leave X.indices")
    kept = np.cumsum(ends - begins)
    at = np.arange(kept[-1]) + np.repeat(ends - kept, ends - begins)
    return values[at], np.append(0, kept), indices[at].astype(np.int64)


class Memory:
    """All rows at once, but for those that are held out."""

    def __init__(
        self,
        model: linear._Model,
        batch: int,
        shuffle: str | None,
        class_weight: Any,
        validation_fraction: float | None,
        rng: np.random.Generator,
    ) -> None:
        self.model, self.orders = model, Orders(shuffle, batch)
        model.weight = weigh(model, class_weight)
        self.rows, self.held_out = _held_out(model, validation_fraction, rng)
        self.count = model.rows if self.rows is None else len(self.rows)
        self.steps = -(-self.count // batch)
        self.y = model.targets()
        self.weight = (
            None if model.weight is None else _normalised(model.weight, self.rows).astype(model.dtype)
        )

    def sample(self, rows: int) -> linear._Model:
        """Some of the rows, with their weights, and the sum as reduction."""
        order = np.arange(0, self.count, -(-self.count // rows))
        model = copy(self.model)
        model.weight, model.mean = self.weight, False
        return taken(model, order if self.rows is None else self.rows[order])

    def pieces(self, rng: np.random.Generator) -> Iterator[Piece]:
        order = self.orders.draw(self.count, rng)
        if self.rows is not None:
            order = self.rows if order is None else self.rows[order]
        yield Piece([("", self.model)], self.model.X, self.y, self.weight, order, self.count, self.count)


class Orders:
    """The order of the rows in each epoch."""

    def __init__(self, shuffle: str | None, batch: int) -> None:
        if shuffle not in ("blocks", "rows", None):
            raise ValueError(f"shuffle must be 'blocks', 'rows' or None, got {shuffle!r}")
        self.shuffle, self.block, self.within = shuffle, max(8, batch // 4), batch < 32

    def draw(self, rows: int, rng: np.random.Generator) -> Array | None:
        """Return int64 indices of rows, or None for all as they lie."""
        if self.shuffle is None:
            return None
        if self.shuffle == "rows":
            return rng.permutation(rows)
        starts = rng.permutation(-(-rows // self.block)) * self.block
        within = rng.permutation(self.block) if self.within else np.arange(min(self.block, rows))
        # Of 8 bytes each, in memory that has been used: new pages took 0.5 of 0.7 ms for 200 000 rows.
        order: Array = new_array((len(starts), len(within)), np.dtype(np.float64)).view(np.int64)
        order = np.add.outer(starts, within, out=order).ravel()
        return order if rows % self.block == 0 else order[order < rows]


# ---- weights --------------------------------------------------------------------------------------------


def weigh(model: linear._Model, class_weight: Any, all_labels: bool = True) -> Array | None:
    """What each row counts. Without all labels at hand, those of class_weight may be elsewhere."""
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


def _normalised(weight: Array, rows: Array | None) -> Array:
    """The weights, of mean 1 over the rows."""
    weight = weight / max(np.abs(weight).max(), np.finfo(np.float64).tiny)
    mean = float((weight if rows is None else weight[rows]).mean())
    if not mean > 0:
        raise ValueError("sample_weight and class_weight must have a positive sum over the rows for training")
    weight /= mean
    return weight


# ---- validation -----------------------------------------------------------------------------------------


def given_validation(validation: Any, loss: Any, columns: int) -> linear._Model:
    if not isinstance(validation, tuple) or len(validation) not in (2, 3):
        raise TypeError("validation must be a tuple (X, y) or (X, y, sample_weight)")
    X, y, weight = (*validation, None)[:3]
    model = linear._kind(loss)(loss, X, y, weight, 0.0, "mean")
    if model.columns != columns:
        raise ValueError(f"validation has {model.columns} columns, but X has {columns}")
    return model


def _held_out(
    model: linear._Model, part: float | None, rng: np.random.Generator
) -> tuple[Array | None, linear._Model | None]:
    """The rows for training, None for all, and the model of the others."""
    if part is None:
        return None, None
    count = round(fraction(validation_fraction=part) * model.rows)
    if not 0 < count < model.rows:
        raise ValueError(f"validation_fraction={part} of {model.rows} rows leaves no rows on one side")
    chosen = np.zeros(model.rows, bool)
    chosen[rng.permutation(model.rows)[:count]] = True
    return np.flatnonzero(~chosen), taken(model, np.flatnonzero(chosen))
