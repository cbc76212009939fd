"""Any arguments at all: the answer that the reference gives, or an error that names the argument and changes nothing."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from accuracy import BEYOND, TARGET
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from references import LABELS, REFERENCES, SCORES, condition, exact, ulp, ulp_error
from test_extremes import ALLOWED, wrong_ones

import fastloss as fl

COMMON = settings(
    derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=False
)
METHODS = ("__call__", "grad", "value_and_grad", "grad_and_hess")
REAL = [np.dtype(c) for c in "?bhilqBHILQefd"]
REFUSED = [np.dtype(c) for c in ("F", "D", "O", "U3", "S3", "M8[s]", "m8[s]", "V4", "f4,i4")]
if np.dtype(np.longdouble).itemsize > 8:
    REFUSED.append(np.dtype(np.longdouble))
ODD = [
    0.0,
    -0.0,
    np.nan,
    np.inf,
    -np.inf,
    5e-324,
    -1e-310,
    1e-40,
    1e300,
    -1e300,
    3e38,
    1 + 2**-23,
    0.5,
    2.0,
    -1.0,
]


def outcome(call):
    """The result or the error, where not even a flag of floating point may be raised."""
    try:
        with np.errstate(all="raise"):
            return call(), None
    except (TypeError, ValueError) as error:
        return None, error


class Subclass(np.ndarray):
    pass


@dataclass
class Argument:
    """What is passed, the elements that it stands for, and the memory around them."""

    given: Any
    values: np.ndarray
    memory: np.ndarray | None = field(default=None, repr=False)


def place(draw, values):
    """The same elements in any order of axes, with gaps, backwards, unaligned, in either byte order."""
    dtype = values.dtype.newbyteorder(draw(st.sampled_from("==S")))
    steps = draw(
        st.lists(st.sampled_from([1, 1, 1, 2, 3, -1, -2]), min_size=values.ndim, max_size=values.ndim)
    )
    axes = draw(st.permutations(range(values.ndim)))
    shape = [values.shape[i] * abs(steps[i]) for i in axes]
    before = draw(st.sampled_from([0, 0, 8, 1, 3]))
    size = int(np.prod(shape, dtype=int)) * dtype.itemsize
    memory = np.full(before + size + 64, 0xA5, np.uint8)
    if dtype.hasobject:
        memory, view = None, np.empty(shape, dtype)
    else:
        view = memory[before : before + size].view(dtype)
    view = view.reshape(shape).transpose(np.argsort(axes).astype(int))
    view = view[(..., *(slice(None, None, step) for step in steps))]
    view[...] = values
    return view, memory


def numbers(dtype, usual):
    """Elements that the loss is made for, with odd ones among them; or any bits at all."""
    if dtype.kind == "b":
        return st.booleans()
    if dtype.kind in "iu":
        return st.sampled_from([0, 1, 2, 3] if dtype.kind == "u" else [0, 1, 2, 3, -1]) | hnp.from_dtype(
            dtype
        )
    with np.errstate(all="ignore"):
        good, odd = (np.array(v).astype(dtype).tolist() for v in (usual, ODD))
    return st.sampled_from(good) | st.sampled_from([*good, *odd]) | st.sampled_from(good)


@st.composite
def arguments(draw, shape, usual):
    """An argument of any dtype and layout, mostly of real numbers."""
    dtype = draw(st.sampled_from([*REAL, *[np.dtype(d) for d in "ffdddd"]]))
    if draw(st.integers(0, 30)) == 0:
        dtype = draw(st.sampled_from(REFUSED))
    if dtype.kind in "biu" or (dtype.kind == "f" and dtype.itemsize <= 8):
        if dtype.kind == "f" and draw(st.integers(0, 7)) == 0:  # with NaNs of any payload
            bits = np.dtype(f"u{dtype.itemsize}")
            values = draw(hnp.arrays(bits, shape)).view(dtype).reshape(shape)
        else:
            values = draw(hnp.arrays(dtype, shape, elements=numbers(dtype, usual)))
    else:
        values = np.zeros(shape, dtype)
    form = draw(
        st.sampled_from(["view"] * 9 + ["read-only", "subclass", "list", "list", "masked", "zero", "matrix"])
    )
    if form == "list" and dtype in REAL:
        given = values.tolist()
        values = np.asarray(given)
        return Argument(given, values)
    if form == "masked":
        return Argument(np.ma.masked_array(values, mask=False), values)
    if form == "matrix" and len(shape) == 2 and dtype in REAL:
        with pytest.warns(PendingDeprecationWarning):
            return Argument(np.matrix(values), values)
    if form == "zero":
        values = np.broadcast_to(values.flat[0] if values.size else np.zeros((), dtype), shape)
        return Argument(values, values.copy())
    view, memory = place(draw, values)
    if form == "subclass":
        view = view.view(Subclass)
    if form == "read-only":
        view.flags.writeable = False
    return Argument(view, values, memory)


@st.composite
def weights(draw, shape, mean):
    """Weights of a shape that broadcasts, or does not; their scale must not matter to a mean."""
    if draw(st.integers(0, 15)) == 0:
        return draw(arguments(shape, [1.0, 0.5]))
    shape = draw(st.sampled_from([shape, shape, shape, shape[-1:], (), (*shape[:-1], 1), (3,), (2, *shape)]))
    dtype = draw(st.sampled_from([*REAL, *[np.dtype(d) for d in "ffdddd"]]))
    some = (
        [0, 1, 1]
        if dtype.kind == "b"
        else [0, 1, 2, 3, 7]
        if dtype.kind in "iu"
        else [0, 0.5, 1, 1.25, 3, 0.001]
    )
    if dtype.kind in "if" and draw(st.integers(0, 4)) == 0:
        some = [*some, -1, -2]
    if dtype.kind == "f" and draw(st.integers(0, 15)) == 0:
        some = [*some, np.nan, np.inf, -np.inf]
    values = draw(hnp.arrays(dtype, shape, elements=st.sampled_from(np.array(some).astype(dtype).tolist())))
    if mean and dtype == np.float64:
        values = np.ldexp(values, draw(st.sampled_from([0, 0, 0, 900, -900, 60])))
    view, memory = place(draw, values)
    return Argument(view, values, memory)


@st.composite
def outputs(draw, shape, dtype, inputs):
    """One array among the results: fitting, or wrong in one way; perhaps in the memory of an input."""
    form = draw(
        st.sampled_from(
            ["none", *["good"] * 4, *["shared"] * 4, "dtype", "shape", "locked", "list", "masked", "self"]
        )
    )
    blank = np.full(shape, 7, dtype)
    if form == "none":
        return None, None, False
    if form == "shared":
        owners = [a for a in inputs if a.memory is not None]
        spare = [(a, a.memory.size - blank.nbytes) for a in owners]
        spare = [(a, room) for a, room in spare if room >= 0]
        if spare:
            owner, room = draw(st.sampled_from(spare))
            if owner.values.shape == shape and owner.values.dtype == dtype and draw(st.booleans()):
                view = (
                    owner.given if type(owner.given) is np.ndarray and owner.given.flags.writeable else None
                )
                if view is not None:
                    return view, owner.memory, False
            start = draw(st.integers(0, room))
            view = owner.memory[start : start + blank.nbytes].view(dtype).reshape(shape)
            return (view[::-1] if view.ndim and draw(st.booleans()) else view), owner.memory, False
    if form == "list":
        return blank.tolist(), None, True
    if form == "masked":
        return np.ma.masked_array(blank), None, True
    if form == "dtype":
        other = draw(st.sampled_from([d for d in (*REAL, *REFUSED) if d != dtype and not d.hasobject]))
        blank = np.zeros(shape, other)
    if form == "shape":
        blank = np.full((*shape, 1) if draw(st.booleans()) else (*shape[:-1], 5), 7, dtype)
    if form == "self" and blank.size > 1:
        memory = np.full(64, 0xA5, np.uint8)
        return np.ndarray(shape, dtype, memory, 0, (0,) * len(shape)), memory, True
    view, memory = place(draw, blank)
    if form == "locked":
        view.flags.writeable = False
    return view, memory, form in ("dtype", "locked") or view.shape != shape


# ---- what must come out -----------------------------------------------------------------------------


def working_dtypes(y, p):
    """The dtypes of the arithmetic and of the result, from NumPy's promotion."""
    weak = [type(a.given) in (int, float, bool) for a in (y, p)]
    types = [a.given if w else a.values.dtype for a, w in zip((y, p), weak, strict=True)]
    real = np.result_type(*types)
    real = np.dtype(float) if real.kind != "f" else np.dtype(np.float32) if real.itemsize == 2 else real
    exact_labels = y.values.dtype.kind != "f" and not weak[1] and p.values.dtype.kind == "f"
    single = real == np.float32 or (exact_labels and p.values.dtype.itemsize <= 4)
    return real, np.dtype(np.float32 if single else np.float64)


def violated(name, params, y, p):
    """The domains as the README has them; NaN is no violation."""
    reference = REFERENCES[name]
    if name == "tweedie":
        power = params.get("power", 1.5)
        return (y < 0) & (power > 0) | (y <= 0) & (power >= 2)
    wrong = {
        "real": False,
        "count": y < 0,
        "positive": y <= 0,
        "unit": (y < 0) | (y > 1),
        "binary": ~np.isnan(y) & ~np.isin(y, [-1, 0, 1]),
        "above -1": y <= -1,
    }[reference.labels]
    return wrong | {"real": False, "probability": (p < 0) | (p > 1), "above -1": p <= -1}[reference.scores]


def is_refused(argument):
    refused = isinstance(argument.given, np.ma.MaskedArray | np.matrix)
    return refused or argument.values.dtype.newbyteorder("=") not in REAL


def parts_of(method, reduction):
    """Which outputs of an element a call returns: 0 the value, 1 and 2 the derivatives; True for an array."""
    array = reduction == "none"
    return {
        "__call__": [(0, array)],
        "grad": [(1, True)],
        "value_and_grad": [(0, array), (1, True)],
        "grad_and_hess": [(1, True), (2, True)],
    }[method]


def elements(loss, y, p, absent):
    """Value and derivatives of each element alone, in arrays of one element; 0 for what is absent."""
    triples = np.zeros((3, y.size), y.dtype)
    for i in range(y.size):
        if not absent[i]:
            grad, hess = loss.grad_and_hess(y[i : i + 1].copy(), p[i : i + 1].copy())
            triples[:, i] = loss(y[i : i + 1].copy(), p[i : i + 1].copy()), grad[0], hess[0]
    return triples


def close(got, want, scale, eps, tiny):
    """Whether a sum is right to rounding, where the magnitudes of its terms add up to `scale`."""
    got, want = np.longdouble(got), np.longdouble(want)
    if not np.isfinite(want) or not scale < 1e305:
        return not scale < 1e305 or got == want or (np.isnan(got) and np.isnan(want))
    return abs(got - want) <= 8 * eps * scale + tiny


def same(got, want):
    return np.array_equal(got, want, equal_nan=True)


def reasons_to_refuse(name, params, method, reduction, y, p, w, out_is_wrong):
    """Patterns of the errors of which one must come; with none of them the call must succeed."""
    found = [
        f"{key} (has dtype|is a masked array|is a np.matrix)"
        for key, argument in (("y_true", y), ("y_pred", p), ("sample_weight", w))
        if argument is not None and is_refused(argument)
    ]
    if reduction not in ("mean", "sum", "none"):
        found.append("reduction must be 'mean', 'sum' or 'none'")
    if y.values.shape != p.values.shape and y.values.shape != () and p.values.shape != ():
        found.append("y_true has .* and y_pred has ")
    if out_is_wrong:
        found.append(r"\bout\b")
    if found:
        return found, None
    shape = y.values.shape or p.values.shape
    if reduction == "mean" and 0 in shape:
        return ["y_true and y_pred are empty"], None
    real, _ = working_dtypes(y, p)
    with np.errstate(all="ignore"):
        ys, ps = (np.broadcast_to(a.values, shape).ravel().astype(real) for a in (y, p))
    ws = np.ones(ys.size)
    if w is not None:
        try:
            ws = np.broadcast_to(w.values, shape).ravel().astype(float)
        except ValueError:
            return ["sample_weight has "], None
        if not np.isfinite(ws).all():
            return ["sample_weight must be finite"], None
        if reduction == "mean" and ws.any() and sum(map(Fraction, ws)) == 0:
            found.append("sample_weight sums to 0")
    if (violated(name, params, ys, ps) & (ws != 0)).any():
        found.append(f"^{name}: ")
    return found, (real, shape, ys, ps, ws)


def check_results(loss, parts, results, reduction, y, p, facts):
    """Compare with the elements one by one, weighted and added in more than double precision."""
    real, shape, ys, ps, ws = facts
    _, dtype = working_dtypes(y, p)
    triples = elements(loss, ys, ps, ws == 0)
    summed = p.values.shape == () and shape != () and reduction != "none"
    total = float(sum(map(Fraction, ws))) if reduction == "mean" else 1.0
    exponent = np.frexp(np.abs(ws).max(initial=0))[1] if reduction == "mean" else 0
    ws, total = np.ldexp(ws, -exponent), np.ldexp(total, -exponent) or 1.0
    eps = np.finfo(real).eps
    for (which, is_array), got in zip(parts, results, strict=True):
        with np.errstate(all="ignore"):
            terms = np.where(ws == 0, 0, triples[which] * ws.astype(real))
            if reduction == "none":
                assert same(got, terms.reshape(shape).astype(dtype)), (got, terms)
            elif not is_array or summed:
                want = terms.astype(np.longdouble).sum() / total
                scale = np.abs(terms[np.isfinite(terms)].astype(np.longdouble)).sum() / abs(total)
                scale = np.inf if scale > 1e305 * abs(total) else scale
                narrow = is_array and dtype == np.float32
                if narrow and not np.abs(want) < 3.4e38:
                    want = np.longdouble(np.float32(want))
                tiny = (ws.size + 1) * np.finfo(dtype if is_array else real).smallest_subnormal / abs(total)
                assert close(got, want, scale, 1.2e-7 if narrow else 2.3e-16, tiny), (got, want)
            else:
                want = (triples[which].astype(np.longdouble) * ws / total).reshape(shape)
                want = np.where(ws.reshape(shape) == 0, 0, want)
                tiny = 2 * np.finfo(real).smallest_subnormal + 2 * np.finfo(dtype).smallest_subnormal
                eps = max(np.finfo(real).eps, np.finfo(dtype).eps)
                high = float(np.finfo(dtype).max)
                huge = np.abs(want) > high * (1 - 8 * eps)  # may or may not round to inf
                right = np.abs(got - want) <= 8 * eps * np.abs(want) + tiny
                right |= (got == want) | (np.isnan(got) & np.isnan(want))
                right |= huge & (np.sign(got) == np.sign(want)) & ~(np.abs(got) < high * (1 - 8 * eps))
                assert right.all(), (got, want)


def only_written(arrays, memory, before):
    """Nothing in the memory around some arrays has changed but the arrays."""
    for array in arrays:
        if array.size == 0:
            continue
        start = array.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
        np.ndarray(array.shape, array.dtype, before, start, array.strides)[...] = array.copy()
    np.testing.assert_array_equal(memory, before)


def snapshot(arguments, memories):
    return [m.tobytes() for m in memories], [repr(a.given) for a in arguments]


@pytest.mark.parametrize("name", REFERENCES)
@settings(COMMON, max_examples=60)
@given(data=st.data())
def test_any_call(name, data):
    draw = data.draw
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
    before = snapshot(inputs, memories)
    copies = [m.copy() for m in memories]
    options = {} if reduction == "mean" and draw(st.booleans()) else {"reduction": reduction}
    options |= {} if w is None else {"sample_weight": w.given}
    options |= {} if out is None else {"out": out}
    results, error = outcome(lambda: getattr(loss, method)(y.given, p.given, **options))
    if error:
        assert any(re.search(pattern, str(error)) for pattern in found), (found, error)
        assert snapshot(inputs, memories) == before
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


# ---- parameters and settings ------------------------------------------------------------------------


class Raises:
    def __float__(self):
        raise TypeError("no number")

    __index__ = __float__


JUNK = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from(
        [0, 1, -1, 2, 10**400, -(10**400), True, None, "1", b"1", bytearray(b"1"), 1j, [], [1.0], {}]
    ),
    st.sampled_from(
        [Decimal("0.5"), Decimal("sNaN"), Decimal("1e999"), Fraction(1, 3), Fraction(10**400), Raises()]
    ),
    st.sampled_from(
        [np.array(0.5), np.array([0.5]), np.array("1"), np.array(1j), np.array([]), np.arange(3.0)]
    ),
    st.sampled_from([np.ma.masked, np.ma.masked_array(0.5, True), np.ma.masked_array(0.5), np.matrix]),
    st.sampled_from([np.float16(0.5), np.float32(np.inf), np.longdouble(0.25), np.int8(1), np.bool_(True)]),
    st.sampled_from(
        [np.complex64(1), np.datetime64(1, "s"), np.timedelta64(1, "s"), np.str_("1"), np.void(b"1")]
    ),
    st.sampled_from([memoryview(b"1"), object(), fl, fl.huber, float, lambda: 1, np.array([1], object)]),
)


def number(x):
    """The number that x is, or None: text and arrays are none, even where float() reads them."""
    if isinstance(x, str | bytes | bytearray | memoryview | complex | np.ma.core.MaskedConstant | None):
        return None
    if isinstance(x, np.ndarray | np.generic) and (
        x.ndim or x.dtype.kind not in "biuf" or np.ma.is_masked(x)
    ):
        return None
    try:
        return float(x)
    except (TypeError, ValueError):
        return None
    except OverflowError:
        return math.inf


@pytest.mark.parametrize("name", [n for n in REFERENCES if fl.get(n).params])
@settings(COMMON, max_examples=60)
@given(value=JUNK, data=st.data())
def test_any_parameter(name, value, data):
    loss, y, p = fl.get(name), np.array([1.0]), np.array([0.5])
    key = data.draw(st.sampled_from(sorted(loss.params)))
    before, results = loss.params, []
    for call in (lambda: loss.bind(**{key: value})(y, p), lambda: loss(y, p, **{key: value})):
        result, error = outcome(call)
        results += [] if error else [result]
        assert not error or type(error) is (TypeError if number(value) is None else ValueError)
        assert not error or re.match(f"{key} must ", str(error)), error
    assert loss.params == before
    assert len(results) != 1
    if results:
        want = value if value is None else number(value)
        assert (
            loss.bind(**{key: value}).params == {**before, key: want} == fl.get(name, **{key: value}).params
        )
        assert value is None or not math.isnan(want)
        assert same(*results)
        assert not math.isnan(results[0])


ANYTHING = JUNK | st.text(max_size=8) | st.binary(max_size=3) | st.integers() | st.sampled_from([...])


@settings(COMMON, max_examples=100)
@given(value=ANYTHING)
def test_any_setting(value):
    names, before = fl.losses(), fl.get_num_threads()
    for call, pattern in (
        (lambda: fl.get(value), "there is no loss named "),
        (lambda: fl.show_config(value), "mode must be "),
        (lambda: fl.huber.bind(detla=value), "huber has no keyword 'detla'"),
        (lambda: fl.huber([0.0], [1.0], reduction=value), "reduction must be "),
    ):
        with pytest.raises((TypeError, ValueError), match=pattern):
            call()
    _, error = outcome(lambda: fl.set_num_threads(value))
    _, same_error = outcome(lambda: fl.threads(value))
    assert repr(error) == repr(same_error)
    if error:
        assert re.match("n must (be an integer|lie in 1 to 1024)", str(error))
        assert not isinstance(value, int) or not 1 <= value <= 1024
    else:
        assert fl.get_num_threads() == value
        fl.set_num_threads(before)
        with fl.threads(value):
            assert fl.get_num_threads() == value
    assert fl.get_num_threads() == before
    names.clear()
    assert "huber" in fl.losses()["regression"]


# ---- updates ----------------------------------------------------------------------------------------

MODERATE = st.sampled_from([0.0, 1.0, -1.5, 0.25, 3.0])
SPOILT = ["locked", "self", "list", "masked", "masked gradient", "missing", "shape", "twice", "other"]
SPOILT += [*(f"dtype {c}" for c in "ieDO?"), *(f"gradient {c}" for c in "DOUM")]
HYPERPARAMETERS = ["lr", "momentum", "weight_decay", "dampening", "nesterov"]


def spoil(draw, how, params, grads):
    """Make one pair wrong in one way; return whether it is."""
    i = draw(st.integers(0, len(params) - 1))
    shape = params[i].shape
    if how == "locked":
        params[i] = params[i].view()
        params[i].flags.writeable = False
    elif how == "self":
        params[i], grads[i] = np.lib.stride_tricks.as_strided(np.ones(1), (3,), (0,)), np.ones(3)
    elif how == "list":
        params[i] = params[i].tolist()
    elif how == "masked":
        params[i] = np.ma.masked_array(params[i])
    elif how == "masked gradient":
        grads[i] = np.ma.masked_array(grads[i])
    elif how == "missing":
        grads.pop()
    elif how == "shape":
        grads[i] = np.zeros((*shape, 2))
    elif how.startswith("dtype "):
        params[i] = np.zeros(shape, how.removeprefix("dtype "))
    elif how.startswith("gradient "):
        grads[i] = np.zeros(shape, how.removeprefix("gradient "))
    elif params[i].size == 0:  # without elements, nothing is shared
        return False
    elif how == "twice":
        params.append(params[i][...])
        grads.append(np.ones(shape))
    elif how == "other":
        params.append(np.ones(shape))
        grads.append(params[i])
    return True


def step(rule, w, g, velocity):
    """One update as the documentation states it."""
    d = g + rule["weight_decay"] * w if rule["weight_decay"] else g
    if rule["momentum"]:
        velocity = d if velocity is None else rule["momentum"] * velocity + (1 - rule["dampening"]) * d
        d = d + rule["momentum"] * velocity if rule["nesterov"] else velocity
    return w - rule["lr"] * d, velocity


@settings(COMMON, max_examples=200)
@given(data=st.data())
def test_any_update(data):
    draw = data.draw
    rule = {
        "lr": draw(st.sampled_from([0.5, 0.0, 1, 0.125])),
        "momentum": draw(st.sampled_from([0.0, 0.5, 1.0])),
        "weight_decay": draw(st.sampled_from([0.0, 0.25])),
    }
    rule["nesterov"] = rule["momentum"] > 0 and draw(st.booleans())
    rule["dampening"] = 0.0 if rule["nesterov"] else draw(st.sampled_from([0.0, 0.5, 2.0]))
    optimizer = fl.SGD(**rule)
    params, grads, memories = [], [], []
    for _ in range(draw(st.integers(1, 3))):
        shape = draw(st.sampled_from([(), (1,), (0,), (17,), (2, 3), (40,)]))
        param = draw(hnp.arrays(draw(st.sampled_from("fd")), shape, elements=MODERATE))
        slope = np.dtype(draw(st.sampled_from("fdeb?")))
        odd = MODERATE | st.sampled_from([np.nan, np.inf]) if slope.kind == "f" else st.booleans()
        view, memory = place(draw, param)
        params.append(view)
        memories.append(memory)
        grads.append(place(draw, draw(hnp.arrays(slope, shape, elements=odd)))[0])
    for _ in range(draw(st.integers(0, 2))):
        optimizer.update(params, grads)
    velocities = optimizer.state_dict()["velocity"]
    olds = [w.astype(np.longdouble) for w in params]

    how = draw(st.sampled_from(["", *SPOILT, *HYPERPARAMETERS]) | st.just(""))
    wrong, name = False, "params|grads"
    if how in rule:
        lowest = -math.inf if how == "dampening" else 0
        value = draw(JUNK.filter(lambda v: number(v) is None or not lowest <= number(v) < math.inf))
        setattr(optimizer, how, value)
        wrong, name = True, how
    elif how:
        wrong = spoil(draw, how, params, grads)
    form = draw(st.sampled_from(["list", "tuple", "dict", "array"]))
    if form == "array" and len(params) == len(grads) == 1 and isinstance(params[0], np.ndarray):
        arguments = params[0], grads[0]
    elif form == "dict":  # in the order of the sequence, and under the keys that a sequence has
        arguments = dict(enumerate(params)), dict(enumerate(grads))
    else:
        arguments = (list, tuple)[form == "tuple"](params), grads
    before = [m.copy() for m in memories], repr(optimizer.state_dict())
    _, error = outcome(lambda: optimizer.update(*arguments))
    if error:
        assert wrong, error
        assert re.search(name, str(error)), error
        assert all(map(np.array_equal, memories, before[0]))
        assert repr(optimizer.state_dict()) == before[1]
        return
    assert not wrong
    for i, (w, g) in enumerate(zip(params, grads, strict=True)):
        with np.errstate(all="ignore"):
            want, moved = step(rule, olds[i], g.astype(np.longdouble), velocities.get(i))
        tolerance = 1e-5 if w.dtype.itemsize == 4 else 1e-14
        np.testing.assert_allclose(w, want, rtol=tolerance, atol=tolerance)
        if rule["momentum"]:
            velocity = optimizer.state_dict()["velocity"][i]
            np.testing.assert_allclose(velocity, moved, rtol=tolerance, atol=tolerance)
        only_written([w], memories[i], before[0][i])


def test_no_hyperparameter_is_compared_as_an_array():
    w, optimizer = np.ones(2), fl.SGD(lr=0.5)
    optimizer.lr = np.array([0.5, 0.25])
    with pytest.raises(TypeError, match="lr must be a real number"):
        optimizer.update(w, w)
    assert (w == 1).all()
