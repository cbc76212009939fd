"""Losses of rows that are not functions of the true class's cost alone: exact results, layouts, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from extremes import BOUND  # 2 ULP with fused multiply-add
from mpmath import mp, mpf
from references import ulp, ulp_error
from row_accuracy import cancelling, exact_rows
from row_accuracy import term_rows as rows
from row_references import TERM_REFERENCES, row_exact
from sweeps import every

import fastloss as fl

DTYPES = (np.float32, np.float64)
CASES = [(name, params) for name, r in TERM_REFERENCES.items() for params in r.params]


def everything(loss, y, p, **options):
    value, grad = loss.value_and_grad(y, p, reduction="none", **options)
    both, hess = loss.grad_and_hess(y, p, reduction="none", **options)
    alone, mean = loss(y, p, reduction="none", **options), np.array(loss(y, p, **options))
    return [value, grad, both, hess, alone, mean, loss.grad(y, p, **options)]


@every(10)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [1, 2, 3, 10, 257])
@pytest.mark.parametrize(("name", "params"), CASES)
def test_exact(name, params, classes, dtype, every):
    """Within 2 ULP; where terms cancel, in ULP of these."""
    loss, reference = fl.get(name, **params), TERM_REFERENCES[name]
    y, p = exact_rows(name, classes, dtype)
    found = [loss(y, p, reduction="none"), *loss.grad_and_hess(y, p, reduction="none")]
    assert all(a.dtype == dtype for a in found)
    for i in range(0, len(p), every):
        for k in sorted({0, classes // 2, classes - 1, int(y[i]) if y.ndim == 1 else 0}):
            for output, want in enumerate(row_exact(reference, params, p[i], y[i], k)):
                got = found[output][i] if output == 0 else found[output][i, k]
                error = ulp_error(got, want, dtype)
                if name == "tv_distance" and output == 1 and y[i, k] == p[i, k]:
                    want, error = 0, abs(got)  # the kink
                if error > 2:
                    unit = ulp(max(abs(want), cancelling(name, params, p[i], y[i], k, output)), dtype)
                    with mp.workdps(60):
                        error = float(abs(mpf(float(got)) - want) / unit)
                assert error <= BOUND, (
                    i,
                    k,
                    output,
                    got,
                    mp.nstr(want, 12),
                    error,
                    p[i],
                    y[i],
                )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [2, 3, 260])
@pytest.mark.parametrize(
    ("name", "sure", "wrong"), [("expectation_l2", 0, 2), ("tanimoto", -1, 0), ("cauchy_schwarz", 0, np.inf)]
)
def test_infinite_scores_of_functions_of_the_softmax(name, sure, wrong, classes, dtype):
    loss, inf = fl.get(name), np.inf

    def outputs(label, *first):
        s = np.full((1, classes), -1, dtype)
        s[0, : len(first)] = first
        return [a[0] for a in (loss([label], s, reduction="none"), *loss.grad_and_hess([label], s))]

    value, *derivatives = outputs(0, inf)
    assert value == sure
    assert not np.any(derivatives)
    value, grad, hess = outputs(1, inf)
    assert value == wrong
    assert list(grad[:2]) == ([1, -1] if name == "cauchy_schwarz" else [0, 0])
    assert not grad[2:].any()
    assert not hess.any()
    for scores in ((inf, inf), (np.nan, 1), (inf, np.nan), (-inf,) * classes):
        assert all(np.isnan(a).all() for a in outputs(1, *scores))
    # a class that is left out does not change what the others give
    s = np.array([[1.0, 3.0, 2.0], [2.0, -1.0, 30.0]], dtype)
    found, wider = everything(loss, [2, 0], s), everything(loss, [3, 0], np.insert(s, 1, -inf, axis=1))
    for a, b in zip(found, wider, strict=True):
        np.testing.assert_array_equal(np.delete(b, 1, axis=1) if b.ndim == 2 else b, a)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [1, 2, 9, 257, 1003])
def test_functions_of_the_softmax_and_their_relatives(classes, dtype):
    """Half of the cross-entropy of doubled scores; twice the Brier score; the same lse, counts and weights."""
    y, p = rows("cauchy_schwarz", 70, classes, dtype)
    options = {
        "sample_weight": np.linspace(-1, 2, 70).astype(dtype),
        "class_weight": np.linspace(0.5, 1.5, classes),
        "ignore_index": 0 if classes > 1 else None,
    }
    close = {"rtol": 4 * float(np.finfo(dtype).eps), "atol": 0}
    for own, half, factor in zip(
        everything(fl.cauchy_schwarz, y, p, **options),
        everything(fl.softmax_cross_entropy, y, 2 * p, **options),
        (0.5, 1, 1, 2, 0.5, 0.5, 1),
        strict=True,
    ):
        np.testing.assert_allclose(own, half * dtype(factor), **close)
    for name in ("expectation_l2", "tanimoto", "cauchy_schwarz"):
        _, lse, correct = fl.get(name)(y, p, return_lse=True, return_correct=True, **options)
        _, want, count = fl.softmax_cross_entropy(y, p, return_lse=True, return_correct=True, **options)
        np.testing.assert_allclose(lse, want, rtol=float(np.finfo(dtype).eps))
        assert correct == count
    if classes == 2:
        q = 1 / (1 + np.exp(p[:, 0].astype(float) - p[:, 1]))
        np.testing.assert_allclose(
            fl.expectation_l2(y, p, reduction="none"), 2 * fl.brier(y, q, reduction="none"), rtol=1e-5
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [3, 260])
@pytest.mark.parametrize("name", TERM_REFERENCES)
def test_layouts_and_threads_change_no_bit(name, classes, dtype, team):
    loss = fl.get(name)
    y, p = rows(name, 67, classes, dtype)
    w = np.linspace(0.5, 2, 67).astype(dtype)
    want = everything(loss, y, p, sample_weight=w)

    def check(found):
        for got, bits in zip(found, want, strict=True):
            np.testing.assert_array_equal(got, bits)

    for threads in (1, 3):
        with fl.threads(threads):
            check(everything(loss, y, p, sample_weight=w))
    backwards = np.ascontiguousarray(p[::-1])[::-1]
    for scores in (np.asfortranarray(p), backwards, p.astype(p.dtype.newbyteorder())):
        check(everything(loss, y, scores, sample_weight=w))
    label = y if y.ndim == 1 else y.T
    found = everything(loss, label, np.ascontiguousarray(p.T), sample_weight=w, axis=0)
    check([a.T for a in found])
    for total, part in ((True, want[6]), (False, want[1])):
        own = p.copy()
        reduction = "mean" if total else "none"
        loss.grad(y, own, sample_weight=w, out=own, reduction=reduction)
        np.testing.assert_array_equal(own, part)
    second, own = np.empty_like(p), p.copy()
    loss.grad_and_hess(y, own, sample_weight=w, out=(second, own), reduction="none")
    check([want[0], second, second, own, *want[4:]])
    np.testing.assert_allclose(want[5], np.average(loss(y, p, reduction="none"), weights=w), rtol=1e-5)


@pytest.mark.parametrize("name", TERM_REFERENCES)
def test_rows_of_weight_0_may_hold_anything(name):
    loss = fl.get(name)
    y, p = rows(name, 40, 5, np.float64)
    w = (np.arange(40) % 3 > 0).astype(float)
    strange = p.copy()
    strange[w == 0] = np.nan
    want = everything(loss, y, p, sample_weight=w)
    for a, b in zip(everything(loss, y, strange, sample_weight=w), want, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not want[1][w == 0].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [5, 257, 270])
@pytest.mark.parametrize("name", TERM_REFERENCES)
def test_nan_stays_in_its_row(name, classes, dtype):
    loss = fl.get(name)
    y, scores = rows(name, 40, classes, dtype)
    want = everything(loss, y, scores)
    for k in (0, 1, 2, 3, classes - 1):
        p = scores.copy()
        p[7, k] = np.nan
        found = everything(loss, y, p)
        assert np.isnan(found[0][7])
        assert np.isnan(found[1][7]).any()
        for a, b in zip(found, want, strict=True):
            if a.ndim:  # the mean is NaN
                np.testing.assert_array_equal(np.delete(a, 7, axis=0), np.delete(b, 7, axis=0))


@pytest.mark.parametrize("name", [name for name in TERM_REFERENCES if name.startswith("one_hot")])
def test_a_label_of_nan_comes_out_as_nan(name):
    y, p = np.eye(5)[[1, 4, 0]], np.full((3, 5), 0.25)
    y[1, 3] = np.nan
    value, grad = everything(fl.get(name), y, p)[:2]
    assert list(np.isnan(value)) == [False, True, False]
    assert list(np.argwhere(np.isnan(grad))[0]) == [1, 3]
    assert np.isnan(grad).sum() == 1


@pytest.mark.parametrize(
    ("loss", "y", "p", "options", "message"),
    [
        ("cross_entropy", [0], [1.0, 2.0], {}, "softmax_cross_entropy; got y_pred=2.0 in row 0"),
        ("cross_entropy", [0], [-0.5, 1.5], {}, "got y_pred=-0.5 in row 0, class 0"),
        ("cross_entropy", [1], [0.25, 0.25], {}, "y_pred adds up to 0.5 in row 0"),
        ("kl_divergence", [[0.5, 0.25]], [0.5, 0.5], {}, "y_true adds up to 0.75 in row 0"),
        ("kl_divergence", [0], [0.5, 0.5], {}, r"pass rows of shape \(1, 2\)"),
        ("one_hot_hinge", [2], [0.5, 0.5], {}, "got 2 at index 0"),
        ("one_hot_hinge", [[0.5, 0.5]], [0.5, 0.5], {}, "rows of 0 and 1"),
        ("multi_margin", [0], [0.5, 0.5], {"p": 3}, "p must be 1 or 2"),
        ("multi_margin", [[1, 0]], [0.5, 0.5], {}, "must be class indices"),
        ("one_hot_l2", [[1, 0]], [0.5, 0.5], {"class_weight": [1, 2]}, "needs class indices"),
        ("tv_distance", [[1, 0]], [0.5, 0.5], {"return_lse": True}, "has no softmax"),
        ("cross_entropy", [0], [0.5, 0.5], {"base": 1}, "base must be > 0 and not 1"),
    ],
)
def test_errors_leave_scores_alone_that_were_to_be_overwritten(loss, y, p, options, message):
    scores = np.array([p])
    for out in (scores, np.empty_like(scores), None):
        with pytest.raises(ValueError, match=message):
            fl.get(loss).grad(y, scores, out=out, **options)
    np.testing.assert_array_equal(scores, [p])


@pytest.mark.parametrize("classes", [2, 10, 270])
def test_functions_of_the_softmax_against_torch(classes):
    """The formulas of the paper, differentiated twice by torch."""
    torch = pytest.importorskip("torch")
    y, p = rows("tanimoto", 40, classes, np.float64)
    hot = torch.tensor(np.eye(classes)[y])

    def inner(a, b):
        return (a * b).sum(-1)

    formulas = {
        "expectation_l2": lambda q: inner(q - hot, q - hot),
        "tanimoto": lambda q: -inner(q, hot) / (inner(q, q) + inner(hot, hot) - inner(q, hot)),
        "cauchy_schwarz": lambda q: -torch.log(inner(q, hot) / (inner(q, q) * inner(hot, hot)).sqrt()),
    }
    for name, formula in formulas.items():
        s = torch.tensor(p, requires_grad=True)
        value = formula(torch.softmax(s, -1))
        grad = torch.autograd.grad(value.sum(), s, create_graph=True)[0]
        hess = [torch.autograd.grad(grad[:, k].sum(), s, retain_graph=True)[0][:, k] for k in range(classes)]
        found = [fl.get(name)(y, p, reduction="none"), *fl.get(name).grad_and_hess(y, p, reduction="none")]
        for got, want in zip(found, (value, grad, torch.stack(hess, -1)), strict=True):
            np.testing.assert_allclose(got, want.detach(), rtol=1e-9, atol=1e-14)


def test_against_other_libraries():
    torch = pytest.importorskip("torch")
    y, p = rows("multi_margin", 50, 7, np.float64)
    for options in ({}, {"p": 2, "margin": 0.5}):
        s = torch.tensor(p, requires_grad=True)
        want = torch.nn.functional.multi_margin_loss(s, torch.tensor(y), **options)
        want.backward()
        value, grad = fl.multi_margin.value_and_grad(y, p, **options)
        assert value == pytest.approx(float(want.detach()), rel=1e-13)
        np.testing.assert_allclose(grad, s.grad, rtol=1e-12, atol=1e-15)


def test_textbook_figures():
    assert fl.cross_entropy([[0, 0, 1]], [[0.1, 0.2, 0.7]], base=2) == pytest.approx(0.51457, abs=5e-6)
    assert fl.cross_entropy([2], [[0.1, 0.2, 0.7]]) == pytest.approx(-np.log(0.7))
    assert fl.cross_entropy([1], [[1.0, 0.0]]) == np.inf
    assert fl.kl_divergence([[0.5, 0.5]], [[0.5, 0.5]]) == 0
