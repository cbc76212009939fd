"""Figures of batches are those of all the data, however they are cut."""

from __future__ import annotations

import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

import fastloss as fl


def sample(rows=1000, classes=7, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    y, s = rng.integers(0, classes, rows), rng.normal(scale=3, size=(rows, classes)).astype(dtype)
    return y, s, rng.exponential(size=rows)


def softmax(s):
    e = np.exp(s - s.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def cut(arrays, at):
    edges = [0, *sorted(at), len(arrays[0])]
    return [tuple(a[i:j] for a in arrays) for i, j in pairwise(edges)]


def test_as_scikit_learn():
    y, s, w = sample()
    for weight in (None, w):
        arrays = (y, s) if weight is None else (y, s, w)
        result = fl.evaluate(cut(arrays, [1, 2, 700]))
        expected = metrics.log_loss(y, softmax(s), sample_weight=weight, labels=range(7))
        assert result.log_loss == pytest.approx(expected, rel=1e-14)
        assert result.perplexity == pytest.approx(math.exp(expected), rel=1e-13)
        assert result.accuracy == metrics.accuracy_score(y, s.argmax(axis=1))
        assert fl.perplexity(y, s, sample_weight=weight) == pytest.approx(math.exp(expected), rel=1e-13)


@given(st.lists(st.integers(0, 1000), max_size=40), st.booleans(), st.sampled_from(["f4", "f8"]))
@settings(deadline=None, max_examples=60)
def test_the_cut_changes_the_last_bit_at_most(at, weighted, dtype):
    arrays = sample(dtype=dtype)[: 3 if weighted else 2]
    whole, parts = fl.evaluate([arrays]), fl.evaluate(cut(arrays, at))
    assert abs(parts.log_loss - whole.log_loss) <= math.ulp(whole.log_loss)
    weight = arrays[2] if weighted else None
    each = fl.softmax_cross_entropy(*arrays[:2], sample_weight=weight, reduction="none")
    assert float(parts.loss) == math.fsum(each)
    assert float(parts.weight) == (math.fsum(weight) if weighted else 1000)
    assert (parts.correct, parts.rows) == (whole.correct, whole.rows) == (whole.correct, 1000)


def test_merged_sums_are_exact():
    """0.1 a million times is 100000.0 and a bit: added one by one in floats, it is not."""
    value = Fraction(0.1)
    total = sum([fl.Evaluation(value, Fraction(1), 0, 1)] * 100_000, fl.Evaluation())
    assert total.loss == 100_000 * value
    assert total.log_loss == 0.1


def test_no_average_of_averages():
    batches = [([0] * 3, np.zeros((3, 2))), ([0], [[0.0, 20.0]])]
    result = fl.evaluate(batches)
    assert result.log_loss == pytest.approx((3 * math.log(2) + math.log1p(math.exp(20))) / 4, rel=1e-15)


def test_parts_of_a_pool_add_up_in_any_order():
    batches = cut(sample(), range(0, 1000, 90))
    whole = fl.evaluate(iter(batches))
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda batch: fl.evaluate([batch]), batches))
    assert sum(parts, fl.Evaluation()) == sum(parts[::-1], fl.Evaluation()) == whole
    assert pickle.loads(pickle.dumps(whole)) == whole


@pytest.mark.parametrize(
    "keywords",
    [
        {"ignore_index": 3},
        {"class_weight": [1, 0, 2, 0.5, 1, 1, 3]},
        {"label_smoothing": 0.1, "z_loss": 0.01},
        {"ignore_index": 0, "class_weight": np.arange(1, 8), "label_smoothing": 0.3},
    ],
    ids=" ".join,
)
def test_keywords_are_those_of_softmax_cross_entropy(keywords):
    y, s, w = sample()
    result = fl.evaluate(cut((y, s, w), [10, 500]), **keywords)
    expected = fl.softmax_cross_entropy(y, s, sample_weight=w, **keywords)
    assert result.log_loss == pytest.approx(expected, rel=4e-16)
    assert fl.perplexity(y, s, sample_weight=w, **keywords) == math.exp(expected)
    counts = (y != keywords.get("ignore_index")) & (
        np.asarray(keywords.get("class_weight", np.ones(7)))[y] > 0
    )
    assert result.rows == counts.sum()
    assert result.correct == (counts & (s.argmax(axis=1) == y)).sum()


def test_rows_of_probabilities_and_an_axis():
    y, s, w = sample()
    one_hot = np.eye(7)[y]
    expected = fl.evaluate([(y, s, w)], class_weight=np.arange(1, 8))
    result = fl.evaluate(cut((one_hot, s, w), [333]), class_weight=np.arange(1, 8))
    assert result.log_loss == pytest.approx(expected.log_loss, rel=1e-15)
    assert (result.correct, result.rows) == (expected.correct, expected.rows)
    images = s.reshape(10, 100, 7).transpose(0, 2, 1)  # the classes in the middle
    result = fl.evaluate([(y.reshape(10, 100), images)], axis=1)
    assert result == fl.evaluate([(y, s)])


def test_nothing_counts():
    y, s, _ = sample(5)
    for result in (fl.evaluate([(y, s, np.zeros(5))]), fl.evaluate([(y[:0], s[:0])]), fl.Evaluation()):
        assert (result.log_loss, result.perplexity, result.accuracy, result.rows) == (0.0, 1.0, 0.0, 0)
    with pytest.raises(ValueError, match="no batches; an iterator is used up"):
        fl.evaluate(iter(()))
    assert fl.perplexity(y, s, sample_weight=0) == 1.0


def test_infinite_and_missing_values():
    y, s, _ = sample(5)
    never = s.copy()
    never[0, y[0]] = -np.inf
    result = fl.evaluate([(y, s), (y, never), (y, s)])
    assert result.log_loss == result.perplexity == math.inf
    never[1, 0] = np.nan
    assert math.isnan(fl.evaluate([(y, s), (y, never)]).log_loss)
    assert fl.perplexity([0], [[0.0, 1000.0]]) == math.inf
    huge = fl.evaluate([([0, 0], [[0.0, 1e308]] * 2, [1e-10, 1e-10])])
    assert huge.log_loss == pytest.approx(1e308)


def test_errors():
    y, s, w = sample(5)
    bad = y.copy()
    bad[3] = 7
    with pytest.raises(ValueError, match="got 7 at index 3") as caught:
        fl.evaluate([(y, s), (bad, s)])
    assert caught.value.__notes__ == ["in batch 1"]
    with pytest.raises(ValueError, match=r"a batch must be \(y_true, y_pred\)"):
        fl.evaluate([(y,)])
    with pytest.raises(ValueError, match="sums to 0"):
        _ = fl.evaluate([(y[:2], s[:2], [1, -1])]).log_loss
    with pytest.raises(TypeError, match="no keyword 'sample_weight'; a batch may have it"):
        fl.evaluate([(y, s)], sample_weight=w)
    with pytest.raises(TypeError, match="perplexity has no keyword 'reduction'"):
        fl.perplexity(y, s, reduction="sum")
    with pytest.raises(TypeError, match="no keyword 'gamma'"):
        fl.perplexity(y, s, gamma=2.0)
    with pytest.raises(TypeError, match="unsupported operand"):
        _ = fl.Evaluation() + 1
