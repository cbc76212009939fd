"""Print the polynomials of csrc/kernels/vecmath.h: fits in 60 digits, rounded.

    python tools/fit_polynomials.py

Each is fitted as it is evaluated: in a variable centred on 0 where that keeps the terms small, and with a weight
where an error counts more at some arguments than at others (minimax; Chebyshev without one). The constants come
in the order of the header: lowest degree first, and where there are two chains the odd terms before the even ones. A
polynomial c0 + u slope(u) begins with its centre and c0; a centre that is searched for is one where c0 hardly has to
be rounded.
tests/project/test_vecmath.py compares with the header.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from mpmath import chebyfit, diff, exp, log, mp, mpf, nstr, sqrt

DTYPES = (np.float32, np.float64)
TINY = mpf(10) ** -18


def expm1_tail(r: Any) -> Any:  # (e^r - 1 - r - r^2/2) / r^3
    return (mp.expm1(r) - r - r**2 / 2) / r**3 if abs(r) > TINY else mpf(1) / 6 + r / 24


def atanh_tail(z: Any) -> Any:  # (2 atanh(s)/s - 2) / z, z = s^2
    return (2 * mp.atanh(sqrt(z)) / sqrt(z) - 2) / z if z > TINY else mpf(2) / 3 + 2 * z / 5


def log1p_tail(t: Any) -> Any:  # (log1p(t) - t) / t^2
    return (mp.log1p(t) - t) / t**2 if abs(t) > TINY else -mpf(1) / 2 + t / 3


def log1p_unit(t: Any) -> Any:  # (log1p(t) - t + t^2/2) / t^2
    return log1p_tail(t) + mpf(1) / 2


def log_cosh_ratio(z: Any) -> Any:  # log(cosh a) / z, z = a^2
    return log(mp.cosh(sqrt(z))) / z if z > TINY else mpf(1) / 2 - z / 12


def minimax(
    function: Callable[[Any], Any], weight: Callable[[Any], Any], low: Any, high: Any, count: int
) -> Any:
    """Return the polynomial whose largest |weight error| is the least, lowest degree first, and that error (Remez)."""
    half, middle, n = (high - low) / mpf(2), (high + low) / mpf(2), 100 * count
    grid = [middle - half * mp.cos(mp.pi * i / n) for i in range(n + 1)]
    values, weights = [function(u) for u in grid], [weight(u) for u in grid]
    at = [round(n * i / count) for i in range(count + 1)]
    at = [i + 30 * (weights[i] < TINY) for i in at]
    for _ in range(30):
        rows = [[grid[i] ** j for j in range(count)] + [(-1) ** k / weights[i]] for k, i in enumerate(at)]
        *found, _ = mp.lu_solve(mp.matrix(rows), mp.matrix([values[i] for i in at]))
        errors = [
            w * (v - sum(c * u**i for i, c in enumerate(found)))
            for u, v, w in zip(grid, values, weights, strict=True)
        ]
        peaks: list[int] = []  # the largest error between two changes of its sign
        for i, error in enumerate(errors):
            if peaks and (errors[peaks[-1]] > 0) == (error > 0):
                peaks[-1] = max(peaks[-1], i, key=lambda k: abs(errors[k]))
            elif weights[i] > TINY:
                peaks.append(i)
        while len(peaks) > count + 1:
            peaks.pop(0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1)
        if peaks == at or len(peaks) <= count:
            break
        at = peaks
    return found, max(map(abs, errors))


@dataclass
class Fit:
    name: str
    function: Callable[[Any], Any]
    interval: tuple[Any, Any]
    counts: tuple[int, int]  # coefficients in float32 and float64, without c0
    centre: str = "0"
    form: str = "one chain"
    weight: Callable[[Any], Any] | None = None


# e^r - 1 comes to r^3 times its tail: r^3 counts beside e^r, r^2 beside e^r - 1; and e^-2a for a >= 1.
LN2, SMALL = log(mpf(2)), exp(mpf(-2))
FITS = [
    Fit(
        "EXP_TAIL",
        expm1_tail,
        (-LN2 * mpf("0.501"), LN2 * mpf("0.501")),
        (4, 9),
        weight=lambda r: abs(r) ** mpf("2.5"),
    ),
    Fit("LOG_POLY", atanh_tail, (0, mpf("0.0296")), (4, 7)),
    Fit("LOG1P_UNIT", log1p_unit, (0, 1), (8, 19), "0.5", "c0 + u slope(u)", lambda t: t / (1 - t / 4)),
    Fit("LOG1P", log1p_tail, (0, 1), (9, 20), "search", "c0 + u slope(u)"),
    Fit("LOG1P_SMALL_POLY", log1p_tail, (0, SMALL), (5, 10), "0.0625", "two chains"),
    Fit("LOG_COSH", log_cosh_ratio, (0, 1), (6, 14), "search", "c0 + u slope(u)", lambda z: 2 + z / 3),
]


def literal(x: Any, dtype: Any) -> str:
    """Write a number as in the header, without zeros at its end."""
    digits, exponent = float(dtype(float(x))).hex().split("p")
    return f"{digits.rstrip('0').rstrip('.')}p{int(exponent)}"


def easy_centre(function: Callable[[Any], Any], dtype: Any) -> Any:
    """Return a number next to 1/2 where the function is very nearly a number of the dtype."""

    def candidates() -> Iterator[Any]:
        x = dtype(0.4999)
        for _ in range(7000):
            yield mpf(float(x))
            x = np.nextafter(x, dtype(1)) if dtype is np.float32 else x + dtype(2.0**-25)

    def rounding(x: Any) -> Any:
        c0 = function(x)
        return abs(c0 - mpf(float(dtype(float(c0)))))

    return min(candidates(), key=rounding)


def slope(function: Callable[[Any], Any], centre: Any, u: Any) -> Any:
    return (
        (function(centre + u) - function(centre)) / u if abs(u) > mpf(10) ** -15 else diff(function, centre)
    )


def constants(fit: Fit, dtype: Any) -> tuple[list[list[str]], Any]:
    """Return the constants by chain in the order of the header, and the largest error times the weight."""
    count, with_c0 = fit.counts[DTYPES.index(dtype)], fit.form == "c0 + u slope(u)"
    searched = fit.centre == "search"
    centre = easy_centre(fit.function, dtype) if searched else mpf(fit.centre)
    low, high = (end - centre for end in fit.interval)
    c0 = fit.function(centre)
    fitted = partial(slope, fit.function, centre) if searched else lambda u: fit.function(u + centre)
    if not fit.weight:
        with warnings.catch_warnings():  # newer versions want to be told the order, older ones cannot be
            warnings.simplefilter("ignore", DeprecationWarning)
            found, error = chebyfit(fitted, [low, high], count, error=True)
        found = found[::-1]
    elif searched:  # c0 is as good as exact, and stays
        found, error = minimax(fitted, lambda u: abs(u) * fit.weight(u + centre), low, high, count)
    else:
        found, error = minimax(fitted, lambda u: fit.weight(u + centre), low, high, count + with_c0)
        c0 = found.pop(0) if with_c0 else c0
    lines = [[literal(centre, dtype)], [literal(c0, dtype)]] if with_c0 else []
    terms = [literal(c, dtype) for c in found]
    return lines + ([terms] if fit.form == "one chain" else [terms[1::2], terms[::2]]), error


def main() -> None:
    with mp.workdps(60):
        for fit in FITS:
            for dtype in DTYPES:
                lines, error = constants(fit, dtype)
                print(f"FL_{fit.name} {dtype.__name__} (largest error {nstr(error, 2)})")
                for line in lines:
                    print("   ", ", ".join(line))


if __name__ == "__main__":
    main()
