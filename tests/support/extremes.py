"""Arguments of any size for pointwise losses, and which results are further from the exact ones than they may be."""

from __future__ import annotations

import math

import numpy as np
from accuracy import BASELINE, BEYOND, OUTPUTS, changes_sign
from mpmath import mp, mpf
from references import REFERENCES, condition, exact, ulp, ulp_error

import fastloss as fl
from fastloss import _core

FACTORS = [1, 1 + 2.0**-20, 0.75, 1.5, -1]  # of y_true, for a y_pred that is near


BOUND = BASELINE if _core.level() == "v2" else 2.0


def power(name, params, y, p):
    """The exponent of the powers that barron and focal are: the relative error of its rounding counts that often."""
    if name == "barron" and params["alpha"] not in (0, 2, -math.inf):
        z = ((p - y) / mpf(params["c"])) ** 2 / abs(mpf(params["alpha"]) - 2)
        return abs(mpf(params["alpha"]) / 2 - 1) * mp.log1p(z)
    if name == "focal":
        return params["gamma"] * mp.log1p(mp.exp(p if y > 0 else -p))
    return 0


def bound_of(name, params, y, p):
    """Twice the precision is not quite reached by logarithms: 0.7 ULP for each unit of the exponent."""
    with mp.workdps(60):
        return max(BOUND, BEYOND.get(name, 0)) + 0.7 * min(float(power(name, params, y, p)), 800)


def unspecified(name, params, y, p, dtype):
    """Where docs/guarantees.md promises nothing but that it is no NaN."""
    with np.errstate(over="ignore"):
        if REFERENCES[name].labels == "real" and np.isinf(p - y):
            return True
    if name == "tweedie":
        return abs(params["power"]) > 1e10
    if name == "logistic":
        return y > 0 and 0 < mpf(params["pos_weight"]) * mpf(float(y)) < np.finfo(dtype).tiny
    if name == "negative_binomial":
        return abs(p) > -math.log(np.finfo(dtype).tiny) or params["dispersion"] < math.sqrt(
            np.finfo(dtype).tiny
        )
    return False


SIZES = [1e-20, 0.1, 0.5, 1.0, 2.0, 10.0, 88.0, 104.0, 130.0, 175.0, 200.0, 700.0, 745.0, 770.0, 1415.0]

SIZES += [1e10, 1e20, 1e30]


def sizes(dtype):
    info = np.finfo(dtype)
    ends = [
        info.smallest_subnormal,
        1e-40 if dtype is np.float32 else 1e-310,
        info.tiny,
        info.max / 4,
        info.max,
    ]
    return [0.0, *(float(dtype(x)) for x in [*ends, *SIZES])]


# What each of these arguments may be
ALLOWED = {
    "real": lambda x: True,
    "count": lambda x: x >= 0,
    "positive": lambda x: x > 0,
    "unit": lambda x: 0 <= x <= 1,
    "binary": lambda x: abs(x) == 1 or x == 0,
    "above -1": lambda x: x > -1,
    "probability": lambda x: 0 < x < 1,
    "quantile": lambda x: 0 < x < 1,
    "level": lambda x: 0 < x < 1,
    "beta": lambda x: x >= 0,
    "epsilon": lambda x: x >= 0,
    "pos_weight": lambda x: x >= 0,
    "gamma": lambda x: x >= 0,
    "base": lambda x: x > 0 and x != 1,
    "power": lambda x: x <= 0 or x >= 1,
    "alpha": lambda x: True,
}  # the other parameters are scales: > 0


def allowed(name, kind, dtype):
    both = [s * x for x in sizes(dtype) for s in ((1, -1) if x else (1,))]
    if name == "barron" and kind == "alpha":
        return [*both, -math.inf]
    if name == "focal" and kind == "alpha":
        kind = "unit"
    if name == "absolute_percentage_error" and kind == "epsilon":
        kind = "positive"
    return [x for x in both if ALLOWED.get(kind, ALLOWED["positive"])(x)]


def arguments(name, dtype, count, seed=0):
    """Groups of points that have their parameters in common."""
    rng, reference, loss = np.random.default_rng(seed), REFERENCES[name], fl.get(name)
    labels, scores = (allowed(name, kind, dtype) for kind in (reference.labels, reference.scores))
    group = 6 if loss.params else count
    for _ in range(count // group):
        params = {key: float(rng.choice(allowed(name, key, dtype))) for key in loss.params}
        y, p = (rng.choice(x, group) for x in (labels, scores))
        near = rng.random(group) < 0.4  # a difference that is not that of the magnitudes, or of one magnitude
        if reference.labels == reference.scores:
            with np.errstate(over="ignore"):
                p = np.where(
                    near, y * rng.choice(FACTORS[: 5 if reference.labels == "real" else 4], group), p
                )
        yield params, *(np.clip(x, -np.finfo(dtype).max, np.finfo(dtype).max).astype(dtype) for x in (y, p))


def wrong_ones(name, params, y, p):
    """Every result that is further from the exact one than it may be."""
    reference, loss, dtype, found = REFERENCES[name], fl.get(name, **params), y.dtype.type, []
    params = {key: v if v is None or math.isinf(v) else rounded(v, dtype) for key, v in loss.params.items()}
    with np.errstate(all="ignore"):
        got = [loss(y, p, reduction="none"), *loss.grad_and_hess(y, p, reduction="none")]
    for i in range(y.size):
        at = mpf(float(y[i])), mpf(float(p[i]))
        for output, want in enumerate(exact(reference, params, *at)):
            if want is None:
                continue
            result, bound = got[output][i], bound_of(name, params, *at)
            if unspecified(name, params, y[i], p[i], dtype):
                error = math.inf if np.isnan(result) else 0
            else:
                error = float(ulp_error(result, want, dtype))
            if error > bound and math.isfinite(result):
                with mp.workdps(60):
                    cancels = changes_sign(reference, params, *at, output, want)
                if cancels:
                    unit = ulp(max(condition(reference, params, y[i], p[i], output), abs(want)), dtype)
                    error = float(abs(mpf(float(result)) - want) / unit)
            if error > bound:
                found.append(
                    f"{OUTPUTS[output]} of {loss!r} at y_true={y[i]!r}, y_pred={p[i]!r} "
                    f"is {result!r}, not {mp.nstr(want, 9)}: {error:.3g} ULP"
                )
    return found


def rounded(x, dtype):
    """A parameter as the dtype holds it: neither 0 nor inf unless it is."""
    info = np.finfo(dtype)
    low, high = float(info.smallest_subnormal), float(info.max)
    return float(dtype(math.copysign(min(max(abs(x), low), high), x))) if x else x


def wrong(name, dtype, count, seed=0):
    return [line for group in arguments(name, dtype, count, seed) for line in wrong_ones(name, *group)]
