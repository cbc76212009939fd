"""Problems for linear models, and how far sums of rounded products may be off."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

import numpy as np
import pytest
from mpmath import mp
from references import LABELS

import fastloss as fl

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


# ---- sparse rows ----------------------------------------------------------------------------------------


def sparse_problem(rows, columns, dtype, density=0.1):
    sparse = pytest.importorskip("scipy.sparse")
    X, y, coef, intercept = logistic_problem(rows, columns, dtype)
    X *= np.random.default_rng(1).random(X.shape) < density
    return sparse.csr_array(X), y, coef, intercept


def with_indices(X, index):
    changed = X.copy()
    changed.indptr, changed.indices = changed.indptr.astype(index), changed.indices.astype(index)
    return changed
