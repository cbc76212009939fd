"""One problem, solved by L-BFGS or by SGD: what both return, where they start, and what an interruption leaves."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

import pickle
import signal

import numpy as np
import pytest

import fastloss as fl
from fastloss.linear._problem import LbfgsSettings, Problem, SgdSettings
from fastloss.linear._solve import first_intercept, solve

pytest.importorskip("scipy.optimize")

SOLVERS = [LbfgsSettings(max_iter=100, tol=1e-6), SgdSettings(lr=0.1, epochs=30, tol=None)]


def problem(**changes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = X @ [1.0, 2.0, 3.0] + 4 + 0.1 * rng.normal(size=200)
    parts = {"X": X, "y": y, "coef": np.zeros(3), "intercept": np.zeros(1), "l2": 1e-3}
    return Problem(**{"loss": "squared_error", **parts, **changes})


@pytest.mark.parametrize("settings", SOLVERS)
def test_both_solvers_return_the_same(settings):
    given = problem()
    seen = []
    rows = given.X[:20], given.y[:20]
    solution = solve(problem(validation=rows), settings, lambda *lists: seen.append([*map(len, lists)]))
    assert (given.coef == 0).all()
    assert given.intercept == 0
    value, grad, _ = fl.linear.value_and_grad(
        "squared_error", given.X, given.y, solution.coef, solution.intercept[0], l2=1e-3
    )
    assert np.abs(grad).max() < 0.05
    assert solution.converged
    assert solution.reason == ""
    assert not solution.interrupted
    assert seen == [[i, i] for i in range(1, len(solution.losses) + 1)]
    held = fl.squared_error(rows[1], rows[0] @ solution.coef + solution.intercept)
    assert solution.validation_losses[-1] == pytest.approx(held, rel=1e-12)
    if isinstance(settings, LbfgsSettings):
        assert solution.objective[-1] == value
        penalty = 1e-3 / 2 * solution.coef @ solution.coef
        assert solution.losses[-1] == pytest.approx(value - penalty, rel=1e-12)
        assert solution.objective[0] == pytest.approx(fl.squared_error(given.y, np.zeros(200)), rel=1e-14)
        assert solution.history is None
    else:
        assert solution.losses == solution.history.loss
        assert solution.objective == []


@pytest.mark.parametrize("settings", SOLVERS)
def test_without_intercept(settings):
    solution = solve(problem(intercept=None), settings)
    assert solution.intercept is None
    assert solution.coef.shape == (3,)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            LbfgsSettings(max_iter=2, tol=1e-9),
            "has not converged after 2 iterations: the largest derivative is",
        ),
        (
            SgdSettings(lr=1e-4, epochs=2, tol=1e-9),
            "has not converged after 2 epochs: the loss still decreases",
        ),
    ],
)
def test_why_there_was_no_end(settings, reason):
    solution = solve(problem(), settings)
    assert not solution.converged
    assert solution.reason.startswith(reason)


@pytest.mark.parametrize("settings", SOLVERS)
def test_ctrl_c_leaves_what_was_found(settings):
    def interrupt(losses, _):
        if len(losses) == 2:
            signal.raise_signal(signal.SIGINT)

    solution = solve(problem(), settings, interrupt)
    assert solution.interrupted
    assert len(solution.losses) == 2
    assert solution.coef.all()


def test_ctrl_c_in_the_first_evaluation_raises(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(fl.linear.Objective, "__call__", interrupt)
    with pytest.raises(KeyboardInterrupt):
        solve(problem(), SOLVERS[0])


def test_overflow_has_its_advice():
    with pytest.raises(ValueError, match="squared_error overflows on these data; lower them"):
        solve(problem(y=np.full(200, 1e200)), LbfgsSettings(advice="lower them"))


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "poisson", "gamma"])
def test_weights_of_the_start_are_repetitions(loss):
    rng = np.random.default_rng(0)
    y, weight = rng.gamma(2, size=101), rng.integers(0, 4, 101)
    repeated = first_intercept(fl.get(loss), np.repeat(y, weight), None)
    assert first_intercept(fl.get(loss), y, weight) == pytest.approx(repeated, rel=1e-14)


def test_the_start_of_counts_and_classes():
    assert first_intercept(fl.poisson, np.array([1.0, 3.0]), None) == np.log(2)
    assert first_intercept(fl.poisson, np.zeros(2), None) == 0
    assert first_intercept(fl.logistic, np.ones(3), None) == 0


def test_a_warning_names_the_line_of_the_caller():
    sparse = pytest.importorskip("scipy.sparse")
    X = sparse.coo_array(np.eye(3))
    for call in (
        lambda: fl.linear.value_and_grad("huber", X, np.ones(3), np.zeros(3)),
        lambda: fl.linear.Objective("huber", X, np.ones(3)),
        lambda: fl.linear.sgd("huber", X, np.ones(3), np.zeros(3), epochs=1),
    ):
        with pytest.warns(UserWarning, match=r"sparse in COO format.*pass X.tocsr\(\)") as caught:
            call()
        assert caught[0].filename == __file__


@pytest.mark.parametrize("loss", ["logistic", "softmax_cross_entropy"])
def test_pickles_name_no_private_module(loss):
    X, y = np.random.default_rng(0).normal(size=(9, 2)), np.arange(9) % 2
    objective = fl.linear.Objective(loss, X, y, l2=0.1)
    history = fl.linear.sgd("logistic", X, y, np.zeros(2), epochs=1)
    for thing in (objective, history, history.checkpoint, fl.linear.DivergenceError("text", history)):
        assert b"fastloss.linear._" not in pickle.dumps(thing)
    again, w = pickle.loads(pickle.dumps(objective)), np.arange(6.0)[: 3 if loss == "logistic" else 6]
    assert repr(again) == repr(objective)
    np.testing.assert_array_equal(again(w)[1], objective(w)[1])
