"""SGD with the softmax cross-entropy: the same steps in NumPy as reference, options, errors."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

import numpy as np
import pytest
from processes import run

import fastloss as fl
from fastloss.linear import DivergenceError, sgd


def problem(rows=97, columns=7, classes=3, dtype=np.float64):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, columns)).astype(dtype)
    scores = X @ rng.normal(size=(columns, classes)) + rng.gumbel(size=(rows, classes))
    return X, scores.argmax(axis=1)


def fit(X, y, classes=3, *, loss="softmax_cross_entropy", dtype=np.float64, with_intercept=True, **options):
    coef = np.linspace(-1, 1, classes * X.shape[1]).reshape(classes, -1).astype(dtype)
    intercept = np.linspace(0, 0.5, classes).astype(dtype) if with_intercept else None
    options = {"tol": None, "epochs": 3, "shuffle": None, "lr": 0.1, "batch_size": 10, **options}
    history = sgd(loss, X, y, coef, intercept, **options)
    return history, coef, intercept


def reference(X, y, classes=3, *, epochs=3, batch_size=10, lr=0.1, weight=None, l2=0.0, l1=0.0, momentum=0.0,
              nesterov=False, clip_norm=np.inf, average=None, smoothing=0.0, with_intercept=True):  # fmt: skip
    A = np.column_stack([X.astype(float), np.ones(len(X))])
    w = np.column_stack(
        [np.linspace(-1, 1, classes * X.shape[1]).reshape(classes, -1), np.linspace(0, 0.5, classes)]
    )
    w[:, -1] *= with_intercept
    target = (1 - smoothing) * np.eye(classes)[y] + smoothing / classes
    weight = np.ones(len(X)) if weight is None else weight / weight.mean()
    penalised = np.append(np.ones(X.shape[1]), 0.0)
    velocity, behind, losses = 0.0, [], []
    for _ in range(epochs):
        total = 0.0
        for i in range(0, len(A), batch_size):
            rows = slice(i, i + batch_size)
            scores = A[rows] @ w.T
            logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
            total -= (weight[rows, None] * target[rows] * logs).sum()
            g = (weight[rows, None] * (np.exp(logs) - target[rows])).T @ A[rows] / len(scores)
            g[:, -1] *= with_intercept
            d = g * min(1, clip_norm / np.linalg.norm(g)) + l2 * penalised * w
            velocity = momentum * velocity + d
            w = w - lr * (d + momentum * velocity if nesterov else velocity)
            w = np.sign(w) * np.maximum(0, np.abs(w) - lr * l1 * penalised)
            behind.append(w)
        losses.append(total / len(A))
    return (w if average is None else np.mean(behind[average:], axis=0)), losses


def check(got, wanted, rtol=1e-10):
    history, coef, intercept = got
    np.testing.assert_allclose(np.column_stack([coef, intercept]), wanted[0], rtol=rtol, atol=rtol)
    np.testing.assert_allclose(history.loss, wanted[1], rtol=rtol, atol=1e-14)


@pytest.mark.parametrize("batch", [1, 2, 10, 63, 64, 65, 97, 1000])
@pytest.mark.parametrize(("columns", "classes"), [(1, 2), (7, 3), (17, 10), (5, 130), (4, 1)])
def test_the_steps(batch, columns, classes):
    X, y = problem(97, columns, classes)
    check(fit(X, y, classes, batch_size=batch), reference(X, y, classes, batch_size=batch))


@pytest.mark.parametrize(
    "options",
    [
        {"l2": 0.3},
        {"l2": 0.1, "l1": 0.1},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True, "l2": 0.2, "l1": 0.02},
        {"clip_norm": 0.2},
        {"average": 12, "l1": 0.01},
    ],
)
def test_options(options):
    X, y = problem()
    weight = np.linspace(0.2, 3, len(y))
    wanted = reference(X, y, weight=weight, **options)
    assert np.abs(wanted[0] - reference(X, y, weight=weight)[0]).max() > 1e-3
    check(fit(X, y, sample_weight=weight, **options), wanted)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"l2": 0.3},
        {"l2": 9.0, "lr": 0.09},  # the scale gets too small after a few steps
        {"l1": 0.01},
        {"l2": 0.1, "l1": 0.01, "clip_norm": 0.2},
        {"average": 12, "l2": 0.3},
    ],
)
@pytest.mark.parametrize("batch", [1, 3, 10])
def test_steps_on_sparse_rows(options, batch):
    sparse = pytest.importorskip("scipy.sparse")
    X, y = problem(97, 300, 4)
    X *= np.random.default_rng(1).random(X.shape) ** 8 > 0.7
    weight = np.linspace(0.2, 3, len(y))
    wanted = reference(X, y, 4, weight=weight, batch_size=batch, **options)
    dense = fit(X, y, 4, sample_weight=weight, batch_size=batch, **options)
    few = sparse.csr_array(X)
    got = fit(few, y, 4, sample_weight=weight, batch_size=batch, **options)
    check(got, wanted)
    for name in ("grad_norm", "largest_grad"):
        np.testing.assert_allclose(getattr(got[0], name), getattr(dense[0], name), rtol=1e-10)
    if "average" not in options:
        np.testing.assert_array_equal(got[1] == 0, wanted[0][:, :-1] == 0)
    single = fit(few.astype(np.float32), y, 4, sample_weight=weight, batch_size=batch, **options)
    np.testing.assert_allclose(single[1], got[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("sparse", [False, True])
def test_one_class_has_no_gradient(sparse):
    X = np.zeros((50, 300))
    X[:, ::100] = 1
    if sparse:
        X = pytest.importorskip("scipy.sparse").csr_array(X)
    fit(*problem())  # memory that is used again is not 0
    history, coef, intercept = fit(X, np.zeros(50, int), 1)
    np.testing.assert_array_equal(coef, np.linspace(-1, 1, 300)[None])
    assert intercept == 0
    assert history.loss == history.grad_norm == [0, 0, 0]


def test_without_intercepts_and_with_smoothed_labels():
    X, y = problem()
    _, coef, _ = fit(X, y, with_intercept=False)
    np.testing.assert_allclose(coef, reference(X, y, with_intercept=False)[0][:, :-1], rtol=1e-10)
    smoothed = fl.softmax_cross_entropy.bind(label_smoothing=0.2)
    check(fit(X, y, loss=smoothed), reference(X, y, smoothing=0.2))


def test_class_weight_and_rows_of_weight_0():
    X, y = problem()
    weight = np.array([1.0, 0.0, 3.0])[y]
    wanted = reference(X, y, weight=weight)
    check(fit(X, y, class_weight={1: 0.0, 2: 3.0}), wanted)
    X[y == 1], y[y == 1] = np.nan, -5
    check(fit(X, y, sample_weight=weight), wanted)


def test_float32_and_layouts():
    X, y = problem(500, 9, dtype=np.float32)
    wanted = reference(X, y)
    check(fit(X, y), wanted, rtol=2e-5)
    check(fit(X.astype(np.float64), y.astype(np.int8), dtype=np.float32), wanted, rtol=2e-5)
    bits = fit(X, y, shuffle="rows")[1].tobytes()
    for same in (np.asfortranarray(X), np.hstack([X, X])[:, :9], X.astype(">f4")):
        assert fit(same, y, shuffle="rows")[1].tobytes() == bits


def test_streams_and_resumed_calls():
    X, y = problem()
    wanted, coef, intercept = fit(X, y)
    blocks = [(X[:40], y[:40]), (X[40:], y[40:])]
    history, other, offsets = fit_stream(blocks, epochs=1)
    history = sgd("softmax_cross_entropy", blocks, None, other, offsets, lr=0.1, batch_size=10, epochs=2, shuffle=None,
                  tol=None, resume=history.checkpoint)  # fmt: skip
    np.testing.assert_array_equal(other, coef)
    np.testing.assert_array_equal(offsets, intercept)
    np.testing.assert_allclose(history.loss, wanted.loss[1:], rtol=1e-12)


def fit_stream(blocks, **options):
    coef, intercept = np.linspace(-1, 1, 21).reshape(3, 7), np.linspace(0, 0.5, 3)
    options = {"tol": None, "shuffle": None, "lr": 0.1, "batch_size": 10, **options}
    return sgd("softmax_cross_entropy", blocks, None, coef, intercept, **options), coef, intercept


@pytest.mark.parametrize(
    "options", [{"schedule": "optimal"}, {"lr": "auto", "schedule": "cosine", "batch_size": 50}]
)
def test_the_optimum_is_that_of_lbfgs(options):
    optimize = pytest.importorskip("scipy.optimize")
    X, y = problem(2000)
    objective = fl.linear.Objective("softmax_cross_entropy", X, y, l2=0.01)
    best = optimize.minimize(objective, np.zeros(24), jac=True, method="L-BFGS-B").fun
    history, coef, intercept = fit(X, y, l2=0.01, epochs=200, validation_fraction=0.01, **options)
    assert len(history.validation_loss) == 200
    assert best < objective(np.append(coef, intercept))[0] < best * (1 + 5e-3)


def test_validation():
    X, y = problem(300)
    history, coef, intercept = fit(X[:200], y[:200], validation=(X[200:], y[200:]), early_stopping=True)
    wanted = fl.linear.value_and_grad("softmax_cross_entropy", X[200:], y[200:], coef, intercept)[0]
    assert history.validation_loss[history.best_epoch] == wanted


def test_threads_and_levels_change_no_bit():
    code = """
import hashlib
import numpy as np
import fastloss as fl
rng = np.random.default_rng(0)
for dtype in np.float32, np.float64:
    X, y = rng.normal(size=(6001, 60)).astype(dtype), rng.integers(0, 10, 6001)
    coef, intercept = np.zeros((10, 60)), np.zeros(10)
    h = fl.linear.sgd("softmax_cross_entropy", X, y, coef, intercept, epochs=3, batch_size=150, l1=1e-3, momentum=0.9)
    print(hashlib.sha256(coef.tobytes() + intercept.tobytes() + repr((h.loss, h.grad_norm)).encode()).hexdigest())
"""
    environments = [{"FASTLOSS_NUM_THREADS": str(threads)} for threads in (1, 2, 5)]
    environments += [
        {"FASTLOSS_ISA": x} for x in fl._core.supported_levels() if "v2" not in (x, fl._core.level())
    ]
    assert len({run(code, **environment) for environment in environments}) == 1


def test_divergence():
    X, y = problem()
    with pytest.raises(DivergenceError):
        fit(X * 1e200, y, lr=1e200)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"y": np.full(6, 3)}, ValueError, r"y must lie in \[0, 3\), the rows of coef; got 3 at index 0; a sample_weight"),
        ({"y": np.full(6, -1)}, ValueError, r"y must lie in \[0, 3\)"),
        ({"y": np.zeros(6)}, TypeError, "y must be class indices, of integers, got float64"),
        ({"coef": np.zeros(2)}, ValueError, r"pass shape \(K, 2\), a row for each class"),
        ({"coef": np.zeros((3, 4))}, ValueError, r"pass shape \(K, 2\)"),
        ({"coef": [[0.0, 0.0]]}, TypeError, "coef must be a NumPy array"),
        ({"intercept": np.zeros(2)}, ValueError, r"intercept has shape \(2,\); pass shape \(3,\)"),
        ({"intercept": np.zeros(())}, ValueError, r"intercept has shape \(\); pass an array of shape \(3,\)"),
        ({"loss": fl.softmax_cross_entropy.bind(ignore_index=0)}, ValueError, "ignore_index= belongs to sgd"),
        ({"importance_aware": True, "batch_size": 1}, ValueError, "softmax_cross_entropy has several scores a row"),
        ({"validation": (np.ones((3, 2)), np.full(3, 5))}, ValueError, r"y must lie in \[0, 3\)"),
    ],
)  # fmt: skip
def test_errors(change, error, message):
    parameters = {"coef": np.full((3, 2), 0.5), "intercept": np.full(3, 0.25)}
    arguments = {
        "loss": "softmax_cross_entropy",
        "X": np.ones((6, 2)),
        "y": np.zeros(6, int),
        **parameters,
        **change,
    }
    with pytest.raises(error, match=message):
        sgd(**arguments)
    assert (parameters["coef"] == 0.5).all()
    assert (parameters["intercept"] == 0.25).all()


@pytest.mark.parametrize("batch", [1, 20])
def test_sparse_rows_are_dense_ones(batch):
    sparse = pytest.importorskip("scipy.sparse")
    X, y = problem(500, 40)
    X *= np.random.default_rng(1).random(X.shape) < 0.1
    options = {"l2": 0.01, "l1": 0.001, "momentum": 0.5, "batch_size": batch, "validation_fraction": 0.2}
    dense, few = fit(X, y, **options), fit(sparse.csr_array(X), y, **options)
    for a, b in zip(dense[1:], few[1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(dense[0].validation_loss, few[0].validation_loss, rtol=1e-12)
