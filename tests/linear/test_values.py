"""Linear models in one pass: exact derivatives as references, every shape, rows that do not count."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

import numpy as np
import pytest
from linear_models import (
    DTYPES,
    bits,
    check_logistic,
    exact_problem,
    logistic_problem,
    long,
    value_and_grad,
)
from references import REFERENCES, exact

import fastloss as fl

# ---- values ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_loss(name, dtype):
    """Scores are exact, an element's derivatives within 2 ULP of its terms, and few rows are added up."""
    reference = REFERENCES[name]
    X, y, coef, intercept, weight = exact_problem(reference, dtype)
    scores = X.astype(np.longdouble) @ coef + intercept
    magnitude = np.abs(X) * np.abs(weight)[:, None]
    for params in reference.params:
        loss = fl.get(name, **params)
        rounded = {k: float(dtype(v)) if isinstance(v, float) else v for k, v in params.items()}
        elements = [exact(reference, rounded, float(a), float(s)) for a, s in zip(y, scores, strict=True)]
        values, slopes = (np.array([long(e[i]) for e in elements]) for i in (0, 1))
        got = value_and_grad(loss, X, y, coef, intercept, sample_weight=weight, l2=0.5, reduction="sum")
        penalty = 0.25 * float(coef.astype(float) @ coef)
        unit, terms = np.finfo(dtype).eps, np.abs(slopes) + 1 + np.abs(y)
        bound = 4 * unit * float(np.abs(weight) @ (np.abs(values) + 1 + np.abs(y)))
        assert abs(got[0] - (weight @ values + penalty)) <= bound
        wanted = X.T.astype(np.longdouble) @ (weight * slopes)
        assert (np.abs(got[1] - (wanted + 0.5 * coef)) <= 8 * unit * (magnitude.T @ terms) + unit).all()
        assert abs(got[2] - weight @ slopes) <= 8 * unit * float(np.abs(weight) @ terms)
        assert got[1].dtype == dtype
        assert type(got[0]) is type(got[2]) is float


@pytest.mark.parametrize("columns", [0, 1, 3, 7, 8, 9, 15, 16, 17, 33, 100, 700])
@pytest.mark.parametrize("rows", [1, 2, 4, 5, 16, 17, 1000, 4099])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_shape(rows, columns, dtype):
    X, y, coef, intercept = logistic_problem(rows, columns, dtype)
    check_logistic(
        value_and_grad("logistic", X, y, coef, intercept), X, y, coef, intercept, np.finfo(dtype).eps
    )


@pytest.mark.parametrize("columns", [0, 1, 2, 3, 4, 7, 33, 700])
@pytest.mark.parametrize("rows", [1, 2, 15, 16, 17, 129, 4099])
@pytest.mark.parametrize("dtype", DTYPES)
def test_fortran_order(rows, columns, dtype):
    X, y, coef, intercept = logistic_problem(rows, columns, dtype)
    for F in (np.asfortranarray(X), np.asfortranarray(np.vstack([X, X]))[: len(X)]):
        result = value_and_grad("logistic", F, y, coef, intercept)
        check_logistic(result, X, y, coef, intercept, np.finfo(dtype).eps)
    wanted, product = (
        fl.linear.hess_vec("logistic", a, y, coef, coef[::-1], intercept, 0.5, reduction="sum")
        for a in (X, F)
    )
    unit = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(product[0], wanted[0], rtol=unit, atol=unit * rows)
    np.testing.assert_allclose(product[1], wanted[1], rtol=unit, atol=unit * rows)


@pytest.mark.parametrize("columns", [20_000, 600_000])
def test_wide_rows(columns):
    X, y, coef, intercept = logistic_problem(18, columns, np.float32)
    check_logistic(value_and_grad("logistic", X, y, coef, intercept), X, y, coef, intercept, 2.0**-23)


def test_the_penalty_leaves_the_intercept_alone():
    X, y, coef, intercept = logistic_problem(50, 3)
    plain, penalised = (value_and_grad("logistic", X, y, coef, intercept, l2=l2) for l2 in (0.0, 3.0))
    assert penalised[0] == pytest.approx(plain[0] + 1.5 * (coef @ coef), rel=1e-14)
    np.testing.assert_allclose(penalised[1], plain[1] + 3 * coef, rtol=1e-13)
    assert penalised[2] == plain[2]


def test_mean_and_sum():
    X, y, coef, intercept = logistic_problem(50, 3)
    weight = np.linspace(0.5, 2, 50)
    mean, total = (
        value_and_grad("logistic", X, y, coef, intercept, sample_weight=weight, reduction=r)
        for r in ("mean", "sum")
    )
    for a, b in zip(mean, total, strict=True):
        np.testing.assert_allclose(np.multiply(a, weight.sum()), b, rtol=1e-13)


def test_parameters_of_the_loss_count():
    X, y, coef, _ = logistic_problem(50, 3)
    assert value_and_grad(fl.huber.bind(delta=0.1), X, y, coef)[0] < value_and_grad("huber", X, y, coef)[0]


def test_coefficients_decide_the_dtype_of_the_gradient():
    X, y, coef, _ = logistic_problem(50, 3, np.float32)
    assert value_and_grad("logistic", X, y, coef)[1].dtype == np.float32
    assert value_and_grad("logistic", X, y, coef.astype(np.float64))[1].dtype == np.float64
    assert value_and_grad("logistic", X, y, coef.tolist())[1].dtype == np.float64


# ---- rows that do not count -----------------------------------------------------------------------------


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_weight_0_may_hold_anything(odd, order, dtype):
    X, y, coef, intercept = logistic_problem(53, 9, dtype)
    X = np.asarray(X, order=order)
    y, weight = y.astype(dtype), np.ones(53)
    wanted = value_and_grad("logistic", X, y, coef, intercept, sample_weight=(np.arange(53) % 5 != 3) * 1.0)
    absent = np.arange(53) % 5 == 3
    weight[absent], X[absent], y[absent] = 0, odd, odd
    got = value_and_grad("logistic", X, y, coef, intercept, sample_weight=weight)
    assert bits(got) == bits(wanted)
    assert np.isfinite(got[1]).all()
    product = fl.linear.hess_vec("logistic", X, y, coef, coef, intercept, 1.0, sample_weight=weight)
    assert np.isfinite(product[0]).all()


def test_all_weights_0():
    X, y, coef, intercept = logistic_problem(20, 3)
    value, grad, grad_intercept = value_and_grad(
        "logistic", X, y, coef, intercept, sample_weight=np.zeros(20)
    )
    assert (value, grad.tolist(), grad_intercept) == (0, [0, 0, 0], 0)


def test_nan_propagates():
    X, y, coef, intercept = logistic_problem(20, 3)
    X[7, 1] = np.nan
    result = value_and_grad("logistic", X, y, coef, intercept)
    assert np.isnan(result[0])
    assert np.isnan(result[1]).all()
    assert np.isnan(result[2])
    assert np.isnan(value_and_grad("logistic", X, y, [1.0, np.nan, 0.0])[0])


@pytest.mark.parametrize("columns", [0, 3])
def test_no_rows(columns):
    X, y, coef = np.zeros((0, columns)), np.zeros(0), np.full(columns, 2.0)
    value, grad, grad_intercept = value_and_grad("huber", X, y, coef, l2=1.0, reduction="sum")
    assert (value, grad.tolist(), grad_intercept) == (2.0 * columns, coef.tolist(), 0)
    with pytest.raises(ValueError, match="no rows"):
        value_and_grad("huber", X, y, coef)
