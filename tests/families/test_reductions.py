"""reduction=, sample_weight= and what there is when nothing is left to average."""

from __future__ import annotations

import numpy as np
import pytest

import fastloss as fl


def test_weights_multiply_value_gradient_and_hessian(loss, dtype, sample):
    y, p = sample(loss, 100, dtype)
    w = np.linspace(-1, 3, 100).astype(dtype)
    plain = (loss(y, p, reduction="none"), *loss.grad_and_hess(y, p, reduction="none"))
    weighted = (
        loss(y, p, reduction="none", sample_weight=w),
        *loss.grad_and_hess(y, p, reduction="none", sample_weight=w),
    )
    for a, b in zip(plain, weighted, strict=True):
        np.testing.assert_array_equal(b, a * w)
    total = loss(y, p, reduction="sum", sample_weight=w)
    assert total == pytest.approx(
        float(np.sum(plain[0].astype(float) * w)), rel=1e-5 if dtype == np.float32 else 1e-12
    )
    assert loss(y, p, sample_weight=w) == total / w.astype(float).sum()


def test_an_integer_weight_is_a_repetition():
    rng = np.random.default_rng(0)
    y, p, w = rng.normal(size=50), rng.normal(size=50), rng.integers(0, 4, size=50)
    repeated = fl.huber(np.repeat(y, w), np.repeat(p, w))
    assert fl.huber(y, p, sample_weight=w) == pytest.approx(repeated, rel=1e-14)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_weight_zero_is_absent_whatever_the_element_costs(bad, dtype):
    y, p = np.zeros(20, dtype), np.ones(20, dtype)
    p[7] = bad
    w = np.ones(20, dtype)
    w[7] = 0
    value, grad = fl.squared_error.value_and_grad(y, p, sample_weight=w)
    assert value == 1.0
    assert grad[7] == 0
    np.testing.assert_array_equal(np.delete(grad, 7), dtype(2) * (dtype(1) / dtype(19)))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_nothing_to_average_is_zero_and_never_nan(loss, dtype, reduction, sample):
    y, p = sample(loss, 37, dtype)
    w = np.zeros(37)
    assert loss(y, p, sample_weight=w, reduction=reduction) == 0.0
    for array in loss.grad_and_hess(y, p, sample_weight=w, reduction=reduction):
        np.testing.assert_array_equal(array, np.zeros(37, dtype))


def test_weights_that_cancel_have_no_mean():
    with pytest.raises(ValueError, match="sums to 0"):
        fl.squared_error([0.0, 0.0], [1.0, 2.0], sample_weight=[1.0, -1.0])
    assert fl.squared_error([0.0, 0.0], [1.0, 2.0], sample_weight=[1.0, -1.0], reduction="sum") == -3.0


@pytest.mark.parametrize("w", [np.inf, np.nan, -np.inf])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_weight_that_is_not_finite_is_refused(w, reduction):
    out = np.full(3, 5.0)
    with pytest.raises(ValueError, match="sample_weight must be finite.* at index 1"):
        fl.squared_error.grad(np.zeros(3), np.ones(3), sample_weight=[1, w, 1], reduction=reduction, out=out)
    assert (out == 5).all()


def test_weights_broadcast_to_the_arrays():
    y, p = np.zeros((3, 4)), np.arange(12.0).reshape(3, 4)
    row, column = np.array([1.0, 2.0, 3.0, 4.0]), np.array([[1.0], [2.0], [3.0]])
    for w in (row, column, 2.0, np.float32(2), True):
        full = np.broadcast_to(w, (3, 4)).astype(float)
        assert fl.absolute_error(y, p, sample_weight=w) == pytest.approx(
            np.average(p, weights=full), rel=1e-15
        )
    with pytest.raises(ValueError, match=r"sample_weight has shape \(3,\).*\[:, None\]"):
        fl.absolute_error(y, p, sample_weight=np.ones(3))


def test_an_empty_array(loss, dtype):
    empty = np.empty(0, dtype)
    for method in (loss, loss.grad, loss.value_and_grad, loss.grad_and_hess):
        with pytest.raises(ValueError, match="empty"):
            method(empty, empty)
    assert loss(empty, empty, reduction="sum") == 0.0
    assert loss(empty, empty, reduction="none").shape == (0,)
    assert loss.grad(empty, empty, reduction="sum").shape == (0,)


def test_the_value_is_a_python_float(loss, dtype, sample):
    y, p = sample(loss, 40, dtype)
    assert type(loss(y, p)) is float
    assert type(loss(y, p, reduction="sum")) is float
    assert type(loss.value_and_grad(y, p)[0]) is float
    assert type(loss(y.tolist(), p.tolist(), sample_weight=[1] * 40)) is float


@pytest.mark.parametrize("reduction", ["Mean", "average", None, 1, "", b"mean"])
def test_unknown_reductions_are_refused(reduction):
    with pytest.raises(ValueError, match="reduction must be 'mean', 'sum' or 'none'"):
        fl.huber([0.0], [1.0], reduction=reduction)


def test_reductions_that_are_not_interned_work():
    assert fl.huber([0.0], [1.0], reduction="".join(["m", "ean"])) == 0.5


def test_a_scalar_prediction_has_a_scalar_derivative():
    y = np.array([0.0, 1.0, 5.0])
    value, grad = fl.squared_error.value_and_grad(y, 2.0)
    assert value == np.mean((y - 2) ** 2)
    assert grad.shape == ()
    assert grad == np.mean(2 * (2 - y))
    assert fl.squared_error.grad_and_hess(y, 2.0, reduction="sum")[1] == 6
    assert fl.squared_error.grad(y, np.float32(2), reduction="none").shape == (3,)
    out = np.array(9.0)
    assert fl.squared_error.grad(y, 2.0, out=out) is out
    assert out == grad


@pytest.mark.parametrize("weight", [5e-324, 1e-310, 1e-50, 1e-40, 1e-30, 1e30, 3e38, 1e50, 1e300])
@pytest.mark.parametrize("dtype_of_weight", [np.float32, np.float64])
def test_the_scale_of_the_weights_does_not_matter_to_the_mean(weight, dtype_of_weight, dtype):
    with np.errstate(over="ignore", under="ignore"):
        w = np.full(100, weight).astype(dtype_of_weight)
    if not np.isfinite(w[0]) or w[0] == 0:
        w = np.ones(100, dtype_of_weight)
    w[50:] *= dtype_of_weight(0.5) if weight > 1e-300 else 1
    y, p = np.zeros(100, dtype), np.linspace(1, 2, 100).astype(dtype)
    value, grad = fl.huber.value_and_grad(y, p, sample_weight=w)
    unit = np.where(np.arange(100) < 50, 1.0, 0.5 if weight > 1e-300 else 1.0)
    want, slope = fl.huber.value_and_grad(y, p, sample_weight=unit)
    tolerance = 1e-6 if dtype == np.float32 else 1e-14
    denormal = 0.05 if w[0] < np.finfo(dtype_of_weight).tiny * 1e6 else 0  # halves of them are rounded
    assert value == pytest.approx(want, rel=tolerance + denormal)
    np.testing.assert_allclose(grad, slope, rtol=tolerance + denormal)


def test_masked_elements_need_not_be_in_the_domain():
    y = np.ma.masked_array([0.0, 1.0, 7.0], [False, False, True])
    s = np.array([0.1, 0.2, 0.3])
    out = np.empty(3)
    value, grad = fl.logistic.value_and_grad(y.filled(), s, sample_weight=~y.mask, out=out)
    assert value == fl.logistic(y.data[:2], s[:2])
    assert grad[2] == 0
    with pytest.raises(ValueError, match=r"got y_true=1e\+20, y_pred=0.3 at index 2"):
        fl.logistic(y.filled(), s, sample_weight=[0, 1, 1])


def test_overflow_of_a_scalar_derivative_is_inf_without_a_warning():
    outs = np.array(5.0, np.float32), np.array(5.0, np.float32)
    with np.errstate(all="raise"):
        grad, hess = fl.squared_error.grad_and_hess(
            np.zeros(4, np.float32), np.float32(0), sample_weight=np.full(4, 1e38), reduction="sum", out=outs
        )
    assert (grad, hess) == (0, np.inf)
    assert grad is outs[0]
