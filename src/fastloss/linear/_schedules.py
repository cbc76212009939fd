"""Learning rates as functions of the number of the step, which is counted from 0."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fastloss._checks.parameters import nonnegative, positive
from fastloss._core import Loss, RowLoss
from fastloss.linear._problem import SgdSettings

Rates = Callable[[NDArray[np.float64]], NDArray[np.float64]]

SCHEDULES = ("constant", "invscaling", "optimal", "adaptive", "cosine")


def rates(
    settings: SgdSettings,
    lr: float | Callable[[int], float],
    *,
    steps: int | None,
    loss: Loss[...],
    penalty: float,
) -> Rates:
    """Return a function from numbers of steps to learning rates.

    `lr` is the settings', or what was found for 'auto'; `steps` is how many there are at most, None if that is not
    known; `penalty` is ``l1 + l2``.
    """
    schedule, warmup_steps = settings.schedule, settings.warmup_steps
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {schedule!r}")
    if callable(lr):
        if schedule != "constant" or warmup_steps:
            raise ValueError(
                "lr is a function of the step; it goes with schedule='constant' and no warmup_steps"
            )
        function = lr
        return lambda t: np.array([nonnegative(lr=function(int(i))) for i in t])
    start, power = nonnegative(lr=lr), nonnegative(power_t=settings.power_t)
    if schedule == "cosine" and steps is None:
        raise ValueError(
            "schedule='cosine' needs the number of steps, and a stream's is not known before its end; pass a list "
            "of blocks, lr= a function of the step, or schedule='invscaling'"
        )
    if schedule == "optimal":
        shift = _optimal_shift(loss, penalty)
    plain: dict[str, Rates] = {
        "constant": lambda t: np.full(len(t), start),
        "adaptive": lambda t: np.full(len(t), start),
        "invscaling": lambda t: start / (t + 1) ** power,
        "optimal": lambda t: 1 / (penalty * (shift + t)),
        "cosine": lambda t: start / 2 * (1 + np.cos(math.pi * t / (steps or 1))),
    }
    return lambda t: plain[schedule](t) * np.minimum(1, (t + 1) / max(1, warmup_steps))


def _optimal_shift(loss: Loss[...], penalty: float) -> float:
    """Return t0 by Bottou's heuristic, as in scikit-learn: the first steps move a coefficient by its typical size."""
    if not penalty:
        raise ValueError("schedule='optimal' divides by l1 + l2; pass a penalty, or another schedule")
    typical = penalty**-0.25
    slope = (
        1.0
        if isinstance(loss, RowLoss)
        else abs(float(np.squeeze(loss.grad(np.ones(1), np.full(1, -typical)))))
    )
    return 1 / (positive(lr=typical / max(1.0, slope)) * penalty)
