"""Sums of many elements are right to the last bits."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastloss as fl

MILLION = 1_000_000


def ulps(got: float, want: float) -> float:
    return abs(got - want) / math.ulp(want)


def test_a_mean_over_a_hundred_million_float32_elements():
    """Of multiples of 2^-24, whose exact sum is that of integers."""
    n, rng, exact = 100 * MILLION, np.random.default_rng(0), 0
    p = np.empty(n, np.float32)
    for start in range(0, n, MILLION):
        k = rng.integers(0, 2**24, MILLION)
        exact += int(k.sum())
        p[start : start + MILLION] = k * 2.0**-24
    want = exact / 2**24 / n
    assert ulps(fl.absolute_error(np.float32(0), p), want) <= 1  # of float64, let alone of float32


@pytest.mark.parametrize("name", ["squared_error", "logistic", "poisson"])
def test_sums_of_ten_million_float64_elements(name):
    rng, n = np.random.default_rng(1), 10 * MILLION
    y, p = (rng.random(n) < 0.5).astype(float), rng.normal(size=n)
    loss = fl.get(name)
    want = math.fsum(loss(y, p, reduction="none").tolist())
    assert ulps(loss(y, p, reduction="sum"), want) <= 2
    assert ulps(loss(y, p), want / n) <= 2


@pytest.mark.parametrize("n", [100, 1000, 4096, MILLION + 3])
def test_sums_of_equal_terms(n):
    """Whose roundings are alike, and add up in a plain sum."""
    p, want = np.full(n, 0.1), math.fsum([0.1] * n)
    assert ulps(fl.absolute_error(0.0, p, reduction="sum"), want) <= 2
    assert ulps(fl.absolute_error(0.0, np.full(n, 7.0), sample_weight=p), 7.0) <= 2
    y, scores = np.zeros(n, int), np.tile([0.3, 0.1, 0.7], (n, 1))
    each = fl.softmax_cross_entropy(y, scores, reduction="none")
    assert ulps(fl.softmax_cross_entropy(y, scores, reduction="sum"), math.fsum(each)) <= 2
    assert ulps(fl.softmax_cross_entropy(y, scores, sample_weight=p), float(each[0])) <= 3  # of a product


def test_weighted_means_over_many_magnitudes():
    rng, n = np.random.default_rng(2), MILLION
    p, w = np.exp(rng.normal(size=n) * 20), np.exp(rng.normal(size=n) * 5)
    want = math.fsum((w * p).tolist()) / math.fsum(w.tolist())
    assert ulps(fl.absolute_error(np.zeros(n), p, sample_weight=w), want) <= 2


def test_what_cancels_between_blocks_is_not_lost():
    """Block sums of 1e16 and -1e16 hide a rest of 1 from a plain sum in float64."""
    n = 2048
    p = np.repeat([1e16, 1.0, 1e16], n)
    w = np.repeat([1.0, 1.0, -1.0], n)
    assert fl.absolute_error(np.zeros(3 * n), p, sample_weight=w, reduction="sum") == n
