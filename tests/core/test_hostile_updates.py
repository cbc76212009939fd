"""Any updates in place: as the documentation states them, or an error that changes nothing."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hostile import COMMON, JUNK, number, only_written, outcome, place
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastloss as fl

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
