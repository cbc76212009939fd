"""Numbers and parameters from all over the range, the ends and the subnormal ones included, against exact results.

A result that the dtype cannot hold must be inf of the right sign, or within some units of the subnormal spacing.
"""

from __future__ import annotations

import numpy as np
import pytest
from extremes import wrong
from references import REFERENCES
from sweeps import every

POINTS = 300  # of each loss and dtype


@every(10)
@pytest.mark.not_sanitized("exact results are asked for once")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", REFERENCES)
def test_extremes(name, dtype, every):
    assert not wrong(name, dtype, POINTS // every)
