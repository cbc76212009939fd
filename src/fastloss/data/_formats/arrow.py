"""Columns of Arrow, which CSV and Parquet files are read into, as those of a block."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastloss._checks.arrays import Array
from fastloss.data._frame import Labels


def from_arrow(column: Any) -> Array | Labels:
    """Return a column of numbers as float64, one of a dictionary as labels."""
    if not hasattr(column, "dictionary"):
        return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
    return Labels(column.dictionary.to_pylist(), column.indices.fill_null(-1).to_numpy(zero_copy_only=False))
