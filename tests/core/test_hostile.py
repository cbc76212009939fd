"""Any arguments at all: the answer that the reference gives, or an error that names the argument and changes nothing."""

from __future__ import annotations

import re

import numpy as np
import pytest
from accuracy import BEYOND, TARGET
from extremes import ALLOWED, wrong_ones
from hostile import (
    COMMON,
    METHODS,
    arguments,
    check_results,
    is_refused,
    only_written,
    outcome,
    outputs,
    parts_of,
    place,
    reasons_to_refuse,
    separate_outputs,
    snapshot,
    weights,
    working_dtypes,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from references import LABELS, REFERENCES, SCORES, condition, exact, ulp, ulp_error

import fastloss as fl


def check_call(name, draw):
    method = draw(st.sampled_from(METHODS))
    reference = REFERENCES[name]
    params = draw(st.sampled_from(reference.params))
    loss = fl.get(name, **params)
    reduction = draw(st.sampled_from(["mean", "sum", "none"] * 8 + [None, "Mean", 0, b"sum"]))
    shape = draw(st.sampled_from([(), (1,), (3,), (17,), (40,), (0,), (2, 3), (3, 1), (5, 0), (2, 3, 4)]))
    scalar = draw(st.sampled_from([None] * 8 + ["y_true", "y_pred", "shape"]))
    other = draw(st.sampled_from([(4,), (3,), (1, 3)])) if scalar == "shape" else ()
    moderate = [s for s in SCORES[reference.scores] if abs(s) < 700]
    y = draw(arguments(() if scalar == "y_true" else shape, LABELS[reference.labels]))
    p = draw(arguments(other if scalar in ("y_pred", "shape") else shape, moderate))
    w = draw(weights(shape, reduction == "mean")) if draw(st.booleans()) else None
    inputs = [a for a in (y, p, w) if a is not None]
    memories = [a.memory for a in inputs if a.memory is not None]

    parts = parts_of(method, reduction)
    out, given_outs, wrong = None, [], False
    arrays = [i for i, (_, is_array) in enumerate(parts) if is_array]
    if not any(map(is_refused, (y, p))) and draw(st.booleans()):
        _, dtype = working_dtypes(y, p)
        result = y.values.shape or p.values.shape
        if p.values.shape == () and reduction != "none" and method != "__call__":
            result = ()
        slots = [draw(outputs(result, dtype, inputs)) for _ in arrays or [0]]
        given_outs = [(array, memory) for array, memory, _ in slots]
        wrong = any(bad for *_, bad in slots) or not arrays
        memories += [m for _, m in given_outs if m is not None and not any(m is n for n in memories)]
        out = tuple(array for array, _ in given_outs)
        if len(out) == 2:
            first, second = out
            both = isinstance(first, np.ndarray) and isinstance(second, np.ndarray)
            wrong |= both and bool(np.may_share_memory(first, second))
            if draw(st.integers(0, 9)) == 0:
                out, wrong = first, first is not None
        elif len(parts) == 2 and draw(st.booleans()):
            out = (None, *out)
        elif draw(st.booleans()):
            out = out[0]
        if out is None:
            wrong, given_outs = False, []

    found, facts = reasons_to_refuse(name, params, method, reduction, y, p, w, wrong)
    before = snapshot(inputs, [])[1]
    copies = [m.copy() for m in memories]
    options = {} if reduction == "mean" and draw(st.booleans()) else {"reduction": reduction}
    options |= {} if w is None else {"sample_weight": w.given}
    options |= {} if out is None else {"out": out}
    results, error = outcome(lambda: getattr(loss, method)(y.given, p.given, **options))
    if error:
        assert any(re.search(pattern, str(error)) for pattern in found), (found, error)
        undefined = separate_outputs(given_outs, inputs)
        for memory, copy in zip(memories, copies, strict=True):
            only_written([a for a, m in undefined if m is memory], memory, copy)
        assert snapshot(inputs, [])[1] == before
        assert loss == fl.get(name, **params)
        return
    assert not found, found

    results = results if len(parts) == 2 else (results,)
    for (_, is_array), got in zip(parts, results, strict=True):
        assert isinstance(got, np.ndarray) if is_array else type(got) is float
    check_results(loss, parts, results, reduction, y, p, facts)
    for i, (array, _) in zip(arrays, given_outs, strict=False):
        assert array is None or results[i] is array
    for memory, copy in zip(memories, copies, strict=True):
        only_written([a for a, m in given_outs if m is memory], memory, copy)


@pytest.mark.parametrize("name", REFERENCES)
@settings(COMMON, max_examples=15)
@given(data=st.data())
def test_any_call(name, data):
    check_call(name, data.draw)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", REFERENCES)
@settings(COMMON, max_examples=60)
@given(data=st.data())
def test_any_call_and_more(name, data):
    check_call(name, data.draw)


def any_number(kind, dtype):
    width = np.dtype(dtype).itemsize * 8
    low, high = {"probability": (0, 1), "unit": (0, 1), "fraction": (0, 1), "above -1": (-1, None)}.get(
        kind, (None if kind in ("real", "alpha", "power") else 0, None)
    )
    allow = ALLOWED.get(kind, ALLOWED["positive"])
    if kind == "binary":
        return st.sampled_from([-1.0, 0.0, 1.0])
    return st.floats(low, high, width=width, allow_nan=False, allow_infinity=False).filter(allow)


@pytest.mark.parametrize("name", REFERENCES)
@settings(COMMON, max_examples=15)
@given(data=st.data())
def test_any_number_and_parameter_against_mpmath(name, data):
    draw, reference = data.draw, REFERENCES[name]
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    kinds = {key: "fraction" if key in ("quantile", "level") else key for key in fl.get(name).params}
    if name == "focal":
        kinds["alpha"] = "unit"
    strict = {
        key: ALLOWED.get(kind if kind == "unit" else key, ALLOWED["positive"]) for key, kind in kinds.items()
    }
    params = {key: draw(any_number(kind, dtype).filter(strict[key])) for key, kind in kinds.items()}
    if name == "absolute_percentage_error":
        params["epsilon"] = draw(any_number("c", dtype))
    y, p = (
        draw(hnp.arrays(dtype, 3, elements=any_number(kind, dtype)))
        for kind in (reference.labels, reference.scores)
    )
    assert not wrong_ones(name, params, y, p)


@pytest.mark.parametrize("name", REFERENCES)
@settings(COMMON, max_examples=15)
@given(data=st.data())
def test_a_sample_of_the_elements_against_mpmath(name, data):
    draw, reference = data.draw, REFERENCES[name]
    params, dtype = draw(st.sampled_from(reference.params)), draw(st.sampled_from([np.float32, np.float64]))
    bounds = {"real": (-60, 60), "probability": (2.0**-20, 1 - 2.0**-20), "above -1": (-0.96875, 100)}
    low, high = bounds[reference.scores]
    scores = st.floats(low, high, width=32, allow_subnormal=False)
    labels = st.sampled_from(LABELS[reference.labels]) | (
        scores if reference.labels == "real" else st.nothing()
    )
    y, p = (draw(hnp.arrays(dtype, 3, elements=e)) for e in (labels.map(lambda v: float(dtype(v))), scores))
    loss = fl.get(name, **params)
    views = place(draw, y)[0], place(draw, p)[0]
    results = loss(*views, reduction="none"), *loss.grad_and_hess(*views, reduction="none")
    for i in range(y.size):
        for output, want in enumerate(exact(reference, params, float(y[i]), float(p[i]))):
            if want is not None and (error := ulp_error(results[output][i], want, dtype)) > BEYOND.get(
                loss.name, TARGET
            ):
                allowed = TARGET * np.finfo(dtype).eps * condition(reference, params, y[i], p[i], output)
                assert error <= float(allowed / ulp(want, dtype)), (y[i], p[i], want)
