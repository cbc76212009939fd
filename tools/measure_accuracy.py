"""Write docs/accuracy.md: the largest errors of every loss, measured. Takes some ten minutes.

    python tools/measure_accuracy.py

float64: the points of tests/support/references.py with ten times the random scores, against 800-digit references.
float32: the same points, and a million others per set of parameters against fastloss's own float64, which is right
to some 2^-29 of an ULP of float32.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
RANDOM_SCORES = 240
DENSE = 40_000  # random scores of each of five kinds, for each label
SINGLE = np.finfo(np.float32)

TEXT = """# Accuracy

The largest error of each output of each loss, in units of the last place (ULP) of the exact result, over the
parameters of `tests/support/references.py`, its points and many random ones: tails, subnormal numbers, kinks and the
ends of the range included, and no absolute allowance. An error of 0.5 is a correctly rounded result.

In brackets: where a result changes its sign within a factor 2 of an input, its terms cancel, and no formula in the
working precision can keep the relative error small. Errors of more than 2 ULP there are counted in ULP of what a
relative change of the inputs does to the result, |y ∂F/∂y| + |p ∂F/∂p|.

Two losses raise a rounded logarithm to a power, and with it the error: `barron` with `alpha` below -20 (2.2 ULP at
-40, 8 at -200) and `focal` with `gamma` above 10 (4.0 ULP at 20).

Parameters are rounded to the dtype of the computation, and so are constants that come from them, such as 1 - quantile
or 1/ln(base): the references have parameters that both dtypes hold. Parameters from all over the range have the same
bounds (`tests/families/test_extremes.py`), but for 0.7 ULP more for each unit of the exponent of a power. A few so
extreme that a product of them and the data leaves the range, such as a `dispersion` of 1e-30 in float32, may cost the
tails of a loss; [guarantees.md](guarantees.md#what-is-not-promised) lists them.

`python tools/measure_accuracy.py` writes this page, and `tests/families/test_accuracy.py` fails if a point of the
references exceeds it.
"""


def dense_scores(kind: str, rng: np.random.Generator) -> np.ndarray:
    n = DENSE
    if kind == "probability":
        unit = rng.random(n)
        x = np.concatenate([unit, np.exp2(-140 * rng.random(n)), 1 - 1e-4 * unit]).astype(np.float32)
        return x[(x > 0) & (x < 1)]
    anything = rng.integers(0, 2**32, n, dtype=np.uint64).astype(np.uint32).view(np.float32)
    unit = 2 * rng.random(n) - 1
    x = np.concatenate([anything, 3 * unit, 25 * unit, 100 * unit, rng.normal(size=n)]).astype(np.float32)
    x = x[np.isfinite(x)]
    return np.concatenate([np.abs(x), -np.abs(unit).astype(np.float32)])[:-1] if kind == "above -1" else x


def changes(reference, evaluate, y, p, outputs):
    """Return where an output has another sign at half or twice an input."""
    near = [np.zeros(p.shape, bool) for _ in outputs]
    for fy, fp in ((2, 1), (0.5, 1), (1, 2), (1, 0.5)):
        if fy != 1 and (reference.labels == "binary" or (reference.labels == "unit" and y[0] * fy > 1)):
            continue
        y2, p2 = y * fy, p * fp
        if reference.scores == "probability":
            p2 = np.minimum(p2, 1 - 2.0**-53)
        if reference.scores == "above -1":
            y2, p2 = np.maximum(y2, -1 + 2.0**-50), np.maximum(p2, -1 + 2.0**-50)
        near = [
            n | (np.sign(a) * np.sign(b) < 0) for n, a, b in zip(near, evaluate(y2, p2), outputs, strict=True)
        ]
    return near


def dense(name: str) -> list[float]:
    """Return the largest errors of float32 against float64 in value, gradient and Hessian, where no terms cancel."""
    from references import LABELS, REFERENCES

    import fastloss as fl

    reference, rng, worst = REFERENCES[name], np.random.default_rng(1), [0.0] * 3
    for params in reference.params:
        rounded = {k: float(np.float32(v)) if isinstance(v, float) else v for k, v in params.items()}
        loss = fl.get(name, **rounded)
        p = dense_scores(reference.scores, rng)

        def evaluate(y, p, loss=loss):
            return [loss(y, p, reduction="none"), *loss.grad_and_hess(y, p, reduction="none")]

        for label in LABELS[reference.labels]:
            y = np.full(p.shape, label, np.float32)
            y64, p64 = y.astype(float), p.astype(float)
            wanted = evaluate(y64, p64)
            for i, (got, want, near) in enumerate(
                zip(evaluate(y, p), wanted, changes(reference, evaluate, y64, p64, wanted), strict=True)
            ):
                exponent = np.maximum(np.frexp(np.abs(want))[1] - 1, SINGLE.minexp)
                error = np.abs(got - want) / np.ldexp(1.0, exponent - SINGLE.nmant)
                beyond = np.abs(want) > float(SINGLE.max)
                error[beyond] = np.where(np.abs(got[beyond]) >= SINGLE.max, 0, math.inf)
                error[near | (np.isnan(got) & np.isnan(want))] = 0
                worst[i] = max(worst[i], float(error.max()))
    return worst


def worst_of(name: str) -> list[tuple[float, float]]:
    """Return (error, error where terms cancel) of value, gradient and Hessian in float64, then in float32."""
    from accuracy import measure

    with np.errstate(all="ignore"):
        dtypes = (np.float64, np.float32)
        runs = [[w for dtype in dtypes for w in measure(name, dtype, n)] for n in (24, RANDOM_SCORES)]
        more = [0.0] * 3 + dense(name)
    return [
        (max(few.error, many.error, beside), max(few.cancelling, many.cancelling))
        for few, many, beside in zip(*runs, more, strict=True)
    ]


def cell(error: float, cancelling: float) -> str:
    def up(x: float) -> str:
        return f"{math.ceil(x * 10 - 1e-9) / 10:.1f}" if x > 1e-6 else "0"

    return up(error) + (f" ({up(cancelling)})" if cancelling else "")


def row(name: str, level: str) -> str:
    """Return a row of the table, measured in a process of its own with that SIMD level."""
    code = f"import sys, json; sys.path.insert(0, {str(ROOT / 'tools')!r})\n"
    code += f"import measure_accuracy as m; print(json.dumps(m.worst_of({name!r})))"
    command, environment = [sys.executable, "-c", code], {**os.environ, "FASTLOSS_ISA": level}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    line = "| " + " | ".join([f"`{name}`", *(cell(*pair) for pair in json.loads(done.stdout))]) + " |"
    print(level, line, flush=True)
    return line


ROWS_TEXT = """\
x86-64-v3 and v4; of results that are normal numbers. The gradient p - y of labels that are smoothed, or probabilities,
and sums of terms of either sign count in ULP of these terms. The derivatives of `expectation_l2` and the Hessian of
`tanimoto` cross 0: where the sum over j of abs(∂result/∂s_j), which is what relative changes of the exponentials do to
a result, is more than 8 times the result, an error counts in ULP of an eighth of that sum.
"""
HEAD = """\
| Loss | value, f64 | gradient, f64 | Hessian, f64 | value, f32 | gradient, f32 | Hessian, f32 |
|---|---|---|---|---|---|---|"""


def section(level: str, heading: str) -> str:
    from references import REFERENCES

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(pool.map(lambda name: row(name, level), REFERENCES))
    return "\n".join([f"## {heading}", "", HEAD, *rows, ""])


def rows_section(heading: str) -> str:
    """Return the section on losses of rows, measured at the level of this process."""
    from row_accuracy import measure
    from row_references import ALL_ROW_REFERENCES

    lines = []
    for name in ALL_ROW_REFERENCES:
        with np.errstate(all="ignore"):
            found = [error for dtype in (np.float64, np.float32) for error in measure(name, dtype)]
        lines.append("| " + " | ".join([f"`{name}`", *(cell(error, 0) for error in found)]) + " |")
        print("rows", lines[-1], flush=True)
    return "\n".join([f"## {heading}", "", HEAD, *lines, ""])


def main() -> None:
    from accuracy import HEADINGS

    from fastloss import _core

    levels = _core.supported_levels()
    best = section(levels[0], HEADINGS["fma"])
    note = "x86-64-v3 and v4, and aarch64: the same bits.\n"
    base = section(levels[-1], HEADINGS["none"])
    of_rows = rows_section(HEADINGS["rows"])
    (ROOT / "docs/accuracy.md").write_text(
        f"{TEXT}\n{best}\n{note}\n{base}\nx86-64-v2, on CPUs before 2013: products are rounded before they are added, which costs up to half a unit more.\n\n{of_rows}\n{ROWS_TEXT}",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
