"""Every loss at the lengths where lanes, blocks and threads begin and end."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastloss as fl

BLOCK = 2048
LENGTHS = (0, 1, 15, 16, 17, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5, 40_001)
GUARD = 64


@pytest.mark.parametrize("n", LENGTHS)
def test_a_long_array_is_its_elements(loss, dtype, n, sample):
    y, p = sample(loss, n, dtype)
    once = dict.fromkeys(zip(y.tolist(), p.tolist(), strict=True))
    if once:  # every element alone, in arrays of one
        for key in list(once)[:50]:
            a, b = (np.array([x], dtype) for x in key)
            g, h = loss.grad_and_hess(a, b)
            once[key] = (loss(a, b, reduction="none")[0], g[0], h[0])
    value = loss(y, p, reduction="none")
    grad, hess = loss.grad_and_hess(y, p, reduction="none")
    both, second = loss.value_and_grad(y, p, reduction="none")
    assert value.shape == grad.shape == hess.shape == (n,)
    np.testing.assert_array_equal(both, value)
    np.testing.assert_array_equal(second, grad)
    np.testing.assert_array_equal(loss.grad(y, p, reduction="none"), grad)
    for (a, b), want in list(once.items())[:50]:
        for i in np.flatnonzero((y == a) & (p == b)):
            assert (value[i], grad[i], hess[i]) == want


@pytest.mark.parametrize("n", LENGTHS[1:])
def test_sums_are_right_to_the_last_bits(loss, dtype, n, sample):
    y, p = sample(loss, n, dtype)
    elements = loss(y, p, reduction="none").astype(np.float64)
    exact, size = math.fsum(elements), math.fsum(abs(elements))
    total = loss(y, p, reduction="sum")
    assert abs(total - exact) <= 16 * 2.0**-53 * size
    assert loss(y, p) == total / n
    value, grad = loss.value_and_grad(y, p, reduction="sum")
    assert value == total
    np.testing.assert_array_equal(grad, loss.grad(y, p, reduction="none"))


@pytest.mark.parametrize("n", LENGTHS[1:])
def test_the_mean_scales_the_derivatives(loss, dtype, n, sample):
    y, p = sample(loss, n, dtype)
    factor = dtype(1.0 / n)
    grad, hess = loss.grad_and_hess(y, p)
    single_grad, single_hess = loss.grad_and_hess(y, p, reduction="none")
    np.testing.assert_array_equal(grad, single_grad * factor)
    np.testing.assert_array_equal(hess, single_hess * factor)


@pytest.mark.parametrize("n", LENGTHS)
def test_nothing_is_written_outside_of_the_outputs(loss, dtype, n, sample):
    y, p = sample(loss, n, dtype)
    buffers = [np.full(n + 2 * GUARD, 77, dtype) for _ in range(2)]
    inside = [b[GUARD : GUARD + n] for b in buffers]
    loss.grad_and_hess(y, p, reduction="sum", out=tuple(inside))
    loss.value_and_grad(y, p, reduction="none", out=tuple(inside))
    for b in buffers:
        assert (b[:GUARD] == 77).all()
        assert (b[GUARD + n :] == 77).all()


@pytest.mark.parametrize("n", [1, 16, 17, 40])
def test_nan_goes_through_at_every_lane(loss, dtype, n, sample):
    y, p = sample(loss, n, dtype)
    clean = loss(y, p, reduction="none")
    for i in range(n):
        for which in range(2):
            arguments = [y.copy(), p.copy()]
            arguments[which][i] = np.nan
            value, grad = loss.value_and_grad(*arguments, reduction="none")
            assert np.isnan(value[i])
            assert np.isnan(grad[i])
            others = np.arange(n) != i
            np.testing.assert_array_equal(value[others], clean[others])
            assert np.isnan(loss(*arguments))


def test_a_float32_mean_does_not_drift():
    n = 10_000_000
    y, p = np.zeros(n, np.float32), np.full(n, 0.1, np.float32)
    assert np.float32(fl.absolute_error(y, p)) == np.float32(0.1)
    assert fl.absolute_error(y, p, reduction="sum") == n * float(np.float32(0.1))
