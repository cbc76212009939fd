"""What a solver hands to an estimator."""

from __future__ import annotations

from typing import NamedTuple

from fastloss._checks.arrays import Array
from fastloss.linear._history import History


class Solution(NamedTuple):
    coef: Array  # a row for each score
    intercept: Array
    curve: list[float]
    iterations: int
    history: History | None = None
