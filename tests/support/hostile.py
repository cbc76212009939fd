"""Any arguments at all, drawn by hypothesis, and what a call on them must give."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from references import REFERENCES

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
    shape = y.values.shape or p.values.shape
    if reduction == "mean" and 0 in shape:
        found.append("y_true and y_pred are empty")
    if any(is_refused(argument) for argument in (y, p, w) if argument is not None):
        return found, None
    size, ws = int(np.prod(shape)), np.ones(int(np.prod(shape)))
    if w is not None:
        try:
            ws = np.broadcast_to(w.values, shape).ravel().astype(float)
        except ValueError:
            return [*found, "sample_weight has "], None
        if not np.isfinite(ws).all():
            return [*found, "sample_weight must be finite"], None
        if reduction == "mean" and ws.any() and sum(map(Fraction, ws)) == 0:
            found.append("sample_weight sums to 0")
    if any(a.values.size not in (1, size) for a in (y, p)):
        return found, None
    real, _ = working_dtypes(y, p)
    try:
        with np.errstate(all="ignore"):
            ys, ps = (np.broadcast_to(a.values, shape).ravel().astype(real) for a in (y, p))
    except ValueError:  # of shapes that do not go together
        return found, None
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


def separate_outputs(given_outs, inputs):
    """The outputs that share no memory with an input: they are undefined after an error."""
    return [
        (array, memory)
        for array, memory in given_outs
        if isinstance(array, np.ndarray)
        and memory is not None
        and not any(isinstance(a.given, np.ndarray) and np.may_share_memory(array, a.given) for a in inputs)
    ]


def snapshot(arguments, memories):
    return [m.tobytes() for m in memories], [repr(a.given) for a in arguments]


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
