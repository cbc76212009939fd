"""The recorded bits of losses of rows, in tests/vectors/rows.txt: a line for each loss, parameters and dtype.

    softmax_focal gamma=0.5 f32 10 hard 1f0c... 0x1p-1 0x0p+0 0x0p+0 0x0p+0

After the name and parameters: dtype, classes, kind of labels, a hash of all outputs, and what the loss's declaration
returns. Scores, weights and labels are multiples of powers of 2 from a generator: exact in both dtypes, and the same
everywhere. tests/c/rows.c computes them, too.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from recorded import DTYPES, FOLDER, canonical, generated
from row_references import ALL_ROW_REFERENCES

import fastloss as fl

FILE = FOLDER / "rows.txt"
ROWS = 67  # a tile, and a rest
MULTIPLIER = np.uint64(6364136223846793005)
WIDTHS = 1, 2, 3, 10, 100, 101, 300


def shares(numbers: np.ndarray) -> np.ndarray:
    """Rows that add up to 1, nearly."""
    return numbers * 2**20 // numbers.sum(axis=1, keepdims=True) * 2.0**-20


def inputs(of: str, classes: int, dtype: type, soft: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels, scores, weights = (a[: ROWS * classes].reshape(ROWS, classes) for a in generated())
    if of == "probabilities":
        p, y = shares(scores), shares(labels)
    else:
        p, y = (scores - 2.0**23) * 2.0**-20, labels * 2.0**-24
        p[::7] *= 16  # saturated
        p[1::7] = np.floor(p[1::7])  # ties
    w = (weights.ravel()[:ROWS] >> 20) * 0.125
    return (y.astype(dtype) if soft else labels[:, 0] % classes), p.astype(dtype), w.astype(dtype)


def hashed(arrays: list[np.ndarray]) -> str:
    """The bits as digits of a number to an odd base, modulo 2^64: one that differs changes it."""
    words = np.concatenate([canonical(a).ravel().astype(np.uint64) for a in arrays])
    powers = np.multiply.accumulate(np.full(words.size, MULTIPLIER))
    return f"{int((words * powers[::-1]).sum()):016x}"


def digest(loss: fl.Loss[...], classes: int, dtype: type, soft: bool) -> str:
    of = ALL_ROW_REFERENCES[loss.name].of
    y, p, w = inputs(of, classes, dtype, soft)
    found = [loss(y, p, reduction="none")]
    if of in ("cost", "softmax"):
        found.append(loss(y, p, reduction="none", return_lse=True)[1])
    found += loss.grad_and_hess(y, p, sample_weight=w, reduction="none")
    return hashed([*found, loss(y, p, sample_weight=w, reduction="sum"), loss.grad(y, p)])


def lines() -> Iterator[str]:
    for name, reference in ALL_ROW_REFERENCES.items():
        for params in reference.params:
            loss = fl.get(name, **params)
            text = ",".join(f"{key}={float(value)!r}" for key, value in params.items()) or "-"
            own = {key: value for key, value in loss.params.items() if key in loss.own}
            constants = " ".join(float(k).hex() for k in (*loss.declaration(**own), 0, 0, 0, 0)[:4])
            for dtype in DTYPES:
                for classes in WIDTHS:
                    for kind in ["hard"] * reference.hard + ["soft"] * reference.soft:
                        bits = digest(loss, classes, DTYPES[dtype], kind == "soft")
                        yield f"{name} {text} {dtype} {classes} {kind} {bits} {constants}"
