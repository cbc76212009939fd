"""Numbers and parameters from all over the range, the ends and the subnormal ones included, against exact results.

A result that the dtype cannot hold must be inf of the right sign, or within some units of the subnormal spacing.
"""

from __future__ import annotations

import numpy as np
import pytest
from extremes import wrong, wrong_ones
from references import REFERENCES
from sweeps import every

import fastloss as fl

POINTS = 300  # of each loss and dtype


@every(10)
@pytest.mark.not_sanitized("exact results are asked for once")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", REFERENCES)
def test_extremes(name, dtype, every):
    assert not wrong(name, dtype, POINTS // every)


SCALED = [
    n
    for n, r in REFERENCES.items()
    if r.scores == r.labels == "real" and set(fl.get(n).params) & {"c", "delta"}
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SCALED)
def test_residuals_and_scales_near_the_largest_number(name, dtype):
    """Where a product's parts would overflow before the product does."""
    most = np.finfo(dtype).max
    scores = np.array([most, most / dtype(1.1), most / dtype(3.7), most / dtype(2**20), -most / 3, 1], dtype)
    for factor in (1, 3.67, 2**10, 2**27):
        params = {key: float(most / dtype(factor)) for key in fl.get(name).params if key in ("c", "delta")}
        for y in (0, most / 5, -most / 2):
            assert not wrong_ones(name, params, np.full(len(scores), y, dtype), scores)
