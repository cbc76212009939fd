"""Domains, parameters, kinks, infinities and the figures of textbooks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from references import REFERENCES

import fastloss as fl

INF, NAN = math.inf, math.nan


# ---- domains ----------------------------------------------------------------------------------------

VIOLATIONS = [
    ("poisson", {}, -1.0, 0.0, "y_true must be >= 0"),
    ("poisson", {}, -5e-324, 0.0, "y_true must be >= 0"),
    ("gamma", {}, 0.0, 0.0, "y_true must be > 0"),
    ("tweedie", {}, -1.0, 0.0, "y_true must be >= 0"),
    ("tweedie", {"power": 2.0}, 0.0, 0.0, "> 0 for power >= 2"),
    ("tweedie", {"power": 3.0}, -1.0, 0.0, "> 0 for power >= 2"),
    ("negative_binomial", {}, -1.0, 0.0, "y_true must be >= 0"),
    ("logistic", {}, -1.0, 0.0, r"\[0, 1\].*\(y_true \+ 1\) / 2"),
    ("logistic", {}, 1.0 + 2**-23, 0.0, r"\[0, 1\]"),
    ("exponential", {}, 2.0, 0.0, r"\[0, 1\]"),
    ("binary_cross_entropy", {}, 0.0, 1.5, "raw scores.*fastloss.logistic"),
    ("binary_cross_entropy", {}, 0.0, -2.0, "raw scores"),
    ("binary_cross_entropy", {}, 2.0, 0.5, "probabilities"),
    ("brier", {}, 1.0, 1.25, "probabilities"),
    ("hinge", {}, 2.0, 0.0, "0 or 1, or -1 or"),
    ("hinge", {}, 0.5, 0.0, "label"),
    ("squared_hinge", {}, -2.0, 0.0, "label"),
    ("modified_huber", {}, INF, 0.0, "label"),
    ("perceptron", {}, -0.5, 0.0, "label"),
    ("focal", {}, 3.0, 0.0, "label"),
    ("squared_log_error", {}, -1.0, 0.0, "must be > -1"),
    ("squared_log_error", {}, 0.0, -1.5, "must be > -1"),
]


@pytest.mark.parametrize(("name", "params", "y", "p", "text"), VIOLATIONS)
@pytest.mark.parametrize("n", [1, 17, 2048, 5000])
def test_a_violation_raises_with_the_first_index(name, params, y, p, text, n, sample, dtype):
    if dtype(y) == 0 and y != 0:
        dtype = np.float64  # the label exists there alone
    loss = fl.get(name, **params)
    good_y, good_p = sample(loss, n, dtype)
    if name == "tweedie" and n > 1:
        good_y = np.abs(good_y) + dtype(1)
    for at in {0, n // 2, n - 1}:
        ys, ps = good_y.copy(), good_p.copy()
        ys[at], ps[at] = y, p
        ys[n - 1], ps[n - 1] = y, p  # a later one must not be the one that is named
        for method in (loss, loss.grad, loss.value_and_grad, loss.grad_and_hess):
            with pytest.raises(ValueError, match=f"^{name}: .*{text}.* at index {at}$"):
                method(ys, ps)


def test_a_violation_in_two_dimensions_is_named_by_its_index():
    y = np.zeros((3, 4))
    y[1, 2] = 7
    with pytest.raises(ValueError, match=r"got y_true=7.0, y_pred=0.5 at index \(1, 2\)"):
        fl.logistic(y, np.full((3, 4), 0.5))
    with pytest.raises(ValueError, match=r"got y_true=7.0, y_pred=0.5$"):
        fl.logistic(7.0, 0.5)


def test_both_label_conventions_of_margin_losses(sample):
    s = np.random.default_rng(0).normal(size=100)
    binary = np.arange(100) % 2
    for name in ("hinge", "squared_hinge", "modified_huber", "perceptron", "focal"):
        loss = fl.get(name)
        want = loss.value_and_grad(2.0 * binary - 1, s)
        for labels in (
            binary,
            binary.astype(bool),
            binary.astype(np.uint8),
            (2 * binary - 1).astype(np.int8),
        ):
            got = loss.value_and_grad(labels, s)
            assert got[0] == want[0]
            np.testing.assert_array_equal(got[1], want[1])


# ---- parameters -------------------------------------------------------------------------------------

BAD_PARAMETERS = [
    *(("huber", "delta", v) for v in (0, -1, INF, NAN)),
    *(("smooth_l1", "beta", v) for v in (-1, INF, NAN)),
    *(("pseudo_huber", "delta", v) for v in (0, -1, INF)),
    *(("pinball", "quantile", v) for v in (0, 1, -0.5, 1.5, NAN)),
    *(("expectile", "level", v) for v in (0, 1, 2, NAN)),
    *(("epsilon_insensitive", "epsilon", v) for v in (-0.1, INF, NAN)),
    *(("squared_epsilon_insensitive", "epsilon", v) for v in (-0.1, INF)),
    *(("absolute_percentage_error", "epsilon", v) for v in (0, -1, NAN)),
    *((name, "c", v) for name in ("fair", "cauchy", "welsch", "geman_mcclure", "tukey_biweight", "barron") for v in (0, -1, INF, NAN)),
    *(("barron", "alpha", v) for v in (INF, NAN)),
    *(("tweedie", "power", v) for v in (0.5, 0.001, INF, NAN)),
    *(("negative_binomial", "dispersion", v) for v in (0, -1, NAN)),
    *(("logistic", "pos_weight", v) for v in (-1, INF, NAN)),
    *(("binary_cross_entropy", "base", v) for v in (0, 1, -2, INF, NAN)),
    *(("focal", "gamma", v) for v in (-1, INF, NAN)),
    *(("focal", "alpha", v) for v in (-0.1, 1.1, NAN)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "parameter", "value"), BAD_PARAMETERS)
def test_parameters_out_of_range_are_refused(name, parameter, value):
    for call in (
        lambda: fl.get(name, **{parameter: value}),
        lambda: fl.get(name).bind(**{parameter: value}),
        lambda: fl.get(name)([1.0], [0.5], **{parameter: value}),
    ):
        with pytest.raises(ValueError, match=f"^{parameter} must "):
            call()


def test_every_parameter_is_checked(loss):
    for parameter in loss.params:
        with pytest.raises(ValueError, match=f"^{parameter} must "):
            loss.bind(**{parameter: NAN})
        with pytest.raises(TypeError, match=f"^{parameter} must be a real number"):
            loss([1.0], [0.5], **{parameter: "1"})


@pytest.mark.parametrize("value", ["1", None, [1.0, 2.0], 1j, np.complex64(1), object()])
def test_parameters_that_are_no_numbers_are_refused(value):
    with pytest.raises(TypeError, match="^delta must be a real number, got "):
        fl.huber([0.0], [1.0], delta=value)


def test_unknown_parameters_are_refused():
    with pytest.raises(
        TypeError, match="huber has no keyword 'detla'; it has delta, .* out; did you mean delta"
    ):
        fl.huber([0.0], [1.0], detla=1)
    with pytest.raises(TypeError, match="log_cosh has no keyword 'delta'; it has sample_weight"):
        fl.log_cosh.bind(delta=1)
    with pytest.raises(TypeError, match="it has .* out, return_lse, return_correct; did you mean return_lse"):
        fl.poly1([0], [[1.0]], return_lsee=True)
    for loss, key in ((fl.huber, "sample_weight"), (fl.poly1, "return_lse")):
        with pytest.raises(TypeError, match=f"{loss.name} binds parameters alone; pass {key}= to the call"):
            loss.bind(**{key: None})


# ---- kinks and infinities ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "params", "y", "p"),
    [
        ("absolute_error", {}, 1.0, 1.0),
        ("smooth_l1", {"beta": 0.0}, 1.0, 1.0),
        ("pinball", {"quantile": 0.9}, 1.0, 1.0),
        ("epsilon_insensitive", {"epsilon": 0.5}, 1.0, 1.5),
        ("epsilon_insensitive", {"epsilon": 0.0}, 1.0, 1.0),
        ("absolute_percentage_error", {}, 1.0, 1.0),
        ("hinge", {}, 1.0, 1.0),
        ("hinge", {}, 0.0, -1.0),
        ("perceptron", {}, 1.0, 0.0),
    ],
)
def test_at_a_kink_the_gradient_is_the_subgradient_of_least_norm(name, params, y, p, dtype):
    assert fl.get(name, **params).grad(np.full(17, y, dtype), np.full(17, p, dtype)).tolist() == [0.0] * 17


# loss, params, y_true, y_pred -> value, gradient; None where there is no limit
LIMITS = [
    ("squared_error", {}, 0, INF, INF, INF),
    ("absolute_error", {}, 0, -INF, INF, -1),
    ("huber", {"delta": 2.0}, 0, INF, INF, 2),
    ("smooth_l1", {}, 0, -INF, INF, -1),
    ("pseudo_huber", {"delta": 2.0}, 0, INF, INF, 2),
    ("log_cosh", {}, 0, -INF, INF, -1),
    ("pinball", {"quantile": 0.25}, 0, INF, INF, 0.75),
    ("expectile", {}, 0, INF, INF, INF),
    ("epsilon_insensitive", {}, 0, INF, INF, 1),
    ("squared_log_error", {}, 0, INF, INF, 0),
    ("fair", {"c": 2.0}, 0, -INF, INF, -2),
    ("cauchy", {}, 0, INF, INF, 0),
    ("welsch", {"c": 2.0}, 0, INF, 2, 0),
    ("geman_mcclure", {"c": 2.0}, 0, -INF, 2, 0),
    ("tukey_biweight", {"c": 3.0}, 0, INF, 1.5, 0),
    ("barron", {}, 0, INF, INF, 1),
    ("barron", {"alpha": 2.0}, 0, -INF, INF, -INF),
    ("barron", {"alpha": 1.5}, 0, INF, INF, INF),
    ("barron", {"alpha": 0.5}, 0, INF, INF, 0),
    ("barron", {"alpha": 0.0}, 0, -INF, INF, 0),
    ("barron", {"alpha": -2.0}, 0, INF, 2, 0),
    ("barron", {"alpha": -INF}, 0, INF, 1, 0),
    ("absolute_percentage_error", {}, INF, 3, 1, 0),
    ("absolute_percentage_error", {}, -INF, 3, 1, 0),
    ("poisson", {}, 3, INF, INF, INF),
    ("poisson", {}, 3, -INF, INF, -3),
    ("poisson", {}, 0, -INF, 0, 0),
    ("gamma", {}, 3, INF, INF, 1),
    ("gamma", {}, 3, -INF, INF, -INF),
    ("tweedie", {}, 3, INF, INF, INF),
    ("tweedie", {}, 3, -INF, INF, -INF),
    ("tweedie", {}, 0, -INF, 0, 0),
    ("tweedie", {"power": 1.0}, 3, INF, INF, INF),
    ("tweedie", {"power": 2.0}, 3, -INF, INF, -INF),
    ("tweedie", {"power": 3.0}, 3, -INF, INF, -INF),
    ("tweedie", {"power": 0.0}, 3, INF, INF, INF),
    ("negative_binomial", {}, 3, INF, INF, 1),
    ("negative_binomial", {}, 3, -INF, INF, -3),
    ("negative_binomial", {}, 0, -INF, 0, 0),
    ("logistic", {}, 1, INF, 0, 0),
    ("logistic", {}, 0, -INF, 0, 0),
    ("logistic", {}, 0, INF, INF, 1),
    ("logistic", {}, 1, -INF, INF, -1),
    ("logistic", {}, 0.25, INF, INF, 0.75),
    ("binary_cross_entropy", {}, 1, 1, 0, -1),
    ("binary_cross_entropy", {}, 0, 0, 0, 1),
    ("binary_cross_entropy", {}, 1, 0, INF, -INF),
    ("binary_cross_entropy", {}, 0, 1, INF, INF),
    ("binary_cross_entropy", {}, 0.5, 0, INF, -INF),
    ("hinge", {}, 1, INF, 0, 0),
    ("hinge", {}, 0, INF, INF, 1),
    ("squared_hinge", {}, 1, -INF, INF, -INF),
    ("squared_hinge", {}, 1, INF, 0, 0),
    ("modified_huber", {}, 1, INF, 0, 0),
    ("modified_huber", {}, 1, -INF, INF, -4),
    ("perceptron", {}, 0, -INF, 0, 0),
    ("perceptron", {}, 0, INF, INF, 1),
    ("exponential", {}, 1, INF, 0, 0),
    ("exponential", {}, 0, INF, INF, INF),
    ("exponential", {}, 1, 800, None, None),
    ("focal", {}, 1, INF, 0, 0),
    ("focal", {}, 1, -INF, INF, -1),
    ("focal", {"gamma": 0.0}, 0, -INF, 0, 0),
    ("focal", {"gamma": 0.5}, 0, -INF, 0, 0),
    ("focal", {"gamma": 0.0}, 0, INF, INF, 1),
]


@pytest.mark.parametrize(("name", "params", "y", "p", "value", "grad"), LIMITS)
def test_infinities_are_the_limits(name, params, y, p, value, grad, dtype):
    loss = fl.get(name, **params)
    got = loss.value_and_grad(np.full(17, y, dtype), np.full(17, p, dtype), reduction="none")
    hess = loss.grad_and_hess(np.full(17, y, dtype), np.full(17, p, dtype), reduction="none")[1]
    assert not np.isnan(hess).any()
    if value is not None:
        assert got[0].tolist() == [value] * 17
        assert got[1].tolist() == [grad] * 17
    else:
        assert np.isfinite(got).all()


EXTREME = [
    (name, {parameter: value})
    for name, parameter in (
        ("huber", "delta"),
        ("smooth_l1", "beta"),
        ("pseudo_huber", "delta"),
        ("absolute_percentage_error", "epsilon"),
        *((name, "c") for name in ("fair", "cauchy", "welsch", "geman_mcclure", "tukey_biweight", "barron")),
        ("negative_binomial", "dispersion"),
        ("logistic", "pos_weight"),
        ("focal", "gamma"),
    )
    for value in (5e-324, 1e-300, 1e-50, 1e-30, 1e30, 1e50, 1e300)
] + [("barron", {"alpha": a}) for a in (1e-29, -1e-29, 2 - 1e-15, 2 + 1e-15, -1e20, -1e300, 100.0)]


@pytest.mark.parametrize(("name", "params"), EXTREME)
def test_extreme_parameters_make_no_nan(name, params, dtype):
    loss = fl.get(name, **params)
    labels = [0.0, 1.0] if REFERENCES[name].labels in ("unit", "binary") else [0.0, 1.0, 3.0]
    y, p = (a.ravel().astype(dtype) for a in np.meshgrid(labels, [-3.0, -1e-3, 0.0, 0.5, 1.0, 3.0, 20.0]))
    for array in (loss(y, p, reduction="none"), *loss.grad_and_hess(y, p, reduction="none")):
        assert not np.isnan(array).any()


@pytest.mark.parametrize(
    ("name", "params", "r", "value"),
    [
        ("cauchy", {"c": 1e20}, 100.0, 5000.0),
        ("welsch", {"c": 1e20}, 1.0, 0.5),
        ("welsch", {"c": 1e10}, 2.0**-43, 2.0**-87),
        ("cauchy", {"c": 1e3}, 2.0**-60, 2.0**-121),
        ("geman_mcclure", {"c": 1e15}, 3.0, 4.5),
        ("fair", {"c": 1e25}, 3.0, 4.5),
        ("barron", {"alpha": -1e20}, 2.0**-50, 2.0**-101),
        ("barron", {"alpha": 1e-29}, 2.0**-27, 2.0**-55),
        ("pseudo_huber", {"delta": 1e15}, 3.0, 4.5),
    ],
)
def test_where_the_scale_is_far_from_the_error_it_is_half_its_square(name, params, r, value, dtype):
    assert fl.get(name, **params)(np.zeros(3, dtype), np.full(3, r, dtype)) == pytest.approx(value, rel=1e-6)


def test_negative_binomial_near_poisson():
    s = np.array([50.0, -42.0, 3.0], np.float32)
    hess = fl.negative_binomial.grad_and_hess(np.zeros(3, np.float32), s, dispersion=1e-20, reduction="none")[
        1
    ]
    want = np.exp(s.astype(float)) / (1 + 1e-20 * np.exp(s.astype(float))) ** 2
    np.testing.assert_allclose(hess, want, rtol=1e-5)


def test_no_nan_that_the_mathematics_does_not_have(loss, dtype):
    """All finite inputs of the domain, large and small, give numbers or infinities."""
    from references import points

    for params in REFERENCES[loss.name].params:
        y, p = points(REFERENCES[loss.name], dtype)
        bound = loss.bind(**params)
        for array in (bound(y, p, reduction="none"), *bound.grad_and_hess(y, p, reduction="none")):
            assert not np.isnan(array).any()


# ---- figures ----------------------------------------------------------------------------------------


def test_figures_of_textbooks():
    y, p = [3, -0.5, 2, 7], [2.5, 0, 2, 8]
    assert fl.squared_error(y, p, reduction="sum") == 1.5
    assert fl.squared_error(y, p) == 0.375
    assert fl.absolute_error(y, p) == 0.5
    y, p = [0, 0, 1], [0.1, 0.2, 0.7]
    assert fl.binary_cross_entropy(y, p) == pytest.approx(0.228393, abs=5e-7)
    assert fl.binary_cross_entropy(y, p, base=2) == pytest.approx(0.228393003637 / math.log(2), rel=1e-11)


def test_the_base_scales_the_derivatives_too():
    y, p = np.array([0.0, 1.0, 0.3]), np.array([0.2, 0.6, 0.9])
    natural = fl.binary_cross_entropy.grad_and_hess(y, p)
    for a, b in zip(natural, fl.binary_cross_entropy.grad_and_hess(y, p, base=2), strict=True):
        np.testing.assert_allclose(b, a / np.log(2), rtol=1e-15)


@pytest.mark.parametrize(
    ("name", "params", "other", "others"),
    [
        ("tweedie", {"power": 1.0}, "poisson", {}),
        ("tweedie", {"power": 2.0}, "gamma", {}),
        ("brier", {}, "squared_error", {}),
        ("logistic", {}, "logistic", {"pos_weight": 1.0}),
    ],
)
def test_losses_that_are_the_same_agree_to_the_bit(name, params, other, others, dtype, sample):
    first, second = fl.get(name, **params), fl.get(other, **others)
    y, p = sample(first, 3000, dtype)
    np.testing.assert_array_equal(first(y, p, reduction="none"), second(y, p, reduction="none"))
    for a, b in zip(first.grad_and_hess(y, p), second.grad_and_hess(y, p), strict=True):
        np.testing.assert_array_equal(a, b)


def test_against_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    y, p, w = rng.normal(size=500), rng.normal(size=500), rng.random(500)
    assert fl.squared_error(y, p, sample_weight=w) == pytest.approx(
        metrics.mean_squared_error(y, p, sample_weight=w), rel=1e-14
    )
    assert fl.pinball(y, p, quantile=0.2) == pytest.approx(
        metrics.mean_pinball_loss(y, p, alpha=0.2), rel=1e-14
    )
    assert fl.absolute_percentage_error(y, p) == pytest.approx(
        metrics.mean_absolute_percentage_error(y, p), rel=1e-14
    )
    positive, other = np.exp(y), np.exp(p)
    assert fl.squared_log_error(positive, other) == pytest.approx(
        metrics.mean_squared_log_error(positive, other), rel=1e-13
    )
    labels, probability = rng.integers(0, 2, 500), rng.uniform(0.01, 0.99, 500)
    assert fl.binary_cross_entropy(labels, probability) == pytest.approx(
        metrics.log_loss(labels, probability), rel=1e-14
    )
    assert fl.brier(labels, probability) == pytest.approx(
        metrics.brier_score_loss(labels, probability), rel=1e-14
    )
    assert fl.hinge(labels, p) == pytest.approx(metrics.hinge_loss(labels, p), rel=1e-14)


def test_tweedie_beyond_overflow_has_the_sign_of_the_larger_term():
    cases = [(10.0, 1e-6, -12.0, -INF, INF), (-3.0, 1e9, 18.0, -INF, -INF), (3.0, 2.0, -200.0, INF, -INF)]
    for power, y, s, value, grad in cases:
        got = fl.tweedie.value_and_grad(np.array([y], np.float32), np.array([s], np.float32), power=power)
        assert (got[0], got[1][0]) == (value, grad)


@pytest.mark.parametrize(
    ("name", "params", "other"),
    [
        ("smooth_l1", {"beta": 1.0}, "huber"),
        ("barron", {"alpha": 2.0}, "half_squared_error"),
        ("focal", {"gamma": 0.0}, "logistic"),
    ],
)
def test_losses_that_are_the_same_by_other_formulas_agree(name, params, other, dtype, sample):
    """Each is within 2 ULP of the exact result, so that they may be 4 apart; an ULP is at most eps of the result, or
    the least subnormal number."""
    first, second = fl.get(name, **params), fl.get(other)
    y, p = sample(second, 3000, dtype)
    y = np.where(y > 0, 1, 0).astype(dtype) if name == "focal" else y
    rtol, atol = 4 * np.finfo(dtype).eps, 4 * np.finfo(dtype).smallest_subnormal
    np.testing.assert_allclose(first(y, p, reduction="none"), second(y, p, reduction="none"), rtol, atol)
    for a, b in zip(first.grad_and_hess(y, p), second.grad_and_hess(y, p), strict=True):
        np.testing.assert_allclose(a, b, rtol, atol)
