"""SGD on linear models: orders of rows; layouts, weights, threads and levels."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

import math

import numpy as np
import pytest
from linear_models import check, fit, problem, reference
from processes import run

import fastloss as fl
from fastloss.linear import History, sgd

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
