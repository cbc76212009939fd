"""The matrix X of a linear model, dense or sparse: how it is checked, and what C reads of it."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from copy import copy
from typing import Any, NamedTuple

import numpy as np

from fastloss._checks.arrays import Array
from fastloss._core import as_array
from fastloss._warnings import warn_caller

SparseParts = tuple[Array, ...]  # values, row starts and column indices, as in the CSR format


class Matrix(NamedTuple):
    """A checked matrix.

    Attributes
    ----------
    data : ndarray, or tuple of ndarray
        What C reads: a dense array, or the three arrays of the CSR format.
    dtype : dtype
        float32 or float64, in which the scores are computed.
    rows, columns : int
    """

    data: Array | SparseParts
    dtype: np.dtype[Any]
    rows: int
    columns: int


def checked_matrix(X: Any) -> Matrix:
    """Check a dense or sparse matrix. Arrays that C can read are not copied."""
    sparse = _is_sparse(X)
    array = X if sparse else as_array("X", X).view()
    if len(array.shape) != 2:
        advice = "; pass X.reshape(-1, 1) for one column" if len(array.shape) == 1 else ""
        raise ValueError(f"X must have 2 dimensions, got shape {array.shape}{advice}")
    if sparse:
        return _checked_sparse(X)
    if math.prod(max(1, length) for length in array.shape) > sys.maxsize // 8:
        raise ValueError(f"X has shape {array.shape}: more elements than an array of float64 can have")
    return Matrix(array, _working_dtype(array), *array.shape)


def is_single(array: Array) -> bool:
    """Whether an array has float32 or float16, which are computed in float32."""
    return bool(array.dtype.kind == "f" and array.dtype.itemsize <= 4)


def scipy_matrix(parts: SparseParts, shape: tuple[int, int]) -> Any:
    """Return the matrix as a sparse array of SciPy, after a check of its indices."""
    from scipy.sparse import csr_array  # type: ignore[import-untyped]

    values, starts, indices = parts
    try:
        return _with_checked_indices(csr_array((values, indices, starts), shape=shape))
    except ValueError as error:
        if str(error).startswith("X is not"):
            raise
        raise ValueError(f"X is not a valid CSR matrix: {error}; X.check_format() says more") from None


def selected_rows(data: Array | SparseParts, order: Array, dtype: np.dtype[Any]) -> Array | SparseParts:
    """Return a copy of some rows, in the order that `order` lists them."""
    if not isinstance(data, tuple):
        return data[order].astype(dtype)
    values, starts, indices = data
    begins, ends = starts[order].astype(np.int64), starts[order + 1].astype(np.int64)
    if not ((begins >= 0) & (begins <= ends) & (ends <= len(values))).all():
        raise ValueError("X is not a valid CSR matrix: X.indptr must not decrease nor leave X.indices")
    kept = np.cumsum(ends - begins)
    at = np.arange(kept[-1]) + np.repeat(ends - kept, ends - begins)
    return values[at], np.append(0, kept), indices[at].astype(np.int64)


def stacked_rows(parts: Sequence[Array | SparseParts]) -> Array | SparseParts:
    """Return one matrix with the rows of all, which are dense, or sparse as `selected_rows` returns them."""
    sparse = [part for part in parts if isinstance(part, tuple)]
    if not sparse:
        return np.concatenate(parts)
    values, starts, indices = zip(*sparse, strict=True)
    offsets = np.cumsum([0, *(s[-1] for s in starts)])
    moved = [s[:-1] + offset for s, offset in zip(starts, offsets, strict=False)]
    return np.concatenate(values), np.append(np.concatenate(moved), offsets[-1]), np.concatenate(indices)


def squared_row_norms(data: Array | SparseParts) -> Array:
    """Return the squared norm of each row."""
    if not isinstance(data, tuple):
        norms: Array = (data.astype(np.float64) ** 2).sum(axis=1)
        return norms
    values, starts, _ = data
    norms = np.add.reduceat(np.append(values.astype(np.float64) ** 2, 0), starts[:-1])
    norms[np.diff(starts) == 0] = 0  # for an empty row reduceat returns the element at its start
    return norms


def _working_dtype(array: Array) -> np.dtype[Any]:
    return np.dtype(np.float32 if is_single(array) else np.float64)


def _is_sparse(X: Any) -> bool:
    known = any(base.__module__.startswith("scipy.sparse") for base in type(X).__mro__)
    return known and hasattr(X, "format") and hasattr(X, "tocsr")  # a LinearOperator has neither


def _checked_sparse(X: Any) -> Matrix:
    if X.format != "csr":
        warn_caller(f"X is sparse in {X.format.upper()} format, and is converted; pass X.tocsr()")
        X = _with_checked_indices(X).tocsr()
    parts = as_array("X.data", X.data), np.asarray(X.indptr), np.asarray(X.indices)
    values, indptr, indices = (part.view() for part in parts)
    integers = all(a.dtype.kind in "iu" for a in (indptr, indices))
    if not integers or values.ndim != 1 or indices.ndim != 1 or indptr.shape != (X.shape[0] + 1,):
        raise ValueError(
            "X is not a valid CSR matrix: X.data and X.indices must have 1 dimension, X.indptr a place more than "
            "X rows, and X.indptr and X.indices must be integers; X.check_format() says more"
        )
    dtype = _working_dtype(values)
    index = np.int32 if indptr.dtype == indices.dtype == np.int32 else np.int64
    stored = min(len(values), len(indices))
    wanted = (values[:stored], dtype), (indptr, index), (indices[:stored], index)
    return Matrix(tuple(np.require(part, kind, ["C", "A"]) for part, kind in wanted), dtype, *X.shape)


def _with_checked_indices(X: Any) -> Any:
    """Return the sparse matrix, whose indices are valid: SciPy's conversions follow them without a check."""
    X = copy(X)  # check_format may shorten the matrix's arrays
    try:
        if X.format in ("csc", "bsr", "csr"):
            X.check_format(full_check=True)
            if (np.diff(X.indptr) < 0).any():  # check_format does not look where no element counts as stored
                raise ValueError("index pointer values must form a non-decreasing sequence")
        elif X.format == "coo" and X.nnz:
            for axis, length in enumerate(X.shape):
                at = X.coords[axis] if hasattr(X, "coords") else (X.row, X.col)[axis]
                if not (at.min() >= 0 and at.max() < length):
                    raise ValueError(f"coordinates along axis {axis} must lie in [0, {length})")
    except ValueError as error:
        raise ValueError(
            f"X is not a valid {X.format.upper()} matrix: {error}; correct its indices, or build it anew"
        ) from None
    return X
