"""The largest errors of the losses of rows, in ULP: what docs/accuracy.md says.

As the tests of exact results count them: where terms cancel, in ULP of the terms; at ordinary results, of normal size.
"""

from __future__ import annotations

import math

import numpy as np
from mpmath import mp, mpf
from references import ulp, ulp_error
from row_references import (
    ALL_ROW_REFERENCES,
    ROW_REFERENCES,
    TERM_REFERENCES,
    condition,
    curvature_terms,
    row_exact,
    rows,
    soft_labels,
)

import fastloss as fl
from fastloss import _core

CLASSES = 1, 2, 3, 10, 257


TARGET = 2.0


# Where p is subnormal, so is its rounding, which factors on p multiply.
SUBNORMAL = {"softmax_focal": 1500.0, "poly1": 4.5}

WITHOUT_FMA = 1.5 if _core.level() == "v2" else 1.0  # as docs/guarantees.md has it


def error_of(reference, params, scores, label, k, output, got, want, dtype):
    """In ULP of the exact result, or, where that is far off, of what cancels in it."""
    if mp.isinf(want):
        return 0.0 if got == float(want) else math.inf
    error = ulp_error(got, want, dtype)
    if error <= TARGET or not np.isfinite(got):
        return error
    with mp.workdps(60):
        most = abs(want)
        if reference.soft and output == 1:  # p - y
            p = mpf(
                float(
                    np.exp(scores[k] - scores.max().astype(float))
                    / np.exp(scores - scores.max().astype(float)).sum()
                )
            )
            most = max(most, p)
        elif not reference.soft and output == 2:
            most = max(most, curvature_terms(reference, params, scores, label, k))
        return float(abs(mpf(float(got)) - want) / ulp(most, dtype))


def term_rows(name, n, classes, dtype, seed=0):
    """Labels (rows where these are needed) and scores or probabilities."""
    rng, reference = np.random.default_rng(seed), TERM_REFERENCES[name]
    scores = rng.normal(size=(n, classes)) * rng.choice([0.1, 1, 4], (n, 1))
    scores[::5, 0] += 20
    if reference.of == "probabilities":
        scores = rng.dirichlet(np.ones(classes), n)
        scores[::4] = rng.dirichlet(np.full(classes, 0.1), scores[::4].shape[0]) + 1e-30
        scores[1::6] = 1 / classes
    labels = (
        rng.integers(classes, size=n) if reference.hard else rng.dirichlet(np.ones(classes), n).astype(dtype)
    )
    if not reference.hard:
        labels[::3] = np.eye(classes)[rng.integers(classes, size=labels[::3].shape[0])]
        labels[1::5] = (scores[1::5] * (1 + 1e-3 * np.sin(np.arange(classes)))).astype(dtype)
    return labels, scores.astype(dtype)


def exact_rows(name, classes, dtype):
    """The same; of functions of the softmax also saturated, tied and huge scores."""
    y, p = term_rows(name, 15 if classes < 100 else 4, classes, dtype)
    if TERM_REFERENCES[name].of != "softmax":
        return y, p
    more = rows(classes, dtype)
    return tuple(
        np.concatenate([a, b[:: 1 if classes < 100 else 5]]) for a, b in zip((y, p), more, strict=True)
    )


def cancelling(name, params, scores, label, k, output):
    """The size of the terms of which the result is a sum, where they may have either sign."""
    if name == "kl_divergence" and output == 0:
        return mp.fsum(
            abs(mpf(float(a)) * mp.log(mpf(float(a)) / mpf(float(b))))
            for a, b in zip(label, scores, strict=True)
            if a
        )
    if TERM_REFERENCES[name].of == "cost" and output == 2:
        return curvature_terms(TERM_REFERENCES[name], params, scores, label, k)
    if TERM_REFERENCES[name].of == "softmax" and output:
        return condition(TERM_REFERENCES[name], params, scores, label, k, output)
    return 0


def problems(name, classes, dtype):
    if name in TERM_REFERENCES:
        yield exact_rows(name, classes, dtype)
        return
    labels, scores = rows(classes, dtype)
    part = slice(None, None, 1 if classes <= 10 else 5)
    yield labels[part], scores[part]
    if ROW_REFERENCES[name].soft:
        yield soft_labels(classes, scores, dtype)[part], scores[part]


def error(name, params, y, scores, k, output, got, want, dtype):
    if name in ROW_REFERENCES:
        return error_of(ROW_REFERENCES[name], params, scores, y, k, output, got, want, dtype)
    if name == "tv_distance" and output == 1 and y[k] == scores[k]:
        return float(abs(got))  # the kink
    found = ulp_error(got, want, dtype)
    if found <= 2:
        return found
    unit = ulp(max(abs(want), cancelling(name, params, scores, y, k, output)), dtype)
    with mp.workdps(60):
        return float(abs(mpf(float(got)) - want) / unit)


def measure(name: str, dtype: type, every: int = 1) -> list[float]:
    """The worst of value, gradient and Hessian over all parameters and every so manieth row."""
    reference, worst = ALL_ROW_REFERENCES[name], [0.0] * 3
    for given in reference.params:
        loss = fl.get(name, **given)
        params = {k: v if v is None else float(dtype(v)) for k, v in loss.params.items() if k in loss.own}
        if name in TERM_REFERENCES:
            params = given
        for classes in CLASSES:
            for y, p in problems(name, classes, dtype):
                found = [loss(y, p, reduction="none"), *loss.grad_and_hess(y, p, reduction="none")]
                for i in range(0, len(p), every):
                    for k in sorted({0, classes // 2, classes - 1, int(y[i]) if y.ndim == 1 else 0}):
                        for output, want in enumerate(row_exact(reference, params, p[i], y[i], k)):
                            if mp.isinf(want) or 0 < abs(want) < float(np.finfo(dtype).smallest_normal):
                                continue
                            got = found[output][i] if output == 0 else found[output][i, k]
                            one = error(name, params, y[i], p[i], k, output, got, want, dtype)
                            worst[output] = max(worst[output], one)
    return worst
