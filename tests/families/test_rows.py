"""Losses of rows: layouts, axes, threads and levels change no bit."""

from __future__ import annotations

import numpy as np
import pytest
from documents import SUPPORT
from processes import at_level
from recorded_rows import FILE, lines
from row_cases import DTYPES, equal, everything, labels_for, layouts, problem

import fastloss as fl
from fastloss import _core


@pytest.mark.parametrize("classes", [3, 257])
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


@pytest.mark.parametrize("classes", [4, 257])
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


@pytest.mark.parametrize("classes", [1, 3, 257, 5000])
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
        for classes in (1, 3, 16, 257, 1003):
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
    not {"v3", "v4"} <= set(_core.supported_levels()),
    reason="needs a CPU with AVX-512, to compare it with AVX2",
)
def test_avx2_and_avx512_give_the_same_bits():
    found = [at_level(BITS, SUPPORT, level=level) for level in ("v3", "v4")]
    assert all(result.returncode == 0 for result in found), found[0].stderr
    assert found[0].stdout == found[1].stdout
    assert len(found[0].stdout) > 1000


@pytest.mark.skipif(_core.level() == "v2", reason="the recorded bits are those of the levels with FMA")
def test_recorded_bits():
    """What one build has computed, every build computes; tools/record_vectors.py records others."""
    assert list(lines()) == FILE.read_text(encoding="ascii").splitlines()


@pytest.mark.skipif("v2" not in _core.supported_levels(), reason="the baseline of x86-64")
def test_the_baseline_agrees():
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import fastloss as fl
from recorded_rows import inputs
from row_references import ALL_ROW_REFERENCES
for name, reference in ALL_ROW_REFERENCES.items():
    for classes in (3, 260):
        y, p, _ = inputs(reference.of, classes, np.float64, not reference.hard)
        for a in (fl.get(name)(y, p, reduction="none"), *fl.get(name).grad_and_hess(y, p)):
            print(" ".join(x.hex() for x in a.ravel()))
"""
    numbers = [
        np.array([float.fromhex(x) for x in at_level(code, SUPPORT, level=level).stdout.split()])
        for level in ("v2", "")
    ]
    assert numbers[0].size > 67 * 123 * 4
    np.testing.assert_allclose(*numbers, rtol=1e-14, atol=1e-50)  # terms of poly1's Hessian cancel


@pytest.mark.parametrize("classes", [3, 257])
@pytest.mark.parametrize("smoothing", [0, 0.1])
def test_lse_of_a_row_without_a_class(classes, smoothing):
    s = np.random.default_rng(0).normal(size=(2, classes))
    found = fl.softmax_cross_entropy(
        [-100, 1], s, ignore_index=-100, label_smoothing=smoothing, return_lse=True
    )[1]
    np.testing.assert_allclose(found, np.log(np.exp(s).sum(1)), rtol=1e-14)
