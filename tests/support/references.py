"""What every loss must be: one mpmath expression each, with the inputs and parameters to try it on.

The derivatives have no formulas here: they are those of `jets.py`, in as many digits as it takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jets import Jet, exp, expm1, jet, log, log1p, seen, sqrt
from mpmath import inf, mp, mpf

DIGITS = 60, 120, 700, 1400, 2800, 5600
INF = float("inf")


@dataclass(frozen=True)
class Reference:
    """The value as a function of exact y_true and y_pred; which inputs it takes; parameters to try."""

    value: Callable[..., Any]
    labels: str = "real"  # a key of LABELS
    scores: str = "real"  # a key of SCORES
    params: tuple[dict[str, float | None], ...] = field(default=({},))


def softplus(s):
    # log1p of an exact exponential: mpmath keeps the tail at any size of s
    return log1p(exp(s)) if s <= 0 else s + log1p(exp(-s))


def sign_of(y):
    return 1 if y > 0 else -1


def hinge_gap(y, s):
    return max(1 - sign_of(y) * s, mpf(0))


def huber(y, p, delta=1.0):
    r = abs(p - y)
    return r**2 / 2 if r <= delta else mpf(delta) * (r - mpf(delta) / 2)


def tukey(y, p, c=4.685):
    u = ((p - y) / mpf(c)) ** 2
    return mpf(c) ** 2 / 6 * (1 - (1 - u) ** 3 if u <= 1 else 1)


def barron(y, p, alpha=1.0, c=1.0):
    x2 = ((p - y) / mpf(c)) ** 2
    if alpha == 2:
        return x2 / 2
    if alpha == 0:
        return log1p(x2 / 2)
    if alpha == -INF:
        return -expm1(-x2 / 2)
    b = abs(mpf(alpha) - 2)
    return b / alpha * expm1(mpf(alpha) / 2 * log1p(x2 / b))


def tweedie(y, s, power=1.5):
    q = mpf(power)
    first = s if q == 2 else exp((2 - q) * s) / (2 - q)
    second = y * s if q == 1 else y * exp((1 - q) * s) / (1 - q)
    return first - second


def negative_binomial(y, s, dispersion=1.0):
    k = mpf(dispersion)
    return (y + 1 / k) * log1p(k * exp(s)) - y * s


def binary_cross_entropy(y, p, base=None):
    entropy = sum(-w * log(x) for w, x in ((y, p), (1 - y, 1 - p)) if w)
    return entropy / (log(mpf(base)) if base else 1)


def focal(y, s, gamma=2.0, alpha=None):
    m = sign_of(y) * s
    weight = 1 if alpha is None else mpf(alpha) if y > 0 else 1 - mpf(alpha)
    return weight * exp(-mpf(gamma) * softplus(m)) * softplus(-m)


REFERENCES = {
    "squared_error": Reference(lambda y, p: (p - y) ** 2),
    "half_squared_error": Reference(lambda y, p: (p - y) ** 2 / 2),
    "absolute_error": Reference(lambda y, p: abs(p - y)),
    "huber": Reference(huber, params=({}, {"delta": 0.25}, {"delta": 30.0})),
    "smooth_l1": Reference(
        lambda y, p, beta=1.0: huber(y, p, beta) / mpf(beta) if beta else abs(p - y),
        params=({}, {"beta": 0.0}, {"beta": 8.0}),
    ),
    "pseudo_huber": Reference(
        lambda y, p, delta=1.0: mpf(delta) ** 2 * (sqrt(1 + ((p - y) / mpf(delta)) ** 2) - 1),
        params=({}, {"delta": 0.125}, {"delta": 16.0}),
    ),
    "log_cosh": Reference(lambda y, p: abs(p - y) + log1p(exp(-2 * abs(p - y))) - log(2)),
    "pinball": Reference(
        lambda y, p, quantile=0.5: max(mpf(quantile) * (y - p), (mpf(quantile) - 1) * (y - p)),
        params=({}, {"quantile": 0.125}, {"quantile": 0.75}),
    ),
    "expectile": Reference(
        lambda y, p, level=0.5: (mpf(level) if y >= p else 1 - mpf(level)) * (y - p) ** 2 / 2,
        params=({}, {"level": 0.125}, {"level": 0.75}),
    ),
    "epsilon_insensitive": Reference(
        lambda y, p, epsilon=0.1: max(abs(p - y) - epsilon, mpf(0)),
        params=({"epsilon": 0.125}, {"epsilon": 0.0}),
    ),
    "squared_epsilon_insensitive": Reference(
        lambda y, p, epsilon=0.1: max(abs(p - y) - epsilon, mpf(0)) ** 2,
        params=({"epsilon": 0.125}, {"epsilon": 0.0}),
    ),
    "squared_log_error": Reference(
        lambda y, p: (log1p(p) - log1p(y)) ** 2, labels="above -1", scores="above -1"
    ),
    "absolute_percentage_error": Reference(
        lambda y, p, epsilon=None: abs(p - y) / max(abs(y), mpf(epsilon or 2**-52)),
        params=({}, {"epsilon": 0.5}),
    ),
    "fair": Reference(
        lambda y, p, c=1.0: mpf(c) ** 2 * (abs(p - y) / mpf(c) - log1p(abs(p - y) / mpf(c))),
        params=({}, {"c": 0.25}, {"c": 8.0}),
    ),
    "cauchy": Reference(
        lambda y, p, c=1.0: mpf(c) ** 2 / 2 * log1p(((p - y) / mpf(c)) ** 2),
        params=({}, {"c": 0.25}, {"c": 8.0}),
    ),
    "welsch": Reference(
        lambda y, p, c=1.0: -(mpf(c) ** 2) / 2 * expm1(-(((p - y) / mpf(c)) ** 2)),
        params=({}, {"c": 0.25}, {"c": 8.0}),
    ),
    "geman_mcclure": Reference(
        lambda y, p, c=1.0: (p - y) ** 2 / 2 / (1 + ((p - y) / mpf(c)) ** 2),
        params=({}, {"c": 0.25}, {"c": 8.0}),
    ),
    "tukey_biweight": Reference(tukey, params=({"c": 4.0}, {"c": 0.5})),
    "barron": Reference(
        barron,
        params=(
            {},
            {"alpha": 2.0},
            {"alpha": 0.0},
            {"alpha": -INF},
            {"alpha": -2.0, "c": 0.5},
            {"alpha": 1.5, "c": 2.0},
            {"alpha": -40.0},
            {"alpha": 3.0},
        ),
    ),
    "poisson": Reference(lambda y, s: exp(s) - y * s, labels="count"),
    "gamma": Reference(lambda y, s: s + y * exp(-s), labels="positive"),
    "tweedie": Reference(
        tweedie,
        labels="positive",
        params=(
            {},
            {"power": 1.0},
            {"power": 2.0},
            {"power": 0.0},
            {"power": 3.0},
            {"power": -1.0},
            {"power": 1.25},
            {"power": 1.7},
            {"power": -0.1},
        ),
    ),
    "negative_binomial": Reference(
        negative_binomial, labels="count", params=({}, {"dispersion": 0.125}, {"dispersion": 16.0})
    ),
    "logistic": Reference(
        lambda y, s, pos_weight=1.0: (1 - y) * softplus(s) + mpf(pos_weight) * y * softplus(-s),
        labels="unit",
        params=({}, {"pos_weight": 4.0}),
    ),
    "binary_cross_entropy": Reference(
        binary_cross_entropy, labels="unit", scores="probability", params=({}, {"base": 2.0}, {"base": 10.0})
    ),
    "hinge": Reference(hinge_gap, labels="binary"),
    "squared_hinge": Reference(lambda y, s: hinge_gap(y, s) ** 2, labels="binary"),
    "modified_huber": Reference(
        lambda y, s: hinge_gap(y, s) ** 2 if sign_of(y) * s >= -1 else -4 * sign_of(y) * s, labels="binary"
    ),
    "perceptron": Reference(lambda y, s: max(-sign_of(y) * s, mpf(0)), labels="binary"),
    "exponential": Reference(lambda y, s: y * exp(-s) + (1 - y) * exp(s), labels="unit"),
    "focal": Reference(
        focal,
        labels="binary",
        params=({}, {"gamma": 0.0}, {"gamma": 0.5}, {"gamma": 5.0, "alpha": 0.25}),
    ),
    "brier": Reference(lambda y, p: (p - y) ** 2, labels="unit", scores="probability"),
}

LABELS = {
    "real": [0.0, 1.375, -0.8125, 1e-5, 123.0],
    "count": [0.0, 1.0, 3.0, 0.5, 1000.0],
    "positive": [1.0, 0.5, 3.0, 1e-3, 1000.0],
    "unit": [0.0, 1.0, 0.25, 0.9375],
    "binary": [0.0, 1.0, -1.0],
    "above -1": [0.0, 1.0, -0.75, 1e-5, 1e4],
}


def _both(*magnitudes: float) -> list[float]:
    return [0.0, *magnitudes, *(-m for m in magnitudes)]


SCORES = {
    "real": _both(
        5e-324, 1e-310, 1e-150, 1e-20, 1e-8, 1e-3, 0.1, 0.3, 0.7, 1.1, 1.9, 3.3, 7.1, 18.5, 36.2, 37.9, 60.1,
        87.6, 88.9, 103.4, 140.3, 360.7, 700.3, 709.5, 720.9, 745.7, 1e3, 1e10, 1e20, 1e36, 1e150, 1e300,
    ),
    "probability": [
        5e-324, 1e-310, 1e-100, 1e-30, 1e-8, 0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999, 1 - 2.0**-24, 1 - 2.0**-53,
    ],
    "above -1": [
        0.0, 5e-324, 1e-100, 1e-20, 1e-8, 0.001, 0.3, 1.0, 3.7, 100.0, 1e10, 1e20, 1e30, 1e200, 1e300,
        -1e-20, -1e-8, -0.3, -0.75, -0.999, -1 + 2.0**-24, -1 + 2.0**-53,
    ],
}  # fmt: skip


def points(reference: Reference, dtype: type, random_scores: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """All labels against all scores, with random scores besides, as arrays of the dtype."""
    rng, half = np.random.default_rng(0), random_scores // 2
    labels = np.array(LABELS[reference.labels]).astype(dtype)
    listed = np.array(SCORES[reference.scores])
    random = {
        "real": np.concatenate([rng.normal(size=half), rng.normal(size=half) * 20]),
        "probability": rng.random(random_scores),
        "above -1": np.expm1(rng.normal(size=random_scores) * 3),
    }[reference.scores]
    with np.errstate(over="ignore", under="ignore"):
        scores = np.concatenate([listed, random]).astype(dtype)
    scores = scores[np.isfinite(scores)]
    if reference.scores == "above -1":
        scores = scores[scores > -1]
    if reference.scores == "probability":
        scores = scores[(scores > 0) & (scores < 1)]
    y, p = np.meshgrid(labels, scores, indexing="ij")
    return y.ravel(), p.ravel()


def _step(reference: Reference, y: Any, p: Any) -> Any:
    """A step far below the distance to anything where the function may bend."""
    corners = [p - y, 1 - p, 1 + p]
    if reference.labels == "binary" or reference.scores == "probability":
        corners.append(p)
    return min(abs(x) for x in corners if x) * mpf(10) ** -40


def _alike(a: Any, b: Any) -> bool:
    return abs(a - b) <= abs(a) * mpf(10) ** -25


def exact(
    reference: Reference, params: dict[str, Any], y: Any, p: Any, digits: tuple[int, ...] = DIGITS
) -> tuple[Any, Any, Any]:
    """Value, first and second derivative at exact inputs, in more and more digits until these change nothing.

    At a kink the first derivative is the subgradient of least norm; None where there is no second.
    """
    y, p, before = mpf(y), mpf(p), None
    for dps in digits:
        with mp.workdps(dps):
            seen.update(close=False, sided=False)
            right = left = jet(reference.value(y, Jet(p, mpf(1)), **params))
            if seen["sided"]:
                below = jet(reference.value(y, Jet(p, mpf(-1)), **params))
                left = Jet(below.v, -below.d, below.e)
            found = [right.v, right.d, right.e, left.d, left.e]
            if before and not seen["close"] and all(map(_alike, found, before)):
                break
            before = found
    value, first, second, left, curve = found
    with mp.workdps(60):
        smooth = _alike(first, left)
        slope = first if smooth else mpf(0) if first * left < 0 else min(first, left, key=abs)
        return value, slope, second if smooth and _alike(second, curve) else None


def condition(reference: Reference, params: dict[str, Any], y: float, p: float, output: int) -> Any:
    """What relative changes of the inputs do to an output: |p dF/dp| + |y dF/dy|."""
    with mp.workdps(DIGITS[-1]):
        y, p = mpf(float(y)), mpf(float(p))
        h = _step(reference, y, p) * mpf(10) ** 20

        def slope(dy, dp):
            ends = [exact(reference, params, y + s * dy, p + s * dp, DIGITS[-2:])[output] for s in (-1, 1)]
            return mpf(0) if None in ends else (ends[1] - ends[0]) / (2 * h)

        return abs(p * slope(0, h)) + abs(y * slope(h, 0))


def ulp(want: Any, dtype: type) -> Any:
    """The unit in the last place of a result."""
    info = np.finfo(dtype)
    exponent = mp.frexp(want)[1] - 1 if want else -(10**9)
    return mpf(2) ** (max(exponent, int(info.minexp)) - info.nmant)


def ulp_error(got: float, want: Any, dtype: type) -> float:
    """The distance in units of the last place of the exact result."""
    info = np.finfo(dtype)
    with mp.workdps(60):
        if abs(want) > mpf(float(info.max)) * (1 + mpf(2) ** -info.nmant / 4):
            return 0.0 if np.isinf(got) and (got > 0) == (want > 0) else inf
        if not np.isfinite(got):
            # a result within an ulp of the largest number may round to inf
            return (
                1.0
                if np.isinf(got) and abs(want) >= mpf(float(info.max)) * (1 - mpf(2) ** -info.nmant)
                else inf
            )
        return float(abs(mpf(float(got)) - want) / ulp(want, dtype))
