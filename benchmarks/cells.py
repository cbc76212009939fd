"""The cells of map.py: which calls it looks at. Each axis is swept around a base, and two pairs of axes are planes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from expressions import WITH_KEYWORDS
from rows import Row
from shapes import SHAPES

import fastloss as fl

SIZES = (10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
QUICK = 1_000_000  # where sizes end here, fewer combinations are looked at
CLASSES = (2, 3, 5, 10, 16, 24, 32, 50, 64, 100, 128, 200, 256, 500, 1000, 4000, 32_000, 128_256)
COLUMNS = (1, 10, 100, 1000)
FEATURES = 64  # inputs of the layer of linear_cross_entropy

FEW = ("squared_error", "logistic")  # bound by memory, and by its exponential function
WELL_KNOWN = (
    "squared_error",
    "huber",
    "logistic",
    "poisson",
)  # of all sizes; of SIZES[-1] NumPy takes seconds a call
SOFTMAX = "softmax_cross_entropy"


@dataclass(frozen=True)
class Cell(Row):
    family: str = "pointwise"
    shape: str = "straight"

    @property
    def elements(self) -> int:
        """Numbers in y_pred, or in X."""
        return self.n * (self.classes if self.classes > 1 else max(1, self.features))

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells cells apart: the first columns of the map."""
        sizes = (self.elements, self.n, self.classes, self.features, self.threads)
        return (self.family, self.loss, self.method, self.dtype, *sizes, self.shape)


def cells(threads: int, largest: int, losses: Sequence[str], families: Sequence[str]) -> list[Cell]:
    """Return the cells of these families and losses (of all, if none is named), each once."""
    sizes = [n for n in SIZES if n <= largest] or [largest]
    found = {
        cell.key: cell
        for family in families
        for cell in FAMILIES[family](sizes, threads)
        if not losses or cell.loss in losses
    }
    return list(found.values())


def base(loss: str, elements: int, threads: int, classes: int = 1, **others: Any) -> Cell:
    rows = max(1, elements // classes)
    family = "rows" if classes > 1 else "pointwise"
    return Cell(
        loss, "value_and_grad", "float32", rows, threads, **{"family": family, "classes": classes, **others}
    )


def variants(cell: Cell) -> Iterator[Cell]:
    """Yield the other methods, dtype and number of threads, one at a time."""
    for method in ("value", "grad", "grad_and_hess"):
        yield replace(cell, method=method)
    yield replace(cell, dtype="float64")
    yield replace(cell, threads=1)


def names(of_rows: bool) -> list[str]:
    every = [name for family in fl.losses().values() for name in family]
    return [name for name in every if (fl.get(name).traits.labels in ("class", "distribution")) == of_rows]


def pointwise(sizes: Sequence[int], threads: int) -> Iterator[Cell]:
    some = thinned(sizes) if is_quick(sizes) else [n for n in sizes if n < SIZES[-1]]
    for loss, n in product(names(of_rows=False), sizes):
        if n in some or loss in WELL_KNOWN:
            yield base(loss, n, threads)
    for loss, n in product(FEW, thinned(sizes)):
        yield from variants(base(loss, n, threads))


def rows(sizes: Sequence[int], threads: int) -> Iterator[Cell]:
    for classes, n in product(CLASSES, thinned(sizes) if is_quick(sizes) else sizes):
        if classes <= n and (n < SIZES[-1] or classes in (10, 1000, 128_256)):
            yield base(SOFTMAX, n, threads, classes)
    middle = sizes[len(sizes) * 2 // 3]
    some = (10, 1000) if is_quick(sizes) else (3, 10, 100, 1000)
    for loss, classes in product(names(of_rows=True), some):
        if classes <= middle:
            yield base(loss, middle, threads, classes)
    for classes in (3, 10, 1000):
        top = min(sizes[-1], 10_000_000)
        if classes <= top:
            yield from variants(base(SOFTMAX, top, threads, classes))


def shapes(sizes: Sequence[int], threads: int) -> Iterator[Cell]:
    for n in thinned([n for n in sizes if n <= 10_000_000]):
        straight = [base(loss, n, threads) for loss in ("huber", "logistic")]
        straight += [base(SOFTMAX, n, threads, classes) for classes in (3, 10, 1000) if classes <= n]
        for cell, shape in product(straight, SHAPES):
            if (shape != "integer labels" or cell.loss == "logistic") and (
                shape != "keyword" or cell.loss in WITH_KEYWORDS
            ):
                yield replace(cell, family="shapes", shape=shape)


def linear(sizes: Sequence[int], threads: int) -> Iterator[Cell]:
    """The objective of a linear model, whose rows have columns, and a layer with its loss."""
    for columns, n in product(COLUMNS, thinned(sizes)):
        n = max(16, min(n, 10_000_000) // columns)
        for dtype in ("float32", "float64"):
            yield Cell("logistic", "value_and_grad", dtype, n, threads, features=columns, family="linear")
    for classes in (10, 1000, 32_000):
        if classes <= sizes[-1]:
            layer = {"features": FEATURES, "family": "linear"}
            yield base("linear_cross_entropy", min(sizes[-1], 1_000_000), threads, classes, **layer)


def is_quick(sizes: Sequence[int]) -> bool:
    return sizes[-1] <= QUICK


def thinned(sizes: Sequence[int]) -> Sequence[int]:
    """Every second size, from the second."""
    return sizes[1::2] or sizes


FAMILIES = {"pointwise": pointwise, "rows": rows, "shapes": shapes, "linear": linear}
