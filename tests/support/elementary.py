"""The largest errors of csrc/kernels/vecmath.h against mpmath, in units of the last place (ULP) of the exact result.

    python tests/support/elementary.py [random arguments per function, 100000 by default] [function...]

Of more than 100000 only those go to mpmath where the results look worst beside long double. Prints them for both
dtypes and every SIMD level of this CPU; needs CMake and a C compiler. `tests/c/run vecmath` goes over all float32
arguments.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from documents import ROOT, TESTS
from mpmath import mp, mpf

from fastloss import _core

DTYPES = (np.float32, np.float64)
DIGITS = 50
LN2 = 0.6931471805599453


@dataclass(frozen=True)
class Function:
    exact: Callable[..., Any]
    low: float
    high: float
    second: str = ""  # what the other argument is


def log_cosh(a: Any) -> Any:
    return mp.log1p(2 * mp.sinh(a / 2) ** 2)


UNBOUNDED = (-np.inf, np.inf)
FUNCTIONS = {
    "exp": Function(mp.exp, *UNBOUNDED),
    "exp of a pair": Function(lambda x, y: mp.exp(x + y), -1500, 1500, "rest"),
    "expm1": Function(mp.expm1, *UNBOUNDED),
    "e^-a": Function(lambda a: mp.exp(-a), 0, np.inf),
    "e^-a, high part": Function(lambda a: mp.exp(-a), 0, np.inf),
    "e^-a - 1": Function(lambda a: mp.expm1(-a), 0, np.inf),
    "w e^x": Function(lambda x, w: w * mp.exp(x), *UNBOUNDED, "factor"),
    "log": Function(mp.log, 5e-324, np.inf),
    "log1p": Function(mp.log1p, -1 + 2.0**-53, np.inf),
    "log(a + b)": Function(lambda a, b: mp.log(mp.fadd(a, b, exact=True)), 5e-324, np.inf, "summand"),
    "log1p, unit": Function(mp.log1p, 0, 1),
    "log1p, pair": Function(mp.log1p, 0, 1),
    "log1p, small": Function(mp.log1p, 0, 0.1353352),  # e^-2
    "log cosh, unit": Function(log_cosh, 0, 1),
}


@cache
def module() -> ctypes.CDLL | str:
    """tests/c/elementary.c, compiled with the flags of the kernels; or why not."""
    sources = TESTS / "c"
    if not sources.is_dir() or not (ROOT / "csrc").is_dir():
        return "needs the sources"
    if not shutil.which("cmake"):
        return "needs CMake"
    with tempfile.TemporaryDirectory() as build:
        configured = subprocess.run(
            ["cmake", "-S", sources, "-B", build, "-DCMAKE_BUILD_TYPE="], capture_output=True, text=True
        )
        if "CMAKE_C_COMPILER" in configured.stderr:
            return "needs a C compiler"
        configured.check_returncode()
        subprocess.run(
            ["cmake", "--build", build, "--target", "elementary", "--parallel", "2"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return ctypes.CDLL(os.path.join(build, "elementary.so"))


def evaluate(name: str, level: str, x: Any, y: Any = None) -> Any:
    """The function of vecmath.h on arrays."""
    library = module()
    assert not isinstance(library, str), library
    x = np.ascontiguousarray(x)
    y = x if y is None else np.ascontiguousarray(y)
    out = np.empty_like(x)
    function = getattr(library, f"elementary_f{x.itemsize * 8}_{level}")
    pointers = (ctypes.c_void_p(a.ctypes.data) for a in (x, y, out))
    assert function(name.encode(), *pointers, ctypes.c_size_t(x.size)) == 0
    return out


def around(at: Any, dtype: Any, ulps: int) -> Any:
    """The numbers within some ULP of those given."""
    integer = np.int64 if dtype is np.float64 else np.int32
    near = np.asarray(at, dtype).view(integer)[:, None] + np.arange(-ulps, ulps + 1, dtype=integer)
    return near.ravel().view(dtype)


def adversarial(dtype: Any) -> Any:
    """Where reductions change, near 0 and 1, thresholds, powers of two, subnormals."""
    info = np.finfo(dtype)
    largest, least = np.log(float(info.max)), np.log(float(info.smallest_subnormal))
    k = np.arange(np.floor(least / LN2) - 2, np.ceil(largest / LN2) + 3)
    exponents = np.arange(info.minexp - info.nmant, info.maxexp)
    powers = np.ldexp(dtype(1), exponents.astype(np.int32))
    thresholds = np.array(
        [largest, least, least - LN2, np.log(float(info.smallest_normal)), 40, 130, 174, 770, 1414]
    )
    centres = np.array(
        [0.5, 1, 2, 1.5, np.sqrt(0.5), np.sqrt(2), 0.25, 0.75, LN2, np.exp(-2), np.sqrt(0.5) - 1]
    )
    steps = np.arange(-400, 401)
    roots = dtype(np.sqrt(0.5)) * powers[powers >= info.smallest_normal]
    rng = np.random.default_rng(1)
    subnormal = (rng.integers(1, 2**info.nmant, 500) * float(info.smallest_subnormal)).astype(dtype)
    found = [
        around(k * LN2, dtype, 2),
        around((k + 0.5) * LN2, dtype, 3),
        around(powers, dtype, 2),
        around(roots, dtype, 2),
        around(thresholds, dtype, 100),
        around(centres, dtype, 200),
        (steps * float(info.eps) / 4).astype(dtype),
        (steps / 400 * 1e-3).astype(dtype),
        np.arange(1, 200) * info.smallest_subnormal,
        subnormal,
        around([info.max], dtype, 0),
    ]
    both = np.concatenate(found)
    both = both[np.isfinite(both)]
    return np.concatenate([both, -both]).astype(dtype)


def random(dtype: Any, n: int, seed: int = 2) -> Any:
    """Of all sizes, and uniformly where the function has something to show."""
    rng, info = np.random.default_rng(seed), np.finfo(dtype)
    sign = rng.choice([-1.0, 1.0], n // 4)
    sizes = sign * np.ldexp(
        rng.uniform(0.5, 1, n // 4), rng.integers(info.minexp - info.nmant, info.maxexp, n // 4)
    )
    most = 1.1 * np.log(float(info.max))
    wide, small, unit = (rng.uniform(-a, a, n // 4) for a in (most, 2, 1))
    return np.concatenate([sizes, wide, small, unit]).astype(dtype)


def second(kind: str, x: Any, dtype: Any) -> Any:
    """The second argument for each first one."""
    rng, info = np.random.default_rng(3), np.finfo(dtype)
    sign = rng.choice([-1.0, 1.0], x.size)
    if kind == "rest":
        return (rng.uniform(-0.5, 0.5, x.size) * np.spacing(np.abs(x))).astype(dtype)
    if kind == "factor":  # normal, as much as three quarters of the range
        spread = rng.integers(info.minexp * 3 // 4, info.maxexp * 3 // 4, x.size)
        return (sign * np.ldexp(rng.uniform(1, 2, x.size), spread)).astype(dtype)
    size = np.minimum(x.astype(np.float64), float(info.max) / 128)
    y = (np.ldexp(rng.uniform(1, 2, x.size), rng.integers(-info.nmant - 5, 5, x.size)) * size).astype(dtype)
    # a sum near 1, with and without cancellation, and any other
    near_one = (1 - x.astype(np.float64) + sign * np.ldexp(1.0, rng.integers(-60, -1, x.size))).astype(dtype)
    return np.where((rng.random(x.size) < 0.5) & (x < 4), near_one, y)


@dataclass
class References:
    """Exact results as hi + lo, scaled by 2^shift so that neither overflows or loses bits."""

    x: Any
    y: Any
    hi: Any
    lo: Any
    unit: Any
    shift: Any

    def errors(self, got: Any) -> Any:
        """In ULP; 0 for inf beyond the range, where inf stands for the next power of two."""
        maxexp = np.finfo(got.dtype).maxexp
        near = np.ldexp(np.where(np.isinf(got), 0, got).astype(np.float64), self.shift)
        with np.errstate(over="ignore"):
            near = np.where(np.isinf(got), np.copysign(np.ldexp(1.0, maxexp + self.shift), got), near)
        beyond = np.isinf(got) & (np.abs(self.hi) >= np.abs(near)) & ((got > 0) == (self.hi > 0))
        with np.errstate(invalid="ignore", over="ignore"):
            found = np.where(beyond, 0, np.abs((near - self.hi) - self.lo) / self.unit)
        return np.where(np.isnan(got), np.inf, found)


def references(name: str, dtype: Any, x: Any) -> References:
    function, info = FUNCTIONS[name], np.finfo(dtype)
    wide = x.astype(np.float64)
    x = x[(wide >= function.low) & (wide <= function.high)]
    if name == "log cosh, unit":  # below, a^2 loses bits: vecmath.h
        x = x[x >= (2.0**-50 if dtype is np.float32 else 2.0**-480)]
    y = None
    if function.second:
        x = x[np.abs(x) < info.max / 4]
        y = second(function.second, x, dtype)
    if name == "log(a + b)":
        keep = x.astype(np.longdouble) + y > 0
        x, y = x[keep], y[keep]
    hi, lo, unit, shift = (np.empty(x.size) for _ in range(4))
    with mp.workdps(DIGITS):
        for i in range(x.size):
            arguments = [mpf(float(x[i]))] if y is None else [mpf(float(x[i])), mpf(float(y[i]))]
            if not name.startswith("log"):  # beyond 10^5 the result is out of range whatever the argument
                arguments[0] = max(min(arguments[0], mpf(10) ** 5), -(mpf(10) ** 5))
            want = function.exact(*arguments)
            exponent = mp.frexp(want)[1] - 1 if want else -(10**5)
            by = -200 if exponent > 700 else 200 if exponent < -700 else 0
            if exponent > 1300:
                want, exponent = mp.sign(want) * mpf(2) ** 1100, 1100
            want = mp.ldexp(want, by)
            hi[i] = float(want)
            lo[i] = float(want - mpf(hi[i]))
            unit[i] = np.ldexp(1.0, max(min(exponent, info.maxexp - 1), info.minexp) - info.nmant + by)
            shift[i] = by
    return References(x, y, hi, lo, unit, shift.astype(np.int32))


ROUGH = {
    "exp": np.exp,
    "expm1": np.expm1,
    "e^-a": lambda a: np.exp(-a),
    "e^-a, high part": lambda a: np.exp(-a),
    "e^-a - 1": lambda a: np.expm1(-a),
    "log": np.log,
    "log1p": np.log1p,
    "log1p, unit": np.log1p,
    "log1p, pair": np.log1p,
    "log1p, small": np.log1p,
    "log cosh, unit": lambda a: np.log1p(2 * np.sinh(a / 2) ** 2),
}


def promising(name: str, dtype: Any, n: int) -> Any:
    """Of n random arguments those where the results look worst beside NumPy's long double."""
    function, found = FUNCTIONS[name], []
    chunk = 400_000
    for seed in range(n // chunk):
        x = np.concatenate(
            [random(dtype, chunk // 2, seed + 10), spread(function, dtype, chunk // 2, seed + 10)]
        )
        x = x[(x > function.low) & (x < function.high)]
        with np.errstate(all="ignore"):
            exact = ROUGH[name](x.astype(np.longdouble))
            unit = np.spacing(np.abs(exact).astype(dtype)).astype(np.longdouble)
        for level in _core.supported_levels():
            with np.errstate(all="ignore"):
                errors = np.abs(evaluate(name, level, x) - exact) / unit
            errors[~np.isfinite(errors)] = 0
            found.append(x[np.argsort(errors)[-20:]])
    return np.concatenate(found)


def spread(function: Function, dtype: Any, n: int, seed: int) -> Any:
    """Arguments whose results are of ordinary size."""
    rng = np.random.default_rng(seed)
    low, high = max(function.low, -3), min(function.high, 3)
    sizes = np.ldexp(rng.uniform(0.5, 1, n // 2), rng.integers(-20, 2, n // 2)) * rng.choice([-1, 1], n // 2)
    return np.concatenate([rng.uniform(low, high, n // 2), sizes]).astype(dtype)


def measure(name: str, dtype: Any, n: int, every: int = 1) -> dict[str, tuple[float, str]]:
    """By level: the largest error, and where; of every so manieth argument."""
    x = np.concatenate([adversarial(dtype), random(dtype, min(n, 100_000))])
    if n > 100_000 and name in ROUGH:
        x = np.concatenate([x, promising(name, dtype, n)])
    reference, worst = references(name, dtype, x[::every]), {}
    for level in _core.supported_levels():
        got = evaluate(name, level, reference.x, reference.y)
        errors = reference.errors(got)
        i = int(np.argmax(errors))
        where = f"{float(reference.x[i]).hex()}" + (
            "" if reference.y is None else f", {float(reference.y[i]).hex()}"
        )
        worst[level] = (float(errors[i]), f"{name} is {errors[i]:.3f} ULP off at {where}")
    return worst


if __name__ == "__main__":
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    for name in sys.argv[2:] or FUNCTIONS:
        for dtype in DTYPES:
            for level, (error, where) in measure(name, dtype, n).items():
                print(f"{level:7} {dtype.__name__} {name:16} {error:.4f} {where}", flush=True)
