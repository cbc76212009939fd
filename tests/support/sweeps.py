"""Long sweeps, which `--exhaustive` and `-m exhaustive` run, and the samples of them that every run takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def every(step: int) -> pytest.MarkDecorator:
    """The parameter `every`: each so manieth problem in any run, and all of them in an exhaustive one."""
    whole = pytest.param(1, id="all", marks=pytest.mark.exhaustive)
    return pytest.mark.parametrize("every", [pytest.param(step, id="some"), whole])


def sample(values: Iterable[Any], always: Iterable[Any]) -> list[Any]:
    """The values as parameters of which only some are for any run."""
    always = [*always]
    return [
        value if value in always else pytest.param(value, marks=pytest.mark.exhaustive) for value in values
    ]
