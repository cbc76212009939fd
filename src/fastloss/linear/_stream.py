"""Rows that come in blocks, for SGD on more of them than there is memory for."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count, islice
from typing import Any

import numpy as np

from fastloss._checks.arrays import Array
from fastloss.linear._model import LinearModel, stacked
from fastloss.linear._problem import Problem, SgdSettings
from fastloss.linear._rows import Orders, Piece, named_errors, weights_of_rows
from fastloss.linear._softmax import model_class

Block = tuple[Any, Any] | tuple[Any, Any, Any]
Blocks = Iterable[Block] | Callable[[], Iterable[Block]]

FORM = "(X, y) or (X, y, sample_weight)"


class Stream:
    """Blocks of rows, one at a time; rows that do not fill a batch wait for those of the next block.

    A variable that holds a block is deleted as soon as the block has been handed on: otherwise the next one would be
    read while this one is still in memory.
    """

    held_out = None

    def __init__(self, problem: Problem, settings: SgdSettings, check: Callable[[LinearModel], None]) -> None:
        if settings.class_weight is not None and not isinstance(settings.class_weight, Mapping):
            raise ValueError(
                f"class_weight={settings.class_weight!r} needs all labels before the first step; of a stream pass a dict"
            )
        self.loss, self.batch_size, self.check = problem.loss, settings.batch_size, check
        self.orders = Orders(settings.shuffle, settings.batch_size)
        self.class_weight = settings.class_weight
        self.restart = _restart(problem.X, settings.epochs)
        self.steps = _count_steps(problem.X, settings.batch_size)
        self._begin("X has no rows: there is no block, or all are empty")
        first = self.first[0][1]
        self.sparse, no_rows = first.is_sparse, np.empty((0, first.columns), first.dtype)
        self.model = model_class(self.loss)(self.loss, no_rows, np.empty(0), reduction="sum")

    def pieces(self, rng: np.random.Generator) -> Iterator[Piece]:
        """Yield the rows of an epoch: whole batches of one block, and batches with rows of several blocks."""
        waiting: list[tuple[str, LinearModel]] = []
        for name, model in self._epoch():
            order = self.orders.draw(model.rows, rng)
            order = np.arange(model.rows) if order is None else order
            border = f"rows of {name} at the border of two blocks"
            missing = min(-sum(part.rows for _, part in waiting) % self.batch_size, len(order))
            whole = len(order) - (len(order) - missing) % self.batch_size
            if missing:
                waiting.append((border, model.selected(order[:missing])))
            if waiting and sum(part.rows for _, part in waiting) == self.batch_size:
                yield _joined(waiting)
                waiting = []
            if whole > missing:
                yield _piece([(name, model)], model, order[missing:whole])
            if whole < len(order):
                waiting.append((border, model.selected(order[whole:])))
            del model
        if waiting:
            yield _joined(waiting)

    def sample(self, most: int) -> LinearModel:
        """Return at most so many rows of the first block, evenly spread; before the first epoch."""
        model = self.first[0][1]
        return model.selected(np.arange(0, model.rows, -(-model.rows // most)))

    def _epoch(self) -> Iterator[tuple[str, LinearModel]]:
        if not self.first:
            self._begin("an epoch has no rows; X must return a new iterator for each")
        yield self.first.pop()
        yield from self.others

    def _begin(self, empty: str) -> None:
        """Read the first block of an epoch, or raise an error with this message where there is none."""
        self.others = self._read()
        self.first = list(islice(self.others, 1))
        if not self.first:
            raise ValueError(empty)

    def _read(self) -> Iterator[tuple[str, LinearModel]]:
        numbers = count()
        for block in self.restart():
            name = f"block {next(numbers)}"
            with named_errors(name):
                model = self._checked(block)
            del block
            if model.rows:
                yield name, model
            del model

    def _checked(self, block: Any) -> LinearModel:
        if not isinstance(block, tuple | list) or len(block) not in (2, 3):
            raise TypeError(
                f"y is None, so X must be blocks {FORM}, but this is of type {type(block).__name__}"
            )
        X, y, weight = (*block, None)[:3]
        model = model_class(self.loss)(self.loss, X, y, weight, reduction="sum")
        self.check(model)
        model.weight = weights_of_rows(model, self.class_weight, all_labels=False)
        if hasattr(self, "model") and model.dtype != self.model.dtype:
            raise ValueError(
                f"X is computed in {model.dtype}, but in the first block in {self.model.dtype}; "
                f"pass X.astype({str(self.model.dtype)!r})"
            )
        if hasattr(self, "model") and model.is_sparse != self.sparse:
            raise ValueError("either all blocks must be sparse, or none")
        return model


def _restart(blocks: Any, epochs: int) -> Callable[[], Iterable[Any]]:
    """Return a function that returns the blocks of an epoch from the first one on."""
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


def _count_steps(blocks: Any, batch_size: int) -> int | None:
    """Return the steps of an epoch where its rows can be counted: in a list, or by `rows`, as `fastloss.data` has."""
    rows = getattr(blocks, "rows", None)
    if rows is None and isinstance(blocks, Sequence):
        rows = sum(len(block[1]) for block in blocks if isinstance(block, tuple | list) and len(block) > 1)
    return None if rows is None else -(-rows // batch_size)


def _joined(parts: list[tuple[str, LinearModel]]) -> Piece:
    """Return the rows of several blocks as one piece."""
    return _piece(parts, stacked([model for _, model in parts]), None)


def _piece(sources: list[tuple[str, LinearModel]], model: LinearModel, order: Array | None) -> Piece:
    rows, weight = model.rows if order is None else len(order), model.weight
    chosen = weight if weight is None or order is None else weight[order]
    return Piece(
        sources,
        model.X,
        model.targets(),
        None if weight is None else weight.astype(model.dtype),
        order,
        rows,
        float(rows) if chosen is None else float(chosen.sum(dtype=np.float64)),
    )
