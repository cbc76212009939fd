"""Linear models: second derivatives, and one vector of parameters, as SciPy and scikit-learn have them."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

import pickle

import numpy as np
import pytest
from linear_models import (
    DTYPES,
    bits,
    exact_problem,
    logistic_problem,
    long,
    sparse_problem,
    value_and_grad,
)
from references import REFERENCES, exact

import fastloss as fl

# ---- second derivatives, and one vector of parameters ---------------------------------------------------


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_hess_vec_of_every_loss(name, dtype):
    reference = REFERENCES[name]
    X, y, coef, intercept, weight = exact_problem(reference, dtype)
    vector, vector_intercept = np.array([1, -2, 3, 0.5, -1], dtype), 0.75
    scores = X.astype(np.longdouble) @ coef + intercept
    along = X.astype(np.longdouble) @ vector + vector_intercept
    curves = [exact(reference, {}, float(a), float(s))[2] for a, s in zip(y, scores, strict=True)]
    weight[[curve is None for curve in curves]] = 0  # at a kink
    curves = np.array([long(curve or 0) for curve in curves])
    product, product_intercept = fl.linear.hess_vec(
        name, X, y, coef, vector, intercept, vector_intercept, sample_weight=weight, l2=2, reduction="sum"
    )
    terms = weight * curves * along
    bound = 16 * np.finfo(dtype).eps * (np.abs(weight * along) * (np.abs(curves) + 1 + np.abs(y)))
    assert (np.abs(product - X.T @ terms - 2 * vector) <= np.abs(X).T @ bound + np.finfo(dtype).eps * 8).all()
    assert abs(product_intercept - terms.sum()) <= bound.sum()
    assert product.dtype == dtype


@pytest.mark.parametrize("name", ["logistic", "poisson", "pseudo_huber", "focal"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_derivatives_are_those_of_the_value(name, fit_intercept):
    X, y, *_ = logistic_problem(400, 5)
    objective = fl.linear.Objective(
        name, X, y, fit_intercept=fit_intercept, sample_weight=np.linspace(0, 2, 400), l2=0.3
    )
    rng = np.random.default_rng(1)
    w, v = rng.normal(size=(2, 5 + fit_intercept)) / 2
    step = 1e-5
    (below, grad_below), (above, grad_above) = objective(w - step * v), objective.value_and_grad(w + step * v)
    assert objective(w)[1] @ v == pytest.approx((above - below) / (2 * step), rel=1e-7)
    product = objective.hess_vec(w, v)
    np.testing.assert_allclose(product, (grad_above - grad_below) / (2 * step), rtol=1e-6, atol=1e-8)
    assert product.shape == w.shape


def test_an_objective_is_the_functions():
    X, y, coef, intercept = logistic_problem(60, 4, np.float32)
    options = {"sample_weight": np.linspace(0, 1, 60), "l2": 0.5, "reduction": "sum"}
    objective = pickle.loads(pickle.dumps(fl.linear.Objective(fl.logistic, X, y, **options)))
    w, v = np.append(coef.astype(float), intercept), np.linspace(-1, 1, 5)
    value, grad, grad_intercept = value_and_grad("logistic", X, y, w[:4], intercept, **options)
    assert bits(objective(w)) == bits((value, np.append(grad, grad_intercept)))
    product = fl.linear.hess_vec("logistic", X, y, w[:4], v[:4], intercept, v[4], **options)
    assert bits([objective.hess_vec(w, v)]) == bits(product)
    assert repr(objective) == "<fastloss.linear.Objective of fastloss.logistic, 60 rows of 4>"


def turned(array):
    """The same object, of another dtype and shape."""
    array.dtype = np.int8
    array.shape = (1, -1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("sparse", [False, True])
def test_an_objective_does_not_follow_the_shapes_of_its_arrays(sparse):
    X, y, *_ = sparse_problem(60, 4, np.float64) if sparse else logistic_problem(60, 4)
    weight, w = np.linspace(0, 1, 60), np.linspace(-1, 1, 5)
    objective = fl.linear.Objective("logistic", X, y, sample_weight=weight)
    wanted = bits(objective(w))
    for array in (X.data, X.indices, X.indptr, y, weight) if sparse else (X, y, weight):
        turned(array)
    assert bits(objective(w)) == wanted


@pytest.mark.parametrize("method", ["L-BFGS-B", "Newton-CG", "trust-krylov"])
def test_scipy_finds_the_line_of_least_squares(method):
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 2, 100)
    y = 4 + 3 * x + rng.normal(size=100)
    objective = fl.linear.Objective("squared_error", x[:, None], y)
    hessp = None if method == "L-BFGS-B" else objective.hess_vec
    found = optimize.minimize(objective, np.zeros(2), jac=True, hessp=hessp, method=method, tol=1e-8)
    np.testing.assert_allclose(found.x, np.polyfit(x, y, 1), rtol=1e-5)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", ["LogisticRegression", "softmax", "Ridge", "PoissonRegressor"])
def test_the_penalty_is_that_of_scikit_learn(name):
    """At its optimum the gradient is 0."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    X, weight = rng.normal(size=(300, 4)), rng.uniform(0.5, 2, 300)
    classes = 3 if name == "softmax" else 2
    y = (X[:, 0] + rng.normal(size=300) > 0) + (classes - 2) * (X[:, 1] > 0)
    if name in ("LogisticRegression", "softmax"):
        model = linear_model.LogisticRegression(C=0.1, tol=1e-10)
        loss, options = "logistic" if classes == 2 else "softmax_cross_entropy", {"l2": 10 / weight.sum()}
    elif name == "Ridge":
        model, loss = linear_model.Ridge(alpha=20.0), "half_squared_error"
        options = {"l2": 20.0, "reduction": "sum"}
    else:
        model, loss = linear_model.PoissonRegressor(alpha=0.5, tol=1e-10), "poisson"
        options = {"l2": 0.5}
    model.fit(X, y, sample_weight=weight)
    coef = model.coef_ if classes == 3 else model.coef_.ravel()
    intercept = model.intercept_ if classes == 3 else float(np.squeeze(model.intercept_))
    _, grad, grad_intercept = value_and_grad(loss, X, y, coef, intercept, sample_weight=weight, **options)
    bound = 1e-6 * (weight.sum() if "reduction" in options else 1)
    assert np.abs(grad).max() < bound
    assert np.abs(grad_intercept).max() < bound
    assert np.abs(options["l2"] * coef).max() > 1e-3


@pytest.mark.parametrize("w", [np.zeros(3), np.zeros((4, 1)), 0.0])
def test_parameters_of_another_shape(w):
    objective = fl.linear.Objective("huber", np.ones((6, 3)), np.zeros(6))
    message = r"has shape .*; pass shape \(4,\): the coefficients and the intercept$"
    with pytest.raises(ValueError, match="^w " + message):
        objective(w)
    with pytest.raises(ValueError, match="^v " + message):
        objective.hess_vec(np.zeros(4), w)
