"""What every loss of rows of scores must be: one mpmath expression each, of the cost -log p of the true class.

As in `references.py`, the derivatives have no formulas: they are those of `jets.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from jets import Jet, exp, expm1, jet, log, log1p, seen
from mpmath import inf, mp, mpf
from references import _alike

DIGITS = 60, 120, 700, 1400


@dataclass(frozen=True)
class RowReference:
    """The value as a function of the true class's cost; the parameters to try; whether labels may be rows."""

    value: Callable[..., Any]
    params: tuple[dict[str, float], ...] = field(default=({},))
    soft: bool = False


def focal(cost, gamma=2.0):
    if not jet(cost).v:  # nothing but the true class: flat
        return mpf(0)
    log_q = log(-expm1(-cost)) if cost < 1 else log1p(-exp(-cost))
    return exp(mpf(gamma) * log_q) * cost


ROW_REFERENCES = {
    "softmax_cross_entropy": RowReference(
        lambda cost: cost,
        params=(
            {},
            {"label_smoothing": 0.125},
            {"z_loss": 0.0078125},
            {"label_smoothing": 0.75, "z_loss": 0.1},
            {"label_smoothing": 1.0},
        ),
        soft=True,
    ),
    "softmax_focal": RowReference(focal, params=({}, {"gamma": 0.0}, {"gamma": 0.5}, {"gamma": 5.0})),
    "poly1": RowReference(
        lambda cost, epsilon=1.0: cost - mpf(epsilon) * expm1(-cost),
        params=({}, {"epsilon": 0.0}, {"epsilon": 8.0}, {"epsilon": -0.5}, {"epsilon": -1.0}),
    ),
    "generalized_cross_entropy": RowReference(
        lambda cost, q=0.7: -expm1(-mpf(q) * cost) / mpf(q) if q else cost,
        params=({}, {"q": 0.0}, {"q": 0.125}, {"q": 1.0}),
    ),
}


@lru_cache(maxsize=1 << 16)
def _exp(x, dps):
    return mp.exp(x)


def costs(scores: Sequence[Any]) -> tuple[Any, list[Any]]:
    """The logarithm of the sum of exponentials, and by class the cost -log p; nothing cancels in the latter."""
    values = [jet(s).v for s in scores]
    first = max(range(len(values)), key=values.__getitem__)
    top, v = scores[first], values[first]
    rest = mp.fsum(_exp(s - v, mp.dps) for i, s in enumerate(scores) if i != first and not isinstance(s, Jet))
    moved = [exp(s - v) for i, s in enumerate(scores) if i != first and isinstance(s, Jet)]
    rest = sum(moved, rest) * (exp(Jet(mpf(0), -top.d)) if isinstance(top, Jet) else 1)
    log_sum = log1p(rest)
    return top + log_sum, [log_sum if i == first else top - s + log_sum for i, s in enumerate(scores)]


def row_value(reference: RowReference, params: dict[str, float], scores: Sequence[Any], label: Any) -> Any:
    """The value of a row; the label is a class, or a probability by class."""
    lse, cost = costs(scores)
    if not reference.soft:
        return reference.value(cost[label], **params)
    e, z, n = mpf(params.get("label_smoothing", 0)), mpf(params.get("z_loss", 0)), len(scores)
    y = [mpf(int(i == label)) for i in range(n)] if np.ndim(label) == 0 else [mpf(float(x)) for x in label]
    mass = mp.fsum(y)
    shares = [(1 - e) * x + e / n * mass for x in y]
    # not a product of jets, which has 0 inf
    parts = [
        jet(c).chain(share * jet(c).v, share, mpf(0)) for share, c in zip(shares, cost, strict=True) if share
    ]
    value = sum(parts, mpf(0))
    return value + z * mass * lse * lse if z else value


def row_exact(
    reference: RowReference, params: dict[str, float], scores: np.ndarray, label: Any, k: int
) -> tuple[Any, Any, Any]:
    """Value and, by the score of class k, first and second derivative, in enough digits."""
    before = None
    for dps in DIGITS:
        with mp.workdps(dps):
            seen.update(close=False, sided=False)
            row = [mpf(float(s)) for s in scores]
            row[k] = Jet(row[k], mpf(1))
            got = jet(row_value(reference, params, row, label))
            found = got.v, got.d, got.e
            if (
                before
                and not seen["close"]
                and all(a == b or _alike(a, b) for a, b in zip(found, before, strict=False))
            ):
                break
            before = found
    return found


def curvature_terms(
    reference: RowReference, params: dict[str, float], scores: np.ndarray, label: int, k: int
) -> Any:
    """|f'' (dc/ds)^2| + |f' d2c/ds2|: the Hessian's terms, which may cancel."""
    with mp.workdps(DIGITS[2]):
        row = [mpf(float(s)) for s in scores]
        row[k] = Jet(row[k], mpf(1))
        cost = jet(costs(row)[1][label])
        if not cost.v:
            return mpf(0)
        f = jet(reference.value(Jet(cost.v, mpf(1)), **params))
        return abs(f.e * cost.d**2) + abs(f.d * cost.e)


CLASSES = 1, 2, 3, 10, 100, 101, 1003


def rows(classes: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Labels and rows of scores: moderate, saturated, tied, huge, tiny, and with classes that are left out."""
    rng = np.random.default_rng(classes)
    found: list[tuple[int, np.ndarray]] = []

    def add(label: int, scores: Any) -> None:
        found.append((label % classes, np.broadcast_to(scores, (classes,)).astype(dtype)))

    def spread(*places: tuple[int, float], scale: float = 1.0) -> np.ndarray:
        scores = rng.normal(size=classes) * scale
        for k, s in places:
            scores[k % classes] = s
        return scores

    far = (20.0, 100.0) if classes > 101 else (1.0, 8.0, 17.5, 36.0, 88.0, 100.0, 700.0, 745.0)
    for scale in (0.01, 1.0, 5.0) if classes <= 101 else (2.0,):
        add(rng.integers(classes), spread(scale=scale))
    for gap in far:
        add(-1, spread((-1, gap)))  # right
        add(1, spread((-1, gap)))  # wrong
        add(1, spread((1, gap), (0, gap * (1 + 2.0**-20))))  # two close at the top
    add(2, 0.0)
    add(1, spread((0, 9.0), (1, 9.0)))
    add(2, spread((0, 9.0), (1, 9.0)))
    left_out = spread()
    left_out[1::2] = -inf
    add(0, left_out)
    if classes <= 101:
        alone = np.full(classes, -np.inf)
        alone[-1] = 3.25
        add(-1, alone)
        big = float(np.finfo(dtype).max)
        add(0, spread(scale=big / 64))
        add(-1, spread((-1, big / 2), (0, -big / 2), scale=big / 64))
        add(0, big)
        add(0, spread(scale=float(np.finfo(dtype).smallest_subnormal) * 100))
        add(1, spread((0, 1e-9), (1, -1e-9), scale=1e-7))
    labels, scores = zip(*found, strict=True)
    return np.array(labels), np.array(scores)


def soft_labels(classes: int, scores: np.ndarray, dtype: type) -> np.ndarray:
    """Rows of probabilities: one-hot, even, random, of another sum than 1, and close to the softmax itself."""
    rng = np.random.default_rng(1)
    labels = rng.dirichlet(np.ones(classes), len(scores))
    labels[::5] = np.eye(classes)[rng.integers(classes, size=len(labels[::5]))]
    labels[1::5] = 1 / classes
    labels[2::5] *= 0.5
    with np.errstate(all="ignore"):
        shifted = np.exp(scores.astype(float) - scores.max(axis=1, keepdims=True))
    labels[3::5] = np.nan_to_num((shifted / shifted.sum(axis=1, keepdims=True))[3::5])
    labels[labels < 1e-30] = 0  # products with subnormal labels lose digits
    return labels.astype(dtype)
