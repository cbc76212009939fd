"""exp, log and their like in csrc/kernels/vecmath.h: errors, special values, coefficients, the CPU's flush modes."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from itertools import chain

import elementary
import numpy as np
import pytest
from documents import ROOT
from elementary import FUNCTIONS, evaluate
from mpmath import mp
from sweeps import every

import fastloss as fl
from fastloss import _core

LEVELS = _core.supported_levels()


@pytest.fixture
def functions():
    if isinstance(elementary.module(), str):
        pytest.skip(elementary.module())


@every(20)
@pytest.mark.not_sanitized("its own build of the functions has no instrumentation")
@pytest.mark.usefixtures("functions")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_largest_error(name, dtype, every):
    """Of the points where reductions and ranges end, and 20000 random ones."""
    for level, (error, where) in elementary.measure(name, dtype, 20_000, every).items():
        assert error <= 1, f"{level}: {where}"


NAN, INF = float("nan"), float("inf")
LEAST = {np.float32: 2.0**-149, np.float64: 2.0**-1074}
SPECIAL = {  # argument: result; ±0 are alike, as the build leaves the sign of 0 open
    "exp": {0: 1, INF: INF, -INF: 0, NAN: NAN, 1e4: INF, -1e4: 0, "least": 1},
    "expm1": {0: 0, INF: INF, -INF: -1, NAN: NAN, 1e4: INF, -1e4: -1, "least": "least"},
    "e^-a": {0: 1, INF: 0, NAN: NAN, 1e4: 0, "least": 1},
    "e^-a - 1": {0: 0, INF: -1, NAN: NAN, 1e4: -1, "least": "-least"},
    "log": {1: 0, 0: -INF, INF: INF, -INF: NAN, -1: NAN, NAN: NAN},
    "log1p": {0: 0, -1: -INF, INF: INF, -INF: NAN, -2: NAN, NAN: NAN, "least": "least"},
    "log1p, unit": {0: 0, NAN: NAN, "least": "least"},
    "log1p, pair": {0: 0, NAN: NAN, "least": "least"},
    "log1p, small": {0: 0, NAN: NAN, "least": "least"},
    "log cosh, unit": {0: 0, NAN: NAN, "least": 0},
}


@pytest.mark.usefixtures("functions")
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name, level, dtype):
    least = {"least": LEAST[dtype], "-least": -LEAST[dtype]}
    for argument, result in SPECIAL[name].items():
        x = np.full(37, least.get(argument, argument), dtype)  # whole vectors and a remainder
        wanted = dtype(least.get(result, result))
        np.testing.assert_array_equal(evaluate(name, level, x), wanted)
        if argument == 0:
            np.testing.assert_array_equal(evaluate(name, level, -x), wanted)


@pytest.mark.usefixtures("functions")
@pytest.mark.parametrize("level", LEVELS)
def test_subnormal_results_of_exp(level, dtype):
    info = np.finfo(dtype)
    x = np.linspace(
        np.log(float(info.smallest_subnormal)) + 1, np.log(float(info.smallest_normal)) - 0.1, 500
    )
    got = evaluate("exp", level, x.astype(dtype))
    assert ((got > 0) & (got < info.smallest_normal)).all()
    np.testing.assert_array_equal(evaluate("e^-a", level, -x.astype(dtype)), got)


@every(6)
@pytest.mark.not_sanitized("no C")
@pytest.mark.skipif(not (ROOT / "tools").is_dir(), reason="needs the sources")
def test_coefficients_are_those_of_the_tool(every):
    spec = importlib.util.spec_from_file_location("fit_polynomials", ROOT / "tools" / "fit_polynomials.py")
    sys.modules[spec.name] = tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    header = (ROOT / "csrc" / "kernels" / "vecmath.h").read_text(encoding="utf-8").replace("\\\n", " ")
    for fit in tool.FITS[::every]:
        # a macro, or those of a centre, the value there and the slope; for float32 and then for float64
        found = re.findall(rf"#define FL_{fit.name}(?:_CENTRE|_AT_CENTRE|_SLOPE\(u\)|\([ruz]\)) (.*)", header)
        numbers = [re.findall(r"-?0x1[.\da-f]*p-?\d+", line) for line in found]
        each = len(found) // 2
        for half, dtype in enumerate(tool.DTYPES):
            with mp.workdps(60):
                lines, _ = tool.constants(fit, dtype)
            in_header = [*chain(*numbers[half * each : (half + 1) * each])]
            assert in_header == [*chain(*lines)], (fit.name, dtype)


FLUSH_MODES = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np

def modes():
    # subnormal arguments (DAZ) and results (FTZ), of both dtypes, in vectors and alone
    found = []
    for dtype in (np.float32, np.float64):
        info = np.finfo(dtype)
        for x in (np.full(64, info.smallest_normal), info.smallest_normal):
            half = x / dtype(2)
            found += [bool(np.all(half > 0)), bool(np.all(half * dtype(2) == x)),
                      bool(np.all(info.smallest_subnormal + 0 * x > 0))]
    return found

def call(i):
    before = modes()
    for dtype in (np.float32, np.float64):
        info = np.finfo(dtype)
        s = np.linspace(np.log(float(info.smallest_subnormal)) + 1, np.log(float(info.smallest_normal)) - 0.1, 200_000)
        s = s.astype(dtype)
        for loss in (fl.poisson, fl.logistic, fl.log_cosh):
            hess = loss.grad_and_hess(np.zeros_like(s), s, reduction="none")[1]
            if loss is not fl.log_cosh:
                # by whichever thread of the team it was computed
                assert ((hess > 0) & (hess < info.smallest_normal)).all(), loss
    return before, modes()

expected = modes()
assert all(expected)
with ThreadPoolExecutor(4) as pool:  # threads from before the import, too
    assert all(found == expected for found in pool.map(lambda i: modes(), range(16)))
    import fastloss as fl
    assert modes() == expected
    for threads in (1, 4):
        with fl.threads(threads):
            assert call(0) == (expected, expected)
    assert all(found == (expected, expected) for found in pool.map(call, range(8)))
with ThreadPoolExecutor(4) as pool:
    assert all(found == (expected, expected) for found in pool.map(call, range(8)))
assert modes() == expected
"""


def test_flush_modes_are_left_alone():
    """Neither the import nor a call changes FTZ or DAZ, in any thread: subnormals stay what they are."""
    result = subprocess.run([sys.executable, "-c", FLUSH_MODES], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr


def test_subnormal_gradients_and_hessians(dtype):
    least = dtype(LEAST[dtype])
    s = dtype(
        np.floor(np.log(float(least)) * 100 + 50) / 100
    )  # e^s is between 0.5 and 2 of the least subnormal
    assert fl.poisson.grad_and_hess([dtype(0)], np.array([s]), reduction="none")[1][0] in (least, 2 * least)
    assert fl.squared_error([dtype(0)], np.array([least]), reduction="none")[0] == 0
    assert fl.squared_error.value_and_grad(np.zeros(1, dtype), np.array([4 * least]), reduction="none")[1][
        0
    ] in (
        4 * least,
        8 * least,
    )
