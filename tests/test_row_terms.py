"""Losses of rows that are not functions of the true class's cost alone: exact results, layouts, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from mpmath import mp, mpf
from references import ulp, ulp_error
from row_references import TERM_REFERENCES, row_exact

import fastloss as fl

DTYPES = (np.float32, np.float64)
CASES = [(name, params) for name, r in TERM_REFERENCES.items() for params in r.params]
SOFTMAX = {
    "expectation_l1",
    "chebyshev",
    "squared_log",
    "expectation_l2",
    "tanimoto",
    "cauchy_schwarz",
}


def rows(name, n, classes, dtype, seed=0):
    """Labels (rows where these are needed) and scores or probabilities."""
    rng, reference = np.random.default_rng(seed), TERM_REFERENCES[name]
    scores = rng.normal(size=(n, classes)) * rng.choice([0.1, 1, 4], (n, 1))
    scores[::5, 0] += 20
    if reference.of == "probabilities":
        scores = rng.dirichlet(np.ones(classes), n)
        scores[::4] = rng.dirichlet(np.full(classes, 0.1), scores[::4].shape[0]) + 1e-30
        scores[1::6] = 1 / classes
    labels = rng.integers(classes, size=n) if reference.hard else rng.dirichlet(np.ones(classes), n).astype(dtype)
    if not reference.hard:
        labels[::3] = np.eye(classes)[rng.integers(classes, size=labels[::3].shape[0])]
        labels[1::5] = (scores[1::5] * (1 + 1e-3 * np.sin(np.arange(classes)))).astype(dtype)
    return labels, scores.astype(dtype)


def everything(loss, y, p, **options):
    value, grad = loss.value_and_grad(y, p, reduction="none", **options)
    both, hess = loss.grad_and_hess(y, p, reduction="none", **options)
    alone, mean = loss(y, p, reduction="none", **options), np.array(loss(y, p, **options))
    return [value, grad, both, hess, alone, mean, loss.grad(y, p, **options)]


def condition(reference, params, scores, label, k, output):
    """What a relative change of each score by 1 does to the output: |s dF/ds|, and the label's likewise."""
    moved = mpf(0)
    for j in range(len(scores)):
        ends = []
        for sign in (-1, 1):
            other = [mpf(float(s)) for s in scores]
            other[j] *= 1 + sign * mpf(10) ** -20
            ends.append(row_exact(reference, params, other, label, k)[output])
        moved += abs(ends[1] - ends[0]) / 2 * mpf(10) ** 20
    return moved


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [1, 2, 3, 10, 101])
@pytest.mark.parametrize(("name", "params"), CASES)
def test_exact(name, params, classes, dtype):
    """Within 2 ULP, or 4 of what a relative change of the inputs by one ULP does to the result."""
    loss, reference = fl.get(name, **params), TERM_REFERENCES[name]
    y, p = rows(name, 15 if classes < 100 else 4, classes, dtype)
    found = [loss(y, p, reduction="none"), *loss.grad_and_hess(y, p, reduction="none")]
    assert all(a.dtype == dtype for a in found)
    for i in range(len(p)):
        for k in sorted({0, classes // 2, classes - 1, int(y[i]) if y.ndim == 1 else 0}):
            for output, want in enumerate(row_exact(reference, params, p[i], y[i], k)):
                got = found[output][i] if output == 0 else found[output][i, k]
                error = ulp_error(got, want, dtype)
                if error > 2:
                    unit = ulp(max(abs(want), condition(reference, params, p[i], y[i], k, output)), dtype)
                    with mp.workdps(60):
                        error = float(abs(mpf(float(got)) - want) / unit) / 2
                assert error <= 2, (i, k, output, got, mp.nstr(want, 12), error, p[i], y[i])
