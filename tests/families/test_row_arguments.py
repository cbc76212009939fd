"""Losses of rows: labels, weights, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from row_cases import MIXED, equal, everything, labels_for, problem, softmax
from row_references import ROW_REFERENCES

import fastloss as fl

# ---- labels and weights ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4", ">u8", "<i2"])
@pytest.mark.parametrize("classes", [2, 257])
@pytest.mark.parametrize("name", ROW_REFERENCES)
def test_labels_of_any_integer_dtype(name, dtype, classes):
    loss = fl.get(name)
    y, p = problem(50, 2 if dtype == "?" else classes)
    y %= 100
    for a, b in zip(everything(loss, y.astype(dtype), p), everything(loss, y, p), strict=True):
        equal(a, b)
    equal(loss.grad(y.astype(dtype).tolist(), p), loss.grad(y, p))


def test_probabilities_of_any_dtype():
    y, p = problem(50, 5)
    hot = np.eye(5)[y]
    want = everything(fl.softmax_cross_entropy, y, p)
    want[5][...] = 0
    for dtype in ("?", "i1", "u8", ">f8", "f4", "f2"):
        for a, b in zip(everything(fl.softmax_cross_entropy, hot.astype(dtype), p), want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14)
    half = p.astype(np.float16)
    for a, b in zip(
        everything(fl.softmax_cross_entropy, y, half),
        everything(fl.softmax_cross_entropy, y, half.astype(np.float32)),
        strict=True,
    ):
        equal(a, b)


@pytest.mark.parametrize("classes", [4, 257])
def test_weights_against_numpy(variant, classes):
    loss, soft = variant
    y, p = problem(90, classes)
    rng = np.random.default_rng(5)
    w, factors = rng.uniform(-1, 3, size=90), rng.uniform(0, 2, size=classes)
    ignored, label = (None, labels_for(True, y, p)) if soft else (2, y)
    options = {"sample_weight": w, "class_weight": factors, "ignore_index": ignored}
    value, (grad, hess) = loss(label, p, reduction="none"), loss.grad_and_hess(label, p, reduction="none")
    if soft:  # sum_k w_k y_k (-log p_k), and its derivatives
        s = softmax(p)
        heavy = label * factors
        mass = heavy.sum(axis=1)
        value, each = -(heavy * np.log(s)).sum(axis=1), w
        grad, hess = mass[:, None] * s - heavy, mass[:, None] * s * (1 - s)
        counts = w * mass
    else:
        each = counts = w * factors[y] * (y != ignored)
    total = counts.sum()
    column = each[:, None]
    close = {"rtol": 1e-11, "atol": 1e-14}
    np.testing.assert_allclose(loss(label, p, reduction="none", **options), each * value, **close)
    assert loss(label, p, reduction="sum", **options) == pytest.approx((each * value).sum())
    assert loss(label, p, **options) == pytest.approx((each * value).sum() / total)
    for reduction, divisor in (("none", 1), ("sum", 1), ("mean", total)):
        found = loss.grad_and_hess(label, p, reduction=reduction, **options)
        np.testing.assert_allclose(found[0], column * grad / divisor, **close)
        np.testing.assert_allclose(found[1], column * hess / divisor, **close)
    bound = loss.bind(class_weight=factors, ignore_index=ignored)
    assert bound(label, p, sample_weight=w) == loss(label, p, **options)
    equal(loss.grad(label, p, sample_weight=2.0, reduction="sum"), 2 * loss.grad(label, p, reduction="sum"))


def test_rows_that_do_not_count_may_hold_anything(variant):
    loss, soft = variant
    y, p = problem(40, 6)
    y = labels_for(soft, y, p)
    w = (np.arange(40) % 3 > 0).astype(float)
    want = everything(loss, y, p, sample_weight=w)
    absent = w == 0
    strange_y, strange_p = y.copy(), p.copy()
    strange_p[absent] = np.array([np.nan, np.inf, -np.inf, 1e308, -np.nan, 0])
    strange_y[absent] = np.nan if soft else -100
    for i, (a, b) in enumerate(
        zip(everything(loss, strange_y, strange_p, sample_weight=w), want, strict=True)
    ):
        if i != 4:  # lse is that of the scores
            equal(a, b)
    if not soft:
        found = everything(loss, strange_y, strange_p, ignore_index=-100)
        for i in (0, 1, 2, 3, 5):
            equal(found[i], want[i])
        assert loss(np.full(40, -100), p, ignore_index=-100) == 0
        assert not loss.grad(np.full(40, -100), p, ignore_index=-100).any()
    assert loss(y, p, sample_weight=0.0) == 0
    assert not loss.grad(y, p, sample_weight=0.0).any()


@pytest.mark.parametrize("classes", [5, 130])
def test_as_in_torch(classes):
    torch = pytest.importorskip("torch", reason="only where torch is installed")
    y, p = problem(80, classes)
    rng = np.random.default_rng(1)
    factors = rng.uniform(0.1, 2, size=classes)
    hard, soft = torch.tensor(y), torch.tensor(rng.dirichlet(np.ones(classes), 80))
    cross_entropy = torch.nn.functional.cross_entropy

    def compare(label, ours, **theirs):
        scores = torch.tensor(p, requires_grad=True)
        value = cross_entropy(scores, label, **theirs)
        value.backward()
        got, grad = ours
        assert got == pytest.approx(value.item(), rel=1e-12)
        np.testing.assert_allclose(grad, scores.grad, rtol=1e-9, atol=1e-15)

    call = fl.softmax_cross_entropy.value_and_grad
    weight = torch.tensor(factors)
    compare(hard, call(y, p))
    compare(hard, call(y, p, class_weight=factors), weight=weight)
    compare(hard, call(y, p, ignore_index=2), ignore_index=2)
    compare(hard, call(y, p, ignore_index=2, class_weight=factors), ignore_index=2, weight=weight)
    compare(hard, call(y, p, label_smoothing=0.2), label_smoothing=0.2)
    compare(soft, call(soft.numpy(), p))
    compare(soft, call(soft.numpy(), p, label_smoothing=0.2), label_smoothing=0.2)
    # with weights of classes, torch divides the mean over rows of probabilities by their number
    compare(
        soft, call(soft.numpy(), p, class_weight=factors, reduction="sum"), weight=weight, reduction="sum"
    )
    # and weighs the smoothing by the other classes' weights; as rows of probabilities it is the same
    smooth = 0.8 * np.eye(classes)[y] + 0.2 / classes
    scores = torch.tensor(p, requires_grad=True)
    cross_entropy(scores, hard, weight=weight, label_smoothing=0.2, reduction="sum").backward()
    grad = fl.softmax_cross_entropy.grad(smooth, p, class_weight=factors, reduction="sum")
    np.testing.assert_allclose(grad, scores.grad, rtol=1e-9, atol=1e-14)


def test_as_in_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics", reason="only where scikit-learn is installed")
    y, p = problem(200, 6)
    w = np.random.default_rng(2).uniform(size=200)
    want = metrics.log_loss(y, softmax(p), sample_weight=w)
    assert fl.softmax_cross_entropy(y, p, sample_weight=w) == pytest.approx(want)


# ---- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [5, 130])
@pytest.mark.parametrize(
    ("dtype", "bad"),
    [
        ("i8", -1),
        ("i8", "classes"),
        ("i8", np.iinfo("i8").min),
        ("i8", np.iinfo("i8").max),
        ("u8", np.iinfo("u8").max),
        ("i8", 2**32),
        ("i4", -(2**31)),
        ("u1", 255),
        ("i1", -128),
        (">i8", -1),
    ],
)
def test_a_label_that_is_no_class(dtype, bad, classes):
    _, p = problem(300, classes)
    bad = classes if bad == "classes" else bad
    for name in ROW_REFERENCES:
        for loss in (fl.get(name), fl.softmax_cross_entropy.bind(**MIXED)):
            for place in (0, 70, 299):
                y = np.zeros(300, dtype)
                y[place] = bad
                out = np.full_like(p, 7)
                for scores in (p, np.asfortranarray(p)):
                    with pytest.raises(
                        ValueError, match=rf"{loss.name}: y_true must .*got {bad} at index {place}"
                    ):
                        loss.grad(y, scores, out=out)
                    kept = scores.copy()
                    with pytest.raises(ValueError, match=rf"at index {place}"):
                        loss.grad(y, scores, out=scores)
                    equal(scores, kept)
                    with pytest.raises(ValueError, match=rf"at index {place}"):
                        loss(y, scores)
    y = np.zeros((2, 150), dtype)
    y[1, 3] = bad
    with pytest.raises(ValueError, match=r"at index \(1, 3\)"):
        fl.poly1(y, p.reshape(2, 150, classes))


@pytest.mark.parametrize("classes", [5, 130])
@pytest.mark.parametrize("bad", [np.nan, -1e-9, 1.0000001, np.inf, -np.inf])
def test_labels_that_are_no_probabilities(bad, classes):
    y, p = problem(70, classes)
    y = labels_for(True, y, p)
    for place in ((0, 0), (66, classes - 1), (69, 2)):
        strange = y.copy()
        strange[place] = bad
        where = rf"got .*{bad}.* in row {place[0]}, class {place[1]}"
        with pytest.raises(ValueError, match=where):
            fl.softmax_cross_entropy.grad(strange, p, out=np.empty_like(p))
        for scores in (p, strange):  # written over, unless there is an error
            kept = scores.copy()
            with pytest.raises(ValueError, match=where):
                fl.softmax_cross_entropy.grad(strange, p, out=scores)
            equal(scores, kept)
        with pytest.raises(ValueError, match=where):
            fl.softmax_cross_entropy(strange, p)


@pytest.mark.parametrize(
    ("y", "p", "options", "error", "message"),
    [
        ([0, 1], np.zeros((3, 2)), {}, ValueError, "y_true has shape"),
        ([[0], [1]], np.zeros((2, 3)), {}, ValueError, r"ravel\(\) would match"),
        ([0.0, 1.0], np.zeros((2, 3)), {}, TypeError, r"must be integers, got float64"),
        ([0], 1.0, {}, ValueError, "axis of classes"),
        ([0, 1], np.zeros((2, 3)), {"axis": 2}, ValueError, "axis 2 is out of range"),
        ([0, 1], np.zeros((2, 0)), {}, ValueError, "classes along axis"),
        ([0, 1], np.zeros((2, 3)), {"axis": 1.0}, TypeError, "axis must be an integer"),
        ([0, 1], np.zeros((2, 3)), {"ignore_index": 0.5}, TypeError, "ignore_index must be an integer"),
        (
            [0, 1],
            np.zeros((2, 3)),
            {"class_weight": [1, 2]},
            ValueError,
            "2 numbers, but there are 3 classes",
        ),
        ([0, 1], np.zeros((2, 3)), {"class_weight": [1, 2, -1]}, ValueError, "found -1.0 for class 2"),
        ([0, 1], np.zeros((2, 3)), {"class_weight": [[1, 2, 1]]}, ValueError, "one number per class"),
        ([0, 1], np.zeros((2, 3)), {"class_weight": {0: 1}}, TypeError, "an array of one weight per class"),
        ([0, 1], np.zeros((2, 3)), {"sample_weight": [1, 2, 3]}, ValueError, "sample_weight"),
        ([0, 1], np.zeros((2, 3)), {"sample_weight": [1, np.nan]}, ValueError, "sample_weight"),
        ([0, 1], np.zeros((2, 3), complex), {}, TypeError, "complex"),
        ([0, 1], np.zeros((2, 3)), {"out": np.zeros((2, 3), "f4")}, TypeError, "out"),
        ([0, 1], np.zeros((2, 3)), {"out": np.zeros((3, 2))}, ValueError, "out"),
    ],
)
def test_what_is_refused(y, p, options, error, message):
    for name in ROW_REFERENCES:
        with pytest.raises(error, match=message):
            fl.get(name).grad(y, p, **options)


def test_rows_of_probabilities_have_no_index_to_ignore():
    with pytest.raises(ValueError, match="ignore_index= goes with class indices"):
        fl.softmax_cross_entropy(np.eye(2), np.zeros((2, 2)), ignore_index=1)


def test_rows_of_probabilities_are_for_the_cross_entropy():
    for name, reference in ROW_REFERENCES.items():
        if not reference.soft:
            with pytest.raises(ValueError, match=r"pass y_true.argmax\(axis\)"):
                fl.get(name)(np.eye(3), np.zeros((3, 3)))


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("softmax_cross_entropy", {"label_smoothing": 1.5}),
        ("softmax_cross_entropy", {"label_smoothing": -0.1}),
        ("softmax_cross_entropy", {"z_loss": -1.0}),
        ("softmax_focal", {"gamma": -1.0}),
        ("poly1", {"epsilon": np.inf}),
        ("generalized_cross_entropy", {"q": 1.5}),
        ("generalized_cross_entropy", {"q": np.nan}),
    ],
)
def test_parameters_out_of_range(name, params):
    with pytest.raises(ValueError, match=next(iter(params))):
        fl.get(name)([0], [[0.0, 1.0]], **params)


def test_no_rows_and_one_row(variant):
    loss, soft = variant
    y = np.zeros((0, 3)) if soft else np.zeros(0, int)
    with pytest.raises(ValueError, match="mean of nothing"):
        loss(y, np.zeros((0, 3)))
    assert loss(y, np.zeros((0, 3)), reduction="sum") == 0.0
    assert loss(y, np.zeros((0, 3)), reduction="none").shape == (0,)
    assert loss.grad(y, np.zeros((0, 3)), reduction="sum").shape == (0, 3)
    _, p = problem(1, 9)
    one, of_one = (
        (labels_for(True, np.zeros(1), p)[0], labels_for(True, np.zeros(1), p)) if soft else (4, [4])
    )
    assert loss(one, p[0]) == loss(of_one, p)
    equal(loss.grad(one, p[0]), loss.grad(of_one, p)[0])
    assert np.shape(loss(one, p[0], reduction="none")) == ()


def test_a_partial_overlap_is_right():
    y, p = problem(60, 5)
    memory = np.zeros(60 * 5 + 3)
    scores, out = memory[:-3].reshape(60, 5), memory[3:].reshape(60, 5)
    scores[...] = p
    want = fl.softmax_cross_entropy.grad(y, p)
    assert fl.softmax_cross_entropy.grad(y, scores, out=out) is out
    equal(out, want)


def test_a_broadcast_row():
    y, p = problem(50, 5)
    wide = as_strided(p, (50, 5), (0, 8))
    equal(fl.poly1.grad(y, wide), fl.poly1.grad(y, wide.copy()))
