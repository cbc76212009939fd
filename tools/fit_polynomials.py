"""Print the polynomials of csrc/kernels/vecmath.h: Chebyshev fits in 60 digits, rounded.

    python tools/fit_polynomials.py

Each is fitted as it is evaluated, in a variable centred on 0 where that keeps the terms small.
"""

from __future__ import annotations

import numpy as np
from mpmath import atanh, chebyfit, cosh, exp, log, log1p, mp, mpf, nstr, sqrt

mp.dps = 60
TINY = mpf(10) ** -18


def expm1_tail(r):  # (e^r - 1 - r) / r^2
    return (mp.expm1(r) - r) / r**2 if abs(r) > TINY else mpf(1) / 2 + r / 6


def atanh_tail(z):  # (2 atanh(s)/s - 2) / z, z = s^2
    return (2 * atanh(sqrt(z)) / sqrt(z) - 2) / z if z > TINY else mpf(2) / 3 + 2 * z / 5


def log1p_tail(t):  # (log1p(t) - t) / t^2
    return (log1p(t) - t) / t**2 if abs(t) > TINY else -mpf(1) / 2 + t / 3


def log_cosh_ratio(z):  # log(cosh a) / z, z = a^2
    return log(cosh(sqrt(z))) / z if z > TINY else mpf(1) / 2 - z / 12


SMALL = exp(-2)  # e^-2a for a >= 1
FITS = [  # name, function, interval, centre, coefficients in float32 and float64
    ("FL_EXP_POLY", expm1_tail, (-log(2) * mpf("0.51"), log(2) * mpf("0.51")), 0, 5, 11),
    ("FL_LOG_POLY", atanh_tail, (0, mpf("0.0296")), 0, 4, 7),
    ("FL_LOG1P_POLY", log1p_tail, (0, 1), mpf("0.5"), 10, 21),
    ("FL_LOG1P_SMALL_POLY", log1p_tail, (0, SMALL), mpf("0.0625"), 5, 10),
    ("FL_LOG_COSH_POLY", log_cosh_ratio, (0, 1), mpf("0.5"), 7, 15),
]

for name, function, (low, high), centre, *counts in FITS:
    for dtype, count in zip((np.float32, np.float64), counts, strict=True):
        coefficients, error = chebyfit(
            lambda u, f=function, c=centre: f(u + c), [low - centre, high - centre], count, error=True
        )
        print(f"{name} {dtype.__name__} (largest error {nstr(error, 2)}), lowest degree first")
        print("   ", ", ".join(float(dtype(float(c))).hex() for c in coefficients[::-1]))
