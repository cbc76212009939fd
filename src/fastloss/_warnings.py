"""Warnings that name the caller's line, however deep in the package they are raised."""

from __future__ import annotations

import sys
import warnings


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn; the warning names the innermost line of code outside of fastloss."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "fastloss":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
