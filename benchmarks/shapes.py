"""The ways to call a loss that map.py compares with the straight one, and what the other libraries do for each."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from contestants import Array, Entry, prepare, torch_entry, torch_losses
from expressions import NUMPY, WITH_KEYWORDS, softmax

if TYPE_CHECKING:
    from cells import Cell

SHAPES = ("out=", "sample_weight", "integer labels", "strided", "Fortran order", "keyword")


def arrange(shape: str, y: Array, p: Array) -> tuple[Array, Array]:
    """Return arrays of the same numbers in the layout, and labels of the dtype, of a shape."""
    if shape == "strided":
        return np.repeat(y, 2)[::2], np.repeat(p, 2, axis=-1)[..., ::2]
    if shape == "integer labels":
        return y.astype(np.int64), p
    if shape != "Fortran order":
        return y, p
    if p.ndim == 1:
        y, p = (np.asfortranarray(array.reshape(-1, 10 if p.size % 10 == 0 else 1)) for array in (y, p))
    return y, np.asfortranarray(p)


def contestant(cell: Cell, name: str, y: Array, p: Array) -> Entry | None:
    """Return the call of one library, or None where it has no such loss. y and p are as `arrange` returns them."""
    if cell.shape == "sample_weight":
        return weighted(cell, name, y, p)
    if cell.shape == "keyword":
        return with_keyword(cell, name, y, p)
    if cell.shape == "integer labels" and name != "fastloss":
        return converting(cell, name, y, p)
    if cell.shape == "strided" and name == "scikit-learn":
        return compacting(cell, name, y, p)
    return straight(replace(cell, out=cell.shape == "out="), name, y, p)


def straight(cell: Cell, name: str, y: Array, p: Array) -> Entry | None:
    return prepare(cell, y, p, [name]).get(name)


def weighted(cell: Cell, name: str, y: Array, p: Array) -> Entry | None:
    """The mean of the weights is 1, so that whoever divides by their number divides by their sum."""
    weights = np.random.default_rng(0).uniform(0.5, 1.5, len(y)).astype(p.dtype)
    weights /= weights.mean()
    entry = straight(cell, name, y, p)
    if entry is None or name == "JAX":
        return None
    if name == "NumPy":
        return entry._replace(function=partial(weighted_in_numpy, cell.loss, weights))
    if name == "PyTorch":
        return weighted_in_torch(cell, y, p, weights)
    return entry._replace(function=partial(entry.function, sample_weight=weights))


def weighted_in_numpy(loss: str, weights: Array, y: Array, p: Array) -> tuple[Any, Any]:
    share = weights / weights.sum()
    if p.ndim == 1:
        value, grad = NUMPY[loss]
        return np.sum(value(y, p) * share), grad(y, p) * share
    rows = np.arange(y.size)
    grad, log_p = softmax(p)
    grad[rows, y] -= 1
    grad *= share[:, None]
    return -np.sum(log_p[rows, y] * share), grad


def weighted_in_torch(cell: Cell, y: Array, p: Array, weights: Array) -> Entry:
    import torch

    w, loss = torch.from_numpy(weights), torch_losses()[cell.loss]
    return torch_entry(
        lambda p, y: (loss(p, y, reduction="none") * w).sum() / w.sum(), cell.method, y, p, cell.threads
    )


def with_keyword(cell: Cell, name: str, y: Array, p: Array) -> Entry | None:
    """With another parameter than the default."""
    keywords: dict[str, Any]
    keywords, in_numpy = WITH_KEYWORDS[cell.loss]
    if name == "NumPy":
        return Entry(in_numpy, y, p, tuple)
    if name == "fastloss":
        entry = straight(cell, name, y, p)
        return entry and entry._replace(function=partial(entry.function, **keywords))
    if name != "PyTorch":
        return None
    import torch

    if "pos_weight" in keywords:
        keywords = {"pos_weight": torch.tensor(keywords["pos_weight"])}
    loss = partial(torch_losses()[cell.loss], **keywords)
    return torch_entry(loss, cell.method, y, p, cell.threads)


def converting(cell: Cell, name: str, y: Array, p: Array) -> Entry | None:
    """The others take labels of the dtype of the scores: the conversion is part of their call."""
    entry = straight(cell, name, y.astype(p.dtype), p)
    if entry is None or name == "JAX":
        return None
    if name == "PyTorch":
        import torch

        return entry._replace(function=lambda y, p: entry.function(y.to(p.dtype), p), y=torch.from_numpy(y))
    return entry._replace(function=lambda y, p: entry.function(y.astype(p.dtype), p), y=y)


def compacting(cell: Cell, name: str, y: Array, p: Array) -> Entry | None:
    """scikit-learn's losses take contiguous arrays alone: the copies are part of the call."""
    entry = straight(cell, name, y, p)
    compact = np.ascontiguousarray
    return entry and entry._replace(function=lambda y, p: entry.function(compact(y), compact(p)))
