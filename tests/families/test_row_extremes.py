"""Rows of numbers from all over the range, the ends and the subnormal ones included, against exact results.

As in `test_extremes.py`: what the dtype cannot hold must be inf of the right sign, and what is finite is no NaN.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from extremes import BOUND, FACTORS, sizes
from jets import seen
from mpmath import mp
from row_accuracy import SUBNORMAL, error
from row_references import ALL_ROW_REFERENCES, row_exact
from sweeps import every

import fastloss as fl

ROWS = 40  # of each loss, parameters and dtype
CLASSES = 1, 2, 3, 5, 17, 101
OUTPUTS = "value", "gradient", "Hessian"


def scores_of(rng, dtype, classes):
    """Of any sizes, or close to each other at any size."""
    both = np.array([s * x for x in sizes(dtype) for s in ((1, -1) if x else (1,))])
    scores = rng.choice(both, classes)
    if rng.random() < 0.6:
        scores = rng.choice(both[np.abs(both) < 2000]) * rng.choice(FACTORS, classes) + scores * (
            rng.random() < 0.3
        )
    with np.errstate(all="ignore"):
        return np.clip(scores, -np.finfo(dtype).max, np.finfo(dtype).max).astype(dtype)


def distribution(rng, dtype, classes, least=0):
    """Probabilities of any size; one class has what is left."""
    small = np.array([x for x in sizes(dtype) if x <= 0.1])
    row = rng.choice(small, classes) / classes
    row[rng.integers(classes)] += 1 - row.sum()
    return np.maximum(row.astype(dtype), least)


def problems(name, dtype, rows, seed=0):
    """Label and scores of each row."""
    rng, reference = np.random.default_rng(seed), ALL_ROW_REFERENCES[name]
    for _ in range(rows):
        classes = int(rng.choice(CLASSES, p=[0.05, 0.25, 0.3, 0.2, 0.15, 0.05]))
        of_probabilities = reference.of == "probabilities"
        scores = (
            distribution(rng, dtype, classes, np.finfo(dtype).smallest_subnormal)
            if of_probabilities
            else scores_of(rng, dtype, classes)
        )
        soft = not reference.hard or (reference.soft and rng.random() < 0.5)
        if soft and rng.random() < 0.3 and of_probabilities:
            yield scores.copy(), scores
        else:
            yield (distribution(rng, dtype, classes) if soft else int(rng.integers(classes))), scores


def unspecified(name, s, y, want, dtype):
    """Where docs/guarantees.md promises nothing but that it is no NaN."""
    high = float(np.finfo(dtype).max)
    if name == "multi_margin":  # the sum overflows, and the mean would not
        return abs(want) * len(s) > high / 2
    if name == "squared_log":  # 2 cost overflows
        return float(np.ptp(s.astype(float) / 4)) > high / 10
    if name == "js_divergence" and s.min() < np.finfo(dtype).tiny:  # y/p and its logarithm have fewer digits
        return True
    # labels that are subnormal: what multiplies them loses digits
    probabilities = ALL_ROW_REFERENCES[name].of == "probabilities" and name != "tv_distance"
    return probabilities and np.ndim(y) == 1 and bool(((y > 0) & (y < np.finfo(dtype).tiny)).any())


def limit(name, params, want, dtype):
    # what multiplies a subnormal p may make a normal number of it
    small = abs(want) < float(np.finfo(dtype).smallest_normal) * SUBNORMAL.get(name, 1)
    return max(BOUND, SUBNORMAL.get(name, 0) if small else 0)


def wrong_ones(name, given, dtype, rows, seed=0):
    loss, reference = fl.get(name, **given), ALL_ROW_REFERENCES[name]
    params = {k: v if v is None else float(dtype(v)) for k, v in loss.params.items() if k in loss.own}
    for y, s in problems(name, dtype, rows, seed):
        label = np.array(y)[None]
        with np.errstate(all="ignore"):
            value = loss(label, s[None], reduction="none")[0]
            grad, hess = (a[0] for a in loss.grad_and_hess(label, s[None], reduction="none"))
        last = len(s) - 1
        for k in sorted({0, last // 2, last, int(s.argmax()), 0 if np.ndim(y) else y}):
            exact = row_exact(reference, given if reference.of != "cost" else params, s, y, k)
            kink = seen["sided"]
            for output, want in enumerate(exact):
                got = value if output == 0 else (grad, hess)[output - 1][k]
                if output and kink:
                    continue
                if unspecified(name, s, y, want, dtype):
                    assert not math.isnan(got)
                    continue
                found = error(name, params, y, s, k, output, got, want, dtype)
                if math.isnan(got) or not found <= limit(name, params, want, dtype):
                    yield f"{OUTPUTS[output]} of {loss!r}, class {k}, y={y!r}, scores {s!r}: {got!r}, not {mp.nstr(want, 9)}: {float(found):.3g} ULP"


@every(8)
@pytest.mark.not_sanitized("exact results are asked for once")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("name", "params"), [(n, p) for n, r in ALL_ROW_REFERENCES.items() for p in r.params]
)
def test_extremes(name, params, dtype, every):
    found = list(wrong_ones(name, params, dtype, ROWS // every))
    assert not found, "\n".join([f"{len(found)} results", *found[:5]])


def rows_with_a_rare_class(dtype, rng):
    """Scores, and a class whose probability is at most e^6 times the smallest normal number."""
    edge = -math.log(float(np.finfo(dtype).smallest_normal))
    for _ in range(20):
        scores = rng.normal(size=rng.choice([2, 3, 5, 101])).astype(dtype)
        rare = int(rng.integers(len(scores)))
        scores[(rare + 1) % len(scores)] = 3
        scores[rare] = 3 - dtype(edge - rng.uniform(0, 6))
        yield scores, rare


@pytest.mark.not_sanitized("exact results are asked for once")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("name", "params"),
    [(n, p) for n, r in ALL_ROW_REFERENCES.items() if r.of == "cost" for p in r.params],
)
def test_derivatives_just_above_the_smallest_normal_number(name, params, dtype):
    loss, reference = fl.get(name, **params), ALL_ROW_REFERENCES[name]
    own = {k: v if v is None else float(dtype(v)) for k, v in loss.params.items() if k in loss.own}
    worst, count = 0.0, 0
    for scores, rare in rows_with_a_rare_class(dtype, np.random.default_rng(3)):
        for y in {rare, (rare + 1) % len(scores), (rare + 2) % len(scores)}:
            grad, hess = (a[0] for a in loss.grad_and_hess(np.array([y]), scores[None], reduction="none"))
            for output, got, want in zip(
                (1, 2), (grad[rare], hess[rare]), row_exact(reference, own, scores, y, rare)[1:], strict=True
            ):
                if abs(want) >= float(np.finfo(dtype).smallest_normal):
                    count += 1
                    worst = max(worst, float(error(name, own, y, scores, rare, output, got, want, dtype)))
    assert count
    assert worst <= BOUND + 1  # the other half of a probability is subnormal there
