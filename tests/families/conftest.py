"""Losses of rows with their options."""

from __future__ import annotations

import pytest
from row_cases import variants


@pytest.fixture(params=range(6), ids=lambda i: f"{variants()[i][0].name}{'-soft' * variants()[i][1]}-{i}")
def variant(request):
    return variants()[request.param]
