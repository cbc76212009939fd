"""Importance-aware steps: closed forms and a great many short steps as references, and that nothing is passed."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

import numpy as np
import pytest
from sweeps import sample

import fastloss as fl
from fastloss.linear import DivergenceError, sgd

x = np.array([1.5, -0.5, 2.0])
SPEED = float(x @ x) + 1  # of a score under the gradient 1


def score_after(loss, y, start, lr, dtype=np.float64):
    """Of one step on the row x from a score `start`."""
    coef, intercept = np.zeros(3), np.full(1, start)
    sgd(loss, x[None].astype(dtype), np.array([y], dtype), coef, intercept, lr=lr, batch_size=1, epochs=1, tol=None,
        importance_aware=True)  # fmt: skip
    assert np.abs(np.cross(coef, x)).max() <= 1e-6 * np.abs(coef).max()  # a multiple of the row
    return float(x @ coef + intercept[0])


def lambert(y, start, time):
    """The logistic loss: margin m, m + exp(m) = start + exp(start) + time."""
    special = pytest.importorskip("scipy.special")
    m = start * (2 * y - 1)
    c = m + np.exp(m) + time
    return (2 * y - 1) * (c - special.lambertw(np.exp(c)).real)


CLOSED = {
    "half_squared_error": lambda y, s, t: y + (s - y) * np.exp(-t),
    "squared_error": lambda y, s, t: y + (s - y) * np.exp(-2 * t),
    "logistic": lambert,
    "hinge": lambda y, s, t: (2 * y - 1) * min(1, (2 * y - 1) * s + t) if (2 * y - 1) * s < 1 else s,
    "absolute_error": lambda y, s, t: y + np.sign(s - y) * max(0, abs(s - y) - t),
    "exponential": lambda y, s, t: (2 * y - 1) * np.log(np.exp((2 * y - 1) * s) + t),
    "perceptron": lambda y, s, t: (2 * y - 1) * min(0, (2 * y - 1) * s + t) if (2 * y - 1) * s < 0 else s,
}


@pytest.mark.parametrize("loss", CLOSED)
@pytest.mark.parametrize("lr", [1e-6, 0.01, 0.3, 2.0, 50.0])
@pytest.mark.parametrize("y", [0.0, 1.0])
@pytest.mark.parametrize("start", [-3.0, 0.25, 4.0])
def test_closed_forms(loss, lr, y, start):
    wanted = CLOSED[loss](y, start, lr * SPEED)
    if np.isfinite(wanted):
        np.testing.assert_allclose(
            score_after(loss, y, start, lr) - start, wanted - start, rtol=1e-7, atol=1e-12
        )


SLOPES = {
    "huber": lambda y, s: np.clip(s - y, -1, 1),
    "pinball": lambda y, s: np.where(s < y, -0.5, np.where(s > y, 0.5, 0.0)),
    "cauchy": lambda y, s: (s - y) / (1 + (s - y) ** 2),
    "epsilon_insensitive": lambda y, s: np.sign(s - y) * (abs(s - y) > 0.1),
    "squared_hinge": lambda y, s: -2 * (2 * y - 1) * np.maximum(0, 1 - (2 * y - 1) * s),
    "log_cosh": lambda y, s: np.tanh(s - y),
    "poisson": lambda y, s: np.exp(s) - y,
}


@pytest.mark.parametrize("loss", SLOPES)
@pytest.mark.parametrize("lr", sample([0.05, 0.4, 3.0], [0.4]))
@pytest.mark.parametrize("start", sample([-3.0, 4.0], [4.0]))
def test_a_hundred_thousand_short_steps(loss, lr, start):
    """The reference is as exact as its steps are short."""
    steps, s, y = 100_000, start, 1.0
    slope, length = SLOPES[loss], lr * SPEED / steps
    for _ in range(steps):
        s -= length * float(slope(y, s))
    tolerance = 20 * length * max(1, abs(float(slope(y, start))))
    assert abs(score_after(loss, y, start, lr) - s) < tolerance


POINTWISE = [name for family in ("binary", "count", "regression") for name in fl.losses()[family]]


# Of y = 1 `binary_cross_entropy` has no minimum, and any step may lead out of its domain.
@pytest.mark.parametrize("name", [name for name in POINTWISE if name != "binary_cross_entropy"])
@pytest.mark.parametrize("lr", [1e-3, 1.0, 1e6])
def test_no_minimum_is_passed(name, lr):
    """The slope never changes its sign, as it does behind a plain step at a rate that is too large."""
    loss, y = fl.get(name), 1.0
    for start in (0.3, 0.9) if name == "brier" else (-30.0, -0.5, 0.3, 2.0, 30.0):
        if name == "squared_log_error" and start < -1:
            continue
        end = score_after(loss, y, start, lr)
        before, after = (float(loss.grad(y, np.array([s]), reduction="sum")[0]) for s in (start, end))
        hair = 4e-16 * SPEED * max(1, abs(start))  # that x @ coef may be off
        beyond = float(loss.grad(y, np.array([end + np.sign(start - end) * hair]), reduction="sum")[0])
        assert max(after * np.sign(before), beyond * np.sign(before)) >= 0, (start, end)
        assert float(loss(y, end)) <= float(loss(y, start)) * (1 + 1e-12), (start, end)


def test_a_weight_is_as_many_rows():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(8, 3)), rng.integers(0, 2, 8)
    times = np.array([1, 3, 2, 1, 5, 1, 1, 2])
    for loss in ("logistic", "half_squared_error", "hinge"):
        results = []
        for rows, weight, lr in (
            (np.arange(8), times, 0.9),
            (np.repeat(np.arange(8), times), None, 0.9 * 8 / 16),
        ):
            coef, intercept = np.zeros(3), np.zeros(1)
            sgd(loss, X[rows], y[rows], coef, intercept, lr=lr, batch_size=1, epochs=3, shuffle=None, tol=None,
                sample_weight=weight, importance_aware=True)  # fmt: skip
            results.append(np.append(coef, intercept))
        np.testing.assert_allclose(*results, rtol=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_the_step_of_before_where_that_is_short(dtype):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 5)).astype(dtype), rng.integers(0, 2, 50)
    results = []
    for aware in (False, True):
        coef = np.zeros(5)
        sgd(
            "logistic",
            X,
            y,
            coef,
            lr=1e-4,
            batch_size=1,
            epochs=2,
            l2=0.1,
            l1=0.01,
            tol=None,
            importance_aware=aware,
        )
        results.append(coef)
    assert (results[0] != results[1]).any()
    np.testing.assert_allclose(*results, rtol=1e-3)


def test_a_rate_that_is_far_too_large_fits_all_the_same():
    rng = np.random.default_rng(0)
    X = 100 * rng.normal(size=(500, 5))
    y = X @ np.arange(5.0)
    coef, options = np.zeros(5), {"lr": 10.0, "batch_size": 1, "epochs": 2, "tol": None}
    sgd("squared_error", X, y, coef, importance_aware=True, **options)
    np.testing.assert_allclose(coef, np.arange(5.0), atol=1e-9)
    with pytest.raises(DivergenceError):
        sgd("squared_error", X, y, np.zeros(5), **options)


def test_rows_of_weight_0_and_of_zeros():
    X, y = np.array([[np.nan, 1.0], [0.0, 0.0], [1.0, 2.0]]), np.array([9.0, 1.0, 1.0])
    coef = np.zeros(2)
    sgd("half_squared_error", X, y, coef, lr=0.5, batch_size=1, epochs=1, shuffle=None, tol=None,
        sample_weight=[0, 1, 1], importance_aware=True)  # fmt: skip
    np.testing.assert_allclose(coef @ X[2], 1 - np.exp(-0.5 * 1.5 * 5), rtol=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 2}, "importance_aware needs batch_size=1 and no momentum"),
        ({"momentum": 0.5}, "importance_aware needs batch_size=1 and no momentum"),
        ({"sample_weight": [1.0, -0.5]}, "importance_aware needs a sample_weight >= 0"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        sgd(
            "logistic",
            np.ones((2, 1)),
            np.ones(2),
            np.zeros(1),
            importance_aware=True,
            **{"batch_size": 1, **options},
        )
