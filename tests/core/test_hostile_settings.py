"""Any parameters and settings: accepted as what they are, or refused by name."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hostile import COMMON, JUNK, number, outcome, same
from hypothesis import given, settings
from hypothesis import strategies as st
from references import REFERENCES

import fastloss as fl


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
