"""SGD on linear models: its history, how it ends, and going on from a checkpoint."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
from linear_models import fit, line, problem, reference
from processes import run

import fastloss as fl
from fastloss.linear import DivergenceError, sgd

# ---- what is written down, and ends ---------------------------------------------------------------------


def test_history():
    X, y = problem()
    weight = np.linspace(0.5, 2, 97)
    history, _, _ = fit("logistic", X, y, lr=0.1, batch_size=10, sample_weight=weight)
    _, seen = reference("logistic", X, y, lambda t: 0.1, weight=weight)
    got = zip(history.loss, history.grad_norm, history.largest_grad, strict=True)
    np.testing.assert_allclose(list(got), seen, rtol=1e-12)
    assert history.learning_rate == [0.1] * 3
    assert history.nonfinite == [0] * 3
    assert history.validation_loss == []
    assert all(seconds > 0 for seconds in history.seconds)
    assert (history.steps, history.stopped, history.interrupted) == (30, "epochs", False)
    assert repr(history).startswith("<History of 3 epochs, stopped: epochs, loss 0.")


def test_validation():
    X, y = problem(300)
    history, coef, intercept = fit("logistic", X[:200], y[:200], validation=(X[200:], y[200:]))
    wanted = fl.linear.value_and_grad("logistic", X[200:], y[200:], coef, intercept[0])[0]
    assert history.validation_loss[-1] == wanted
    held = np.zeros(300, bool)
    held[np.random.default_rng(4).permutation(300)[:75]] = True
    history, coef, intercept = fit("logistic", X, y, validation_fraction=0.25, seed=4)
    _, wanted, _ = fit("logistic", X[~held], y[~held])
    np.testing.assert_allclose(coef, wanted, rtol=1e-12)
    wanted = fl.linear.value_and_grad("logistic", X[held], y[held], coef, intercept[0])[0]
    assert history.validation_loss[-1] == wanted


def test_tolerance():
    X, y = problem(300)
    history, *_ = fit("logistic", X, y, tol=1e-3, n_iter_no_change=4, epochs=1000, lr=0.1)
    loss = history.loss
    assert history.stopped == "tol"
    assert len(loss) < 300
    gains = [min(loss[:i]) - loss[i] for i in range(1, len(loss))]
    assert max(gains[-4:]) < 1e-3 <= gains[-5]


def test_the_penalty_counts_towards_the_end():
    """From the optimum without penalty the loss alone can but rise."""
    X, y = problem(300)
    _, coef, intercept = fit("logistic", X, y, lr=1.0, epochs=300, batch_size=300)
    options = {"lr": 0.3, "epochs": 5000, "batch_size": 300, "shuffle": None, "tol": 1e-9}
    history = sgd("logistic", X, y, coef, intercept, l2=0.1, **options)
    assert history.stopped == "tol"
    assert history.loss[-1] > history.loss[0]
    _, grad, grad_intercept = fl.linear.value_and_grad("logistic", X, y, coef, intercept[0], l2=0.1)
    assert max(np.abs(grad).max(), abs(grad_intercept)) < 1e-3


def test_early_stopping_restores_the_best_parameters():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 50)), rng.integers(0, 2, 60)
    coefs = []
    history, coef, _ = fit(
        "logistic", X, y, lr=0.5, epochs=200, early_stopping=True, validation_fraction=0.5, tol=0.0,
        callback=lambda state: coefs.append(state.coef.copy()),
    )  # fmt: skip
    best = int(np.argmin(history.validation_loss))
    assert history.stopped == "tol"
    assert history.best_epoch == best < len(history.loss) - 1
    assert history.validation_loss[-1] > history.validation_loss[best]
    np.testing.assert_array_equal(coef, coefs[best])


def test_callback():
    X, y = problem()
    states = []

    def stop(state):
        states.append(state)
        assert len(state.history.loss) == state.epoch + 1
        return state.epoch == 4

    history, coef, intercept = fit("logistic", X, y, epochs=10, callback=stop)
    assert (history.stopped, len(history.loss), len(states)) == ("callback", 5, 5)
    assert states[-1].coef is coef
    assert states[-1].intercept is intercept
    _, wanted, _ = fit("logistic", X, y, epochs=5)
    np.testing.assert_array_equal(coef, wanted)
    coef, (_, first, _) = np.zeros(7), fit("logistic", X, y, epochs=1)
    with pytest.raises(ZeroDivisionError):
        sgd("logistic", X, y, coef, np.zeros(1), shuffle=None, callback=lambda state: 1 / 0)
    np.testing.assert_array_equal(coef, first)


@pytest.mark.parametrize("average", [False, True])
def test_divergence(average):
    X, y = line()
    coef, intercept = np.zeros(1), np.zeros(1)
    with pytest.raises(
        DivergenceError, match=r"step \d\d+ .*not taken; lr was 50: lower it, scale"
    ) as caught:
        sgd("squared_error", X, y, coef, intercept, lr=50, average=average)
    assert isinstance(caught.value, FloatingPointError)
    history = pickle.loads(pickle.dumps(caught.value)).history
    assert history.stopped == "diverged"
    assert history.nonfinite[-1] > 0
    assert np.isfinite(coef).all()
    assert np.isfinite(intercept).all()
    assert np.abs(coef) > 1e100


def test_divergence_in_float32():
    X, y = line()
    coef, intercept = np.zeros(1, np.float32), np.zeros(1, np.float32)
    with pytest.raises(DivergenceError):
        sgd("squared_error", X, y, coef, intercept, lr=50)
    assert np.isfinite(coef).all()
    assert np.abs(coef) > 1e15


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_odd_data_are_found_in_the_first_step(odd):
    X, y = problem()
    X[3, 2], y[3] = odd, 0  # inf is an infinite loss
    coef = np.full(7, 0.5)
    with pytest.raises(DivergenceError, match=r"first step: look for inf, NaN and huge numbers in X and y"):
        sgd("logistic", X, y, coef, shuffle=None)
    assert (coef == 0.5).all()


def test_ctrl_c_keeps_what_has_been_learned():
    code = """
import _thread, threading
import numpy as np
import fastloss as fl
rng = np.random.default_rng(0)
X, coef = rng.normal(size=(200_000, 50)), np.zeros(50)
y = (X[:, 0] > 0) * 1.0
timers = []

def interrupt(state):
    if state.coef[0] > 0.01 and not timers:  # in an epoch after this one
        timers.append(threading.Timer(0.02, _thread.interrupt_main))
        timers[0].start()

history = fl.linear.sgd("logistic", X, y, coef, batch_size=200_000 if {long} else 8, epochs=10**6, tol=None,
                        callback=interrupt)
assert history.interrupted and coef[0] > 0.01 and history.steps > 0, (history, coef)
"""
    for long in (False, True):
        run(
            "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
            + code.format(long=long)
        )


def test_the_progress_bar(capfd):
    pytest.importorskip("rich")
    X, y = problem()
    fit("logistic", X, y)
    assert capfd.readouterr() == ("", "")
    history, coef, _ = fit("logistic", X, y, epochs=4, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "4/4 epochs" in err
    assert f"loss {history.loss[-1]:.6g}, " in err
    assert "rows/s" in err
    np.testing.assert_array_equal(coef, fit("logistic", X, y, epochs=4)[1])


def test_the_progress_bar_of_what_ends_early(capfd):
    pytest.importorskip("rich")
    X, y = problem()
    coef = np.zeros(7)
    with pytest.raises(DivergenceError):
        sgd("squared_error", 1e9 * X, y, coef, progress=True)
    assert "loss nan" in capfd.readouterr().err
    sgd("logistic", [(X, y)], None, coef, progress=True, callback=lambda state: state.epoch == 2)
    assert "3/100 epochs" in capfd.readouterr().err


def test_without_rich(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    coef = np.full(7, 0.5)
    with pytest.raises(ImportError, match="progress=True needs rich: pip install rich"):
        sgd("logistic", *problem(), coef, progress=True)
    assert (coef == 0.5).all()


# ---- going on -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shuffle": "blocks", "batch_size": 10, "momentum": 0.9, "average": 12},
        {"shuffle": "rows", "schedule": "adaptive", "tol": 0.05, "n_iter_no_change": 1, "lr": 0.3},
        {"shuffle": "rows", "schedule": "invscaling", "validation_fraction": 0.3, "dtype": np.float32},
    ],
)
def test_two_calls_are_one(options):
    X, y = problem(dtype=options.get("dtype", np.float64))
    whole, *wanted = fit("logistic", X, y, epochs=8, **options)
    first, coef, intercept = fit("logistic", X, y, epochs=3, **options)
    checkpoint = pickle.loads(pickle.dumps(first.checkpoint))
    options.pop("dtype", None)
    options = {"tol": None, "shuffle": None, **options}
    second = sgd("logistic", X, y, coef, intercept, epochs=5, resume=checkpoint, **options)
    np.testing.assert_array_equal(coef, wanted[0])
    np.testing.assert_array_equal(intercept, wanted[1])
    assert first.loss + second.loss == whole.loss
    assert first.validation_loss + second.validation_loss == whole.validation_loss
    assert second.steps == whole.steps
    assert checkpoint.steps == first.steps  # the checkpoint can be used again


def test_going_on_with_other_rows():
    X, y = problem(200)
    _, *wanted = fit("logistic", X, y, epochs=1, batch_size=10, momentum=0.9)
    history, coef, intercept = fit("logistic", X[:130], y[:130], epochs=1, batch_size=10, momentum=0.9)
    options = {"epochs": 1, "batch_size": 10, "momentum": 0.9, "shuffle": None}
    sgd("logistic", X[130:].copy("F"), y[130:], coef, intercept, resume=history.checkpoint, **options)
    np.testing.assert_array_equal(coef, wanted[0])


def test_momentum_and_average_may_begin_later():
    X, y = problem()
    history, coef, intercept = fit("logistic", X, y, batch_size=10)
    options = {"shuffle": None, "batch_size": 10, "epochs": 1, "lr": 0.01, "momentum": 0.9, "average": 30}
    begun, again = coef.copy(), intercept.copy()
    history = sgd("logistic", X, y, coef, intercept, resume=history.checkpoint, **options)
    options["average"] = True
    sgd("logistic", X, y, begun, again, **options)
    np.testing.assert_array_equal(coef, begun)
    assert history.checkpoint.velocity.shape == history.checkpoint.average.shape == (8,)
