"""Losses of rows against exact results: ordinary rows, rows of close scores, infinities and NaN."""

from __future__ import annotations

import numpy as np
import pytest
from mpmath import mp, mpf
from references import ulp_error
from row_accuracy import SUBNORMAL, TARGET, WITHOUT_FMA, error_of
from row_cases import DTYPES, equal, everything
from row_references import CLASSES, ROW_REFERENCES, row_exact, rows, soft_labels
from sweeps import every, sample

import fastloss as fl

OUTPUTS = ("value", "gradient", "Hessian")


def check_row(loss, reference, scores, label, found, dtype):
    params = {k: float(dtype(loss.params[k])) for k in loss.own}
    last = len(scores) - 1
    for k in sorted({0, last // 2, last, int(scores.argmax()), int(label) if np.ndim(label) == 0 else 0}):
        for output, want in enumerate(row_exact(reference, params, scores, label, k)):
            got = found[output] if output == 0 else found[output][k]
            error = error_of(reference, params, scores, label, k, output, got, want, dtype)
            small = abs(want) < float(np.finfo(dtype).smallest_normal)
            limit = max(TARGET, SUBNORMAL.get(loss.name, 0) if small else 0)
            assert error <= limit * WITHOUT_FMA, (
                f"{OUTPUTS[output]} of {loss!r}, class {k} of {len(scores)}, label {label}: {got!r}, not "
                f"{mp.nstr(want, 9)}: {error:.3g} ULP; scores {scores}"
            )


@every(10)
@pytest.mark.not_sanitized("exact results are asked for once")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", sample(CLASSES, [1, 2, 3, 10, 257]))
@pytest.mark.parametrize(
    ("name", "params"), [(name, params) for name, r in ROW_REFERENCES.items() for params in r.params]
)
def test_exact(name, params, classes, dtype, every):
    loss, reference = fl.get(name, **params), ROW_REFERENCES[name]
    labels, scores = rows(classes, dtype)
    for y in (labels, soft_labels(classes, scores, dtype)) if reference.soft else (labels,):
        value = loss(y, scores, reduction="none")
        grad, hess = loss.grad_and_hess(y, scores, reduction="none")
        assert value.dtype == grad.dtype == hess.dtype == dtype
        for i in range(0, len(scores), every * (1 if classes <= 10 else 3)):
            check_row(loss, reference, scores[i], y[i], (value[i], grad[i], hess[i]), dtype)


def of_two(classes, first, second):
    """Rows of which all classes but the first two are masked."""
    scores = np.full((len(first), classes), -np.inf, first.dtype)
    scores[:, 0], scores[:, 1] = first, second
    return np.zeros(len(first), int), scores


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [2, 260])
def test_scores_next_to_each_other_at_any_height(classes, dtype):
    with np.errstate(over="ignore"):
        powers = np.ldexp(dtype(1), np.arange(-20, np.finfo(dtype).maxexp, 3 if dtype == np.float32 else 16))
    top = np.concatenate([powers, -powers, powers * dtype(1.25), powers * dtype(-1.9)])
    y, scores = of_two(classes, top, np.nextafter(top, dtype(-np.inf)))
    value, grad = fl.softmax_cross_entropy.value_and_grad(y, scores, reduction="none")
    assert (value >= 0).all()
    for i, (s, other) in enumerate(scores[:, :2].tolist()):
        with mp.workdps(60):
            p = 1 / (1 + mp.exp(mpf(s) - mpf(other)))
            wants = (value[i], -mp.log1p(-p)), (grad[i, 0], -p), (grad[i, 1], p)
        for got, want in wants:
            if abs(want) >= float(np.finfo(dtype).smallest_normal):
                assert ulp_error(got, want, dtype) <= TARGET * WITHOUT_FMA, (s, other)
            else:
                assert abs(got) <= float(np.finfo(dtype).smallest_normal), (s, other)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [3, 260])
@pytest.mark.parametrize("name", ["softmax_cross_entropy", "poly1"])
def test_hessians_of_two_classes_that_are_nearly_alike(name, classes, dtype):
    """p is near 1/2, where an error of 1 - p counts most."""
    rng = np.random.default_rng(0)
    first = (3 * rng.normal(size=400)).astype(dtype)
    y, scores = of_two(classes, first, (first + 0.01 * rng.normal(size=400)).astype(dtype))
    reference, loss = ROW_REFERENCES[name], fl.get(name)
    _, hess = loss.grad_and_hess(y, scores, reduction="sum")
    params = {k: float(dtype(loss.params[k])) for k in loss.own}
    for i in range(400):
        want = row_exact(reference, params, scores[i, :2], 0, 1)[2]
        assert ulp_error(hess[i, 1], want, dtype) <= TARGET * WITHOUT_FMA, scores[i, :2]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ROW_REFERENCES)
def test_gradients_beside_a_hessian_are_those_alone(name, dtype):
    """Also where the Hessian's factors are of another size than the gradient's."""
    deep = 65 if dtype == np.float32 else 690
    scores = np.array([[0, -1, -deep], [-0.5, 0, -1e20], [1, -deep, 0.5]], dtype)
    loss, y, w = fl.get(name), [2, 2, 1], dtype([2, 1, 1e3])
    for options in ({}, {"sample_weight": w}):
        alone = loss.grad(y, scores, reduction="sum", **options)
        grad, _ = loss.grad_and_hess(y, scores, reduction="sum", **options)
        np.testing.assert_array_equal(grad, alone)


def softmax_by_long_double(labels, scores):
    """Value, gradient and Hessian of softmax_cross_entropy; 1 - p is a sum, so that nothing cancels."""
    rows = np.arange(len(labels))
    e = scores.astype(np.longdouble)
    mine = e[rows, labels]
    e = np.exp(e - mine[:, None])  # the true class's is 1
    others = [np.delete(row, k).sum() for row, k in zip(e, labels, strict=True)]
    p = e / (1 + np.array(others))[:, None]
    less = np.array(
        [
            [(row.sum() - row[k]) if row[k] < 0.5 else np.delete(row, k).sum() for k in range(len(row))]
            for row in p
        ]
    )
    grad, hess = p.copy(), p * less
    grad[rows, labels] = -less[rows, labels]
    return np.log1p(np.array(others)), grad, hess


@pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="long double is double here")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [2, 3, 4, 5, 16, 17, 48, 49, 64, 100, 207, 208, 209, 255, 256, 257, 272])
def test_each_number_of_classes(classes, dtype):
    """Also where the sweeps change their way: of two classes, of so many that are looked at, across and along rows."""
    rng = np.random.default_rng(classes)
    labels, scores = rng.integers(classes, size=70), (rng.normal(size=(70, classes)) * 3).astype(dtype)
    labels[:2] = 0, classes - 1
    scores[3] = 0.5  # ties
    scores[range(4, 9), labels[4:9]] += dtype(30)
    scores[range(9, 14), (labels[9:14] + 1) % classes] += dtype(20)
    value, grad, hess = softmax_by_long_double(labels, scores)
    weight = np.ones(70, dtype)
    weight[[5, 33]] = 0
    labels_too = labels.copy()
    labels_too[33] = -100
    loss = fl.softmax_cross_entropy
    for order in "CF":
        p = np.array(scores, order=order)
        found = [loss(labels, p, reduction="none"), loss.grad(labels, p, reduction="sum")]
        found += loss.grad_and_hess(labels, p, reduction="sum")
        in_place = p.copy(order="K")
        loss.grad(labels, in_place, reduction="sum", out=in_place)
        equal(in_place, found[1])
        equal(found[2], found[1])
        for got, want in zip((found[0], *found[2:]), (value, grad, hess), strict=True):
            unit = np.maximum(np.spacing(np.abs(want).astype(dtype)), np.finfo(dtype).smallest_normal)
            assert np.max(np.abs(got - want) / unit) <= TARGET * WITHOUT_FMA
        weighted = loss.grad_and_hess(labels_too, p, sample_weight=weight, ignore_index=-100, reduction="sum")
        for got, want in zip(weighted, found[2:], strict=True):
            equal(got, np.where(weight[:, None] == 0, dtype(0), want))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [2, 3, 260])
def test_a_large_weight_shows_no_lost_digits(classes, dtype):
    """1 - p is subnormal, and its product with the weight is not."""
    gap, weight = (95, 2.0**60) if dtype == np.float32 else (730, 2.0**200)
    y, scores = of_two(classes, np.array([gap, gap + 0.5], dtype), np.zeros(2, dtype))
    grad = fl.softmax_cross_entropy.grad(y, scores, sample_weight=np.full(2, weight, dtype), reduction="sum")
    for row, s in zip(grad, scores[:, 0], strict=True):
        want = weight / (1 + mp.exp(mpf(float(s))))
        for got in (-row[0], row[1]):
            assert ulp_error(got, want, dtype) <= TARGET * WITHOUT_FMA


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [3, 260])
@pytest.mark.parametrize("name", ROW_REFERENCES)
def test_infinities_and_nan(name, classes, dtype):
    """The limits where these exist: NaN and rows without one top score give NaN."""
    loss, inf = fl.get(name), np.inf

    def outputs(label, *first, rest=-1.0):
        s = np.full((1, classes), rest, dtype)
        s[0, : len(first)] = first
        value, (grad, hess) = loss([label], s, reduction="none"), loss.grad_and_hess([label], s)
        return value[0], grad[0], hess[0]

    for label in range(3):
        for scores in ((np.nan, 1, 2), (inf, inf, 2), (np.nan, inf, -inf)):
            assert all(np.isnan(a).all() for a in outputs(label, *scores))
        assert all(np.isnan(a).all() for a in outputs(label, -inf, rest=-inf))
    value, grad, hess = outputs(0, inf, 1.0)
    assert value == 0
    assert not grad.any()
    assert not hess.any()
    bounded = name == "generalized_cross_entropy"
    for label, scores in ((1, (inf, 1.0)), (1, (2.0, -inf))):
        value, grad, hess = outputs(label, *scores)
        assert value == (pytest.approx(1 / 0.7) if bounded else inf)
        assert grad[1] == (0 if bounded else -1)
        assert hess[1] == 0
        assert grad.sum(dtype=float) == pytest.approx(0, abs=1e-6)
    assert fl.softmax_cross_entropy([0], [[1.0, 2.0, -inf]], label_smoothing=0.1) == inf
    grad = fl.softmax_cross_entropy.grad([0], [[1.0, 1.0, -inf]], label_smoothing=0.3)
    np.testing.assert_allclose(grad, [[0.5 - 0.8, 0.5 - 0.1, -0.1]])
    # a class that is left out does not change what the others give
    s = np.array([[1.0, 3.0, 2.0]], dtype)
    s2 = np.insert(s, 1, -inf, axis=1)
    for a, b in zip(everything(loss, [2], s), everything(loss, [3], s2), strict=True):
        equal(np.delete(b, 1, axis=1) if b.ndim == 2 else b, a)
