"""SGD on linear models: learning rates, schedules, and rates that are found by trial."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

import math

import numpy as np
import pytest
from linear_models import check, fit, line, problem, reference

import fastloss as fl
from fastloss.linear import DivergenceError, sgd

# ---- learning rates -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "rate"),
    [
        ({"lr": 0.2, "schedule": "invscaling"}, lambda t: 0.2 / (t + 1) ** 0.5),
        ({"lr": 0.2, "schedule": "invscaling", "power_t": 0.25}, lambda t: 0.2 / (t + 1) ** 0.25),
        ({"lr": 0.2, "schedule": "cosine"}, lambda t: 0.1 * (1 + math.cos(math.pi * t / 30))),
        ({"lr": 0.2, "warmup_steps": 7}, lambda t: 0.2 * min(1, (t + 1) / 7)),
        ({"lr": lambda step: 0.1 / (1 + step)}, lambda t: 0.1 / (1 + t)),
        ({"lr": lambda step: 0}, lambda t: 0.0),
    ],
)
def test_schedules(options, rate):
    X, y = problem()
    wanted, _ = reference("logistic", X, y, rate)
    got = fit("logistic", X, y, batch_size=10, **options)
    check(got, wanted)
    np.testing.assert_allclose(got[0].learning_rate, [rate(t) for t in (9, 19, 29)], rtol=1e-13)


def test_optimal_and_l2_are_those_of_scikit_learn():
    """With one row a step; scikit-learn shrinks before the step, which differs by lr^2."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = problem(500)
    model = linear_model.SGDClassifier(loss="log_loss", alpha=0.01, shuffle=False, max_iter=20, tol=None)
    model.fit(X, y)
    options = {"schedule": "optimal", "l2": 0.01, "batch_size": 1, "epochs": 20}
    _, coef, intercept = fit("logistic", X, y, **options)
    np.testing.assert_allclose(coef, model.coef_[0], rtol=0.02, atol=0.02)
    np.testing.assert_allclose(intercept, model.intercept_, atol=0.02)


def test_adaptive_divides_by_5():
    X, y = line()
    options = {"schedule": "adaptive", "tol": 1e-8, "n_iter_no_change": 3, "epochs": 5000, "batch_size": 50}
    history, coef, intercept = fit("half_squared_error", X, y, lr=0.5, **options)
    ratios = np.array(history.learning_rate[:-1]) / history.learning_rate[1:]
    np.testing.assert_allclose(ratios[ratios != 1], 5, rtol=1e-12)
    assert 1e-7 < history.learning_rate[-1] <= 1e-6
    assert history.stopped == "tol"
    np.testing.assert_allclose([*coef, *intercept], np.polyfit(X[:, 0], y, 1), rtol=1e-3)


@pytest.mark.parametrize("options", [{"schedule": "cosine"}, {"average": 3000}])
def test_the_line_of_least_squares(options):
    X, y = line()
    _, coef, intercept = fit(
        "squared_error", X, y, lr=0.05, batch_size=10, epochs=1000, shuffle="rows", **options
    )
    np.testing.assert_allclose([*coef, *intercept], np.polyfit(X[:, 0], y, 1), rtol=1e-3)


# ---- a learning rate by trial ---------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"batch_size": 400}])
def test_automatic_rates_fit_the_curvature(scale, options):
    rng = np.random.default_rng(0)
    X = scale * rng.normal(size=(400, 3)) * [1, 2, 4]
    y = X @ [1, 2, 3] / scale
    largest = np.linalg.eigvalsh(X.T @ X / 400)[-1]
    coef = np.zeros(3)  # an intercept would have a curvature of its own
    history = sgd("half_squared_error", X, y, coef, lr="auto", epochs=1000, tol=None, **options)
    assert 0.005 / largest < history.learning_rate[0] < 2 / largest
    np.testing.assert_allclose(coef, np.array([1, 2, 3]) / scale, rtol=1e-3)


@pytest.mark.parametrize("loss", [*fl.losses()["regression"], *fl.losses()["count"], *fl.losses()["binary"]])
def test_automatic_rates_of_every_loss(loss):
    X, y = problem(500)
    X, y = X[:, :3] / 8, y if fl.get(loss).family == "binary" else 1 + X[:, 0] / 8 + y / 4
    start = 0.5 if loss in ("binary_cross_entropy", "brier") else 0.0
    coef, intercept = np.zeros(3), np.full(1, start)
    history = sgd(loss, X, y, coef, intercept, lr="auto", epochs=3, l2=1e-4)
    assert history.loss[-1] <= history.loss[0]
    value = fl.linear.value_and_grad(loss, X, y, coef, intercept[0])[0]
    assert value <= fl.linear.value_and_grad(loss, X, y, np.zeros(3), start)[0]


@pytest.mark.parametrize("rows", [20, 300, 5000])
@pytest.mark.parametrize("at", [0, 7, -2])
def test_automatic_rates_leave_errors_to_the_training(rows, at):
    X, y = problem(rows)
    y[at] = 3
    with pytest.raises(ValueError, match=rf"y_true must lie in \[0, 1\].*at index {at % rows}$"):
        fit("logistic", X, y, lr="auto")
    with pytest.raises(ValueError, match=rf"y_true must lie in \[0, 1\].*at index {at % rows}$"):
        fit("logistic", X, y, lr="auto", batch_size=1, epochs=1)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_automatic_rates_of_few_rows_are_bounded(rows):
    """They are separable: the larger the rate, the lower the loss."""
    X, y = problem(rows)
    rate = fit("logistic", X, y, lr="auto", epochs=1)[0].learning_rate[0]
    assert rate <= 1 / (np.trace(X.T @ X) / rows / 7 / 4)


def test_automatic_rates_go_on():
    X, y = problem()
    first, coef, intercept = fit("logistic", X, y, lr="auto")
    assert first.checkpoint.lr == first.learning_rate[0] > 0.01
    more = sgd("logistic", 100 * X, y, coef, intercept, lr="auto", epochs=1, resume=first.checkpoint)
    assert more.learning_rate == first.learning_rate[:1]
    sparse = pytest.importorskip("scipy.sparse")
    held = {"validation_fraction": 0.2, "sample_weight": np.arange(1.0, 98)}
    dense = fit("logistic", X, y, lr="auto", **held)[0]
    assert fit("logistic", sparse.csr_array(X), y, lr="auto", **held)[0].learning_rate == dense.learning_rate
    assert fit("logistic", X, y, lr="auto", class_weight={0: 1e-9})[0].learning_rate != first.learning_rate
    X[5, 3] = np.nan
    with pytest.raises(DivergenceError, match="first step: look for inf, NaN"):
        fit("logistic", X, y, lr="auto")
