"""SGD on linear models: what is refused, with parameters as they were."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

import numpy as np
import pytest
from linear_models import problem

from fastloss.linear import Checkpoint, sgd

# ---- errors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"loss": "poly1"}, ValueError, "poly1 is a loss of rows"),
        ({"coef": [0.0, 0.0]}, TypeError, "coef must be a NumPy array, to be updated in place; got list"),
        ({"coef": np.zeros(2, int)}, TypeError, "coef has dtype int64; only float32 and float64"),
        ({"coef": np.array(["0", "a"])}, TypeError, "coef has dtype <U1; only float32 and float64"),
        ({"coef": np.zeros(3)}, ValueError, r"coef has shape \(3,\), but X has 2 columns; pass shape \(2,\)"),
        ({"coef": np.array([0, np.nan])}, ValueError, "coef must be finite in float64"),
        ({"coef": np.broadcast_to(np.zeros(1), 2)}, ValueError, "coef is read-only"),
        ({"intercept": 0.0}, TypeError, "intercept must be a NumPy array"),
        ({"intercept": np.zeros(2)}, ValueError, r"intercept has shape \(2,\); pass an array of shape \(1,\)"),
        ({"y": np.full(6, 2.0)}, ValueError, r"logistic: y_true must lie in \[0, 1\].*at index 0"),
        ({"y": np.zeros(5)}, ValueError, "y has shape"),
        ({"lr": -1.0}, ValueError, "lr must be >= 0"),
        ({"lr": np.nan}, ValueError, "lr must be a number"),
        ({"lr": "fast"}, ValueError, "lr must be a number, a function of the step or 'auto', got 'fast'"),
        ({"lr": lambda step: -1.0}, ValueError, "lr must be >= 0"),
        ({"lr": lambda step: 1.0, "schedule": "cosine"}, ValueError, "lr is a function"),
        ({"schedule": "linear"}, ValueError, "schedule must be one of constant, invscaling"),
        ({"schedule": "optimal"}, ValueError, r"divides by l1 \+ l2; pass a penalty"),
        ({"schedule": "adaptive", "tol": None}, ValueError, "'adaptive' needs tol"),
        ({"warmup_steps": -1}, ValueError, "warmup_steps must be >= 0"),
        ({"epochs": 0}, ValueError, "epochs must be >= 1"),
        ({"batch_size": 0}, ValueError, "batch_size must be >= 1"),
        ({"batch_size": 2.5}, TypeError, "batch_size must be an integer, got 2.5"),
        ({"shuffle": True}, ValueError, "shuffle must be 'blocks', 'rows' or None"),
        ({"sample_weight": [1, 1, 1, np.inf, 1, 1]}, ValueError, "sample_weight must be finite; found inf at index 3"),
        ({"sample_weight": np.zeros(6)}, ValueError, "positive sum"),
        ({"class_weight": "equal"}, TypeError, "class_weight must be a dict or 'balanced'"),
        ({"class_weight": {0: -1.0}}, ValueError, "class_weight must be >= 0"),
        ({"l1": -1.0}, ValueError, "l1 must be >= 0"),
        ({"momentum": 1.0}, ValueError, r"momentum must lie in \[0, 1\)"),
        ({"nesterov": True}, ValueError, "nesterov needs momentum > 0"),
        ({"average": -1}, ValueError, "average must be >= 0"),
        ({"callback": 3}, TypeError, "callback must be a function of a State, got 3"),
        ({"clip_norm": 0.0}, ValueError, "clip_norm must be > 0"),
        ({"intercept_lr": -1.0}, ValueError, "intercept_lr must be >= 0"),
        ({"n_iter_no_change": 0}, ValueError, "n_iter_no_change must be >= 1"),
        ({"tol": -1.0}, ValueError, "tol must be >= 0"),
        ({"early_stopping": True}, ValueError, "early_stopping needs validation"),
        ({"validation": (np.ones((3, 2)),)}, TypeError, r"validation must be a tuple \(X, y\)"),
        ({"validation": (np.ones((3, 1)), np.ones(3))}, ValueError, "validation has 1 columns, but X has 2"),
        ({"validation": (np.ones((3, 2)), np.full(3, 2.0))}, ValueError, "y_true must lie in"),
        ({"validation": (np.ones((3, 2)), np.ones(3)), "validation_fraction": 0.5}, ValueError, "pass either"),
        ({"validation_fraction": 1.0}, ValueError, "validation_fraction must lie strictly between 0 and 1"),
        ({"validation_fraction": 0.01}, ValueError, "leaves no rows on one side"),
        ({"resume": 3}, TypeError, "resume must be the checkpoint of a History, got 3"),
        ({"resume": Checkpoint(np.zeros(4), None, None, None)}, ValueError, "resume has 3 coefficients, but coef 2"),
        ({"resume": Checkpoint(np.zeros(3, "f4"), None, None, None)}, ValueError, "resume.parameters must be float64"),
        ({"resume": Checkpoint(np.zeros(3), np.zeros(2), None, None)}, ValueError, r"of shape \(3,\); pass history"),
        ({"resume": Checkpoint(np.zeros(3), None, [0.0] * 3, None)}, ValueError, "resume.average must be float64"),
        ({"resume": Checkpoint(np.ones(3), None, None, None), "intercept": None}, ValueError, "resume has an intercept"),
    ],
)  # fmt: skip
def test_errors(change, error, message):
    parameters = {"coef": np.full(2, 0.5), "intercept": np.full(1, 0.25)}
    arguments = {"loss": "logistic", "X": np.ones((6, 2)), "y": np.zeros(6), **parameters, **change}
    with pytest.raises(error, match=message):
        sgd(**arguments)
    assert (parameters["coef"] == 0.5).all()
    assert parameters["intercept"] == 0.25


def test_a_label_outside_of_the_domain_behind_good_batches():
    X, y = problem(300)
    y[200] = 3
    coef, intercept = np.full(7, 0.5), np.full(1, 0.25)
    with pytest.raises(ValueError, match=r"y_true must lie in \[0, 1\].*at index 200$"):
        sgd("logistic", X, y, coef, intercept)
    assert (coef == 0.5).all()
    assert intercept == 0.25


def test_shared_memory_is_refused():
    X, y = problem()
    parameters = np.zeros(8)
    sgd("logistic", X, y, parameters[:7], parameters[7:], epochs=1)
    assert parameters[7] != 0
    with pytest.raises(ValueError, match="coef and intercept share memory"):
        sgd("logistic", X, y, parameters[:7], parameters[6:7])
    with pytest.raises(ValueError, match="coef shares memory with X or y; pass a copy"):
        sgd("logistic", X, y, X[0])


@pytest.mark.parametrize("options", [{}, {"validation_fraction": 0.5}])
@pytest.mark.parametrize(
    ("part", "at", "wrong"), [("indices", 300, 7), ("indptr", 50, 10**6), ("indptr", 50, 0)]
)
def test_a_sparse_matrix_that_leads_outside_is_refused(part, at, wrong, options):
    sparse = pytest.importorskip("scipy.sparse")
    X = sparse.csr_array(problem()[0])
    getattr(X, part)[at] = wrong
    coef = np.full(7, 0.5)
    with pytest.raises(ValueError, match="X is not a valid CSR matrix"):
        sgd("huber", X, np.zeros(97), coef, **options)
    assert (coef == 0.5).all()
