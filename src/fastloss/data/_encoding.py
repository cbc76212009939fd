"""How rows of a file become rows of X, and their labels y."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastloss._checks.arrays import Array
from fastloss.data._errors import DataError
from fastloss.data._frame import Frame, Labels, as_labels


@dataclass(frozen=True)
class Encoding:
    """How rows of a file become rows of `X`: what a model has to know beside its coefficients.

    Attributes
    ----------
    columns : tuple of str, or None
        The numeric columns, which come first. None: columns are numbered, as in svmlight.
    categories : dict of str to tuple of str
        A column of `X` for each category, which is 1 in its rows and else 0. Rows of other categories have zeros.
    means, scales : ndarray, shape (d,)
        ``X = (column - mean) / scale``. Sparse columns have the mean 0, and the largest magnitude as their scale.
    classes : tuple of int or str, or None
        The labels of a classifier: `y` is their position. None: `y` is a number.
    """

    columns: tuple[str, ...] | None
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)
    means: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    scales: NDArray[np.float64] = field(default_factory=lambda: np.ones(0))
    classes: tuple[Any, ...] | None = None

    @property
    def features(self) -> list[str]:
        """The names of the columns of `X`."""
        if self.columns is None:
            return [str(i) for i in range(len(self.scales))]
        return [
            *self.columns,
            *(f"{name}={value}" for name, values in self.categories.items() for value in values),
        ]

    def matrix(self, frame: Frame) -> Any:
        """Return `X`, dense or sparse."""
        if self.columns is None:
            X = frame.X[:, : len(self.scales)]  # a copy, without columns that the model has not seen
            X.data /= self.scales[X.indices]
            return X
        X, at = np.zeros((len(frame.X), len(self.scales))), len(self.columns)
        np.subtract(frame.X, self.means[:at], out=X[:, :at])
        X[:, :at] /= self.scales[:at]
        for name, categories in self.categories.items():
            values, codes = frame.text[name]
            columns = {category: at + i for i, category in enumerate(categories)}
            column = np.array([columns.get(value, -1) for value in values], np.intp)[codes]  # -1: of none
            X[np.flatnonzero(column >= 0), column[column >= 0]] = 1
            at += len(categories)
        return X

    def labels(self, target: Array | Labels) -> Array:
        """Return `y`: numbers as they are, labels as their positions among the classes."""
        if self.classes is None:
            return np.asarray(target)
        values, codes = as_labels(target)
        positions = {label: i for i, label in enumerate(self.classes)}
        labels = as_integers(values) if not isinstance(self.classes[0], str) else values
        unknown = [label for label in labels or values if label not in positions]
        if unknown:
            shown = ", ".join(map(repr, self.classes[:8])) + ", ..." * (len(self.classes) > 8)
            raise DataError(f"the target holds {unknown[0]!r}, which is none of the classes {shown}")
        return np.array([positions[label] for label in labels or values], np.int64)[codes]


def as_integers(values: Sequence[str]) -> list[int] | None:
    """Return the labels as integers, or None if one of them is text, or beyond int64."""
    if any("_" in value for value in values):  # float() would read 1_000 as 1000
        return None
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return None
    broken = next((x for x in numbers if not x.is_integer()), None)
    if broken is not None:
        raise DataError(
            f"the target holds {broken!r}: labels of classes are integers or text; for numbers take a loss for regression"
        )
    exact = [int(Decimal(value)) for value in values]
    return exact if all(-(2**63) <= x < 2**63 for x in exact) else None
