"""What a block of rows of a file is: a `Frame`, whose columns of text are `Labels`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastloss._checks.arrays import Array


class Labels(NamedTuple):
    """A column of text: row i holds ``values[codes[i]]``; the code of a missing one is -1."""

    values: list[str]
    codes: Array


class Frame(NamedTuple):
    """Rows as they are in the file, before they are scaled and encoded."""

    X: Any  # the numeric columns, or a sparse matrix
    text: dict[str, Labels]
    target: Array | Labels | None
    weight: Array | None


def as_labels(target: Array | Labels) -> Labels:
    """Return a column as labels: numbers become text."""
    if isinstance(target, Labels):
        return target
    values, codes = np.unique(target, return_inverse=True)
    return Labels([str(value) for value in values.tolist()], codes)
