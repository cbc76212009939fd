"""What 0.1.0 pickled before the modules had packages: it still loads, and is what it was.

pickles/before_packages.pkl has the pickles by name. The models were fitted to the problem below.
"""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

import math
import pickle
import warnings
from functools import cache

import numpy as np
import pytest
from documents import TESTS

import fastloss as fl

RECORDED = pickle.loads((TESTS / "project" / "pickles" / "before_packages.pkl").read_bytes())
LOSSES = [name for names in fl.losses().values() for name in names]


@cache
def load(name):
    pytest.importorskip("sklearn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn, where its version is another
        return pickle.loads(RECORDED[name])


def problem():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    return X, X @ [1, 2, 3.0] + 0.5, rng.integers(0, 3, 60)


@pytest.mark.parametrize("name", RECORDED)
def test_every_pickle_loads_and_is_pickled_again(name):
    assert type(pickle.loads(pickle.dumps(load(name)))) is type(load(name))


@pytest.mark.parametrize("name", [name for name in LOSSES if f"loss-{name}" in RECORDED])
def test_losses(name):
    assert load(f"loss-{name}") is fl.get(name)


def test_bound_losses_and_their_methods():
    assert load("loss-huber-bound") == fl.huber.bind(delta=2.5)
    assert load("loss-barron-bound") == fl.barron.bind(alpha=-math.inf, c=0.5)
    assert load("loss-barron-bound").params == {"alpha": -math.inf, "c": 0.5}
    assert load("method-pinball-bound") == fl.pinball.bind(quantile=0.25).grad
    options = {"axis": 0, "class_weight": [1.0, 2.0], "ignore_index": -1, "label_smoothing": 0.1}
    bound = fl.softmax_cross_entropy.bind(**options).value_and_grad
    assert load("method-softmax-bound") == bound
    y, p = [0, 1, -1], np.arange(6.0).reshape(2, 3)
    for got, want in zip(load("method-softmax-bound")(y, p), bound(y, p), strict=True):
        np.testing.assert_array_equal(got, want)


def test_linear_cross_entropy_and_evaluations():
    assert load("linear_cross_entropy") == fl.linear_cross_entropy
    batch = [0, 1], [[0.5, 0.1], [1.0, 3.0]]
    assert load("evaluation") == fl.evaluate([batch])
    assert load("evaluation").rows == 2


def test_an_optimiser_goes_on():
    optimizer, w = load("SGD"), np.zeros(3)
    assert (optimizer.lr, optimizer.momentum) == (0.1, 0.5)
    optimizer.update(w, np.ones(3))
    np.testing.assert_allclose(w, -0.1 * (0.5 * 1 + 1))


@pytest.mark.parametrize("name", [name for name in RECORDED if name.startswith(("regressor", "classifier"))])
def test_models_predict(name):
    X, y, classes = problem()
    model = load(name)
    predictions = model.predict(X)
    assert predictions.shape == (60,)
    assert np.isfinite(predictions).all()
    if name.startswith("regressor"):
        np.testing.assert_allclose(predictions, y, atol=0.1)
        assert model.coef_.shape == (3,)
    else:
        assert set(predictions) <= set(classes)
        assert model.coef_.shape == (3, 3)
        assert model.decision_function(X).shape == (60, 3)
    assert model.n_features_in_ == 3


def test_histories_and_checkpoints():
    history, checkpoint, error = load("history"), load("checkpoint"), load("divergence")
    epochs = len(history.loss)
    assert epochs > 0
    for name in ("grad_norm", "largest_grad", "learning_rate", "seconds", "nonfinite"):
        assert len(getattr(history, name)) == epochs, name
    assert history.stopped in ("tol", "epochs")
    assert history.steps == checkpoint.steps == history.checkpoint.steps > 0
    assert checkpoint.parameters.shape == checkpoint.velocity.shape == checkpoint.average.shape == (4,)
    assert isinstance(error, fl.linear.DivergenceError)
    assert error.args[0] == "text"
    assert error.history.loss == history.loss
    X, y, _ = problem()
    coef, intercept = checkpoint.parameters[:3].copy(), checkpoint.parameters[3:].copy()
    options = {"momentum": 0.5, "average": True, "epochs": 1}
    more = fl.linear.sgd("squared_error", X, y, coef, intercept, resume=checkpoint, **options)
    assert more.steps > checkpoint.steps
    assert np.isfinite(coef).all()


def test_an_objective():
    X, y, _ = problem()
    w = np.linspace(-1, 1, 4)
    value, grad = load("objective")(w)
    want, wanted = fl.linear.Objective("logistic", X, (y > 0) * 1.0)(w)
    assert value == want
    np.testing.assert_array_equal(grad, wanted)
