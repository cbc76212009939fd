"""Linear models: what is refused, and what the errors say."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

import numpy as np
import pytest
from linear_models import logistic_problem, value_and_grad

import fastloss as fl

# ---- errors ---------------------------------------------------------------------------------------------


def test_a_label_outside_of_the_domain():
    X, y, coef, _ = logistic_problem(20_000, 3)
    y[12_345] = 2
    with pytest.raises(ValueError, match=r"logistic: y_true must lie in \[0, 1\].*at index 12345$"):
        value_and_grad("logistic", X, y, coef)
    weight = np.ones(20_000)
    weight[12_345] = 0
    assert np.isfinite(value_and_grad("logistic", X, y, coef, sample_weight=weight)[0])


def test_a_score_outside_of_the_domain():
    X = np.full((40, 2), 0.25)
    X[31] = 0.75
    with pytest.raises(ValueError, match=r"got y_true=0.*, y_pred=1\.5 at index 31$"):
        value_and_grad("brier", X, np.zeros(40), [1.0, 1.0])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"loss": "hubert"}, ValueError, "did you mean 'huber'"),
        ({"loss": len}, TypeError, "loss must be a loss of fastloss or its name"),
        ({"loss": "poly1"}, ValueError, "poly1 is a loss of rows"),
        ({"X": np.zeros(6)}, ValueError, r"X must have 2 dimensions, got shape \(6,\); pass X.reshape"),
        ({"X": np.zeros((6, 2, 1))}, ValueError, "X must have 2 dimensions"),
        ({"X": np.broadcast_to(np.int8(1), (2**31, 2**31))}, ValueError, "more elements"),
        ({"X": np.zeros((6, 2), complex)}, TypeError, "X has dtype complex128"),
        ({"X": np.ma.zeros((6, 2))}, TypeError, "X is a masked array"),
        ({"y": np.zeros(5)}, ValueError, r"y has shape \(5,\), but X has 6 rows; pass shape \(6,\)$"),
        ({"y": np.zeros((6, 1))}, ValueError, r"pass y.ravel\(\)"),
        ({"y": 0.0}, ValueError, r"y has shape \(\)"),
        ({"coef": np.zeros(3)}, ValueError, r"coef has shape \(3,\), but X has 2 columns; pass shape \(2,\)$"),
        ({"coef": np.zeros((1, 2))}, ValueError, r"pass coef.ravel\(\)"),
        ({"coef": ["a", "b"]}, TypeError, "coef has dtype"),
        ({"intercept": [1.0]}, ValueError, r"intercept must be a number, got shape \(1,\)"),
        ({"intercept": "one"}, TypeError, "intercept has dtype"),
        ({"sample_weight": 1.0}, ValueError, r"sample_weight has shape \(\), but X has 6 rows"),
        ({"sample_weight": [1, 1, 1, np.nan, 1, 1]}, ValueError, "sample_weight must be finite; found nan at index 3"),
        ({"sample_weight": [1, -1, 0, 0, 0, 0]}, ValueError, "sums to 0"),
        ({"l2": -1.0}, ValueError, "l2 must be >= 0"),
        ({"l2": np.inf}, ValueError, "l2 must be finite"),
        ({"reduction": "none"}, ValueError, "reduction must be 'mean' or 'sum', got 'none'"),
    ],
)  # fmt: skip
def test_errors(change, error, message):
    arguments = {"loss": "huber", "X": np.ones((6, 2)), "y": np.zeros(6), "coef": np.zeros(2), **change}
    with pytest.raises(error, match=message):
        value_and_grad(**arguments)


@pytest.mark.parametrize("coef", [np.zeros(2), [0.0, 0.0]])  # float64 arrays have a short way to C
def test_integers_as_intercepts(coef):
    X, y = np.ones((3, 2)), np.zeros(3)
    for intercept in (2**53, -(2**53), 2**53 + 1, 2**64 - 1, -(2**63)):
        assert value_and_grad("absolute_error", X, y, coef, intercept)[0] == abs(float(intercept))
    for intercept in (2**64, -(2**63) - 1, 10**400):
        with pytest.raises(TypeError, match="intercept has dtype object"):
            value_and_grad("absolute_error", X, y, coef, intercept)


@pytest.mark.parametrize("loss", [fl.huber, fl.softmax_cross_entropy])
def test_a_loss_that_was_never_initialised(loss):
    empty = type(loss).__new__(type(loss))
    for call in (value_and_grad, fl.linear.Objective):
        with pytest.raises(TypeError, match="this loss was never initialised; use fastloss.get"):
            call(empty, np.ones((6, 2)), np.zeros(6, int), *[np.zeros(2)] * (call is value_and_grad))


@pytest.mark.parametrize(("l2", "size"), [(1e200, 1e200), (1e-300, 1e-300)])
@pytest.mark.parametrize("loss", ["squared_error", "softmax_cross_entropy"])
def test_numpys_error_state_has_no_say(loss, l2, size):
    X, y = np.full((6, 2), size), np.zeros(6, int)
    with np.errstate(all="raise"):
        value_and_grad(loss, X, y, np.full((3, 2) if "soft" in loss else 2, size), l2=l2)
        if "soft" not in loss:
            fl.linear.hess_vec(loss, X, y, np.full(2, size), np.full(2, size), l2=l2)
