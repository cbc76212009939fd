"""Any arguments of losses of rows: the answer of a plain reference, or an error that names the argument.

An error changes nothing. The reference works in more than double precision, a row at a time.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
from hostile import (
    COMMON,
    METHODS,
    Argument,
    arguments,
    is_refused,
    only_written,
    outcome,
    outputs,
    parts_of,
    place,
    separate_outputs,
    snapshot,
    weights,
)
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from row_references import ALL_ROW_REFERENCES

import fastloss as fl

BIG = np.longdouble
INTEGERS = [np.dtype(c) for c in "?bhilqBHILQ"]
SHAPES = [
    (),
    (1,),
    (4,),
    (1, 1),
    (5, 1),
    (17, 2),
    (4, 3),
    (3, 4),
    (2, 3, 4),
    (3, 2, 5),
    (0, 3),
    (3, 0),
    (2, 0, 3),
]
SHAPES += [(40, 3), (3, 257), (2, 270)]
SCORES = [-3.0, -1.0, 0.0, 0.5, 0.75, 2.0, 20.0, -40.0]


# ---- the reference --------------------------------------------------------------------------------------


def cost_loss(name, params, cost, p, q):
    """f of the cost c = -log p of the true class, f' and f''."""
    with np.errstate(all="ignore"):
        log_q = np.log(q) if p < 0.5 else np.log(-np.expm1(-cost))
    if name == "softmax_focal":
        g = BIG(params.get("gamma", 2.0))
        if not cost:
            return BIG(0), BIG(g == 0), BIG(2 * (g == 1))
        power, odds = np.exp(g * log_q), p / q
        slope = power * (1 + g * cost * odds)
        bend = power * g * odds * (2 + cost * (g * odds - 1 - odds))
        return power * cost, slope, bend
    if name == "poly1":
        e = BIG(params.get("epsilon", 1.0))
        return cost + e * q, 1 + e * p, -e * p
    if name == "generalized_cross_entropy":
        a = BIG(params.get("q", 0.7))
        return (-np.expm1(-a * cost) / a if a else cost), np.exp(-a * cost), -a * np.exp(-a * cost)
    if name == "squared_log":
        return cost * cost, 2 * cost, BIG(2)
    scale = {"expectation_l1": 2, "chebyshev": 1}[name]
    return scale * q, scale * p, -scale * p


def term_loss(name, params, y, s):
    """A sum over the classes: value, first and second derivatives."""
    zero, _n = np.zeros(len(s), BIG), len(s)
    if name in ("one_hot_l1", "tv_distance"):
        factor = BIG(0.5 if name == "tv_distance" else 1)
        return factor * np.abs(s - y).sum(), factor * np.sign(s - y), zero
    if name == "one_hot_l2":
        return ((s - y) ** 2).sum(), 2 * (s - y), zero + 2
    if name.startswith("one_hot"):
        side = np.where(y == 1, -1, 1)
        u = np.maximum(0.5 + side * s, 0)
        power = {"one_hot_hinge": 1, "one_hot_squared_hinge": 2, "one_hot_cubed_hinge": 3}[name]
        active = u > 0
        bend = np.where(active, power * (power - 1) * u ** max(power - 2, 0), 0)
        return (u**power).sum(), np.where(active, power * side * u ** (power - 1), 0), bend
    if name == "cross_entropy":
        base = params.get("base")
        factor = 1 if base is None else 1 / np.log(BIG(base))
        return -(factor * y[y > 0] * np.log(s[y > 0])).sum(), *(
            np.where(y > 0, factor * x, 0) for x in (-y / s, y / s**2)
        )
    if name == "kl_divergence":
        some = y > 0
        return (
            (y[some] * np.log(y[some] / s[some])).sum(),
            np.where(some, -y / s, 0),
            np.where(some, y / s**2, 0),
        )
    assert name == "js_divergence"
    m = (y + s) / 2
    value = sum((a[a > 0] * np.log(a[a > 0] / m[a > 0])).sum() for a in (y, s)) / 2
    slope = np.where(y + s > 0, np.log(s / m) / 2, np.log(BIG(2)) / 2)
    return value, slope, np.where(y > 0, y / (2 * s * (y + s)), 0)


def margin_loss(name, params, t, s):
    grad, hess, others = np.zeros(len(s), BIG), np.zeros(len(s), BIG), np.arange(len(s)) != t
    if name == "multiclass_hinge":
        if not others.any():
            return BIG(0), grad, hess
        rival = int(np.argmax(np.where(others, s, -np.inf)))
        value = 1 + s[rival] - s[t]
        if value > 0:
            grad[rival], grad[t] = 1, -1
        return np.maximum(value, 0), grad, hess
    power = int(params.get("p", 1))
    u = np.where(others, np.maximum(BIG(params.get("margin", 1.0)) - s[t] + s, 0), 0)
    grad = np.where(u > 0, power * u ** (power - 1), 0)
    hess = np.where(u > 0, BIG(2 * (power - 1)), 0)
    grad[t], hess[t] = -grad.sum(), hess.sum()
    return (u**power).sum() / len(s), grad / len(s), hess / len(s)


def softmax_row(s):
    """p, 1 - p and the costs; nothing cancels in them."""
    top = int(np.argmax(s))
    e = np.exp(s - s[top])
    rest = np.delete(e, top).sum()
    total = 1 + rest
    q = np.array([(total - x) / total if k != top else rest / total for k, x in enumerate(e)])
    cost = np.array([s[top] - x + np.log1p(rest) if k != top else np.log1p(rest) for k, x in enumerate(s)])
    return e / total, q, cost, s[top] + np.log1p(rest)


def reference_row(name, params, label, s, factors):
    """Value, gradient and Hessian of a row of finite scores (or -inf, but for the true class), and its lse."""
    n, given = len(s), np.ndim(label) == 1
    reference = ALL_ROW_REFERENCES[name]
    y = label if given else (np.arange(n) == label).astype(BIG)
    p, q, cost, lse = softmax_row(s) if reference.of == "cost" else (None,) * 4
    if name in ("multiclass_hinge", "multi_margin"):
        return *margin_loss(name, params, label, s), lse
    if name == "softmax_cross_entropy":
        y = y * factors if given else y
        e, z, mass = BIG(params.get("label_smoothing", 0)), BIG(params.get("z_loss", 0)), y.sum()
        share = (1 - e) * y + e / n * mass
        value = (share[share > 0] * cost[share > 0]).sum() + z * mass * lse**2
        pull = mass * (1 + 2 * z * lse)
        return value, pull * p - share, pull * p * q + 2 * z * mass * p * p, lse
    if reference.of == "cost":
        value, slope, bend = cost_loss(name, params, cost[label], p[label], q[label])
        move = p - y
        move[label] = -q[label]
        return value, slope * move, bend * move**2 + slope * p * q, lse
    return *term_loss(name, params, y, s), lse


# ---- arguments ------------------------------------------------------------------------------------------


@st.composite
def labels(draw, shape, classes):
    """Class indices of any integer dtype: inside, or with some that are no class."""
    dtype = draw(st.sampled_from(INTEGERS))
    inside = [k for k in range(max(classes, 1)) if k <= np.iinfo(np.int8 if dtype.kind == "b" else dtype).max]
    inside = [False, True][:classes] or [False] if dtype.kind == "b" else inside
    values = draw(hnp.arrays(dtype, shape, elements=st.sampled_from(inside)))
    if values.size and draw(st.integers(0, 3)) == 0:
        strange = hnp.from_dtype(dtype) if dtype.kind != "b" else st.booleans()
        if dtype.kind in "iu":
            info = np.iinfo(dtype)
            strange |= st.sampled_from([int(info.min), int(info.max), min(classes, int(info.max))])
        values.flat[draw(st.integers(0, values.size - 1))] = draw(strange)
    if draw(st.integers(0, 9)) == 0:
        given = values.tolist()
        return Argument(given, np.asarray(given))
    view, memory = place(draw, values)
    view.flags.writeable = draw(st.booleans())
    return Argument(view, values, memory)


def cast(draw, values):
    """Some numbers as an argument of any float dtype and layout."""
    values = values.astype(draw(st.sampled_from("dddffe")))
    view, memory = place(draw, values)
    return Argument(view, values, memory)


def distributions(draw, shape, axis):
    """Rows that add up to 1, seldom with something else in them."""
    parts = draw(hnp.arrays(float, shape, elements=st.sampled_from([0.0, 1.0, 2.0, 5.0, 1e-3])))
    if not parts.size:
        return parts
    total = parts.sum(axis=axis, keepdims=True)
    parts = np.where(total > 0, parts / np.where(total > 0, total, 1), 1 / parts.shape[axis])
    if draw(st.integers(0, 4)) == 0:
        strange = st.sampled_from([np.nan, -1e-9, -1.0, 1.5, np.inf, -np.inf, 0.25, 1.0])
        parts.flat[draw(st.integers(0, parts.size - 1))] = draw(strange)
    return parts


@st.composite
def class_weights(draw, classes):
    """One finite weight >= 0 per class, or not; and the error's pattern, if any."""
    good = draw(hnp.arrays(draw(st.sampled_from("dfbBe")), classes, elements=st.sampled_from([0, 1, 2, 3])))
    how = draw(
        st.sampled_from(
            ["good"] * 6 + ["length", "nan", "negative", "inf", "text", "texts", "matrix", "dict"]
        )
    )
    if how == "good":
        return draw(st.sampled_from([good, good.tolist(), tuple(good.tolist())])), good.astype(float), None
    wrong = {
        "length": np.ones(classes + draw(st.sampled_from([1, 3]))),
        "nan": np.where(np.arange(classes) == classes - 1, np.nan, 1.0),
        "negative": np.where(np.arange(classes) == 0, -1.0, 1.0),
        "inf": np.full(classes, np.inf),
        "text": "balanced",
        "texts": ["a"] * classes,
        "matrix": np.ones((1, classes)),
        "dict": dict.fromkeys(range(classes), 1.0),
    }[how]
    return wrong, None, "class_weight "


def places(shape, axis):
    """The axis of the classes, or None; where to look for them, how many they are, and the shape without."""
    inside = -len(shape) <= axis < len(shape)
    at = axis % len(shape) if inside else -1
    return (
        at if inside else None,
        at,
        shape[at] if shape else 0,
        tuple(np.delete(shape, at).tolist()) if shape else (),
    )


def takes_rows(name):
    return ALL_ROW_REFERENCES[name].soft or name.startswith("one_hot") or name == "cross_entropy"


def moved(array, axis):
    return np.moveaxis(array, axis, -1)


def is_single(y, p, given):
    """Whether the arithmetic is in float32."""
    small = [p] + [y] * (given and y.dtype.kind == "f")
    return p.dtype.kind == "f" and all(a.dtype.itemsize <= 4 for a in small)


def wrong_rows(name, given, y, p):
    """Which rows are outside of the loss's domain; NaN is not, but in a label of the softmax."""
    wrong = np.zeros(p.shape[:-1], bool)
    with np.errstate(all="ignore"):
        if given:
            inside = (y >= 0) & (y <= 1)
            if name.startswith("one_hot") and name not in ("one_hot_l1", "one_hot_l2"):
                inside = (y == 0) | (y == 1)
            wrong |= ~(inside | (np.isnan(y) & (name != "softmax_cross_entropy"))).all(axis=-1)
        else:
            wrong |= (y.astype(object) < 0) | (y.astype(object) >= p.shape[-1]) if y.size else False
        if ALL_ROW_REFERENCES[name].of == "probabilities":
            wrong |= ~((p >= 0) & (p <= 1) | np.isnan(p)).all(axis=-1)
            for a in (y, p) if given else (p,):
                wrong |= np.abs(a.sum(axis=-1, dtype=BIG) - 1) > BIG("0.05")
    return wrong


def check_call(name, draw):
    reference = ALL_ROW_REFERENCES[name]
    method = draw(st.sampled_from(METHODS))
    params = draw(st.sampled_from(reference.params))
    loss = fl.get(name, **params)
    reduction = draw(st.sampled_from(["mean", "sum", "none"] * 8 + [None, "Mean"]))
    shape = draw(st.sampled_from(SHAPES))
    axis = draw(
        st.sampled_from([-1, -1, *range(-len(shape), len(shape))])
        if draw(st.integers(0, 20))
        else st.sampled_from([-5, 4, 2**70])
    )
    real_axis, at, classes, rows = places(shape, axis)

    if reference.of == "probabilities" and draw(st.integers(0, 9)):
        p = cast(draw, distributions(draw, shape, at)) if shape else draw(arguments(shape, [1.0]))
    else:
        p = draw(arguments(shape, SCORES))
    shape = p.values.shape  # an empty list has one axis
    real_axis, at, classes, rows = places(shape, axis)
    kind = draw(
        st.sampled_from(
            ["labels"] * (6 * reference.hard + 1) + ["rows"] * (5 * takes_rows(name) + 1) + ["any"]
        )
    )
    if kind == "labels":
        y = draw(labels(rows, classes))
    elif kind == "rows" and shape:
        hot = reference.of == "scores" and not reference.soft
        y = cast(draw, np.round(distributions(draw, shape, at)) if hot else distributions(draw, shape, at))
    else:
        y = draw(arguments(draw(st.sampled_from([shape, rows, (4,), (2, 2), (*rows, 1)])), [0.0, 1.0, 0.5]))
    w = draw(weights(rows, reduction == "mean")) if rows and draw(st.booleans()) else None
    inputs = [a for a in (y, p, w) if a is not None]
    memories = [a.memory for a in inputs if a.memory is not None]

    given = y.values.shape == p.values.shape
    single = is_single(y.values, p.values, given)
    dtype = np.dtype(np.float32 if single else np.float64)
    options, found = {"axis": axis}, []
    factors = ignored = None
    if draw(st.integers(0, 2)) == 0:
        options["class_weight"], factors, pattern = draw(class_weights(max(classes, 1)))
        found += [pattern] if pattern else []
        if given and name != "softmax_cross_entropy":
            found.append("class_weight needs class indices")
    if draw(st.integers(0, 2)) == 0:
        seen = [int(v) for v in y.values.ravel()[:3]] if y.values.dtype.kind in "biu" else [0]
        ignored = options["ignore_index"] = draw(st.sampled_from([*seen, 0, -100, 255, 2**70, -(2**63)]))
        found += ["ignore_index= goes with class indices"] if given else []
    returned = [key for key in ("return_lse", "return_correct") if draw(st.integers(0, 3)) == 0]
    options |= dict.fromkeys(returned, True)
    if returned and reference.of not in ("cost", "softmax"):
        found.append("has no softmax")
    if given and "return_correct" in returned:
        found.append("return_correct= needs class indices")

    parts = parts_of(method, reduction)
    arrays = [i for i, (_, is_array) in enumerate(parts) if is_array]
    out, slots, wrong_out = None, [], False
    if shape and real_axis is not None and not any(map(is_refused, (y, p))) and draw(st.booleans()):
        spaces = [rows if parts[i][0] == 0 else shape for i in arrays]
        slots = [draw(outputs(space, dtype, inputs)) for space in spaces or [rows]]
        wrong_out = any(bad for *_, bad in slots) or not arrays
        out = tuple(array for array, _, _ in slots)
        if len(out) == 2 and all(isinstance(a, np.ndarray) for a in out):
            wrong_out |= bool(np.may_share_memory(*out))
        if len(parts) == 2 and len(out) == 1:
            out = (None, *out)
        elif len(out) == 1 and draw(st.booleans()):
            out = out[0]
        if out is None:
            wrong_out, slots = False, []
        memories += [m for _, m, _ in slots if m is not None and not any(m is n for n in memories)]
    options |= {} if out is None else {"out": out}
    options |= {} if w is None else {"sample_weight": w.given}

    # what must be refused
    for key, argument in (("y_true", y), ("y_pred", p), ("sample_weight", w)):
        if argument is not None and is_refused(argument):
            found.append(f"{key} (has dtype|is a masked array|is a np.matrix)")
    if reduction not in ("mean", "sum", "none"):
        found.append("reduction must be")
    if not p.values.ndim:
        found.append("axis of classes")
    elif real_axis is None:
        found.append("axis .* is out of range")
    elif not classes:
        found.append("classes along axis")
    if given and not takes_rows(name):
        found.append("must be class indices")
    if not given and not reference.hard:
        found.append("pass rows of shape")
    elif not given and y.values.shape != rows:
        found.append("y_true has shape")
    elif not given and y.values.dtype.kind not in "biu":
        found.append("class indices must be integers")
    found += [r"\bout\b"] * wrong_out
    if 0 in rows and reduction == "mean":
        found.append("the mean of nothing")
    facts = None
    if not found:
        s, label = moved(p.values, at), moved(y.values, at) if given else y.values
        each = np.ones(rows)
        if w is not None:
            try:
                each = np.broadcast_to(w.values, rows).astype(float)
            except ValueError:
                found.append("sample_weight has ")
            if not np.isfinite(each).all():
                found.append("sample_weight must be finite")
        if not found:
            real = np.float32 if single else np.float64
            with np.errstate(all="ignore"):
                s = s.astype(real)
                label = label.astype(real) if given else label
            wrong = wrong_rows(name, given, label, s)
            if ignored is not None:
                each = np.where(label.astype(object) == ignored, 0, each)
            counted = each.copy()
            for i in np.ndindex(rows):
                if factors is not None and counted[i] and not wrong[i]:
                    counted[i] *= (label[i].astype(BIG) @ factors) if given else factors[int(label[i])]
            # a row whose class weighs nothing is absent, once its label is a class
            absent = each == 0 if given else counted == 0
            if (wrong & ~absent).any():
                found.append(f"^{name}: ")
            total = counted.astype(BIG).sum()
            if reduction == "mean" and counted.any() and abs(total) <= 1e-13 * np.abs(counted).max():
                found.append("sample_weight sums to 0")
                if total:
                    return  # a sum that cancels
            facts = s, label, each if given else counted, counted, absent, total

    before, copies = snapshot(inputs, [])[1], [m.copy() for m in memories]
    options |= {} if reduction == "mean" else {"reduction": reduction}
    results, error = outcome(lambda: getattr(loss, method)(y.given, p.given, **options))
    if error:
        assert any(re.search(pattern, str(error)) for pattern in found), (found, error)
        undefined = separate_outputs([(array, memory) for array, memory, _ in slots], inputs)
        for memory, copy in zip(memories, copies, strict=True):
            only_written([a for a, m in undefined if m is memory], memory, copy)
        assert snapshot(inputs, [])[1] == before
        return
    assert not found, found

    results = list(results) if isinstance(results, tuple) else [results]
    assert len(results) == len(parts) + len(returned)
    check_rows(name, params, factors, reduction, given, parts, results, facts, at, dtype)
    if "return_lse" in returned:
        check_lse(results[len(parts)], facts[0], dtype)
    if "return_correct" in returned:
        s, label, _, _, absent, _ = facts
        hits = sum(
            int(np.argmax(s[i]) == label[i])
            for i in np.ndindex(rows)
            if not absent[i] and s[i].max() > -np.inf and (s[i] == np.inf).sum() < 2  # it has a softmax
        )
        assert results[-1] == hits
    for i, (array, _, _) in zip(arrays, slots, strict=False):
        assert array is None or results[i] is array
    for memory, copy in zip(memories, copies, strict=True):
        only_written([a for a, m, _ in slots if m is memory], memory, copy)


@pytest.mark.parametrize("name", ALL_ROW_REFERENCES)
@hypothesis_settings(COMMON, max_examples=15)
@given(data=st.data())
def test_any_call_on_rows(name, data):
    check_call(name, data.draw)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ALL_ROW_REFERENCES)
@hypothesis_settings(COMMON, max_examples=60)
@given(data=st.data())
def test_any_call_on_rows_and_more(name, data):
    check_call(name, data.draw)


def near(got, want, scale, eps, high):
    """Whether a number is right to some roundings of `scale`, or is beyond the range as it must be."""
    if not np.isfinite(want) or abs(want) > high / 2:
        return abs(got) > high / 4 and np.sign(got) == np.sign(want)
    return abs(got - want) <= eps * scale


def check_lse(got, s, dtype):
    for i in np.ndindex(s.shape[:-1]):
        if np.isfinite(s[i]).all() and np.abs(s[i]).max() < 1e4:
            want = softmax_row(s[i].astype(BIG))[3]
            assert near(got[i], want, max(1, abs(want)), 4 * np.finfo(dtype).eps, np.finfo(dtype).max)


def check_rows(name, params, factors, reduction, given, parts, results, facts, axis, dtype):
    """Rows of moderate scores are those of the reference, absent ones 0; NaN comes of NaN and infinity alone."""
    s, label, each, _counted, absent, total = facts
    rows, n = s.shape[:-1], s.shape[-1]
    heavy = np.ones(n) if factors is None else factors
    divisor = (total or BIG(1)) if reduction == "mean" else BIG(1)
    info = np.finfo(dtype)
    loss = BIG(0)
    size = BIG(0)
    tame = True
    outputs_of = {
        which: a if which == 0 or not is_array else moved(a, axis)
        for (which, is_array), a in zip(parts, results, strict=False)
    }
    for (which, is_array), got in zip(parts, results, strict=False):
        assert isinstance(got, np.ndarray) if is_array else type(got) is float
        assert not is_array or (
            got.dtype.newbyteorder("=") == dtype and got.size == s.size // (n if which == 0 else 1)
        )
    for i in np.ndindex(rows):
        if absent[i]:
            for which, got in outputs_of.items():
                assert (which == 0 and reduction != "none") or not np.any(got[i])
            continue
        finite = np.isfinite(s[i]).all() and (not given or np.isfinite(label[i]).all())
        top = np.abs(s[i]).max() if finite else np.inf
        least = min((x for x in (*np.abs(s[i]), *(label[i] if given else ())) if x), default=1)
        if not top < 1e4 or least < 1e-9 or ALL_ROW_REFERENCES[name].of == "softmax":
            tame = False
            continue
        t = label[i].astype(BIG) if given else int(label[i])
        with np.errstate(all="ignore"):
            found = reference_row(name, params, t, s[i].astype(BIG), heavy.astype(BIG))
        factor = each[i] / divisor
        roots = 1 + top  # the terms that may cancel
        scale = max(roots**3, 1) if name.startswith("one_hot") or name == "multi_margin" else roots**2
        if ALL_ROW_REFERENCES[name].of == "probabilities":
            scale = 1 + np.abs(np.where(np.isfinite(np.array(found[:3], object)[2]), found[2], 0)).max() + 10
        scale *= 64 * n * max(1.0, heavy.max())
        for which, got in outputs_of.items():
            want = factor * found[which]
            if which == 0 and reduction != "none":
                loss, size = loss + want, size + abs(factor) * scale
            elif which == 0:
                assert near(got[i], want, abs(factor) * scale, info.eps, info.max), (got[i], want)
            else:
                for k in range(n):
                    assert near(got[i][k], want[k], abs(factor) * scale, info.eps, info.max), (
                        which,
                        k,
                        got[i],
                        want,
                    )
    if 0 in outputs_of and reduction != "none" and tame:
        assert near(outputs_of[0], loss, size + 1e-300, info.eps, 1e308), (outputs_of[0], loss)
