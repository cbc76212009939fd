"""The recorded bits of losses of rows, in tests/vectors/rows.txt: a line for each loss, parameters and dtype.

    softmax_focal gamma=0.5 f32 10 hard 1f0c...     classes, kind of labels, SHA-256 of all outputs

Scores, weights and labels are multiples of powers of 2 from a generator: exact in both dtypes, and the same
everywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from recorded import DTYPES, FOLDER, canonical, generated
from row_references import WITH_SOFTMAX

import fastloss as fl

FILE = FOLDER / "rows.txt"
ROWS = 67  # a tile, and a rest
WIDTHS = 1, 2, 3, 10, 100, 101, 300


def inputs(classes: int, dtype: type, soft: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels, scores, weights = generated()
    p = (scores[: ROWS * classes].reshape(ROWS, classes) - 2.0**23) * 2.0**-20
    p[::7] *= 16  # saturated
    p[1::7] = np.floor(p[1::7])  # ties
    y = labels[: ROWS * classes].reshape(ROWS, classes) * (2.0**-24 if soft else 1)
    w = (weights[:ROWS] >> 20) * 0.125
    return (y.astype(dtype) if soft else y[:, 0] % classes), p.astype(dtype), w.astype(dtype)


def digest(loss: fl.Loss[...], classes: int, dtype: type, soft: bool) -> str:
    y, p, w = inputs(classes, dtype, soft)
    value, lse = loss(y, p, reduction="none", return_lse=True)
    grad, hess = loss.grad_and_hess(y, p, sample_weight=w, reduction="none")
    found = value, lse, grad, hess, loss(y, p, sample_weight=w), loss.grad(y, p)
    return hashlib.sha256(b"".join(canonical(a).tobytes() for a in found)).hexdigest()[:16]


def lines() -> Iterator[str]:
    for name, reference in WITH_SOFTMAX.items():
        for params in reference.params:
            loss = fl.get(name, **params)
            text = ",".join(f"{key}={float(value)!r}" for key, value in params.items()) or "-"
            for dtype in DTYPES:
                for classes in WIDTHS:
                    for soft in (False, True)[: 1 + reference.soft]:
                        kind = "soft" if soft else "hard"
                        yield f"{name} {text} {dtype} {classes} {kind} {digest(loss, classes, DTYPES[dtype], soft)}"
