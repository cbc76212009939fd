"""Linear models: problems, how far sums of rounded products may be off, and the steps of SGD in NumPy."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

import numpy as np
import pytest
from mpmath import mp
from references import LABELS

import fastloss as fl
from fastloss.linear import sgd

value_and_grad = fl.linear.value_and_grad

DTYPES = (np.float32, np.float64)


def long(x):
    return np.longdouble(mp.nstr(x, 25) if abs(x) > 1e-300 else 0)


def exact_problem(reference, dtype, rows=37, columns=5):
    """Small multiples of powers of two, whose scores have no rounding error, inside of the loss's domain."""
    rng = np.random.default_rng(0)
    X = rng.integers(0 if reference.scores != "real" else -16, 16, (rows, columns)) / 16
    coef = np.full(columns, 1 / 8) if reference.scores == "probability" else rng.integers(1, 8, columns) / 4
    y = rng.choice(np.array(LABELS[reference.labels]), rows)
    weight = rng.integers(-1, 5, rows) / 2
    return X.astype(dtype), y.astype(dtype), coef.astype(dtype), 0.125, weight.astype(dtype)


def logistic_problem(rows, columns, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, columns)).astype(dtype)
    coef = (rng.normal(size=columns) / max(1, columns) ** 0.5).astype(dtype)
    return X, rng.integers(0, 2, rows), coef, 0.25


def bits(result):
    return b"".join(np.asarray(part).tobytes() for part in result)


def check_logistic(result, X, y, coef, intercept, unit):
    """By NumPy in extended precision; the bounds are those of sums of rounded products."""
    X, w = np.asarray(X, np.longdouble), np.asarray(coef, np.longdouble)
    scores = X @ w + np.longdouble(intercept)
    slopes = 1 / (1 + np.exp(-scores)) - y
    values = np.logaddexp(0, scores) - y * scores
    rounding = unit * (X.shape[1] + 8) * (np.abs(X) @ np.abs(w) + 1)  # of the scores; |h| and |g| are <= 1
    assert abs(result[0] - values.mean()) <= (rounding + 4 * unit * values).mean()
    assert (np.abs(result[1] - X.T @ slopes / len(X)) <= np.abs(X).T @ rounding / len(X)).all()
    assert abs(result[2] - slopes.mean()) <= rounding.mean()


def sparse_problem(rows, columns, dtype, density=0.1):
    sparse = pytest.importorskip("scipy.sparse")
    X, y, coef, intercept = logistic_problem(rows, columns, dtype)
    X *= np.random.default_rng(1).random(X.shape) < density
    return sparse.csr_array(X), y, coef, intercept


def with_indices(X, index):
    changed = X.copy()
    changed.indptr, changed.indices = changed.indptr.astype(index), changed.indices.astype(index)
    return changed


# ---- SGD --------------------------------------------------------------------------------------------------


def problem(rows=97, columns=7, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, columns)).astype(dtype)
    y = (X @ rng.normal(size=columns) + rng.normal(size=rows) > 0).astype(dtype)
    return X, y


def line(rows=200, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 2, rows)
    return x[:, None], 4 + 3 * x + rng.normal(size=rows)


def fit(loss, X, y, *, dtype=np.float64, start=0.0, **options):
    coef, intercept = np.full(X.shape[1], start, dtype), np.full(1, start, dtype)
    options = {"tol": None, "epochs": 3, "shuffle": None, **options}
    return sgd(loss, X, y, coef, intercept, **options), coef, intercept


SLOPES = {
    "half_squared_error": lambda y, s: s - y,
    "logistic": lambda y, s: 1 / (1 + np.exp(-s)) - y,
    "huber": lambda y, s: np.clip(s - y, -1, 1),
    "poisson": lambda y, s: np.exp(s) - y,
    "hinge": lambda y, s: np.where((2 * y - 1) * s < 1, 1 - 2 * y, 0.0),
}

VALUES = {
    "half_squared_error": lambda y, s: (s - y) ** 2 / 2,
    "logistic": lambda y, s: np.logaddexp(0, s) - y * s,
}


def reference(
    loss, X, y, rate, *, epochs=3, batch=10, weight=None, start=0.0, l2=0.0, l1=0.0, momentum=0.0,
    nesterov=False, clip=np.inf, average=None, fit_intercept=True, intercept_lr=1.0,
):  # fmt: skip
    """The parameters, the intercept last, and of each epoch the sum of losses, last norm and largest component."""
    A = np.column_stack([X.astype(float), np.ones(len(X))])
    weight = np.ones(len(X)) if weight is None else weight / weight.mean()
    w, velocity, behind, t, seen = np.full(A.shape[1], start), 0.0, [], 0, []
    penalised = np.append(np.ones(A.shape[1] - 1), 0.0)
    rates = np.append(np.ones(A.shape[1] - 1), intercept_lr)
    for _ in range(epochs):
        total, largest = 0.0, 0.0
        for i in range(0, len(A), batch):
            rows = slice(i, i + batch)
            scores = A[rows] @ w
            if loss in VALUES:
                total += weight[rows] @ VALUES[loss](y[rows], scores)
            g = A[rows].T @ (weight[rows] * SLOPES[loss](y[rows], scores)) / len(A[rows])
            g[-1] *= fit_intercept
            norm = np.linalg.norm(g)
            largest = max(largest, np.abs(g).max())
            d = g * min(1, clip / norm) + l2 * penalised * w
            velocity = momentum * velocity + d
            w = w - rate(t) * rates * (d + momentum * velocity if nesterov else velocity)
            w = np.sign(w) * np.maximum(0, np.abs(w) - rate(t) * l1 * penalised)
            behind.append(w)
            t += 1
        seen.append((total / len(A), norm, largest))
    return w if average is None else np.mean(behind[average:], axis=0), seen


def check(got, wanted, rtol=1e-10):
    _, coef, intercept = got
    np.testing.assert_allclose(np.append(coef, intercept), wanted, rtol=rtol, atol=rtol)
