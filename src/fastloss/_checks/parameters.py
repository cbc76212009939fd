"""Checks of parameters: each takes one keyword, whose name goes into the error, and returns a float."""

from __future__ import annotations

import math
from typing import SupportsFloat

import numpy as np


def real(**parameter: SupportsFloat | None) -> float:
    """Return the value as a float; raise TypeError if it is no number, ValueError if it is NaN."""
    ((name, value),) = parameter.items()
    # float() also reads text, from anything with a buffer, and turns a masked element into NaN
    if isinstance(value, np.ndarray | np.generic):
        number_like = value.dtype.kind in "biuf" and not value.ndim and not np.ma.is_masked(value)
    else:
        number_like = hasattr(value, "__float__") or hasattr(value, "__index__")
    if value is None or not number_like:
        raise TypeError(f"{name} must be a real number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{name} must be finite in float64, got an integer beyond it") from None
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a real number, got {value!r}") from None
    if math.isnan(number):
        raise ValueError(f"{name} must be a number, got nan")
    return number


def finite(**parameter: SupportsFloat | None) -> float:
    """Return a finite number."""
    ((name, value),) = parameter.items()
    number = real(**parameter)
    if math.isinf(number):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return number


def positive(**parameter: SupportsFloat | None) -> float:
    """Return a finite number > 0."""
    ((name, value),) = parameter.items()
    number = finite(**parameter)
    if number <= 0:
        raise ValueError(f"{name} must be > 0, got {value!r}")
    return number


def nonnegative(**parameter: SupportsFloat | None) -> float:
    """Return a finite number >= 0."""
    ((name, value),) = parameter.items()
    number = finite(**parameter)
    if number < 0:
        raise ValueError(f"{name} must be >= 0, got {value!r}")
    return number


def fraction(**parameter: SupportsFloat | None) -> float:
    """Return a number strictly between 0 and 1."""
    ((name, value),) = parameter.items()
    number = finite(**parameter)
    if not 0 < number < 1:
        raise ValueError(f"{name} must lie strictly between 0 and 1, got {value!r}")
    return number
