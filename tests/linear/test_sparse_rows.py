"""Linear models on sparse rows: as dense ones, whatever lies beside them; indices that lead outside."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

import numpy as np
import pytest
from linear_models import DTYPES, bits, check_logistic, sparse_problem, value_and_grad, with_indices
from processes import run

import fastloss as fl


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
