"""What every loss of rows of scores must be: one mpmath expression each, of the cost -log p of the true class.

As in `references.py`, the derivatives have no formulas: they are those of `jets.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from jets import Jet, exp, expm1, jet, log, log1p, seen, sqrt
from mpmath import inf, mp, mpf
from references import _alike

DIGITS = 60, 120, 700, 1400


@dataclass(frozen=True)
class RowReference:
    """The value; the parameters to try; whether labels may be rows, must be rows; what the value is a function of.

    That is the cost of the true class, or the rows of labels and of the softmax or the scores.
    """

    value: Callable[..., Any]
    params: tuple[dict[str, float], ...] = field(default=({},))
    soft: bool = False
    of: str = "cost"  # or "softmax", "scores", "probabilities"
    hard: bool = True

    @property
    def smooth(self) -> bool:
        """Whether it is the cross-entropy of labels that need not be a class."""
        return self.soft and self.of == "cost"


def focal(cost, gamma=2.0):
    if not jet(cost).v:  # nothing but the true class: flat
        return mpf(0)
    log_q = log(-expm1(-cost)) if cost < 1 else log1p(-exp(-cost))
    return exp(mpf(gamma) * log_q) * cost


def total(terms):
    return sum(terms, mpf(0))


def dot(a, b):
    return total(x * y for x, y in zip(a, b, strict=True))


def one_hot_hinge(y, s, power):
    gaps = (mpf(1) / 2 - (b if a else -b) for a, b in zip(y, s, strict=True))
    return total(gap**power for gap in gaps if gap > 0)


def multiclass_hinge(y, s):
    t = y.index(1)
    rivals = [b for k, b in enumerate(s) if k != t]
    if not rivals:
        return mpf(0)
    gap = 1 + (max(rivals, key=lambda b: jet(b).v) - s[t])  # the difference may be of large numbers
    return gap if gap > 0 else mpf(0)


def multi_margin(y, s, p=1, margin=1.0):
    t = y.index(1)
    gaps = (mpf(margin) + (b - s[t]) for k, b in enumerate(s) if k != t)
    return total(gap ** int(p) for gap in gaps if gap > 0) / len(s)


def js_divergence(y, p):
    found = mpf(0)
    for a, b in zip(y, p, strict=True):
        middle = (a + b) / 2
        found += a * (mp.log(a) - log(middle)) if a else 0
        found += b * (log(b) - log(middle))
    return found / 2


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

# Those of other functions of a row.
TERM_REFERENCES = {
    "expectation_l1": RowReference(lambda cost: -2 * expm1(-cost)),
    "chebyshev": RowReference(lambda cost: -expm1(-cost)),
    "squared_log": RowReference(lambda cost: cost * cost),
    "expectation_l2": RowReference(
        lambda y, p: total((b - a) ** 2 for a, b in zip(y, p, strict=True)), of="softmax"
    ),
    "tanimoto": RowReference(lambda y, p: -dot(y, p) / (dot(p, p) + dot(y, y) - dot(y, p)), of="softmax"),
    "cauchy_schwarz": RowReference(lambda y, p: -log(dot(y, p) / sqrt(dot(p, p) * dot(y, y))), of="softmax"),
    "one_hot_l1": RowReference(
        lambda y, s: total(abs(a - b) for a, b in zip(s, y, strict=True)), of="scores", soft=True
    ),
    "one_hot_l2": RowReference(
        lambda y, s: total((a - b) ** 2 for a, b in zip(s, y, strict=True)), of="scores", soft=True
    ),
    "one_hot_hinge": RowReference(lambda y, s: one_hot_hinge(y, s, 1), of="scores"),
    "one_hot_squared_hinge": RowReference(lambda y, s: one_hot_hinge(y, s, 2), of="scores"),
    "one_hot_cubed_hinge": RowReference(lambda y, s: one_hot_hinge(y, s, 3), of="scores"),
    "multiclass_hinge": RowReference(multiclass_hinge, of="scores"),
    "multi_margin": RowReference(
        multi_margin, params=({}, {"p": 2.0}, {"margin": 0.25}, {"p": 2.0, "margin": 3.0}), of="scores"
    ),
    "cross_entropy": RowReference(
        lambda y, p, base=None: (
            total(-a * log(b) for a, b in zip(y, p, strict=True) if a) / (mp.log(base) if base else 1)
        ),
        params=({}, {"base": 2.0}),
        of="probabilities",
        soft=True,
    ),
    "kl_divergence": RowReference(
        lambda y, p: total(a * (mp.log(a) - log(b)) for a, b in zip(y, p, strict=True) if a),
        of="probabilities",
        soft=True,
        hard=False,
    ),
    "js_divergence": RowReference(js_divergence, of="probabilities", soft=True, hard=False),
    "tv_distance": RowReference(
        lambda y, p: total(abs(a - b) for a, b in zip(p, y, strict=True)) / 2,
        of="probabilities",
        soft=True,
        hard=False,
    ),
}


ALL_ROW_REFERENCES = {**ROW_REFERENCES, **TERM_REFERENCES}
WITH_SOFTMAX = {name: r for name, r in ALL_ROW_REFERENCES.items() if r.of in ("cost", "softmax")}


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
    if reference.of != "cost":
        y = (
            [mpf(int(i == label)) for i in range(len(scores))]
            if np.ndim(label) == 0
            else [mpf(float(x)) for x in label]
        )
        of = [exp(-cost) for cost in costs(scores)[1]] if reference.of == "softmax" else scores
        return reference.value(y, of, **params)
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


def condition(
    reference: RowReference, params: dict[str, float], scores: np.ndarray, label: int, k: int, output: int
) -> Any:
    """An eighth of how much relative changes of the exponentials change an output: sum_j |d output / d s_j| / 8.

    Less than the output, but where that crosses 0: there rounded exponentials cannot keep its relative error small.
    """
    step, found = 2.0**-10, mpf(0)
    for j in range(len(scores)):
        moved = scores + np.outer((-step, step), np.arange(len(scores)) == j)
        below, above = (row_exact(reference, params, row, label, k)[output] for row in moved)
        found += abs(above - below) / (2 * step)
    return found / 8


CLASSES = 1, 2, 3, 10, 100, 257, 1003


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

    far = (20.0, 100.0) if classes > 257 else (1.0, 8.0, 17.5, 36.0, 88.0, 100.0, 700.0, 745.0)
    for scale in (0.01, 1.0, 5.0) if classes <= 257 else (2.0,):
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
    if classes <= 257:
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
