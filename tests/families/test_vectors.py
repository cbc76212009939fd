"""The recorded bits: what one build has computed, every build with FMA computes."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from recorded import DTYPES, bits, canonical, long_inputs, outputs, read
from references import REFERENCES

import fastloss as fl
from fastloss import _core

read = cache(read)
CASES = [pytest.param(name, case, id=f"{case} {name}") for name in DTYPES for case in read(name)]
needs_fma = pytest.mark.skipif(
    _core.level() == "v2", reason="the recorded bits are those of the levels with FMA, and v2 has none"
)


def columns(dtype_name, case):
    """y_true, y_pred and weight as numbers; value, gradient and Hessian as bits."""
    rows = np.ascontiguousarray(case.rows.T)
    return [column.view(DTYPES[dtype_name]) for column in rows[:3]], rows[3:]


def spread(array):
    """The same elements, 3 apart and backwards."""
    room = np.full(3 * array.size, 7, array.dtype)
    room[::-3] = array
    return room[::-3]


@needs_fma
@pytest.mark.parametrize(("dtype_name", "case"), CASES)
def test_elements(dtype_name, case):
    inputs, wanted = columns(dtype_name, case)
    for layout in (np.ascontiguousarray, spread):
        y, p, w = (layout(a) for a in inputs)
        value, grad = case.loss.value_and_grad(y, p, sample_weight=w, reduction="none")
        for got, want in zip(
            [*outputs(case.loss, y, p, w), value, grad], [*wanted, wanted[0], wanted[1]], strict=True
        ):
            np.testing.assert_array_equal(canonical(got), want)


@needs_fma
@pytest.mark.parametrize(("dtype_name", "case"), CASES)
def test_sums(dtype_name, case):
    y, p, w = long_inputs(case.maps, DTYPES[dtype_name])
    for layout, threads in ((np.ascontiguousarray, 1), (np.ascontiguousarray, 4), (spread, 4)):
        y, p, w = layout(y), layout(p), layout(w)
        with fl.threads(threads):
            got = [case.loss(y, p, sample_weight=weight, reduction="sum") for weight in (None, w)]
            both = case.loss.value_and_grad(y, p, reduction="sum")[0]
        assert [canonical(total) for total in [*got, both]] == [*case.sums, case.sums[0]]


def test_a_weight_of_one_is_no_weight():
    for dtype_name in DTYPES:
        for case in read(dtype_name):
            (y, p, w), _ = columns(dtype_name, case)
            one = w == 1
            got = outputs(case.loss, y[one], p[one], None)
            for a, b in zip(got, outputs(case.loss, y[one], p[one], w[one]), strict=True):
                np.testing.assert_array_equal(canonical(a), canonical(b))


def test_the_constants_are_the_declared_ones():
    for dtype_name in DTYPES:
        for case in read(dtype_name):
            declared = (*case.loss.declaration(**case.loss.params), 0, 0, 0, 0)[:4]
            assert bits(np.array(case.constants)).tolist() == bits(np.array(declared, float)).tolist()


@pytest.mark.parametrize("dtype_name", DTYPES)
def test_every_loss_is_recorded(dtype_name):
    recorded = {(case.name, case.params.count(",") + (case.params != "-")) for case in read(dtype_name)}
    wanted = {(name, len(params)) for name, r in REFERENCES.items() for params in r.params}
    assert recorded == wanted, "python tools/record_vectors.py records the others"
