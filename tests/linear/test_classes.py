"""Linear models of several classes, dense and sparse."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

import numpy as np
import pytest
from linear_models import DTYPES, bits, sparse_problem, value_and_grad

import fastloss as fl

# ---- classes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [4, 6000])  # one pass; matrix products
def test_softmax(dtype, reduction, columns):
    """Against the scores' loss; its gradient by the coefficients is a product of NumPy's in extended precision."""
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(90, columns)) * (4 / columns) ** 0.5).astype(dtype)
    y, weight = rng.integers(0, 3, 90), rng.uniform(0, 2, 90)
    coef, intercept = rng.normal(size=(3, columns)).astype(dtype), rng.normal(size=3)
    loss = fl.softmax_cross_entropy.bind(label_smoothing=0.1, ignore_index=2)
    scores = X.astype(np.float64) @ coef.T.astype(np.float64) + intercept
    value, slopes = loss.value_and_grad(y, scores, sample_weight=weight, reduction=reduction)
    options = {"sample_weight": weight, "reduction": reduction}
    got = value_and_grad(loss, X, y, coef, intercept, l2=0.5, **options)
    relative = 64 * float(np.finfo(dtype).eps)
    tolerance = relative * (1 if reduction == "mean" else weight.sum())
    assert got[0] == pytest.approx(value + 0.25 * (coef.astype(float) ** 2).sum(), rel=relative)
    wanted = slopes.T.astype(np.longdouble) @ X + 0.5 * coef
    np.testing.assert_allclose(got[1], wanted.astype(float), atol=tolerance, rtol=0)
    np.testing.assert_allclose(got[2], slopes.sum(axis=0), atol=tolerance, rtol=0)
    assert got[1].dtype == dtype
    objective = fl.linear.Objective(loss, X, y, l2=0.5, **options)
    value, grad = objective(np.append(coef.astype(float), intercept))
    assert value == got[0]
    np.testing.assert_array_equal(grad[:-3].reshape(3, columns).astype(dtype), got[1])
    np.testing.assert_array_equal(grad[-3:], got[2])
    with pytest.raises(ValueError, match="softmax_cross_entropy has no hess_vec"):
        objective.hess_vec(grad, grad)


def test_softmax_without_intercepts():
    X, y = np.eye(3), np.arange(3)
    value, grad = fl.linear.Objective("softmax_cross_entropy", X, y, fit_intercept=False)(np.zeros(9))
    assert value == pytest.approx(np.log(3), rel=1e-15)
    np.testing.assert_allclose(grad.reshape(3, 3), (1 / 3 - np.eye(3)) / 3, rtol=1e-15)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"coef": np.zeros(2)},
            ValueError,
            r"coef has shape \(2,\), but X has 2 columns; pass shape \(K, 2\)",
        ),
        ({"coef": np.zeros((2, 3))}, ValueError, r"pass shape \(K, 2\), a row for each class"),
        ({"intercept": np.zeros(2)}, ValueError, r"intercept has shape \(2,\); pass shape \(3,\)"),
        ({"coef": np.zeros((0, 2))}, ValueError, r"coef has shape \(0, 2\): there must be 1 to"),
        ({"y": np.full(6, 3)}, ValueError, r"y must lie in \[0, 3\), the rows of coef"),
        ({"y": np.zeros(6)}, TypeError, "y must be class indices"),
    ],
)
def test_errors_of_softmax(change, error, message):
    arguments = {"X": np.ones((6, 2)), "y": np.zeros(6, int), "coef": np.zeros((3, 2)), **change}
    with pytest.raises(error, match=message):
        value_and_grad("softmax_cross_entropy", **arguments)


@pytest.mark.parametrize("columns", [4, 6000])
def test_softmax_of_weights_beyond_float32(columns):
    X, y, coef = np.zeros((5, columns), np.float32), np.arange(5) % 3, np.zeros((3, columns), np.float32)
    for weight, wanted in ((1e39, np.inf), (1e-60, 0.0)):
        options = {"sample_weight": np.full(5, weight), "reduction": "sum"}
        assert value_and_grad("softmax_cross_entropy", X, y, coef, **options)[0] == wanted


def test_softmax_along_another_axis_is_refused():
    X, y, coef = np.ones((6, 2)), np.zeros(6, int), np.zeros((3, 2))
    last = fl.softmax_cross_entropy.bind(axis=1)
    assert bits(value_and_grad(last, X, y, coef)) == bits(value_and_grad("softmax_cross_entropy", X, y, coef))
    with pytest.raises(ValueError, match="axis must be -1.*, got 0$"):
        value_and_grad(fl.softmax_cross_entropy.bind(axis=0), X, y, coef)


def test_softmax_of_other_parameters():
    objective = fl.linear.Objective("softmax_cross_entropy", np.ones((6, 2)), np.zeros(6, int))
    with pytest.raises(ValueError, match=r"w has shape \(7,\); pass 3 parameters for each class"):
        objective(np.zeros(7))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_softmax_of_sparse_rows(dtype, reduction):
    """As of dense ones. Rows that do not count hold NaN."""
    rng = np.random.default_rng(4)
    X, *_ = sparse_problem(90, 7, dtype, density=0.4)
    y, weight = rng.integers(0, 4, 90), rng.uniform(0, 2, 90)
    coef, intercept = rng.normal(size=(4, 7)), rng.normal(size=4)
    loss = fl.softmax_cross_entropy.bind(label_smoothing=0.1, ignore_index=3, class_weight=[1, 0, 2, 1])
    options = {"sample_weight": weight, "reduction": reduction}
    weight[5] = 0
    want = value_and_grad(loss, X.toarray(), y, coef, intercept, **options)
    y[5] = 99  # no class
    X = X.tolil()
    X[[5, *np.flatnonzero(y == 3), *np.flatnonzero(y == 1)]] = np.nan
    X = X.tocsr()
    got = value_and_grad(loss, X, y, coef, intercept, **options)
    size = 64 * float(np.finfo(dtype).eps)
    assert got[0] == pytest.approx(want[0], rel=size)
    for a, b in zip(got[1:], want[1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=size * (1 if reduction == "mean" else weight.sum()))
    objective = fl.linear.Objective(loss, X, y, **options)
    assert objective(np.append(coef, intercept))[0] == got[0]
    with pytest.raises(ValueError, match=r"y must lie in \[0, 4\).* got 99 at index 5"):
        value_and_grad(loss, X, y, coef, intercept, reduction=reduction)


def test_softmax_of_sparse_rows_of_which_none_counts():
    X, *_ = sparse_problem(5, 3, np.float64)
    value, *grads = value_and_grad(
        "softmax_cross_entropy", X, np.zeros(5, int), np.ones((2, 3)), sample_weight=np.zeros(5)
    )
    assert value == 0
    assert not any(np.any(grad) for grad in grads)


@pytest.mark.parametrize("part", ["indices", "indptr"])
@pytest.mark.parametrize("wrong", [-1, 7, 10**9])
def test_softmax_of_sparse_rows_with_wrong_indices(part, wrong):
    X, *_ = sparse_problem(20, 7, np.float64)
    objective = fl.linear.Objective("softmax_cross_entropy", X, np.arange(20) % 3)
    getattr(X, part)[3] = wrong
    if part == "indptr" and wrong == 7:
        X.indptr[4] = 6
    with pytest.raises(ValueError, match="X is not a valid CSR matrix"):
        objective(np.zeros(24))
