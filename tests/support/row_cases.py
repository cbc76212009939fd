"""Losses of rows with their options, problems for them, and every output of every method."""

from __future__ import annotations

from functools import cache

import numpy as np
from row_references import ROW_REFERENCES

import fastloss as fl

DTYPES = (np.float32, np.float64)

MIXED = {"label_smoothing": 0.25, "z_loss": 0.01}


def equal(got, want):
    """The same bits, but for the sign of 0 and the payload of NaN."""
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


def problem(n=67, classes=7, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(classes, size=n), (rng.normal(size=(n, classes)) * 3).astype(dtype)


def everything(loss, y, p, **options):
    """Each output of each method: parts and fused passes."""
    value, grad = loss.value_and_grad(y, p, reduction="none", **options)
    both, hess, lse, *correct = loss.grad_and_hess(
        y, p, reduction="none", return_lse=True, return_correct=np.shape(y) != np.shape(p), **options
    )
    return [
        value,
        grad,
        both,
        hess,
        lse,
        np.array(correct or 0),
        loss(y, p, reduction="none", **options),
        loss.grad(y, p, reduction="none", **options),
        np.array(loss(y, p, **options)),
        loss.grad(y, p, **options),
    ]


@cache
def variants():
    """Every loss, with rows of labels and other options where it takes them: (loss, soft)."""
    found = [(fl.get(name), False) for name in ROW_REFERENCES]
    soft = [fl.get(name) for name, reference in ROW_REFERENCES.items() if reference.soft]
    return [*found, *((loss.bind(**MIXED), False) for loss in soft), *((loss, True) for loss in soft)]


def labels_for(soft, y, p):
    return np.random.default_rng(3).dirichlet(np.ones(p.shape[-1]), y.shape).astype(p.dtype) if soft else y


# ---- one result, however it is asked for ----------------------------------------------------------------


def layouts(a):
    """The same numbers, laid out otherwise."""
    yield np.asfortranarray(a)
    yield np.ascontiguousarray(a[::-1])[::-1]
    yield np.ascontiguousarray(a[..., ::-1])[..., ::-1]
    room = np.full(tuple(3 * n for n in a.shape), 7, a.dtype)
    view = room[tuple(slice(None, None, 3) for _ in a.shape)]
    view[...] = a
    yield view
    yield a.astype(a.dtype.newbyteorder())
    shifted = np.empty(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    shifted[...] = a
    yield shifted


def softmax(p):
    e = np.exp(p - p.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
