"""What a cell of map.py times: the contestants, and the limit that they are compared with."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any

import linear
import numpy as np
from cells import Cell
from contestants import Entry, by_fastloss, check, installed
from measure import triads
from shapes import arrange, contestant
from versus import inputs

CHECKED = 100_000  # elements on which the others must agree with fastloss
BEYOND_CACHE = 64_000_000  # bytes: calls that move more are limited by the memory
THREADS_FROM = 20_000  # elements; only scikit-learn wakes threads for less

Limits = dict[str, tuple[Entry, float]]  # what is timed, and by what its time is multiplied
Prepared = tuple[dict[str, Entry], Limits]


def prepared(cell: Cell, left_out: dict[str, str]) -> Prepared:
    """Return the contestants, fastloss among them, and the limits, of which the fastest counts."""
    if cell.family != "linear":
        return loss_cell(cell, left_out)
    return layer_cell(cell, left_out) if cell.classes > 1 else objective_cell(cell, left_out)


def contestants(cell: Cell, y: Any, p: Any, left_out: dict[str, str]) -> dict[str, Entry]:
    """Return the libraries that have the call. What fails or disagrees on a part of the arrays goes to `left_out`."""
    part = max(1, CHECKED // cell.classes)
    few = y[:part], (p[0][:part], p[1]) if isinstance(p, tuple) else p[:part]
    first, entries = contestant(cell, "fastloss", *few), {}
    for name in installed():
        try:
            other = contestant(cell, name, *few)
            if other is None or first is None:
                continue
            check({"fastloss": first, name: other}, cell.dtype)
            entry = other if len(y) <= part else contestant(cell, name, y, p)
        except Exception as error:  # of another library, of any kind
            if name == "fastloss":
                raise
            left_out[f"{name}, {cell.loss}.{cell.method} {cell.dtype}, {cell.shape}"] = str(error)[:150]
        else:
            entries[name] = entry
    return entries


def simpler_call(cell: Cell, y: Any, p: Any) -> Limits:
    """Return what a shape is compared with, the straight call, or a loss, the simplest one."""
    if cell.family == "shapes":
        return {"straight call": (by_fastloss(cell.loss, cell.method, y, p, cell.threads), 1.0)}
    if cell.family == "rows":  # as many numbers to read, where labels are classes
        y = p = p.ravel()
    return {"squared_error": (by_fastloss("squared_error", cell.method, y, p, cell.threads), 1.0)}


@cache
def beyond_cache(dtype: str, threads: int) -> dict[str, Entry]:
    return triads(BEYOND_CACHE // np.dtype(dtype).itemsize, dtype, threads)


def triad(cell: Cell, moved: int) -> Limits:
    """Return ways to move so many bytes; where they are beyond the cache, to move other ones of a fixed number."""
    itemsize = np.dtype(cell.dtype).itemsize
    if moved > BEYOND_CACHE:
        entries, size = beyond_cache(cell.dtype, cell.threads), BEYOND_CACHE // itemsize
    else:
        size = max(1, round(moved / itemsize / 3))
        entries = triads(size, cell.dtype, cell.threads)
    return {name: (entry, moved / (3 * itemsize * size)) for name, entry in entries.items()}


def loss_cell(cell: Cell, left_out: dict[str, str]) -> Prepared:
    plain = inputs(cell, cell.n)
    y, p = arrange(cell.shape, *plain)
    entries = contestants(cell, y, p, left_out)
    written = {"value": 0, "grad": 1, "value_and_grad": 1, "grad_and_hess": 2}[cell.method]
    moved = y.nbytes + (1 + written) * p.nbytes
    if cell.family == "shapes" or (moved <= BEYOND_CACHE and cell.loss != "squared_error"):
        return entries, simpler_call(cell, *plain)
    return entries, triad(cell, moved)


def objective_cell(cell: Cell, left_out: dict[str, str]) -> Prepared:
    """The logistic loss of a linear model, beside one look at X."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((cell.n, cell.features), dtype=np.dtype(cell.dtype).type)
    y = rng.integers(0, 2, cell.n).astype(cell.dtype)
    w = (rng.normal(size=cell.features + 1) / cell.features**0.5).astype(cell.dtype)
    entries = linear.contestants(x, y, w, cell.threads)
    others = {name: entry for name, entry in entries.items() if not name.startswith("memory")}
    if x.nbytes > BEYOND_CACHE:
        return others, triad(cell, x.nbytes)
    return others, {"X @ w": (Entry(lambda x, w: x @ w, x, w[:-1], tuple), 1.0)}


def layer_cell(cell: Cell, left_out: dict[str, str]) -> Prepared:
    y, (x, w) = inputs(cell, cell.n)
    scores = x @ w.T
    products = Entry(lambda x, w: (x @ w.T, scores @ w, scores.T @ x), x, w, tuple)
    return contestants(cell, y, (x, w), left_out), {"three products": (products, 1.0)}


def threadless(cell: Cell, names: Collection[str]) -> list[str]:
    """Return those whose calls leave no spinning threads behind."""
    if cell.family == "linear":
        return []  # the matrix products of NumPy have threads
    if cell.threads == 1:
        return list(names)
    small = cell.elements < THREADS_FROM
    return [name for name in names if name == "NumPy" or (small and name != "scikit-learn")]
