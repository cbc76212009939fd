"""SGD on sparse rows, whose steps touch the columns of their rows alone: they are the dense steps."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

import os
import sys
from contextlib import suppress

import numpy as np
import pytest
from linear_models import fit, reference
from processes import run

import fastloss as fl
from fastloss.linear import DivergenceError, sgd

sparse = pytest.importorskip("scipy.sparse")


def problem(rows=150, columns=400, used=4, dtype=np.float64, seed=0):
    """Few columns of a row, some of them often and most of them never."""
    rng = np.random.default_rng(seed)
    indices = (columns * rng.random((rows, used)) ** 4).astype(np.int32)
    data = rng.normal(size=rows * used).astype(dtype)
    X = sparse.csr_array((data, indices.ravel(), np.arange(0, rows * used + 1, used)), shape=(rows, columns))
    y = (X @ rng.normal(size=columns) + rng.normal(size=rows) > 0).astype(dtype)
    return X, y


def check(got, wanted, seen=None, rtol=1e-11):
    history, coef, intercept = got
    np.testing.assert_allclose(np.append(coef, intercept), wanted, rtol=rtol, atol=rtol / 10)
    if seen is not None:
        written = zip(history.loss, history.grad_norm, history.largest_grad, strict=True)
        np.testing.assert_allclose(list(written), seen, rtol=rtol)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"l2": 0.3},
        {"l2": 9.0},  # the scale gets too small after a few steps
        {"l2": 20.0},  # the first steps turn the signs
        {"l1": 0.02},
        {"l2": 0.5, "l1": 0.01},
        {"l2": 9.0, "l1": 0.01},
        {"clip_norm": 0.2, "l2": 0.1, "l1": 0.01},
        {"momentum": 0.9, "nesterov": True, "l2": 0.2, "l1": 0.02},
        {"intercept_lr": 0.01, "l2": 0.3},
        {"average": True},
        {"average": 37, "l2": 0.3},
        {"average": 37, "l2": 9.0},
        {"average": True, "l2": 0.3, "l1": 0.01},
    ],
)
@pytest.mark.parametrize("batch", [1, 3, 10])
def test_the_steps_are_dense_ones(options, batch):
    X, y = problem()
    weight = np.linspace(0.2, 3, len(y))
    names = {"clip_norm": "clip"}
    same = {names.get(k, k): 0 if v is True and k == "average" else v for k, v in options.items()}

    def rate(t):
        return 0.09 / (1 + 0.01 * t)

    wanted, seen = reference("logistic", X.toarray(), y, rate, batch=batch, weight=weight, start=0.02, **same)
    got = fit("logistic", X, y, lr=rate, batch_size=batch, sample_weight=weight, start=0.02, **options)
    check(got, wanted, seen)
    if "average" not in options:
        np.testing.assert_array_equal(got[1] == 0, wanted[:-1] == 0)
        assert (got[1] == 0).any() == ("l1" in options)


@pytest.mark.parametrize("shuffle", ["rows", "blocks"])
def test_orders_and_kinds_of_arrays(shuffle):
    X, y = problem()
    options = {
        "shuffle": shuffle,
        "lr": 0.1,
        "l2": 0.1,
        "l1": 0.01,
        "batch_size": 2,
        "validation_fraction": 0.2,
    }
    wanted = fit("logistic", X.toarray(), y, **options)
    got = fit("logistic", X, y, **options)
    check(got, np.append(*wanted[1:]))
    np.testing.assert_allclose(got[0].validation_loss, wanted[0].validation_loss, rtol=1e-11)
    wide = X.copy()
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    assert fit("logistic", wide, y, **options)[1].tobytes() == got[1].tobytes()
    single = fit("logistic", X.astype(np.float32), y.astype(np.float32), **options)
    check(single, np.append(*wanted[1:]), rtol=1e-5)


@pytest.mark.parametrize(
    "options", [{"l2": 0.3, "l1": 0.01}, {"intercept_lr": 0.1, "l2": 0.3, "average": True}]
)
def test_importance_aware_steps_are_dense_ones(options):
    X, y = problem()
    X.indices[1::4] = X.indices[::4]  # twice in a row
    options = options | {"batch_size": 1, "lr": 3.0, "sample_weight": np.linspace(0, 3, len(y))}
    wanted = fit("logistic", X.toarray(), y, importance_aware=True, **options)
    check(fit("logistic", X, y, importance_aware=True, **options), np.append(*wanted[1:]), rtol=1e-9)
    assert np.abs(wanted[1] - fit("logistic", X, y, **options)[1]).max() > 0.01


def test_a_column_twice_in_a_row_and_rows_of_no_columns():
    X = sparse.csr_array(([1.0, 2.0, 5.0, -1.0], [70, 3, 70, 3], [0, 0, 3, 3, 4]), shape=(4, 90))
    y = np.array([0.0, 1.0, 1.0, 0.0])
    wanted, seen = reference("logistic", X.toarray(), y, lambda t: 0.1, batch=2, l1=0.01)
    check(fit("logistic", X, y, lr=0.1, batch_size=2, l1=0.01), wanted, seen)


def test_rows_of_weight_0_may_hold_anything():
    X, y = problem()
    weight = (np.arange(150) % 3 > 0) * 1.0
    wanted = fit("logistic", X, y, sample_weight=weight, batch_size=2, l1=0.01)
    X.data[np.repeat(weight == 0, 4)], y[weight == 0] = np.nan, 7
    got = fit("logistic", X, y, sample_weight=weight, batch_size=2, l1=0.01)
    assert got[1].tobytes() == wanted[1].tobytes()
    assert got[0].loss == wanted[0].loss


# ---- ends in the middle of an epoch ---------------------------------------------------------------------

PENALTIES = {"l2": 0.3, "l1": 0.01}


@pytest.mark.parametrize("average", [False, True])
def test_a_number_that_is_not_finite(average):
    X, y = problem()
    X.data[4 * 100] = np.inf
    penalties = {"l2": 0.3} if average else PENALTIES
    coef, intercept = np.full(400, 0.1), np.full(1, 0.1)
    with pytest.raises(DivergenceError, match="step 50 ") as caught:
        sgd("huber", X, y, coef, intercept, lr=0.1, batch_size=2, shuffle=None, average=average, **penalties)
    wanted, _ = reference(
        "huber", X.toarray()[:100], y[:100], lambda t: 0.1, epochs=1, batch=2, start=0.1,
        average=0 if average else None, **penalties,
    )  # fmt: skip
    check((None, coef, intercept), wanted)
    assert caught.value.history.steps == 50
    assert caught.value.history.nonfinite == [2]  # a component of the gradient, and the loss


@pytest.mark.parametrize("loss", ["logistic", "softmax_cross_entropy"])
@pytest.mark.parametrize("lr", [1e307, 1e308])
def test_averages_stay_finite(loss, lr):
    """At the lower rate the intercept does not overflow, but the sum of what it is behind each step would."""
    X, y = sparse.csr_array((60, 300)), np.arange(60) % 2
    coef = np.zeros((2, 300) if loss == "softmax_cross_entropy" else 300)
    intercept = np.zeros(coef.shape[:-1])
    with pytest.raises(DivergenceError):
        sgd(loss, X, y, coef, intercept, lr=lr, average=True, batch_size=1, shuffle=None)
    assert np.isfinite(intercept).all()


def test_divergence():
    X, _ = problem()
    coef = np.zeros(400)
    with pytest.raises(DivergenceError, match="lr was 50"):
        sgd("squared_error", X, np.ones(150), coef, lr=50, batch_size=1)
    assert np.isfinite(coef).all()
    assert np.abs(coef).max() > 1e100


def test_a_gradient_that_is_not_finite_has_the_largest_component_of_the_dense_one():
    X = sparse.csr_array(([1.0, 2.0, 1e200], [3, 5, 7], [0, 2, 3]), shape=(2, 90))
    for rows in (X, X.toarray()):
        with pytest.raises(DivergenceError) as caught:
            sgd("half_squared_error", rows, np.ones(2), np.full(90, 1e200), batch_size=2)
        assert caught.value.history.largest_grad == [np.inf]


def single(data, rows, columns):
    """So many rows, which the elements are dealt to in turn."""
    n = len(data)
    return sparse.csr_array(
        (data, columns, np.linspace(0, n, rows + 1, dtype=int)), shape=(rows, 16 * n + 16)
    )


@pytest.mark.parametrize("rows", [1, 2])
def test_a_long_step_along_small_elements(rows):
    """The rate times the derivative of a loss is too large, the step is not."""
    X = single([1e-300, 2e-300], rows, [0, 1])
    coef, dense = np.zeros((2, X.shape[1]))
    options = {"lr": 8e307, "batch_size": rows, "epochs": 1}
    sgd("squared_error", X, np.full(rows, 9.0), coef, **options)
    sgd("squared_error", X.toarray(), np.full(rows, 9.0), dense, **options)
    np.testing.assert_allclose(coef, dense, rtol=1e-12)
    np.testing.assert_allclose(coef[:2], [1.44e9 / rows, 2.88e9 / rows])


def test_a_derivative_that_is_not_finite_of_a_loss_that_is():
    X, coef = single([0.0, 0.0], 1, [0, 1]), np.zeros(48)
    with pytest.raises(DivergenceError):
        sgd("squared_error", [(X, np.full(1, 0.9), np.full(1, 1.5e308))], None, coef, batch_size=1)
    assert (coef == 0).all()


def test_a_cut_that_is_infinite_leaves_zeros():
    X = single([1.0, 2.0, 3.0], 3, [3, 3, 5])
    for rows in (X, X.toarray()):
        coef = np.full(64, 0.5)
        sgd("huber", rows, np.ones(3), coef, lr=1e160, l1=1e160, batch_size=1, epochs=2)
        assert (coef == 0).all()


def test_steps_that_are_rounded_do_not_lead_beyond_the_largest_number():
    """Each of 40 rows moves the coefficient by little more than half an ULP."""
    most, half = np.finfo(float).max, 2.0**970
    X = single(np.full(40, 1e-7), 40, np.zeros(40, int))
    coef, dense = np.zeros((2, X.shape[1]))
    coef[0] = dense[0] = most - 2 * 25 * half
    options = {"lr": 40.04 * (half / 1e-7), "intercept_lr": 0.0, "batch_size": 40, "epochs": 1}
    sgd("absolute_error", X, np.full(40, 4e306), coef, **options)
    sgd("absolute_error", X.toarray(), np.full(40, 4e306), dense, **options)
    np.testing.assert_allclose(coef, dense, rtol=1e-13)


def test_a_label_outside_of_the_domain_and_a_column_that_is_not_there():
    X, y = problem()
    coef, other = np.full(400, 0.1), y.copy()
    other[100] = 3
    with pytest.raises(ValueError, match=r"y_true must lie in \[0, 1\].*at index 100$"):
        sgd("logistic", X, other, coef, batch_size=2, shuffle=None, **PENALTIES)
    assert (coef == 0.1).all()
    for column in (400, -1, -(2**31), 2**32):
        X.indices = X.indices.astype(np.int32 if column < 2**31 else np.int64)
        X.indices[4 * 100] = column
        with pytest.raises(ValueError, match="X is not a valid CSR matrix"):
            sgd("logistic", X, y, coef, batch_size=2, shuffle=None, **PENALTIES)
        assert (coef == 0.1).all()


@pytest.mark.parametrize("shuffle", [None, "rows", "blocks"])
@pytest.mark.parametrize("batch", [10**10, sys.maxsize])
def test_a_batch_of_more_rows_than_there_are(batch, shuffle):
    X, y = sparse.csr_array((3000, 10)), np.arange(3000) / 1000
    wanted, seen = reference(
        "half_squared_error", X.toarray(), y, lambda t: 0.1, batch=3000, start=1.0, l2=0.3
    )
    got = fit("half_squared_error", X, y, lr=0.1, batch_size=batch, start=1.0, l2=0.3, shuffle=shuffle)
    check(got, wanted, seen)


@pytest.mark.skipif(os.name == "nt", reason="sends signals as Unix does")
def test_ctrl_c_among_steps_that_settle_all_columns_again_and_again():
    code = """
import signal
import numpy as np
from scipy.sparse import csr_array
import fastloss as fl
signal.signal(signal.SIGALRM, signal.default_int_handler)
rows = 20_000
X = csr_array((np.ones(rows), np.zeros(rows, int), np.arange(rows + 1)), shape=(rows, 100_000))

def rate(t):
    if t == rows - 1:
        signal.setitimer(signal.ITIMER_REAL, 0.05)  # in the epoch, which takes longer
    return 0.999

history = fl.linear.sgd("huber", X, np.zeros(rows), np.ones(100_000), lr=rate, l2=1.0, batch_size=1, epochs=1, tol=None)
assert history.interrupted and history.steps < rows, history.steps
"""
    run(code)


@pytest.mark.parametrize("hogwild", [False, True])
def test_ctrl_c_leaves_all_columns_up_to_date(hogwild):
    code = f"""
import _thread, signal, threading
import numpy as np
from scipy.sparse import csr_array
import fastloss as fl
signal.signal(signal.SIGINT, signal.default_int_handler)
fl.set_num_threads(3)
rows = 2_000_000
X = csr_array((np.ones(rows), np.zeros(rows, int), np.arange(rows + 1)), shape=(rows, 100))
coef = np.full(100, 0.5)

def interrupt(state):
    if state.epoch == 0:
        threading.Timer(0.05, _thread.interrupt_main).start()

history = fl.linear.sgd("huber", X, np.zeros(rows), coef, lr=1e-9, l2=0.1, batch_size=1, epochs=10**6, tol=None,
                        callback=interrupt, hogwild={hogwild})
assert history.interrupted and history.steps >= rows
expected = 0.5 * np.exp(history.steps * np.log1p(-1e-10))
np.testing.assert_allclose(coef[1:], expected, rtol=1e-8)
assert coef[0] < coef[1]
"""
    run(code)


# ---- several threads at once ----------------------------------------------------------------------------


def exact(columns=300, rows=6000):
    """Rows whose labels some coefficients reach exactly: to these leads any order, and any race."""
    rng = np.random.default_rng(0)
    X, _ = problem(rows, columns, 3)
    wanted = rng.normal(size=columns)
    return X, X @ wanted, wanted


@pytest.mark.usefixtures("team")
@pytest.mark.parametrize("batch", [1, 8])
def test_hogwild_finds_what_solves_all_rows(batch):
    X, y, wanted = exact()
    options = {"lr": 0.2 * batch**0.5, "batch_size": batch, "epochs": 400, "shuffle": "blocks"}
    with fl.threads(4):
        _, coef, intercept = fit("half_squared_error", X, y, hogwild=True, **options)
    used = np.bincount(X.indices, minlength=300) > 0
    np.testing.assert_allclose(coef[used], wanted[used], atol=1e-6)
    np.testing.assert_allclose(intercept, 0, atol=1e-6)


@pytest.mark.usefixtures("team")
def test_hogwild_shrinks_the_columns_that_no_row_has():
    X, y, _ = exact()
    X = sparse.csr_array((X.data, X.indices, X.indptr), shape=(6000, 400))
    with fl.threads(4):
        _, coef, _ = fit("half_squared_error", X, y, hogwild=True, start=0.7, l2=2.0, lr=0.01, batch_size=1)
    np.testing.assert_allclose(coef[300:], 0.7 * 0.98**18000, rtol=1e-9)


@pytest.mark.usefixtures("team")
def test_hogwild_scores_with_coefficients_as_they_are():
    """Also where l2 shrinks them to a small part within an epoch."""
    X, y = problem(60000, 3000, 8)
    options = {"l2": 1e-3, "lr": 0.1, "batch_size": 1, "epochs": 5}
    wanted, _, _ = fit("logistic", X, y, **options)
    with fl.threads(2):
        got, _, _ = fit("logistic", X, y, hogwild=True, **options)
    assert max(got.loss) < 1.5 * max(wanted.loss)


def test_hogwild_on_one_thread_changes_no_bit():
    X, y = problem()
    options = {"l2": 0.1, "lr": 0.2, "batch_size": 2, "shuffle": "rows"}
    wanted = fit("logistic", X, y, **options)
    with fl.threads(1):
        got = fit("logistic", X, y, hogwild=True, **options)
    assert got[1].tobytes() == wanted[1].tobytes()
    assert got[0].grad_norm == wanted[0].grad_norm


@pytest.mark.usefixtures("team")
def test_hogwild_ends_at_finite_parameters():
    X, y, _ = exact()
    coef = np.zeros(300)
    with fl.threads(4):
        with pytest.raises(DivergenceError, match="lr was 50"):
            sgd("half_squared_error", X, y, coef, lr=50, batch_size=1, hogwild=True)
        assert np.isfinite(coef).all()
        assert np.abs(coef).max() > 1e100
        coef[:] = 0.5
        X.indices[9000] = 300
        with pytest.raises(ValueError, match="X is not a valid CSR matrix"):
            sgd("huber", X, y, coef, batch_size=1, hogwild=True)
    assert (coef == 0.5).all()


@pytest.mark.usefixtures("team")
def test_hogwild_adds_up_to_finite_parameters():
    """Where no thread alone would lead beyond the largest number."""
    X, y = single(np.ones(128), 128, np.zeros(128, int)), np.full(128, 1e300)
    for _ in range(50):
        coef = np.zeros(X.shape[1], np.float32)
        with fl.threads(4), suppress(DivergenceError):
            sgd("absolute_error", X, y, coef, lr=5.3e36, batch_size=1, epochs=1, hogwild=True)
        assert np.isfinite(coef).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"X": np.ones((150, 400))}, TypeError, "hogwild needs sparse rows; pass a CSR matrix"),
        ({"batch_size": 65}, ValueError, "hogwild needs batch_size <= 64, got 65"),
        ({"l1": 0.1}, ValueError, "hogwild goes without l1"),
        ({"momentum": 0.9}, ValueError, "hogwild goes without momentum"),
        ({"average": 0}, ValueError, "hogwild goes without average"),
    ],
)
def test_what_hogwild_cannot(change, error, message):
    X, y = problem()
    coef = np.full(400, 0.5)
    with pytest.raises(error, match=message):
        sgd(**{"loss": "logistic", "X": X, "y": y, "coef": coef, "hogwild": True, **change})
    assert (coef == 0.5).all()
