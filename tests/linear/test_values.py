"""Linear models in one pass: exact derivatives as references, layouts, threads, levels, absent rows, errors."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

import json
import pickle
import signal
import time

import numpy as np
import pytest
from mpmath import mp
from processes import run
from references import LABELS, REFERENCES, exact

import fastloss as fl
from fastloss import _core

value_and_grad = fl.linear.value_and_grad
DTYPES = (np.float32, np.float64)


def long(x):
    return np.longdouble(mp.nstr(x, 25) if abs(x) > 1e-300 else 0)


def exact_problem(reference, dtype, rows=37, columns=5):
    """Small multiples of powers of two, whose scores have no rounding error, inside of the loss's domain."""
    rng = np.random.default_rng(0)
    X = rng.integers(0 if reference.scores != "real" else -16, 16, (rows, columns)) / 16
    coef = np.full(columns, 1 / 8) if reference.scores == "probability" else rng.integers(1, 8, columns) / 4
    y = rng.choice(np.array(LABELS[reference.labels]), rows)
    weight = rng.integers(-1, 5, rows) / 2
    return X.astype(dtype), y.astype(dtype), coef.astype(dtype), 0.125, weight.astype(dtype)


def logistic_problem(rows, columns, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, columns)).astype(dtype)
    coef = (rng.normal(size=columns) / max(1, columns) ** 0.5).astype(dtype)
    return X, rng.integers(0, 2, rows), coef, 0.25


def bits(result):
    return b"".join(np.asarray(part).tobytes() for part in result)


# ---- values ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_loss(name, dtype):
    """Scores are exact, an element's derivatives within 2 ULP of its terms, and few rows are added up."""
    reference = REFERENCES[name]
    X, y, coef, intercept, weight = exact_problem(reference, dtype)
    scores = X.astype(np.longdouble) @ coef + intercept
    magnitude = np.abs(X) * np.abs(weight)[:, None]
    for params in reference.params:
        loss = fl.get(name, **params)
        rounded = {k: float(dtype(v)) if isinstance(v, float) else v for k, v in params.items()}
        elements = [exact(reference, rounded, float(a), float(s)) for a, s in zip(y, scores, strict=True)]
        values, slopes = (np.array([long(e[i]) for e in elements]) for i in (0, 1))
        got = value_and_grad(loss, X, y, coef, intercept, sample_weight=weight, l2=0.5, reduction="sum")
        penalty = 0.25 * float(coef.astype(float) @ coef)
        unit, terms = np.finfo(dtype).eps, np.abs(slopes) + 1 + np.abs(y)
        bound = 4 * unit * float(np.abs(weight) @ (np.abs(values) + 1 + np.abs(y)))
        assert abs(got[0] - (weight @ values + penalty)) <= bound
        wanted = X.T.astype(np.longdouble) @ (weight * slopes)
        assert (np.abs(got[1] - (wanted + 0.5 * coef)) <= 8 * unit * (magnitude.T @ terms) + unit).all()
        assert abs(got[2] - weight @ slopes) <= 8 * unit * float(np.abs(weight) @ terms)
        assert got[1].dtype == dtype
        assert type(got[0]) is type(got[2]) is float


def check_logistic(result, X, y, coef, intercept, unit):
    """By NumPy in extended precision; the bounds are those of sums of rounded products."""
    X, w = np.asarray(X, np.longdouble), np.asarray(coef, np.longdouble)
    scores = X @ w + np.longdouble(intercept)
    slopes = 1 / (1 + np.exp(-scores)) - y
    values = np.logaddexp(0, scores) - y * scores
    rounding = unit * (X.shape[1] + 8) * (np.abs(X) @ np.abs(w) + 1)  # of the scores; |h| and |g| are <= 1
    assert abs(result[0] - values.mean()) <= (rounding + 4 * unit * values).mean()
    assert (np.abs(result[1] - X.T @ slopes / len(X)) <= np.abs(X).T @ rounding / len(X)).all()
    assert abs(result[2] - slopes.mean()) <= rounding.mean()


@pytest.mark.parametrize("columns", [0, 1, 3, 7, 8, 9, 15, 16, 17, 33, 100, 700])
@pytest.mark.parametrize("rows", [1, 2, 4, 5, 16, 17, 1000, 4099])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_shape(rows, columns, dtype):
    X, y, coef, intercept = logistic_problem(rows, columns, dtype)
    check_logistic(
        value_and_grad("logistic", X, y, coef, intercept), X, y, coef, intercept, np.finfo(dtype).eps
    )


@pytest.mark.parametrize("columns", [0, 1, 2, 3, 4, 7, 33, 700])
@pytest.mark.parametrize("rows", [1, 2, 15, 16, 17, 129, 4099])
@pytest.mark.parametrize("dtype", DTYPES)
def test_fortran_order(rows, columns, dtype):
    X, y, coef, intercept = logistic_problem(rows, columns, dtype)
    for F in (np.asfortranarray(X), np.asfortranarray(np.vstack([X, X]))[: len(X)]):
        result = value_and_grad("logistic", F, y, coef, intercept)
        check_logistic(result, X, y, coef, intercept, np.finfo(dtype).eps)
    wanted, product = (
        fl.linear.hess_vec("logistic", a, y, coef, coef[::-1], intercept, 0.5, reduction="sum")
        for a in (X, F)
    )
    unit = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(product[0], wanted[0], rtol=unit, atol=unit * rows)
    np.testing.assert_allclose(product[1], wanted[1], rtol=unit, atol=unit * rows)


@pytest.mark.parametrize("columns", [20_000, 600_000])
def test_wide_rows(columns):
    X, y, coef, intercept = logistic_problem(18, columns, np.float32)
    check_logistic(value_and_grad("logistic", X, y, coef, intercept), X, y, coef, intercept, 2.0**-23)


def test_the_penalty_leaves_the_intercept_alone():
    X, y, coef, intercept = logistic_problem(50, 3)
    plain, penalised = (value_and_grad("logistic", X, y, coef, intercept, l2=l2) for l2 in (0.0, 3.0))
    assert penalised[0] == pytest.approx(plain[0] + 1.5 * (coef @ coef), rel=1e-14)
    np.testing.assert_allclose(penalised[1], plain[1] + 3 * coef, rtol=1e-13)
    assert penalised[2] == plain[2]


def test_mean_and_sum():
    X, y, coef, intercept = logistic_problem(50, 3)
    weight = np.linspace(0.5, 2, 50)
    mean, total = (
        value_and_grad("logistic", X, y, coef, intercept, sample_weight=weight, reduction=r)
        for r in ("mean", "sum")
    )
    for a, b in zip(mean, total, strict=True):
        np.testing.assert_allclose(np.multiply(a, weight.sum()), b, rtol=1e-13)


def test_parameters_of_the_loss_count():
    X, y, coef, _ = logistic_problem(50, 3)
    assert value_and_grad(fl.huber.bind(delta=0.1), X, y, coef)[0] < value_and_grad("huber", X, y, coef)[0]


def test_coefficients_decide_the_dtype_of_the_gradient():
    X, y, coef, _ = logistic_problem(50, 3, np.float32)
    assert value_and_grad("logistic", X, y, coef)[1].dtype == np.float32
    assert value_and_grad("logistic", X, y, coef.astype(np.float64))[1].dtype == np.float64
    assert value_and_grad("logistic", X, y, coef.tolist())[1].dtype == np.float64


# ---- second derivatives, and one vector of parameters ---------------------------------------------------


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_hess_vec_of_every_loss(name, dtype):
    reference = REFERENCES[name]
    X, y, coef, intercept, weight = exact_problem(reference, dtype)
    vector, vector_intercept = np.array([1, -2, 3, 0.5, -1], dtype), 0.75
    scores = X.astype(np.longdouble) @ coef + intercept
    along = X.astype(np.longdouble) @ vector + vector_intercept
    curves = [exact(reference, {}, float(a), float(s))[2] for a, s in zip(y, scores, strict=True)]
    weight[[curve is None for curve in curves]] = 0  # at a kink
    curves = np.array([long(curve or 0) for curve in curves])
    product, product_intercept = fl.linear.hess_vec(
        name, X, y, coef, vector, intercept, vector_intercept, sample_weight=weight, l2=2, reduction="sum"
    )
    terms = weight * curves * along
    bound = 16 * np.finfo(dtype).eps * (np.abs(weight * along) * (np.abs(curves) + 1 + np.abs(y)))
    assert (np.abs(product - X.T @ terms - 2 * vector) <= np.abs(X).T @ bound + np.finfo(dtype).eps * 8).all()
    assert abs(product_intercept - terms.sum()) <= bound.sum()
    assert product.dtype == dtype


@pytest.mark.parametrize("name", ["logistic", "poisson", "pseudo_huber", "focal"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_derivatives_are_those_of_the_value(name, fit_intercept):
    X, y, *_ = logistic_problem(400, 5)
    objective = fl.linear.Objective(
        name, X, y, fit_intercept=fit_intercept, sample_weight=np.linspace(0, 2, 400), l2=0.3
    )
    rng = np.random.default_rng(1)
    w, v = rng.normal(size=(2, 5 + fit_intercept)) / 2
    step = 1e-5
    (below, grad_below), (above, grad_above) = objective(w - step * v), objective.value_and_grad(w + step * v)
    assert objective(w)[1] @ v == pytest.approx((above - below) / (2 * step), rel=1e-7)
    product = objective.hess_vec(w, v)
    np.testing.assert_allclose(product, (grad_above - grad_below) / (2 * step), rtol=1e-6, atol=1e-8)
    assert product.shape == w.shape


def test_an_objective_is_the_functions():
    X, y, coef, intercept = logistic_problem(60, 4, np.float32)
    options = {"sample_weight": np.linspace(0, 1, 60), "l2": 0.5, "reduction": "sum"}
    objective = pickle.loads(pickle.dumps(fl.linear.Objective(fl.logistic, X, y, **options)))
    w, v = np.append(coef.astype(float), intercept), np.linspace(-1, 1, 5)
    value, grad, grad_intercept = value_and_grad("logistic", X, y, w[:4], intercept, **options)
    assert bits(objective(w)) == bits((value, np.append(grad, grad_intercept)))
    product = fl.linear.hess_vec("logistic", X, y, w[:4], v[:4], intercept, v[4], **options)
    assert bits([objective.hess_vec(w, v)]) == bits(product)
    assert repr(objective) == "<fastloss.linear.Objective of fastloss.logistic, 60 rows of 4>"


def turned(array):
    """The same object, of another dtype and shape."""
    array.dtype = np.int8
    array.shape = (1, -1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("sparse", [False, True])
def test_an_objective_does_not_follow_the_shapes_of_its_arrays(sparse):
    X, y, *_ = sparse_problem(60, 4, np.float64) if sparse else logistic_problem(60, 4)
    weight, w = np.linspace(0, 1, 60), np.linspace(-1, 1, 5)
    objective = fl.linear.Objective("logistic", X, y, sample_weight=weight)
    wanted = bits(objective(w))
    for array in (X.data, X.indices, X.indptr, y, weight) if sparse else (X, y, weight):
        turned(array)
    assert bits(objective(w)) == wanted


@pytest.mark.parametrize("method", ["L-BFGS-B", "Newton-CG", "trust-krylov"])
def test_scipy_finds_the_line_of_least_squares(method):
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 2, 100)
    y = 4 + 3 * x + rng.normal(size=100)
    objective = fl.linear.Objective("squared_error", x[:, None], y)
    hessp = None if method == "L-BFGS-B" else objective.hess_vec
    found = optimize.minimize(objective, np.zeros(2), jac=True, hessp=hessp, method=method, tol=1e-8)
    np.testing.assert_allclose(found.x, np.polyfit(x, y, 1), rtol=1e-5)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", ["LogisticRegression", "softmax", "Ridge", "PoissonRegressor"])
def test_the_penalty_is_that_of_scikit_learn(name):
    """At its optimum the gradient is 0."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    X, weight = rng.normal(size=(300, 4)), rng.uniform(0.5, 2, 300)
    classes = 3 if name == "softmax" else 2
    y = (X[:, 0] + rng.normal(size=300) > 0) + (classes - 2) * (X[:, 1] > 0)
    if name in ("LogisticRegression", "softmax"):
        model = linear_model.LogisticRegression(C=0.1, tol=1e-10)
        loss, options = "logistic" if classes == 2 else "softmax_cross_entropy", {"l2": 10 / weight.sum()}
    elif name == "Ridge":
        model, loss = linear_model.Ridge(alpha=20.0), "half_squared_error"
        options = {"l2": 20.0, "reduction": "sum"}
    else:
        model, loss = linear_model.PoissonRegressor(alpha=0.5, tol=1e-10), "poisson"
        options = {"l2": 0.5}
    model.fit(X, y, sample_weight=weight)
    coef = model.coef_ if classes == 3 else model.coef_.ravel()
    intercept = model.intercept_ if classes == 3 else float(np.squeeze(model.intercept_))
    _, grad, grad_intercept = value_and_grad(loss, X, y, coef, intercept, sample_weight=weight, **options)
    bound = 1e-6 * (weight.sum() if "reduction" in options else 1)
    assert np.abs(grad).max() < bound
    assert np.abs(grad_intercept).max() < bound
    assert np.abs(options["l2"] * coef).max() > 1e-3


@pytest.mark.parametrize("w", [np.zeros(3), np.zeros((4, 1)), 0.0])
def test_parameters_of_another_shape(w):
    objective = fl.linear.Objective("huber", np.ones((6, 3)), np.zeros(6))
    message = r"has shape .*; pass shape \(4,\): the coefficients and the intercept$"
    with pytest.raises(ValueError, match="^w " + message):
        objective(w)
    with pytest.raises(ValueError, match="^v " + message):
        objective.hess_vec(np.zeros(4), w)


# ---- rows that do not count -----------------------------------------------------------------------------


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_weight_0_may_hold_anything(odd, order, dtype):
    X, y, coef, intercept = logistic_problem(53, 9, dtype)
    X = np.asarray(X, order=order)
    y, weight = y.astype(dtype), np.ones(53)
    wanted = value_and_grad("logistic", X, y, coef, intercept, sample_weight=(np.arange(53) % 5 != 3) * 1.0)
    absent = np.arange(53) % 5 == 3
    weight[absent], X[absent], y[absent] = 0, odd, odd
    got = value_and_grad("logistic", X, y, coef, intercept, sample_weight=weight)
    assert bits(got) == bits(wanted)
    assert np.isfinite(got[1]).all()
    product = fl.linear.hess_vec("logistic", X, y, coef, coef, intercept, 1.0, sample_weight=weight)
    assert np.isfinite(product[0]).all()


def test_all_weights_0():
    X, y, coef, intercept = logistic_problem(20, 3)
    value, grad, grad_intercept = value_and_grad(
        "logistic", X, y, coef, intercept, sample_weight=np.zeros(20)
    )
    assert (value, grad.tolist(), grad_intercept) == (0, [0, 0, 0], 0)


def test_nan_propagates():
    X, y, coef, intercept = logistic_problem(20, 3)
    X[7, 1] = np.nan
    result = value_and_grad("logistic", X, y, coef, intercept)
    assert np.isnan(result[0])
    assert np.isnan(result[1]).all()
    assert np.isnan(result[2])
    assert np.isnan(value_and_grad("logistic", X, y, [1.0, np.nan, 0.0])[0])


@pytest.mark.parametrize("columns", [0, 3])
def test_no_rows(columns):
    X, y, coef = np.zeros((0, columns)), np.zeros(0), np.full(columns, 2.0)
    value, grad, grad_intercept = value_and_grad("huber", X, y, coef, l2=1.0, reduction="sum")
    assert (value, grad.tolist(), grad_intercept) == (2.0 * columns, coef.tolist(), 0)
    with pytest.raises(ValueError, match="no rows"):
        value_and_grad("huber", X, y, coef)


# ---- classes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [4, 6000])  # one pass; matrix products
def test_softmax(dtype, reduction, columns):
    """Against the scores' loss; its gradient by the coefficients is a product of NumPy's in extended precision."""
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(90, columns)) * (4 / columns) ** 0.5).astype(dtype)
    y, weight = rng.integers(0, 3, 90), rng.uniform(0, 2, 90)
    coef, intercept = rng.normal(size=(3, columns)).astype(dtype), rng.normal(size=3)
    loss = fl.softmax_cross_entropy.bind(label_smoothing=0.1, ignore_index=2)
    scores = X.astype(np.float64) @ coef.T.astype(np.float64) + intercept
    value, slopes = loss.value_and_grad(y, scores, sample_weight=weight, reduction=reduction)
    options = {"sample_weight": weight, "reduction": reduction}
    got = value_and_grad(loss, X, y, coef, intercept, l2=0.5, **options)
    relative = 64 * float(np.finfo(dtype).eps)
    tolerance = relative * (1 if reduction == "mean" else weight.sum())
    assert got[0] == pytest.approx(value + 0.25 * (coef.astype(float) ** 2).sum(), rel=relative)
    wanted = slopes.T.astype(np.longdouble) @ X + 0.5 * coef
    np.testing.assert_allclose(got[1], wanted.astype(float), atol=tolerance, rtol=0)
    np.testing.assert_allclose(got[2], slopes.sum(axis=0), atol=tolerance, rtol=0)
    assert got[1].dtype == dtype
    objective = fl.linear.Objective(loss, X, y, l2=0.5, **options)
    value, grad = objective(np.append(coef.astype(float), intercept))
    assert value == got[0]
    np.testing.assert_array_equal(grad[:-3].reshape(3, columns).astype(dtype), got[1])
    np.testing.assert_array_equal(grad[-3:], got[2])
    with pytest.raises(ValueError, match="softmax_cross_entropy has no hess_vec"):
        objective.hess_vec(grad, grad)


def test_softmax_without_intercepts():
    X, y = np.eye(3), np.arange(3)
    value, grad = fl.linear.Objective("softmax_cross_entropy", X, y, fit_intercept=False)(np.zeros(9))
    assert value == pytest.approx(np.log(3), rel=1e-15)
    np.testing.assert_allclose(grad.reshape(3, 3), (1 / 3 - np.eye(3)) / 3, rtol=1e-15)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"coef": np.zeros(2)},
            ValueError,
            r"coef has shape \(2,\), but X has 2 columns; pass shape \(K, 2\)",
        ),
        ({"coef": np.zeros((2, 3))}, ValueError, r"pass shape \(K, 2\), a row for each class"),
        ({"intercept": np.zeros(2)}, ValueError, r"intercept has shape \(2,\); pass shape \(3,\)"),
        ({"coef": np.zeros((0, 2))}, ValueError, r"coef has shape \(0, 2\): there must be 1 to"),
        ({"y": np.full(6, 3)}, ValueError, r"y must lie in \[0, 3\), the rows of coef"),
        ({"y": np.zeros(6)}, TypeError, "y must be class indices"),
    ],
)
def test_errors_of_softmax(change, error, message):
    arguments = {"X": np.ones((6, 2)), "y": np.zeros(6, int), "coef": np.zeros((3, 2)), **change}
    with pytest.raises(error, match=message):
        value_and_grad("softmax_cross_entropy", **arguments)


@pytest.mark.parametrize("columns", [4, 6000])
def test_softmax_of_weights_beyond_float32(columns):
    X, y, coef = np.zeros((5, columns), np.float32), np.arange(5) % 3, np.zeros((3, columns), np.float32)
    for weight, wanted in ((1e39, np.inf), (1e-60, 0.0)):
        options = {"sample_weight": np.full(5, weight), "reduction": "sum"}
        assert value_and_grad("softmax_cross_entropy", X, y, coef, **options)[0] == wanted


def test_softmax_along_another_axis_is_refused():
    X, y, coef = np.ones((6, 2)), np.zeros(6, int), np.zeros((3, 2))
    last = fl.softmax_cross_entropy.bind(axis=1)
    assert bits(value_and_grad(last, X, y, coef)) == bits(value_and_grad("softmax_cross_entropy", X, y, coef))
    with pytest.raises(ValueError, match="axis must be -1.*, got 0$"):
        value_and_grad(fl.softmax_cross_entropy.bind(axis=0), X, y, coef)


def test_softmax_of_other_parameters():
    objective = fl.linear.Objective("softmax_cross_entropy", np.ones((6, 2)), np.zeros(6, int))
    with pytest.raises(ValueError, match=r"w has shape \(7,\); pass 3 parameters for each class"):
        objective(np.zeros(7))


# ---- sparse rows ----------------------------------------------------------------------------------------


def sparse_problem(rows, columns, dtype, density=0.1):
    sparse = pytest.importorskip("scipy.sparse")
    X, y, coef, intercept = logistic_problem(rows, columns, dtype)
    X *= np.random.default_rng(1).random(X.shape) < density
    return sparse.csr_array(X), y, coef, intercept


def with_indices(X, index):
    changed = X.copy()
    changed.indptr, changed.indices = changed.indptr.astype(index), changed.indices.astype(index)
    return changed


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (30, 7), (5000, 100), (700, 3000)])
def test_sparse_rows(shape, dtype, index):
    X, y, coef, intercept = sparse_problem(*shape, dtype)
    X = with_indices(X, index)
    unit = np.finfo(dtype).eps
    for matrix in (X, X[:0:-1], type(X)(shape, dtype=dtype)):
        if matrix.shape[0]:
            result = value_and_grad("logistic", matrix, y[: matrix.shape[0]], coef, intercept)
            check_logistic(result, matrix.toarray(), y[: matrix.shape[0]], coef, intercept, unit)
    dense, product = (
        fl.linear.hess_vec("logistic", a, y, coef, coef[::-1], intercept, 0.5) for a in (X.toarray(), X)
    )
    np.testing.assert_allclose(product[0], dense[0], rtol=1e3 * unit, atol=100 * unit)
    np.testing.assert_allclose(product[1], dense[1], rtol=1e3 * unit, atol=100 * unit)


def test_indices_in_any_order_and_more_than_once():
    sparse = pytest.importorskip("scipy.sparse")
    X = sparse.csr_matrix(([1.0, 2.0, 4.0, 8.0, 16.0], [2, 0, 2, 1, 1], [0, 3, 5]), shape=(2, 3))
    result = value_and_grad("squared_error", X, [1.0, 2.0], [0.5, 0.25, 2.0], 1.0)
    assert bits(result) == bits(
        value_and_grad("squared_error", X.toarray(), [1.0, 2.0], [0.5, 0.25, 2.0], 1.0)
    )


def test_formats_and_dtypes():
    X, y, coef, intercept = sparse_problem(60, 9, np.float64)
    X.data = X.data.round()
    wanted = bits(value_and_grad("logistic", X, y, coef, intercept))
    for same in (X.astype(np.int16), with_indices(X, np.uint16), with_indices(X, np.int8)):
        assert bits(value_and_grad("logistic", same, y, coef, intercept)) == wanted
    strided = X.copy()
    strided.data, strided.indices = np.repeat(X.data, 2)[::2], np.repeat(X.indices, 2)[::2]
    assert bits(value_and_grad("logistic", strided, y, coef, intercept)) == wanted
    for name in ("csc", "coo", "lil"):
        with pytest.warns(UserWarning, match=rf"X is sparse in {name.upper()} format.*pass X.tocsr\(\)"):
            assert bits(value_and_grad("logistic", X.asformat(name), y, coef, intercept)) == wanted


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_of_sparse_rows_depend_on_nothing_beside_them(dtype):
    """Neither on storage in front of and behind them, nor on the dtype of their indices."""
    X, y, coef, intercept = sparse_problem(5000, 100, dtype)
    wanted = bits(value_and_grad("logistic", X, y, coef, intercept))
    unused = 7, 10 * X.nnz
    for index in (np.int32, np.int64):
        same = with_indices(X, index)
        assert bits(value_and_grad("logistic", same, y, coef, intercept)) == wanted
        same.data = np.pad(X.data, unused, constant_values=np.nan)
        same.indices, same.indptr = np.pad(same.indices, unused), same.indptr + index(7)
        assert bits(value_and_grad("logistic", same, y, coef, intercept)) == wanted


def test_absent_sparse_rows():
    X, y, coef, intercept = sparse_problem(60, 9, np.float64)
    weight = (np.arange(60) % 3 > 0) * 1.0
    wanted = value_and_grad("logistic", X, y, coef, intercept, sample_weight=weight)
    odd = X.copy()
    odd.data[np.repeat(weight, np.diff(X.indptr)) == 0] = np.nan
    assert bits(value_and_grad("logistic", odd, y, coef, intercept, sample_weight=weight)) == bits(wanted)


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize(
    ("part", "at", "value"),
    [
        ("indices", 0, -1),
        ("indices", -1, 9),
        ("indices", 7, 2**31 - 1),
        ("indptr", 0, -1),
        ("indptr", 5, 10**6),
        ("indptr", 40, 0),
        ("indptr", -1, 10**6),
    ],
)
@pytest.mark.usefixtures("team")
def test_a_matrix_that_leads_outside_is_refused(part, at, value, index):
    X, y, coef, _ = sparse_problem(3000, 9, np.float64)
    X = with_indices(X, index)
    getattr(X, part)[at] = value
    with pytest.raises(ValueError, match=r"X is not a valid CSR matrix.* must lie in \[0, 9\)"):
        value_and_grad("logistic", X, y, coef)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_softmax_of_sparse_rows(dtype, reduction):
    """As of dense ones. Rows that do not count hold NaN."""
    rng = np.random.default_rng(4)
    X, *_ = sparse_problem(90, 7, dtype, density=0.4)
    y, weight = rng.integers(0, 4, 90), rng.uniform(0, 2, 90)
    coef, intercept = rng.normal(size=(4, 7)), rng.normal(size=4)
    loss = fl.softmax_cross_entropy.bind(label_smoothing=0.1, ignore_index=3, class_weight=[1, 0, 2, 1])
    options = {"sample_weight": weight, "reduction": reduction}
    weight[5] = 0
    want = value_and_grad(loss, X.toarray(), y, coef, intercept, **options)
    y[5] = 99  # no class
    X = X.tolil()
    X[[5, *np.flatnonzero(y == 3), *np.flatnonzero(y == 1)]] = np.nan
    X = X.tocsr()
    got = value_and_grad(loss, X, y, coef, intercept, **options)
    size = 64 * float(np.finfo(dtype).eps)
    assert got[0] == pytest.approx(want[0], rel=size)
    for a, b in zip(got[1:], want[1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=size * (1 if reduction == "mean" else weight.sum()))
    objective = fl.linear.Objective(loss, X, y, **options)
    assert objective(np.append(coef, intercept))[0] == got[0]
    with pytest.raises(ValueError, match=r"y must lie in \[0, 4\).* got 99 at index 5"):
        value_and_grad(loss, X, y, coef, intercept, reduction=reduction)


def test_softmax_of_sparse_rows_of_which_none_counts():
    X, *_ = sparse_problem(5, 3, np.float64)
    value, *grads = value_and_grad(
        "softmax_cross_entropy", X, np.zeros(5, int), np.ones((2, 3)), sample_weight=np.zeros(5)
    )
    assert value == 0
    assert not any(np.any(grad) for grad in grads)


@pytest.mark.parametrize("part", ["indices", "indptr"])
@pytest.mark.parametrize("wrong", [-1, 7, 10**9])
def test_softmax_of_sparse_rows_with_wrong_indices(part, wrong):
    X, *_ = sparse_problem(20, 7, np.float64)
    objective = fl.linear.Objective("softmax_cross_entropy", X, np.arange(20) % 3)
    getattr(X, part)[3] = wrong
    if part == "indptr" and wrong == 7:
        X.indptr[4] = 6
    with pytest.raises(ValueError, match="X is not a valid CSR matrix"):
        objective(np.zeros(24))


def test_a_matrix_whose_parts_do_not_fit_is_refused():
    X, y, coef, _ = sparse_problem(30, 9, np.float64)
    for part in (np.zeros(30), np.zeros((31, 1), int), X.indptr * 1.0):
        odd = X.copy()
        odd.indptr = part
        with pytest.raises(ValueError, match="X is not a valid CSR matrix"):
            value_and_grad("logistic", odd, y, coef)
    X.data = X.data * 1j
    with pytest.raises(TypeError, match="X.data has dtype complex128"):
        value_and_grad("logistic", X, y, coef)


@pytest.mark.filterwarnings("ignore:X is sparse in")
@pytest.mark.parametrize("value", [2**28, -(2**28)])
@pytest.mark.parametrize(
    ("name", "part"),
    [("csc", "indices"), ("csc", "indptr"), ("bsr", "indices"), ("bsr", "indptr"), ("coo", "row"), ("coo", "col")],
)  # fmt: skip
def test_other_formats_are_checked_before_they_are_converted(name, part, value):
    X, y, coef, _ = sparse_problem(50, 50, np.float64)
    X = X.asformat(name)
    at = getattr(X, part)
    at[3] = value
    with pytest.raises(ValueError, match=f"X is not a valid {name.upper()} matrix: .*; correct its indices"):
        value_and_grad("logistic", X, y, coef)
    if part == "indptr":
        at[-1] = 0  # nothing is stored, and yet one leads outside
        with pytest.raises(ValueError, match=f"X is not a valid {name.upper()} matrix"):
            value_and_grad("logistic", X, y, coef)


def test_a_linear_operator_is_no_matrix():
    X, y, coef, _ = sparse_problem(50, 5, np.float64)
    operator = pytest.importorskip("scipy.sparse.linalg").aslinearoperator(X)
    with pytest.raises(TypeError, match="X has dtype object"):
        value_and_grad("logistic", operator, y, coef)


def test_scipy_is_imported_for_sparse_matrices_alone():
    assert "scipy" not in run(
        "import sys, fastloss as fl\nfl.linear.value_and_grad('huber', [[1.0]], [1.0], [0.0])\n"
        "print([name for name in sys.modules if name.startswith('scipy')])"
    )


# ---- layouts, threads, levels ---------------------------------------------------------------------------


def layouts(X, folder):
    big = np.repeat(np.repeat(X, 3, axis=0), 2, axis=1)
    yield "rows of more columns", np.hstack([X, X])[:, : X.shape[1]]
    yield "every third row, every second column", big[::3, ::2]
    yield "backwards", np.ascontiguousarray(X[::-1])[::-1]
    yield "columns backwards", np.ascontiguousarray(X[:, ::-1])[:, ::-1]
    yield "other byte order", X.astype(X.dtype.newbyteorder())
    raw = np.zeros(X.nbytes + 1, np.uint8)[1:]
    raw[...] = np.frombuffer(X.tobytes(), np.uint8)
    yield "unaligned", raw.view(X.dtype).reshape(X.shape)
    X.tofile(folder / "X")
    yield "memory-mapped", np.memmap(folder / "X", X.dtype, "r", shape=X.shape)
    yield "a list", X.tolist() if X.dtype == np.float64 else X


@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_change_no_bit(dtype, tmp_path):
    X, y, coef, intercept = logistic_problem(3001, 21, dtype)
    weight = np.linspace(0, 2, len(y))
    wanted = bits(value_and_grad("logistic", X, y, coef, intercept, sample_weight=weight))
    for name, same in layouts(X, tmp_path):
        got = value_and_grad("logistic", same, y, coef, intercept, sample_weight=weight)
        assert bits(got) == wanted, name
    ys, weights = np.repeat(y.astype(np.int8), 2)[::2], np.repeat(weight, 3)[::3]
    got = value_and_grad("logistic", X, ys, np.repeat(coef, 2)[::2], intercept, sample_weight=weights)
    assert bits(got) == wanted


@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_of_several_scores_change_no_bit(dtype, tmp_path):
    X, y, coef, _ = logistic_problem(3001, 21, dtype)
    weight, coef = np.linspace(0, 2, len(y)), np.stack([coef, -coef, coef / 3])
    y = (y.astype(int) + np.arange(len(y))) % 3
    wanted = bits(value_and_grad("softmax_cross_entropy", X, y, coef, 0.1, sample_weight=weight))
    for name, same in (*layouts(X, tmp_path), ("columns one after the other", np.asfortranarray(X))):
        got = value_and_grad("softmax_cross_entropy", same, y, coef, 0.1, sample_weight=weight)
        assert bits(got) == wanted, name
    X[weight == 0], y[weight == 0] = np.nan, -7
    got = value_and_grad("softmax_cross_entropy", X, y, coef, 0.1, sample_weight=weight)
    assert bits(got) == wanted


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, bool, np.float16])
def test_other_dtypes(dtype):
    X = np.random.default_rng(0).integers(0, 2, (300, 5)).astype(dtype)
    y, coef = np.arange(300) % 2, np.linspace(-1, 1, 5)
    working = np.float32 if dtype is np.float16 else np.float64
    assert bits(value_and_grad("logistic", X, y, coef)) == bits(
        value_and_grad("logistic", X.astype(working), y, coef)
    )


@pytest.mark.usefixtures("team")
@pytest.mark.parametrize("shape", [(20_000, 30), (3001, 300), (40, 30_000)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_do_not_depend_on_the_number_of_threads(shape, order, dtype):
    X, y, coef, intercept = logistic_problem(*shape, dtype)
    X = np.asarray(X, order=order)
    results = set()
    for threads in (1, 2, 3, 8):
        with fl.threads(threads):
            result = value_and_grad("logistic", X, y, coef, intercept)
            product = fl.linear.hess_vec("logistic", X, y, coef, coef, intercept, 1.0)
            several = ()
            if len(coef) < 1000:
                several = value_and_grad("softmax_cross_entropy", X, y.astype(int), np.stack([coef, -coef]))
            results.add(bits(result) + bits(product) + bits(several))
    assert len(results) == 1


@pytest.mark.usefixtures("team")
def test_bits_of_sparse_rows_do_not_depend_on_the_number_of_threads():
    X, y, coef, intercept = sparse_problem(20_000, 50, np.float32)
    results = set()
    for threads in (1, 2, 3, 8):
        with fl.threads(threads):
            results.add(bits(value_and_grad("logistic", X, y, coef, intercept)))
    assert len(results) == 1


HASHES = """
import hashlib, json
import numpy as np
import fastloss as fl
from scipy import sparse

hashes = {}
for dtype in (np.float32, np.float64):
    for rows, columns in ((3001, 21), (500, 1000), (7, 3)):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(rows, columns)).astype(dtype), rng.integers(0, 2, rows)
        coef, few = rng.normal(size=columns) / 30, sparse.csr_array(X * (rng.random(X.shape) < 0.1))
        results = [fl.linear.value_and_grad("logistic", X, y, coef, 0.1)]
        results += [fl.linear.hess_vec("logistic", X, y, coef, np.ones(columns), 0.1, 1.0)]
        for other in (few, np.asfortranarray(X)):
            results += [fl.linear.value_and_grad("logistic", other, y, coef, 0.1)]
        results += [fl.linear.hess_vec("logistic", other, y, coef, np.ones(columns), 0.1, 1.0)]
        data = b"".join(np.asarray(part).tobytes() for result in results for part in result)
        hashes[f"{rows} {columns} {dtype.__name__}"] = hashlib.sha256(data).hexdigest()
print(json.dumps(hashes))
"""


@pytest.mark.skipif(
    not {"v3", "v4"} <= set(_core.supported_levels()),
    reason="needs a CPU with AVX-512, to compare it with AVX2",
)
def test_avx2_and_avx512_give_the_same_bits():
    pytest.importorskip("scipy")
    found = [json.loads(run(HASHES, FASTLOSS_ISA=level)) for level in ("v3", "v4")]
    assert found[0] == found[1]
    assert len(set(found[0].values())) == 6


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers that send signals")
def test_signals_are_seen_between_large_blocks():
    """Fifteen blocks of 512 rows each, which take much longer than the 50 ms between two looks."""
    X = np.broadcast_to(np.ones((15 * 512, 1)), (15 * 512, 500_000))
    y, coef, seen = np.ones(len(X)), np.zeros(500_000), []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(time.perf_counter()))
    try:
        with fl.threads(1):
            start = time.perf_counter()
            signal.setitimer(signal.ITIMER_REAL, 0.1)  # when C is at work
            value_and_grad("logistic", X, y, coef)
        end = time.perf_counter()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if end - start < 0.4:
        pytest.skip("this computer is too fast")
    assert seen[0] - start < (end - start) * 0.75


# ---- errors ---------------------------------------------------------------------------------------------


def test_a_label_outside_of_the_domain():
    X, y, coef, _ = logistic_problem(20_000, 3)
    y[12_345] = 2
    with pytest.raises(ValueError, match=r"logistic: y_true must lie in \[0, 1\].*at index 12345$"):
        value_and_grad("logistic", X, y, coef)
    weight = np.ones(20_000)
    weight[12_345] = 0
    assert np.isfinite(value_and_grad("logistic", X, y, coef, sample_weight=weight)[0])


def test_a_score_outside_of_the_domain():
    X = np.full((40, 2), 0.25)
    X[31] = 0.75
    with pytest.raises(ValueError, match=r"got y_true=0.*, y_pred=1\.5 at index 31$"):
        value_and_grad("brier", X, np.zeros(40), [1.0, 1.0])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"loss": "hubert"}, ValueError, "did you mean 'huber'"),
        ({"loss": len}, TypeError, "loss must be a loss of fastloss or its name"),
        ({"loss": "poly1"}, ValueError, "poly1 is a loss of rows"),
        ({"X": np.zeros(6)}, ValueError, r"X must have 2 dimensions, got shape \(6,\); pass X.reshape"),
        ({"X": np.zeros((6, 2, 1))}, ValueError, "X must have 2 dimensions"),
        ({"X": np.broadcast_to(np.int8(1), (2**31, 2**31))}, ValueError, "more elements"),
        ({"X": np.zeros((6, 2), complex)}, TypeError, "X has dtype complex128"),
        ({"X": np.ma.zeros((6, 2))}, TypeError, "X is a masked array"),
        ({"y": np.zeros(5)}, ValueError, r"y has shape \(5,\), but X has 6 rows; pass shape \(6,\)$"),
        ({"y": np.zeros((6, 1))}, ValueError, r"pass y.ravel\(\)"),
        ({"y": 0.0}, ValueError, r"y has shape \(\)"),
        ({"coef": np.zeros(3)}, ValueError, r"coef has shape \(3,\), but X has 2 columns; pass shape \(2,\)$"),
        ({"coef": np.zeros((1, 2))}, ValueError, r"pass coef.ravel\(\)"),
        ({"coef": ["a", "b"]}, TypeError, "coef has dtype"),
        ({"intercept": [1.0]}, ValueError, r"intercept must be a number, got shape \(1,\)"),
        ({"intercept": "one"}, TypeError, "intercept has dtype"),
        ({"sample_weight": 1.0}, ValueError, r"sample_weight has shape \(\), but X has 6 rows"),
        ({"sample_weight": [1, 1, 1, np.nan, 1, 1]}, ValueError, "sample_weight must be finite; found nan at index 3"),
        ({"sample_weight": [1, -1, 0, 0, 0, 0]}, ValueError, "sums to 0"),
        ({"l2": -1.0}, ValueError, "l2 must be >= 0"),
        ({"l2": np.inf}, ValueError, "l2 must be finite"),
        ({"reduction": "none"}, ValueError, "reduction must be 'mean' or 'sum', got 'none'"),
    ],
)  # fmt: skip
def test_errors(change, error, message):
    arguments = {"loss": "huber", "X": np.ones((6, 2)), "y": np.zeros(6), "coef": np.zeros(2), **change}
    with pytest.raises(error, match=message):
        value_and_grad(**arguments)


@pytest.mark.parametrize("loss", [fl.huber, fl.softmax_cross_entropy])
def test_a_loss_that_was_never_initialised(loss):
    empty = type(loss).__new__(type(loss))
    for call in (value_and_grad, fl.linear.Objective):
        with pytest.raises(TypeError, match="this loss was never initialised; use fastloss.get"):
            call(empty, np.ones((6, 2)), np.zeros(6, int), *[np.zeros(2)] * (call is value_and_grad))


@pytest.mark.parametrize(("l2", "size"), [(1e200, 1e200), (1e-300, 1e-300)])
@pytest.mark.parametrize("loss", ["squared_error", "softmax_cross_entropy"])
def test_numpys_error_state_has_no_say(loss, l2, size):
    X, y = np.full((6, 2), size), np.zeros(6, int)
    with np.errstate(all="raise"):
        value_and_grad(loss, X, y, np.full((3, 2) if "soft" in loss else 2, size), l2=l2)
        if "soft" not in loss:
            fl.linear.hess_vec(loss, X, y, np.full(2, size), np.full(2, size), l2=l2)
