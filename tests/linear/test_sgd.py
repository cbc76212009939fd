"""SGD on linear models: the same steps in NumPy as reference, penalties, averages, clipping."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

import numpy as np
import pytest
from linear_models import SLOPES, check, fit, problem, reference

from fastloss.linear import DivergenceError, sgd


@pytest.mark.parametrize("loss", SLOPES)
@pytest.mark.parametrize("batch", [1, 2, 10, 97, 1000])
def test_the_steps(loss, batch):
    X, y = problem()
    wanted, _ = reference(loss, X, y, lambda t: 0.05, batch=batch, start=0.1)
    check(fit(loss, X, y, lr=0.05, batch_size=batch, start=0.1), wanted)


@pytest.mark.parametrize("columns", [1, 15, 16, 17, 300])
def test_more_rows_than_a_block(columns):
    X, y = problem(5000, columns)
    wanted, _ = reference("logistic", X, y, lambda t: 0.3, batch=3000)
    check(fit("logistic", X, y, lr=0.3, batch_size=3000), wanted)


@pytest.mark.parametrize(
    "options",
    [
        {"l2": 0.3},
        {"l1": 0.05},
        {"l2": 0.1, "l1": 0.1},
        {"momentum": 0.9},
        {"momentum": 0.5, "nesterov": True},
        {"momentum": 0.9, "nesterov": True, "l2": 0.2, "l1": 0.02},
        {"clip_norm": 0.2},
        {"clip_norm": 0.3, "momentum": 0.8, "l2": 0.1},
        {"average": True},
        {"average": 12, "l1": 0.01},
        {"intercept_lr": 0.1, "l2": 0.1},
    ],
)
@pytest.mark.parametrize("loss", ["logistic", "half_squared_error"])
def test_options(options, loss):
    X, y = problem()
    weight = np.linspace(0.2, 3, len(y))
    names = {"clip_norm": "clip"}
    same = {names.get(k, k): 0 if v is True and k == "average" else v for k, v in options.items()}
    wanted, _ = reference(loss, X, y, lambda t: 0.05, weight=weight, start=0.3, **same)
    assert np.abs(wanted - reference(loss, X, y, lambda t: 0.05, weight=weight, start=0.3)[0]).max() > 1e-3
    check(fit(loss, X, y, lr=0.05, batch_size=10, sample_weight=weight, start=0.3, **options), wanted)


def test_l1_makes_exact_zeros():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 20))
    y = X[:, 0] - 2 * X[:, 1] + 0.1 * rng.normal(size=400)
    _, coef, _ = fit("half_squared_error", X, y, l1=0.1, lr=0.5, batch_size=400, epochs=200)
    assert np.flatnonzero(coef).tolist() == [0, 1]
    np.testing.assert_allclose(coef[:2], [0.9, -1.9], atol=0.05)


@pytest.mark.parametrize("sparse", [False, True])
def test_clipping_of_a_gradient_whose_square_overflows(sparse):
    X = np.zeros((1, 40))
    X[0, 3:5] = 3e160, 4e160
    coef = np.zeros(40)
    if sparse:
        X = pytest.importorskip("scipy.sparse").csr_array(X)
    history = sgd("half_squared_error", X, np.ones(1), coef, lr=0.1, batch_size=1, epochs=1, clip_norm=1.0)
    np.testing.assert_allclose(coef[3:5], [0.06, 0.08], rtol=1e-14)
    np.testing.assert_allclose(history.grad_norm, 5e160, rtol=1e-14)


def test_a_step_that_is_not_taken_leaves_the_velocity():
    coef = np.zeros(1, np.float32)
    with pytest.raises(DivergenceError) as error:
        sgd(
            "huber",
            np.ones((3, 1), np.float32),
            np.full(3, 3e38),
            coef,
            lr=1e38,
            momentum=0.9,
            batch_size=1,
            epochs=1,
        )
    checkpoint = error.value.history.checkpoint
    np.testing.assert_allclose(checkpoint.parameters, [2.9e38, 0], rtol=1e-6)
    np.testing.assert_allclose(checkpoint.velocity, [-1.9, 0], rtol=1e-6)


def test_without_an_intercept():
    X, y = problem()
    coef = np.zeros(7)
    sgd("logistic", X, y, coef, lr=0.1, batch_size=10, epochs=3, tol=None, shuffle=None, clip_norm=0.3)
    wanted, _ = reference("logistic", X, y, lambda t: 0.1, fit_intercept=False, clip=0.3)
    np.testing.assert_allclose(coef, wanted[:-1], rtol=1e-10)
