"""The largest errors of a loss, in units of the last place (ULP) of the exact result: what docs/accuracy.md says.

There is no absolute allowance. Only where a result changes its sign within a factor 2 of an input do its terms
cancel; an error of more than 2 ULP there is counted in ULP of what a relative change of the inputs does to the
result, |p dF/dp| + |y dF/dy|, and apart from the others.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from mpmath import mp, mpf
from references import REFERENCES, condition, exact, points, ulp, ulp_error

import fastloss as fl

HEADINGS = {"fma": "Levels with fused multiply-add", "none": "The baseline", "rows": "Losses of rows"}
OUTPUTS = ("value", "gradient", "Hessian")
TARGET = 2
# Powers of a rounded logarithm: the error grows with the exponent. The page says how far.
BEYOND = {"barron": 2.5}
BASELINE = 2.5  # where products are rounded before they are added


@dataclass
class Worst:
    error: float = 0.0
    cancelling: float = 0.0
    where: str = ""

    def add(self, error: float, cancelling: bool, where: str) -> None:
        if error < 1e-9:  # of the differences that the reference takes
            return
        if cancelling:
            self.cancelling = max(self.cancelling, error)
        elif error > self.error:
            self.error, self.where = error, where


def changes_sign(reference, params, y, p, output, want) -> bool:
    """Whether the output has another sign at half or twice one of the inputs."""
    probability, signs = reference.scores == "probability", set()
    for f in (mpf(1) / 2, mpf(2)):
        labels = (
            [] if reference.labels == "binary" or (reference.labels == "unit" and y * f > 1) else [(y * f, p)]
        )
        scores = (
            []
            if (probability and p * f >= 1) or (reference.scores == "above -1" and p * f <= -1)
            else [(y, p * f)]
        )
        if reference.labels == "above -1" and y * f <= -1:
            labels = []
        for at in labels + scores:
            found = exact(reference, params, *at)[output]
            signs.add(0 if found is None else mp.sign(found))
    return any(sign != mp.sign(want) for sign in signs)


def measure(name: str, dtype: type, random_scores: int = 24, every: int = 1) -> list[Worst]:
    """The worst of each output over all parameters and every so manieth point of the references."""
    reference, worst = REFERENCES[name], [Worst() for _ in OUTPUTS]
    for given in reference.params:
        params = {k: float(dtype(v)) if isinstance(v, float) else v for k, v in given.items()}
        loss = fl.get(name, **params)
        y, p = (a[::every] for a in points(reference, dtype, random_scores))
        found = [loss(y, p, reduction="none"), *loss.grad_and_hess(y, p, reduction="none")]
        assert all(a.dtype == dtype for a in found)
        for i in range(y.size):
            wanted = exact(reference, params, float(y[i]), float(p[i]))
            for output, (got, want) in enumerate(zip((a[i] for a in found), wanted, strict=True)):
                if want is None:
                    continue
                where = f"{loss!r} at y_true={y[i]!r}, y_pred={p[i]!r} is {got!r}, not {float(want)!r}"
                error, cancelling = ulp_error(got, want, dtype), False
                if error > TARGET:
                    with mp.workdps(60):
                        cancelling = changes_sign(
                            reference, params, mpf(float(y[i])), mpf(float(p[i])), output, want
                        )
                    if cancelling and math.isfinite(got):
                        unit = ulp(max(condition(reference, params, y[i], p[i], output), abs(want)), dtype)
                        error = float(abs(mpf(float(got)) - want) / unit)
                worst[output].add(error, cancelling, where)
    return worst


def table(page: str, level: str) -> dict[str, list[tuple[float, float]]]:
    """What docs/accuracy.md says: by loss the largest error and, in brackets, that where terms cancel."""
    section = page.split(f"## {HEADINGS[level]}")[1].split("\n## ")[0]
    found = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            numbers = [[float(x) for x in re.findall(r"[\d.]+", cell)] for cell in cells[1:]]
            found[cells[0].strip("`")] = [(pair[0], pair[1] if len(pair) > 1 else 0.0) for pair in numbers]
    return found
