"""Losses of rows of scores: exact results, layouts, labels, weights, and what is refused."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from mpmath import mp, mpf
from numpy.lib.stride_tricks import as_strided
from recorded_rows import FILE, lines
from references import ulp, ulp_error
from row_references import CLASSES, ROW_REFERENCES, curvature_terms, row_exact, rows, soft_labels
from test_levels import LEVELS, python

import fastloss as fl
from fastloss import _core

DTYPES = (np.float32, np.float64)
OUTPUTS = ("value", "gradient", "Hessian")
TARGET = 2.0
MIXED = {"label_smoothing": 0.25, "z_loss": 0.01}


def equal(got, want):
    """The same bits, but for the sign of 0 and the payload of NaN."""
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


def problem(n=67, classes=7, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(classes, size=n), (rng.normal(size=(n, classes)) * 3).astype(dtype)


def everything(loss, y, p, **options):
    """Each output of each method: parts and fused passes."""
    value, grad = loss.value_and_grad(y, p, reduction="none", **options)
    both, hess, lse, *correct = loss.grad_and_hess(
        y, p, reduction="none", return_lse=True, return_correct=np.shape(y) != np.shape(p), **options
    )
    return [
        value,
        grad,
        both,
        hess,
        lse,
        np.array(correct or 0),
        loss(y, p, reduction="none", **options),
        loss.grad(y, p, reduction="none", **options),
        np.array(loss(y, p, **options)),
        loss.grad(y, p, **options),
    ]


@cache
def variants():
    """Every loss, with rows of labels and other options where it takes them: (loss, soft)."""
    found = [(fl.get(name), False) for name in ROW_REFERENCES]
    soft = [fl.get(name) for name, reference in ROW_REFERENCES.items() if reference.soft]
    return [*found, *((loss.bind(**MIXED), False) for loss in soft), *((loss, True) for loss in soft)]


@pytest.fixture(params=range(6), ids=lambda i: f"{variants()[i][0].name}{'-soft' * variants()[i][1]}-{i}")
def variant(request):
    return variants()[request.param]


def labels_for(soft, y, p):
    return np.random.default_rng(3).dirichlet(np.ones(p.shape[-1]), y.shape).astype(p.dtype) if soft else y


# ---- against exact results ----------------------------------------------------------------------------

# Where p is subnormal, so is its rounding, which factors on p multiply.
SUBNORMAL = {"softmax_focal": 1500.0, "poly1": 4.5}
WITHOUT_FMA = 1.5 if _core.level() == "v2" else 1.0  # as docs/guarantees.md has it


def error_of(reference, params, scores, label, k, output, got, want, dtype):
    """In ULP of the exact result, or, where that is far off, of what cancels in it."""
    if mp.isinf(want):
        return 0.0 if got == float(want) else math.inf
    error = ulp_error(got, want, dtype)
    if error <= TARGET or not np.isfinite(got):
        return error
    with mp.workdps(60):
        most = abs(want)
        if reference.soft and output == 1:  # p - y
            p = mpf(
                float(
                    np.exp(scores[k] - scores.max().astype(float))
                    / np.exp(scores - scores.max().astype(float)).sum()
                )
            )
            most = max(most, p)
        elif not reference.soft and output == 2:
            most = max(most, curvature_terms(reference, params, scores, label, k))
        return float(abs(mpf(float(got)) - want) / ulp(most, dtype))


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


@pytest.mark.not_sanitized("exact results are asked for once")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize(
    ("name", "params"), [(name, params) for name, r in ROW_REFERENCES.items() for params in r.params]
)
def test_exact(name, params, classes, dtype):
    loss, reference = fl.get(name, **params), ROW_REFERENCES[name]
    labels, scores = rows(classes, dtype)
    for y in (labels, soft_labels(classes, scores, dtype)) if reference.soft else (labels,):
        value = loss(y, scores, reduction="none")
        grad, hess = loss.grad_and_hess(y, scores, reduction="none")
        assert value.dtype == grad.dtype == hess.dtype == dtype
        for i in range(0, len(scores), 1 if classes <= 10 else 3):
            check_row(loss, reference, scores[i], y[i], (value[i], grad[i], hess[i]), dtype)


def of_two(classes, first, second):
    """Rows of which all classes but the first two are masked."""
    scores = np.full((len(first), classes), -np.inf, first.dtype)
    scores[:, 0], scores[:, 1] = first, second
    return np.zeros(len(first), int), scores


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [2, 120])
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
@pytest.mark.parametrize("classes", [3, 120])
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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [3, 120])
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


# ---- one result, however it is asked for ----------------------------------------------------------------


def layouts(a):
    """The same numbers, laid out otherwise."""
    yield np.asfortranarray(a)
    yield np.ascontiguousarray(a[::-1])[::-1]
    yield np.ascontiguousarray(a[..., ::-1])[..., ::-1]
    room = np.full(tuple(3 * n for n in a.shape), 7, a.dtype)
    view = room[tuple(slice(None, None, 3) for _ in a.shape)]
    view[...] = a
    yield view
    yield a.astype(a.dtype.newbyteorder())
    shifted = np.empty(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    shifted[...] = a
    yield shifted


@pytest.mark.parametrize("classes", [3, 101])
@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_change_no_bit(variant, dtype, classes):
    loss, soft = variant
    y, p = problem(67, classes, dtype)
    y = labels_for(soft, y, p)
    w = np.linspace(0.5, 2, 67).astype(dtype)
    want = everything(loss, y, p, sample_weight=w)
    for other_y, other_p, other_w in zip(layouts(y), layouts(p), layouts(w), strict=True):
        for a, b in ((other_y, p), (y, other_p), (other_y, other_p)):
            for got, bits in zip(everything(loss, a, b, sample_weight=other_w), want, strict=True):
                equal(got, bits)
    for out in layouts(np.empty_like(p)):
        if out.dtype.isnative and out.flags.aligned:
            assert loss.grad(y, p, sample_weight=w, out=out) is out
            equal(np.array(out), want[-1])
            own = out if not np.shares_memory(out, p) else None
            own[...] = p
            assert loss.grad(y, own, sample_weight=w, out=own) is own  # in place
            equal(np.array(own), want[-1])
            own[...] = p
            second = np.empty_like(p)
            loss.grad_and_hess(y, own, sample_weight=w, out=(second, own), reduction="none")
            equal(second, want[2])
            equal(np.array(own), want[3])


@pytest.mark.parametrize("classes", [4, 101])
def test_any_axis(variant, classes):
    loss, soft = variant
    y, p = problem(6 * 5, classes)
    y = labels_for(soft, y, p)
    want = everything(loss, y, p)
    for axis in (0, 1, 2, -1, -2, -3):
        moved = np.moveaxis(p.reshape(6, 5, classes), -1, axis)
        label = np.moveaxis(y.reshape(6, 5, classes), -1, axis) if soft else y.reshape(6, 5)
        for scores in (moved, np.ascontiguousarray(moved)):
            for got, bits in zip(everything(loss, label, scores, axis=axis), want, strict=True):
                if got.ndim == 3:
                    got = np.moveaxis(got, axis, -1)
                equal(got.reshape(bits.shape), bits)
    bound = loss.bind(axis=0)
    assert bound(y.T, p.T) == loss(y, p)


@pytest.mark.parametrize("classes", [1, 3, 101, 5000])
def test_threads_and_parts_change_no_bit(variant, classes, team):
    loss, soft = variant
    y, p = problem(max(40, 60_000 // classes), classes, np.float32)
    y = labels_for(soft, y, p)
    found = []
    for threads in (1, 2, 3):
        with fl.threads(threads):
            found.append(everything(loss, y, p))
    for other in found[1:]:
        for a, b in zip(other, found[0], strict=True):
            equal(a, b)
    value, grad, both, _, lse, correct, alone, grad_alone, mean, of_mean = found[0]
    equal(alone, value)
    equal(grad, both)
    equal(grad_alone, both)
    total, with_value, lse2, *correct2 = loss.value_and_grad(y, p, return_lse=True, return_correct=not soft)
    assert total == mean == pytest.approx(value.mean(dtype=float), rel=1e-6)
    equal(with_value, of_mean)
    equal(lse2, lse)
    equal(np.array(correct2 or 0), correct)
    np.testing.assert_allclose(of_mean, both / len(p), rtol=1e-5, atol=1e-30)
    # a row gives the same wherever it lies
    for i in (0, 17, len(p) - 1):
        equal(loss(y[i : i + 1], p[i : i + 1], reduction="none"), value[i : i + 1])
        equal(loss.grad(y[i : i + 1], p[i : i + 1]), both[i : i + 1])


def test_log_sum_and_correct_rows():
    y, p = problem(1000, 12)
    p[3] = p[3, 0]  # ties: the first counts, as for argmax
    shifted = p - p.max(axis=1, keepdims=True)
    lse, correct = fl.softmax_cross_entropy(y, p, return_lse=True, return_correct=True)[1:]
    np.testing.assert_allclose(lse, p.max(axis=1) + np.log(np.exp(shifted).sum(axis=1)), rtol=1e-13)
    assert correct == (p.argmax(axis=1) == y).sum()
    assert type(correct) is int
    weight = (y != 3).astype(float)
    some = (p.argmax(axis=1) == y) & (y != 3)
    assert fl.poly1(y, p, sample_weight=weight, return_correct=True)[1] == some.sum()
    assert fl.poly1(y, p, ignore_index=3, return_correct=True)[1] == some.sum()


BITS = """
import hashlib, json, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import fastloss as fl
from row_references import WITH_SOFTMAX, rows, soft_labels

hashes = {}
for name, reference in WITH_SOFTMAX.items():
    for dtype in (np.float32, np.float64):
        for classes in (1, 3, 16, 101, 1003):
            labels, scores = rows(classes, dtype)
            labels, scores = np.resize(labels, 53), np.resize(scores, (53, classes))
            for y in (labels, soft_labels(classes, scores, dtype)) if reference.soft else (labels,):
                for params in reference.params:
                    loss = fl.get(name, **params)
                    value, lse = loss(y, scores, reduction="none", return_lse=True)
                    grad, hess = loss.grad_and_hess(y, scores, sample_weight=np.linspace(0, 2, 53))
                    total = np.float64(loss(y, scores))
                    data = [np.where(a == 0, 0, a) for a in (value, lse, grad, hess, total)]
                    data = b"".join(np.where(np.isnan(a), 7, a).tobytes() for a in data)
                    hashes[f"{loss!r} {dtype.__name__} {classes} {y.ndim}"] = hashlib.sha256(data).hexdigest()
print(json.dumps(hashes))
"""


@pytest.mark.skipif(
    not {"v3", "v4"} <= set(LEVELS), reason="needs a CPU with AVX-512, to compare it with AVX2"
)
def test_avx2_and_avx512_give_the_same_bits():
    found = [python(BITS, str(Path(__file__).parent), level=level) for level in ("v3", "v4")]
    assert all(result.returncode == 0 for result in found), found[0].stderr
    assert found[0].stdout == found[1].stdout
    assert len(found[0].stdout) > 1000


@pytest.mark.skipif(_core.level() == "v2", reason="the recorded bits are those of the levels with FMA")
def test_recorded_bits():
    """What one build has computed, every build computes; tools/record_vectors.py records others."""
    assert list(lines()) == FILE.read_text(encoding="ascii").splitlines()


@pytest.mark.skipif("v2" not in LEVELS, reason="the baseline of x86-64")
def test_the_baseline_agrees():
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import fastloss as fl
from recorded_rows import inputs
from row_references import ALL_ROW_REFERENCES
for name, reference in ALL_ROW_REFERENCES.items():
    for classes in (3, 120):
        y, p, _ = inputs(reference.of, classes, np.float64, not reference.hard)
        for a in (fl.get(name)(y, p, reduction="none"), *fl.get(name).grad_and_hess(y, p)):
            print(" ".join(x.hex() for x in a.ravel()))
"""
    numbers = [
        np.array(
            [float.fromhex(x) for x in python(code, str(Path(__file__).parent), level=level).stdout.split()]
        )
        for level in ("v2", "")
    ]
    assert numbers[0].size > 67 * 123 * 4
    np.testing.assert_allclose(*numbers, rtol=1e-14, atol=1e-50)  # terms of poly1's Hessian cancel


# ---- labels and weights ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4", ">u8", "<i2"])
@pytest.mark.parametrize("classes", [2, 101])
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


def softmax(p):
    e = np.exp(p - p.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("classes", [4, 101])
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
                    assert (out == 7).all()
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
        out = np.full_like(p, 7)
        where = rf"got .*{bad}.* in row {place[0]}, class {place[1]}"
        with pytest.raises(ValueError, match=where):
            fl.softmax_cross_entropy.grad(strange, p, out=out)
        assert (out == 7).all()
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
