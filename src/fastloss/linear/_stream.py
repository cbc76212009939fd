"""Rows that come in blocks, for SGD on more of them than there is memory for."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from itertools import count, islice
from typing import Any

import numpy as np

from fastloss import linear
from fastloss._checks.arrays import Array
from fastloss._core import Loss
from fastloss.linear._rows import Orders, Piece, saying, taken, weigh

Block = tuple[Any, Any] | tuple[Any, Any, Any]
Blocks = Iterable[Block] | Callable[[], Iterable[Block]]

FORM = "(X, y) or (X, y, sample_weight)"


class Stream:
    """One block at a time; the rows of one that do not fill a batch wait for the next.

    Names of blocks are deleted as soon as they have been handed on: else the next one would be read beside them.
    """

    held_out = None

    def __init__(
        self,
        loss: Loss[...] | str,
        blocks: Any,
        batch: int,
        shuffle: str | None,
        class_weight: Any,
        epochs: int,
        check: Callable[[linear._Model], None],
    ) -> None:
        if class_weight is not None and not isinstance(class_weight, Mapping):
            raise ValueError(
                f"class_weight={class_weight!r} needs all labels before the first step; of a stream pass a dict"
            )
        self.loss, self.batch, self.orders = loss, batch, Orders(shuffle, batch)
        self.class_weight, self.check = class_weight, check
        self.again = _again(blocks, epochs)
        self.steps = _count_steps(blocks, batch)
        self._begin("X has no rows: there is no block, or all are empty")
        head = self.first[0][1]
        self.sparse, nothing = isinstance(head.X, tuple), np.empty((0, head.columns), head.dtype)
        self.model = linear._kind(loss)(loss, nothing, np.empty(0), None, 0.0, "sum")

    def pieces(self, rng: np.random.Generator) -> Iterator[Piece]:
        left: list[tuple[str, linear._Model]] = []
        for name, model in self._epoch():
            order = self.orders.draw(model.rows, rng)
            order = np.arange(model.rows) if order is None else order
            left_name = f"rows of {name} at the border of two blocks"
            missing = min(-sum(part.rows for _, part in left) % self.batch, len(order))
            whole = len(order) - (len(order) - missing) % self.batch
            if missing:
                left.append((left_name, taken(model, order[:missing])))
            if left and sum(part.rows for _, part in left) == self.batch:
                yield _joined(left)
                left = []
            if whole > missing:
                yield _piece([(name, model)], model, order[missing:whole])
            if whole < len(order):
                left.append((left_name, taken(model, order[whole:])))
            del model
        if left:
            yield _joined(left)

    def sample(self, rows: int) -> linear._Model:
        """Some rows of the first block, before the first epoch."""
        model = self.first[0][1]
        return taken(model, np.arange(0, model.rows, -(-model.rows // rows)))

    def _epoch(self) -> Iterator[tuple[str, linear._Model]]:
        if not self.first:
            self._begin("an epoch has no rows; X must return a new iterator for each")
        yield self.first.pop()
        yield from self.begun

    def _begin(self, empty: str) -> None:
        self.begun = self._read()
        self.first = list(islice(self.begun, 1))
        if not self.first:
            raise ValueError(empty)

    def _read(self) -> Iterator[tuple[str, linear._Model]]:
        numbers = count()
        for block in self.again():
            name = f"block {next(numbers)}"
            with saying(name):
                model = self._checked(block)
            del block
            if model.rows:
                yield name, model
            del model

    def _checked(self, block: Any) -> linear._Model:
        if not isinstance(block, tuple | list) or len(block) not in (2, 3):
            raise TypeError(
                f"y is None, so X must be blocks {FORM}, but this is of type {type(block).__name__}"
            )
        X, y, weight = (*block, None)[:3]
        model = linear._kind(self.loss)(self.loss, X, y, weight, 0.0, "sum")
        self.check(model)
        model.weight = weigh(model, self.class_weight, all_labels=False)
        if hasattr(self, "model") and model.dtype != self.model.dtype:
            raise ValueError(
                f"X is computed in {model.dtype}, but in the first block in {self.model.dtype}; "
                f"pass X.astype({str(self.model.dtype)!r})"
            )
        if hasattr(self, "model") and isinstance(model.X, tuple) != self.sparse:
            raise ValueError("either all blocks must be sparse, or none")
        return model


def _again(blocks: Any, epochs: int) -> Callable[[], Iterable[Any]]:
    """What begins an epoch."""
    if callable(blocks):
        return lambda: iter(blocks())
    if isinstance(blocks, Iterator) and epochs > 1:
        raise ValueError(
            f"X is an iterator, which ends with the first of {epochs} epochs; pass epochs=1, a list, or a function "
            "that returns a new iterator for each epoch"
        )
    if not isinstance(blocks, Iterable):
        raise TypeError(
            f"y is None, so X must be a list, an iterator or a function that returns one, of blocks {FORM}; "
            f"got {type(blocks).__name__}"
        )
    return lambda: blocks


def _count_steps(blocks: Any, batch: int) -> int | None:
    """The steps of an epoch, where all blocks are at hand, or their rows known, as those of `fastloss.data.batches`."""
    rows = getattr(blocks, "rows", None)
    if rows is None and isinstance(blocks, Sequence):
        rows = sum(len(block[1]) for block in blocks if isinstance(block, tuple | list) and len(block) > 1)
    return None if rows is None else -(-rows // batch)


def _joined(parts: list[tuple[str, linear._Model]]) -> Piece:
    """The parts as one matrix."""
    models = [model for _, model in parts]
    whole = copy(models[0])
    whole.rows, whole.y = sum(model.rows for model in models), np.concatenate([model.y for model in models])
    if any(model.weight is not None for model in models):
        ones = (np.ones(model.rows) if model.weight is None else model.weight for model in models)
        whole.weight = np.concatenate(list(ones))
    if isinstance(whole.X, tuple):
        values, starts, indices = zip(*(model.X for model in models), strict=True)
        offsets = np.cumsum([0, *(s[-1] for s in starts)])
        moved = [s[:-1] + offset for s, offset in zip(starts, offsets, strict=False)]
        whole.X = (
            np.concatenate(values),
            np.append(np.concatenate(moved), offsets[-1]),
            np.concatenate(indices),
        )
    else:
        whole.X = np.concatenate([model.X for model in models])
    return _piece(parts, whole, None)


def _piece(suspects: list[tuple[str, linear._Model]], model: linear._Model, order: Array | None) -> Piece:
    rows, weight = model.rows if order is None else len(order), model.weight
    chosen = weight if weight is None or order is None else weight[order]
    return Piece(
        suspects,
        model.X,
        model.targets(),
        None if weight is None else weight.astype(model.dtype),
        order,
        rows,
        float(rows) if chosen is None else float(chosen.sum(dtype=np.float64)),
    )
