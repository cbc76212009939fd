"""How a call takes its arguments: by position and by name, with parameters of its own, and by the short ways to C."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastloss as fl

Y, P = np.array([0.0, 1.0, 2.0]), np.array([0.5, 1.0, 4.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fl.huber(Y, P, 1.0),
            r"huber takes y_true and y_pred by position, got 3 arguments; delta is passed by keyword: "
            r"huber\(y_true, y_pred, delta=\.\.\.\)",
        ),
        (lambda: fl.barron.grad(Y, P, 1.0, 2.0), "got 4 arguments; alpha, c are passed by keyword"),
        (lambda: fl.squared_error(Y, P, Y), r"got 3 arguments: squared_error\(y_true, y_pred\)"),
        (
            lambda: fl.poly1([0], [[1.0, 2.0]], 1.0),
            r"epsilon, class_weight, ignore_index, axis are passed by",
        ),
        (lambda: fl.huber(Y), "huber needs y_true and y_pred; y_pred is missing"),
        (lambda: fl.huber(), "huber needs y_true and y_pred; y_true is missing"),
        (lambda: fl.huber(delta=2.0)(Y, P), r"huber\.bind\(\.\.\.\) returns the loss with other parameters"),
        (lambda: fl.huber(y_pred=P), "huber needs y_true and y_pred; y_true is missing"),
        (lambda: fl.huber.value_and_grad(Y, y_true=P), "huber got y_true twice: by position and by name"),
        (lambda: fl.huber(Y, P, y_pred=P), "huber got y_pred twice"),
        (lambda: fl.huber(target=Y, y_pred=P), "huber has no keyword 'target'; it has delta"),
        (
            lambda: fl.barron.bind(2.0),
            r"barron.bind\(alpha=\.\.\., c=\.\.\.\): parameters are passed by keyword",
        ),
    ],
)
def test_arguments_by_position_that_do_not_fit(call, message):
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize("name", ["gradient", "backward", "hess", "__array__"])
def test_attributes_that_a_loss_has_not(name):
    assert not hasattr(fl.huber, name)
    with pytest.raises(
        AttributeError, match=f"huber has no '{name}'; its derivatives are grad, value_and_grad"
    ):
        getattr(fl.huber, name)


def test_arguments_by_name():
    want = fl.huber(Y, P, delta=2.0)
    assert fl.huber(y_true=Y, y_pred=P, delta=2.0) == fl.huber(Y, delta=2.0, y_pred=P) == want
    assert fl.softmax_cross_entropy(y_pred=[[0.0, 0.0]], y_true=[1]) == pytest.approx(np.log(2))


def test_parameters_of_a_call_are_those_of_a_bound_loss():
    """The last few are kept: more of them than that, each twice, in turn."""
    for _ in range(2):
        for delta in np.linspace(0.1, 5, 30).tolist():
            assert fl.huber(Y, P, delta=delta) == fl.huber.bind(delta=delta)(Y, P)
    assert fl.huber(Y, P) == fl.huber.bind()(Y, P)
    assert fl.huber.params == {"delta": 1.0}


def test_a_kept_loss_is_not_taken_for_a_like_one():
    scores = np.zeros((2, 2))
    assert fl.softmax_cross_entropy([0, 1], scores, axis=1) == pytest.approx(np.log(2))
    for axis in (1.0, np.float64(1)):
        with pytest.raises(TypeError, match="axis must be an integer"):
            fl.softmax_cross_entropy([0, 1], scores, axis=axis)
    assert fl.pinball(Y, P, quantile=0.25) == fl.pinball(Y, P, quantile=np.float32(0.25))
    for quantile in (1, True, 1.0, "0.5", None):  # also where one of them is kept
        with pytest.raises((TypeError, ValueError), match="quantile must"):
            fl.pinball(Y, P, quantile=quantile)
    array = np.array(0.25)
    kept = fl.pinball(Y, P, quantile=array)
    array[()] = 0.75
    assert fl.pinball(Y, P, quantile=array) == fl.pinball(Y, P, quantile=0.75) != kept


def test_threads_that_share_kept_losses():
    """More values than are kept, so that what one thread has found is cleared by another."""
    deltas = np.linspace(0.1, 5, 30).tolist()
    want = [fl.huber.bind(delta=delta)(Y, P) for delta in deltas]

    def work(start):
        turns = deltas[start:] + deltas[:start]
        return [[fl.huber(Y, P, delta=delta) for delta in turns] for _ in range(50)]

    with ThreadPoolExecutor(4) as pool:
        for start, rounds in enumerate(pool.map(work, range(4))):
            assert rounds == [want[start:] + want[:start]] * 50


def test_a_loss_from_a_declaration_by_name():
    assert type(fl.huber)(declaration=fl.huber.declaration) == fl.huber


def parts(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("method", ["grad", "value_and_grad", "grad_and_hess"])
@pytest.mark.parametrize("loss", ["logistic", "tweedie", "barron"])
def test_the_short_way_gives_the_bits_of_the_long_one(loss, method, dtype):
    rng = np.random.default_rng(0)
    for n in (1, 15, 16, 17, 100, 5000):
        y, p = rng.integers(0, 2, n).astype(dtype), rng.normal(size=n).astype(dtype)
        call = getattr(fl.get(loss), method)
        arguments = {"weights": (y, p), "columns": (y[:, None], p[:, None])}
        weights = {"weights": np.ones(n, dtype), "columns": None}
        short = parts(call(y, p))
        for name, pair in arguments.items():
            long = parts(call(*pair, sample_weight=weights[name]))
            assert len(short) == len(long)
            for a, b in zip(short, long, strict=True):
                np.testing.assert_array_equal(np.ravel(a), np.ravel(b), err_msg=name)
