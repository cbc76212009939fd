"""SGD on linear models: the same steps in NumPy as reference, penalties, schedules, orders, ends, errors."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

import math
import pickle
import sys

import numpy as np
import pytest
from processes import run

import fastloss as fl
from fastloss.linear import Checkpoint, DivergenceError, History, sgd


def problem(rows=97, columns=7, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, columns)).astype(dtype)
    y = (X @ rng.normal(size=columns) + rng.normal(size=rows) > 0).astype(dtype)
    return X, y


def line(rows=200, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 2, rows)
    return x[:, None], 4 + 3 * x + rng.normal(size=rows)


def fit(loss, X, y, *, dtype=np.float64, start=0.0, **options):
    coef, intercept = np.full(X.shape[1], start, dtype), np.full(1, start, dtype)
    options = {"tol": None, "epochs": 3, "shuffle": None, **options}
    return sgd(loss, X, y, coef, intercept, **options), coef, intercept


# ---- the steps, in NumPy --------------------------------------------------------------------------------

SLOPES = {
    "half_squared_error": lambda y, s: s - y,
    "logistic": lambda y, s: 1 / (1 + np.exp(-s)) - y,
    "huber": lambda y, s: np.clip(s - y, -1, 1),
    "poisson": lambda y, s: np.exp(s) - y,
    "hinge": lambda y, s: np.where((2 * y - 1) * s < 1, 1 - 2 * y, 0.0),
}
VALUES = {
    "half_squared_error": lambda y, s: (s - y) ** 2 / 2,
    "logistic": lambda y, s: np.logaddexp(0, s) - y * s,
}


def reference(
    loss, X, y, rate, *, epochs=3, batch=10, weight=None, start=0.0, l2=0.0, l1=0.0, momentum=0.0,
    nesterov=False, clip=np.inf, average=None, fit_intercept=True, intercept_lr=1.0,
):  # fmt: skip
    """The parameters, the intercept last, and of each epoch the sum of losses, last norm and largest component."""
    A = np.column_stack([X.astype(float), np.ones(len(X))])
    weight = np.ones(len(X)) if weight is None else weight / weight.mean()
    w, velocity, behind, t, seen = np.full(A.shape[1], start), 0.0, [], 0, []
    penalised = np.append(np.ones(A.shape[1] - 1), 0.0)
    rates = np.append(np.ones(A.shape[1] - 1), intercept_lr)
    for _ in range(epochs):
        total, largest = 0.0, 0.0
        for i in range(0, len(A), batch):
            rows = slice(i, i + batch)
            scores = A[rows] @ w
            if loss in VALUES:
                total += weight[rows] @ VALUES[loss](y[rows], scores)
            g = A[rows].T @ (weight[rows] * SLOPES[loss](y[rows], scores)) / len(A[rows])
            g[-1] *= fit_intercept
            norm = np.linalg.norm(g)
            largest = max(largest, np.abs(g).max())
            d = g * min(1, clip / norm) + l2 * penalised * w
            velocity = momentum * velocity + d
            w = w - rate(t) * rates * (d + momentum * velocity if nesterov else velocity)
            w = np.sign(w) * np.maximum(0, np.abs(w) - rate(t) * l1 * penalised)
            behind.append(w)
            t += 1
        seen.append((total / len(A), norm, largest))
    return w if average is None else np.mean(behind[average:], axis=0), seen


def check(got, wanted, rtol=1e-10):
    _, coef, intercept = got
    np.testing.assert_allclose(np.append(coef, intercept), wanted, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("loss", SLOPES)
@pytest.mark.parametrize("batch", [1, 2, 10, 97, 1000])
def test_the_steps(loss, batch):
    X, y = problem()
    wanted, _ = reference(loss, X, y, lambda t: 0.05, batch=batch, start=0.1)
    check(fit(loss, X, y, lr=0.05, batch_size=batch, start=0.1), wanted)


@pytest.mark.parametrize("columns", [1, 15, 16, 17, 300])
def test_more_rows_than_a_block(columns):
    X, y = problem(5000, columns)
    wanted, _ = reference("logistic", X, y, lambda t: 0.3, batch=3000)
    check(fit("logistic", X, y, lr=0.3, batch_size=3000), wanted)


@pytest.mark.parametrize(
    "options",
    [
        {"l2": 0.3},
        {"l1": 0.05},
        {"l2": 0.1, "l1": 0.1},
        {"momentum": 0.9},
        {"momentum": 0.5, "nesterov": True},
        {"momentum": 0.9, "nesterov": True, "l2": 0.2, "l1": 0.02},
        {"clip_norm": 0.2},
        {"clip_norm": 0.3, "momentum": 0.8, "l2": 0.1},
        {"average": True},
        {"average": 12, "l1": 0.01},
        {"intercept_lr": 0.1, "l2": 0.1},
    ],
)
@pytest.mark.parametrize("loss", ["logistic", "half_squared_error"])
def test_options(options, loss):
    X, y = problem()
    weight = np.linspace(0.2, 3, len(y))
    names = {"clip_norm": "clip"}
    same = {names.get(k, k): 0 if v is True and k == "average" else v for k, v in options.items()}
    wanted, _ = reference(loss, X, y, lambda t: 0.05, weight=weight, start=0.3, **same)
    assert np.abs(wanted - reference(loss, X, y, lambda t: 0.05, weight=weight, start=0.3)[0]).max() > 1e-3
    check(fit(loss, X, y, lr=0.05, batch_size=10, sample_weight=weight, start=0.3, **options), wanted)


def test_l1_makes_exact_zeros():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 20))
    y = X[:, 0] - 2 * X[:, 1] + 0.1 * rng.normal(size=400)
    _, coef, _ = fit("half_squared_error", X, y, l1=0.1, lr=0.5, batch_size=400, epochs=200)
    assert np.flatnonzero(coef).tolist() == [0, 1]
    np.testing.assert_allclose(coef[:2], [0.9, -1.9], atol=0.05)


@pytest.mark.parametrize("sparse", [False, True])
def test_clipping_of_a_gradient_whose_square_overflows(sparse):
    X = np.zeros((1, 40))
    X[0, 3:5] = 3e160, 4e160
    coef = np.zeros(40)
    if sparse:
        X = pytest.importorskip("scipy.sparse").csr_array(X)
    history = sgd("half_squared_error", X, np.ones(1), coef, lr=0.1, batch_size=1, epochs=1, clip_norm=1.0)
    np.testing.assert_allclose(coef[3:5], [0.06, 0.08], rtol=1e-14)
    np.testing.assert_allclose(history.grad_norm, 5e160, rtol=1e-14)


def test_a_step_that_is_not_taken_leaves_the_velocity():
    coef = np.zeros(1, np.float32)
    with pytest.raises(DivergenceError) as error:
        sgd(
            "huber",
            np.ones((3, 1), np.float32),
            np.full(3, 3e38),
            coef,
            lr=1e38,
            momentum=0.9,
            batch_size=1,
            epochs=1,
        )
    checkpoint = error.value.history.checkpoint
    np.testing.assert_allclose(checkpoint.parameters, [2.9e38, 0], rtol=1e-6)
    np.testing.assert_allclose(checkpoint.velocity, [-1.9, 0], rtol=1e-6)


def test_without_an_intercept():
    X, y = problem()
    coef = np.zeros(7)
    sgd("logistic", X, y, coef, lr=0.1, batch_size=10, epochs=3, tol=None, shuffle=None, clip_norm=0.3)
    wanted, _ = reference("logistic", X, y, lambda t: 0.1, fit_intercept=False, clip=0.3)
    np.testing.assert_allclose(coef, wanted[:-1], rtol=1e-10)


# ---- learning rates -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "rate"),
    [
        ({"lr": 0.2, "schedule": "invscaling"}, lambda t: 0.2 / (t + 1) ** 0.5),
        ({"lr": 0.2, "schedule": "invscaling", "power_t": 0.25}, lambda t: 0.2 / (t + 1) ** 0.25),
        ({"lr": 0.2, "schedule": "cosine"}, lambda t: 0.1 * (1 + math.cos(math.pi * t / 30))),
        ({"lr": 0.2, "warmup_steps": 7}, lambda t: 0.2 * min(1, (t + 1) / 7)),
        ({"lr": lambda step: 0.1 / (1 + step)}, lambda t: 0.1 / (1 + t)),
        ({"lr": lambda step: 0}, lambda t: 0.0),
    ],
)
def test_schedules(options, rate):
    X, y = problem()
    wanted, _ = reference("logistic", X, y, rate)
    got = fit("logistic", X, y, batch_size=10, **options)
    check(got, wanted)
    np.testing.assert_allclose(got[0].learning_rate, [rate(t) for t in (9, 19, 29)], rtol=1e-13)


def test_optimal_and_l2_are_those_of_scikit_learn():
    """With one row a step; scikit-learn shrinks before the step, which differs by lr^2."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = problem(500)
    model = linear_model.SGDClassifier(loss="log_loss", alpha=0.01, shuffle=False, max_iter=20, tol=None)
    model.fit(X, y)
    options = {"schedule": "optimal", "l2": 0.01, "batch_size": 1, "epochs": 20}
    _, coef, intercept = fit("logistic", X, y, **options)
    np.testing.assert_allclose(coef, model.coef_[0], rtol=0.02, atol=0.02)
    np.testing.assert_allclose(intercept, model.intercept_, atol=0.02)


def test_adaptive_divides_by_5():
    X, y = line()
    options = {"schedule": "adaptive", "tol": 1e-8, "n_iter_no_change": 3, "epochs": 5000, "batch_size": 50}
    history, coef, intercept = fit("half_squared_error", X, y, lr=0.5, **options)
    ratios = np.array(history.learning_rate[:-1]) / history.learning_rate[1:]
    np.testing.assert_allclose(ratios[ratios != 1], 5, rtol=1e-12)
    assert 1e-7 < history.learning_rate[-1] <= 1e-6
    assert history.stopped == "tol"
    np.testing.assert_allclose([*coef, *intercept], np.polyfit(X[:, 0], y, 1), rtol=1e-3)


@pytest.mark.parametrize("options", [{"schedule": "cosine"}, {"average": 3000}])
def test_the_line_of_least_squares(options):
    X, y = line()
    _, coef, intercept = fit(
        "squared_error", X, y, lr=0.05, batch_size=10, epochs=1000, shuffle="rows", **options
    )
    np.testing.assert_allclose([*coef, *intercept], np.polyfit(X[:, 0], y, 1), rtol=1e-3)


# ---- a learning rate by trial ---------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"batch_size": 400}])
def test_automatic_rates_fit_the_curvature(scale, options):
    rng = np.random.default_rng(0)
    X = scale * rng.normal(size=(400, 3)) * [1, 2, 4]
    y = X @ [1, 2, 3] / scale
    largest = np.linalg.eigvalsh(X.T @ X / 400)[-1]
    coef = np.zeros(3)  # an intercept would have a curvature of its own
    history = sgd("half_squared_error", X, y, coef, lr="auto", epochs=1000, tol=None, **options)
    assert 0.005 / largest < history.learning_rate[0] < 2 / largest
    np.testing.assert_allclose(coef, np.array([1, 2, 3]) / scale, rtol=1e-3)


@pytest.mark.parametrize("loss", [*fl.losses()["regression"], *fl.losses()["count"], *fl.losses()["binary"]])
def test_automatic_rates_of_every_loss(loss):
    X, y = problem(500)
    X, y = X[:, :3] / 8, y if fl.get(loss).family == "binary" else 1 + X[:, 0] / 8 + y / 4
    start = 0.5 if loss in ("binary_cross_entropy", "brier") else 0.0
    coef, intercept = np.zeros(3), np.full(1, start)
    history = sgd(loss, X, y, coef, intercept, lr="auto", epochs=3, l2=1e-4)
    assert history.loss[-1] <= history.loss[0]
    value = fl.linear.value_and_grad(loss, X, y, coef, intercept[0])[0]
    assert value <= fl.linear.value_and_grad(loss, X, y, np.zeros(3), start)[0]


@pytest.mark.parametrize("rows", [20, 300, 5000])
@pytest.mark.parametrize("at", [0, 7, -2])
def test_automatic_rates_leave_errors_to_the_training(rows, at):
    X, y = problem(rows)
    y[at] = 3
    with pytest.raises(ValueError, match=rf"y_true must lie in \[0, 1\].*at index {at % rows}$"):
        fit("logistic", X, y, lr="auto")
    with pytest.raises(ValueError, match=rf"y_true must lie in \[0, 1\].*at index {at % rows}$"):
        fit("logistic", X, y, lr="auto", batch_size=1, epochs=1)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_automatic_rates_of_few_rows_are_bounded(rows):
    """They are separable: the larger the rate, the lower the loss."""
    X, y = problem(rows)
    rate = fit("logistic", X, y, lr="auto", epochs=1)[0].learning_rate[0]
    assert rate <= 1 / (np.trace(X.T @ X) / rows / 7 / 4)


def test_automatic_rates_go_on():
    X, y = problem()
    first, coef, intercept = fit("logistic", X, y, lr="auto")
    assert first.checkpoint.lr == first.learning_rate[0] > 0.01
    more = sgd("logistic", 100 * X, y, coef, intercept, lr="auto", epochs=1, resume=first.checkpoint)
    assert more.learning_rate == first.learning_rate[:1]
    sparse = pytest.importorskip("scipy.sparse")
    held = {"validation_fraction": 0.2, "sample_weight": np.arange(1.0, 98)}
    dense = fit("logistic", X, y, lr="auto", **held)[0]
    assert fit("logistic", sparse.csr_array(X), y, lr="auto", **held)[0].learning_rate == dense.learning_rate
    assert fit("logistic", X, y, lr="auto", class_weight={0: 1e-9})[0].learning_rate != first.learning_rate
    X[5, 3] = np.nan
    with pytest.raises(DivergenceError, match="first step: look for inf, NaN"):
        fit("logistic", X, y, lr="auto")


# ---- orders ---------------------------------------------------------------------------------------------


def used_rows(shuffle, seed=0, rows=1000, epochs=2, **options):
    """The rows of each epoch: each adds a number of its own to the coefficient, by steps of one row."""
    coef = np.zeros(rows)
    orders = []

    def keep(state):
        orders.append(state.coef.copy())

    X = np.eye(rows)
    sgd(
        "half_squared_error", X, np.ones(rows), coef, lr=lambda t: (t + 1) / 1e6, batch_size=1, epochs=epochs,
        shuffle=shuffle, seed=seed, tol=None, callback=keep, **options,
    )  # fmt: skip
    return np.argsort(orders[0]), orders


@pytest.mark.parametrize("shuffle", ["blocks", "rows"])
def test_an_epoch_uses_each_row_once(shuffle):
    order, coefs = used_rows(shuffle)
    np.testing.assert_allclose(np.sort(coefs[0]), np.arange(1, 1001) / 1e6, rtol=1e-12)
    assert np.abs(order - np.arange(1000)).max() > 100
    assert used_rows(shuffle)[0].tolist() == order.tolist()
    assert used_rows(shuffle, seed=1)[0].tolist() != order.tolist()
    assert np.argsort(coefs[1] - coefs[0]).tolist() != order.tolist()


def test_blocks_keep_neighbours_together():
    order, _ = used_rows("blocks")
    assert all(len({*part // 8}) == 1 for part in order.reshape(-1, 8))
    assert (np.diff(order.reshape(-1, 8)) != 1).any()  # shuffled within
    order, _ = used_rows("rows")
    assert np.mean([len({*part // 8}) > 4 for part in order.reshape(-1, 8)]) > 0.9


def test_rows_as_they_lie():
    assert used_rows(None)[0].tolist() == list(range(1000))


@pytest.mark.parametrize("batch", [1, 30, 100, 700])
@pytest.mark.parametrize("shuffle", ["blocks", "rows"])
def test_an_order_is_as_if_the_rows_lay_so(shuffle, batch):
    X, y = problem(2001, 20)
    weight = np.random.default_rng(1).uniform(0.5, 2, 2001)
    options = {"epochs": 1, "lr": 0.1, "batch_size": batch, "l1": 0.001}
    got = fit("logistic", X, y, shuffle=shuffle, seed=5, sample_weight=weight, **options)
    rng, block = np.random.default_rng(5), max(8, batch // 4)
    if shuffle == "rows":
        order = rng.permutation(2001)
    else:
        blocks = rng.permutation(math.ceil(2001 / block))
        within = rng.permutation(block) if batch < 32 else range(block)
        order = np.array([row for b in blocks for row in (b * block + i for i in within) if row < 2001])
    same = fit("logistic", X[order], y[order], sample_weight=weight[order], **options)
    for a, b in zip(got[1:], same[1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


# ---- data -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", ["rows", None])
def test_sparse_rows_are_dense_ones(shuffle):
    sparse = pytest.importorskip("scipy.sparse")
    X, y = problem(500, 40)
    X *= np.random.default_rng(1).random(X.shape) < 0.1
    options = {"shuffle": shuffle, "lr": 0.2, "l2": 0.01, "l1": 0.001, "momentum": 0.5, "batch_size": 20}
    options["validation_fraction"] = 0.2
    dense, few = fit("logistic", X, y, **options), fit("logistic", sparse.csr_array(X), y, **options)
    for a, b in zip(dense[1:], few[1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(dense[0].validation_loss, few[0].validation_loss, rtol=1e-12)
    assert (dense[1] == 0).tolist() == (few[1] == 0).tolist()


@pytest.mark.parametrize("shuffle", ["blocks", "rows", None])
@pytest.mark.parametrize("batch", [1, 20, 50])
def test_layouts_change_no_bit(shuffle, batch):
    X, y = problem(700, 9)
    options = {"shuffle": shuffle, "batch_size": batch, "lr": 0.1}
    wanted = fit("logistic", X, y, **options)[1].tobytes()
    for same in (np.asfortranarray(X), np.hstack([X, X])[:, :9], X[::-1].copy()[::-1], X.astype(">f8")):
        assert fit("logistic", same, y, **options)[1].tobytes() == wanted


def test_float32():
    X, y = problem(500, 9, np.float32)
    wanted, _ = reference("logistic", X, y, lambda t: 0.1, batch=32)
    for dtype in (np.float32, np.float64):
        check(fit("logistic", X, y, lr=0.1, dtype=dtype), wanted, rtol=1e-5)


def test_in_place():
    X, y = problem()
    parameters = np.zeros(16)
    coef, intercept = parameters[:14:2], parameters[15:]
    history = sgd("logistic", X, y, coef, intercept, epochs=2, shuffle=None, tol=None)
    assert isinstance(history, History)
    assert (coef != 0).all()
    assert intercept != 0
    assert (parameters[1:14:2] == 0).all()
    _, wanted, _ = fit("logistic", X, y, epochs=2)
    np.testing.assert_array_equal(coef, wanted)
    zero_dimensional = np.zeros(())
    sgd("logistic", X, y, np.zeros(7), zero_dimensional, epochs=2, shuffle=None, tol=None)
    assert zero_dimensional == intercept[0]


def test_class_weight():
    X, y = problem()
    options = {"lr": 0.1, "batch_size": 10}
    weight = np.where(y == 1, 3.0, 0.5)
    wanted = fit("logistic", X, y, sample_weight=weight, **options)[1]
    got = fit("logistic", X, y, class_weight={1: 3.0, 0: 0.5}, **options)[1]
    np.testing.assert_allclose(got, wanted, rtol=1e-13)
    balanced = np.where(y == 1, 1 / y.sum(), 1 / (1 - y).sum())
    wanted = fit("logistic", X, y, sample_weight=balanced, **options)[1]
    got = fit("logistic", X, y, class_weight="balanced", **options)[1]
    np.testing.assert_allclose(got, wanted, rtol=1e-12)
    with pytest.raises(ValueError, match=r"class_weight has 2, which is no label in y"):
        fit("logistic", X, y, class_weight={2: 1.0})


def test_rows_of_weight_0_may_hold_anything():
    X, y = problem()
    weight = (np.arange(97) % 3 > 0) * 1.0
    wanted = fit("logistic", X, y, sample_weight=weight)
    X[weight == 0], y[weight == 0] = np.nan, 7
    got = fit("logistic", X, y, sample_weight=weight)
    assert got[1].tobytes() == wanted[1].tobytes()
    assert got[0].loss == wanted[0].loss


CODE = """
import hashlib
import numpy as np
import fastloss as fl
rng = np.random.default_rng(0)
for dtype, rows, columns, batch in (np.float32, 3000, 33, 17), (np.float64, 3000, 33, 17), (np.float32, 9001, 300, 250), (
    np.float64, 9001, 150, 256):
    X, y = rng.normal(size=(rows, columns)).astype(dtype), rng.integers(0, 2, rows)
    for shuffle in "blocks", "rows":
        w, b = np.zeros(columns), np.zeros(1)
        h = fl.linear.sgd("logistic", X, y, w, b, epochs=3, batch_size=batch, l1=1e-3, clip_norm=0.5, momentum=0.9,
                          validation_fraction=0.3, shuffle=shuffle)
        seen = repr((h.loss, h.validation_loss, h.grad_norm)).encode()
        print(hashlib.sha256(w.tobytes() + b.tobytes() + seen).hexdigest())
"""


def test_threads_and_levels_change_no_bit():
    environments = [{"FASTLOSS_NUM_THREADS": str(threads)} for threads in (1, 2, 3, 7)]
    environments += [
        {"FASTLOSS_ISA": x} for x in fl._core.supported_levels() if "v2" not in (x, fl._core.level())
    ]
    assert len({run(CODE, **environment) for environment in environments}) == 1


def test_threads_and_children_take_the_same_steps():
    """Batches that a team shares: several callers at once, of whom one has it, and a forked child, which has none."""
    run("""
import os
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import fastloss as fl
fl.set_num_threads(2)
rng = np.random.default_rng(0)
X, y = rng.normal(size=(12_000, 100)), rng.integers(0, 2, 12_000)
def steps(_=None):
    coef = np.zeros(100)
    fl.linear.sgd("logistic", X, y, coef, epochs=3, batch_size=500, tol=None)
    return coef.tobytes()
wanted = steps()
with ThreadPoolExecutor(4) as pool:
    assert set(pool.map(steps, range(16))) == {wanted}
child = os.fork()
if not child:
    os._exit(steps() != wanted)
assert os.waitpid(child, 0)[1] == 0
""")


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
threading.Timer(0.3, _thread.interrupt_main).start()
history = fl.linear.sgd("logistic", X, y, coef, batch_size=200_000 if {long} else 8, epochs=10**6, tol=None)
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
