"""Statistics of the columns, which a first pass over a file gathers block by block."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

from typing import Any

import numpy as np

from fastloss._checks.arrays import Array
from fastloss.data._encoding import Encoding, as_integers
from fastloss.data._errors import DataError
from fastloss.data._frame import Frame, Labels
from fastloss.data._source import Source

MOST_CLASSES = 1000


class Statistics:
    """Means, scales, categories and classes.

    Means and squared differences of blocks are merged as Chan, Golub and LeVeque (1983) do, without cancellation.
    """

    def __init__(self) -> None:
        self.rows = self.held_out = 0
        self.weight = 0.0
        self.mean: Any = 0.0
        self.squares: Any = 0.0  # the sum of squared differences from the mean
        self.largest = np.zeros(0)  # magnitude in each sparse column
        self.categories: dict[str, set[str]] = {}
        self.labels: set[str] = set()

    def add(self, frame: Frame, for_training: Array | None) -> None:
        """Add a block. Categories and classes are those of all rows, the rest that of the rows for training."""
        for name, column in frame.text.items():
            self.categories.setdefault(name, set()).update(_used(column))
        if isinstance(frame.target, Labels):
            self.labels |= _used(frame.target)
        X = frame.X if for_training is None else frame.X[for_training]
        self.held_out += frame.X.shape[0] - X.shape[0]
        if frame.weight is not None:
            self.weight += float((frame.weight if for_training is None else frame.weight[for_training]).sum())
        if X.shape[0]:
            self._add_rows(X)

    def _add_rows(self, X: Any) -> None:
        if not isinstance(X, np.ndarray):
            width = int(X.indices.max(initial=-1)) + 1
            self.largest = np.pad(self.largest, (0, max(0, width - len(self.largest))))
            np.maximum.at(self.largest, X.indices, np.abs(X.data))
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                mean, total = X.mean(axis=0), self.rows + len(X)
                self.squares = self.squares + ((X - mean) ** 2).sum(axis=0)
                self.squares += (mean - self.mean) ** 2 * (self.rows * len(X) / total)
                self.mean = self.mean + (mean - self.mean) * (len(X) / total)
        self.rows += X.shape[0]

    def encoding(self, source: Source, scale: bool) -> Encoding:
        """Return how rows become those of `X`, with or without scaling."""
        classes = self._classes() if source.as_labels else None
        if source.numeric is None:
            scales = np.where(self.largest > 0, self.largest, 1.0) if scale else np.ones(len(self.largest))
            return Encoding(None, {}, np.zeros(len(scales)), scales, classes)
        categories = {name: tuple(sorted(self.categories[name])) for name in source.categorical}
        more = sum(map(len, categories.values()))
        means, deviations = np.zeros(len(source.numeric)), np.ones(len(source.numeric))
        if scale:
            means, deviations = self.mean, np.sqrt(self.squares / self.rows)
            if not np.isfinite(deviations).all():
                name = source.numeric[int(np.argmin(np.isfinite(deviations)))]
                raise DataError(
                    f"column {name!r} of {source.path} has numbers too large to be squared; scale it"
                )
            # A column of equal numbers has a deviation of rounding errors alone, and is not scaled by it.
            deviations = np.where(deviations > 1e-14 * np.abs(means), deviations, 1.0)
        means, scales = np.pad(means, (0, more)), np.pad(deviations, (0, more), constant_values=1.0)
        return Encoding(source.numeric, categories, means, scales, classes)

    def _classes(self) -> tuple[Any, ...]:
        """Return the sorted labels: integers where all of them are, else text."""
        numbers = as_integers(sorted(self.labels))
        classes: list[Any] = sorted(self.labels if numbers is None else set(numbers))
        if not 1 < len(classes) <= MOST_CLASSES:
            what = (
                f"one class alone, {classes[0]!r}"
                if len(classes) == 1
                else f"{len(classes)} different labels"
            )
            raise DataError(f"the target has {what}; a classifier takes 2 to {MOST_CLASSES} classes")
        return tuple(classes)


def _used(column: Labels) -> set[str]:
    """Return the values that a row of the column has."""
    return {column.values[code] for code in np.unique(column.codes)}
