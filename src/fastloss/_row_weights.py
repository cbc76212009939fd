"""The sum of the weights of rows."""

from __future__ import annotations

import numpy as np

from fastloss._arguments import Array
from fastloss.regression import absolute_error


def sum_weights(weight: Array) -> float:
    """Return the sum in the order, and with the precision, of every other sum."""
    if weight.dtype.kind == "b":
        return float(np.count_nonzero(weight))
    ones = np.broadcast_to(1.0, weight.shape)
    return absolute_error(0.0, ones, sample_weight=weight, reduction="sum")
