"""The recorded bits of tests/vectors: their format, and how they are made. tests/c/vectors.c reads them, too.

    f32 70001                           dtype; elements of the sums
    huber delta=0.25 37                 loss, parameters (- for its defaults), elements
    constants 0x1p-2 0x0p+0 ...         what the loss's declaration returns, up to four
    sums -4.0 0x1p-21 0 ...             y0 dy shift, p0 dp shift, the sum, the weighted sum
    00000000 3f800000 ...               y_true, y_pred, weight, value, gradient, hessian: bits in hex

The inputs of the sums are y0 + dy (k >> shift) with k of 24 bits from a generator, exact in both dtypes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from documents import TESTS
from references import LABELS, REFERENCES, Reference, points

import fastloss as fl

FOLDER = TESTS / "vectors"
DTYPES = {"f32": np.float32, "f64": np.float64}
ELEMENTS = 37  # two groups of lanes and a rest
LONG = 70_001

Map = tuple[float, float, int]
LABEL_MAPS: dict[str, Map] = {
    "real": (-4.0, 2.0**-21, 0),
    "count": (0.0, 1.0, 20),
    "positive": (2.0**-4, 2.0**-4, 16),
    "unit": (0.0, 2.0**-6, 18),
    "binary": (-1.0, 2.0, 23),
    "above -1": (-0.5, 2.0**-21, 0),
}
SCORE_MAPS: dict[str, Map] = {
    "real": (-8.0, 2.0**-20, 0),
    "probability": (2.0**-24, 2.0**-23, 1),
    "above -1": (-0.5, 2.0**-21, 0),
}
WEIGHT_MAP: Map = (0.0, 2.0**-3, 20)


@dataclass(frozen=True)
class Case:
    name: str
    params: str
    constants: tuple[float, ...]
    maps: tuple[Map, Map]
    sums: tuple[int, int]
    rows: np.ndarray  # of bits: y_true, y_pred, weight, value, gradient, hessian

    @property
    def loss(self) -> fl.Loss[...]:
        pairs = [pair.split("=") for pair in self.params.split(",") if pair != "-"]
        return fl.get(self.name, **{name: float(value) for name, value in pairs})

    def __str__(self) -> str:
        return f"{self.name} {self.params}"


@cache
def generated() -> np.ndarray:
    """The 24-bit numbers for the labels, scores and weights of a sum."""
    state, numbers = 1, []
    for _ in range(3 * LONG):
        state = (1664525 * state + 1013904223) % 2**32
        numbers.append(state >> 8)
    return np.array(numbers).reshape(LONG, 3).T


def long_inputs(maps: Iterable[Map], dtype: type) -> list[np.ndarray]:
    return [
        (start + step * (k >> shift)).astype(dtype)
        for k, (start, step, shift) in zip(generated(), [*maps, WEIGHT_MAP], strict=True)
    ]


def bits(array: np.ndarray | float) -> np.ndarray:
    array = np.asarray(array)
    return array.view(f"u{array.itemsize}")


def canonical(array: np.ndarray | float) -> np.ndarray:
    """The bits, with one NaN and one zero: the build promises neither payloads nor the sign of 0."""
    array = np.array(array)
    array[array == 0] = 0
    array[np.isnan(array)] = np.nan
    return bits(array)


# ---- writing ----------------------------------------------------------------------------------------


def in_domain(loss: fl.Loss[...], y: float, p: float, dtype: type) -> bool:
    try:
        loss(np.array([y], dtype), np.array([p], dtype))
    except ValueError:
        return False
    return True


def inputs(loss: fl.Loss[...], reference: Reference, dtype: type) -> tuple[np.ndarray, ...]:
    """Zeros, subnormals, infinities, NaN and kinks; one bad element of weight 0; then tails at random."""
    least, most = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    labels = LABELS[reference.labels]
    kinks = [1.0, *(float(k) for k in loss.params.values() if k is not None and np.isfinite(k))]
    scores = [0.0, -0.0, least, -1e5 * least, np.inf, -np.inf, np.nan, most, -most]
    pairs = [(labels[i % len(labels)], p) for i, p in enumerate(scores)]
    pairs += [(labels[i % 2], labels[i % 2] + sign * k) for i, k in enumerate(kinks) for sign in (1, -1)]
    pairs += [(0.0, np.nextafter(dtype(kinks[-1]), dtype(9))), (np.inf, np.inf), (most, -most), (least, 0.5)]
    pairs += [(np.nan, 0.5), (-np.inf, 0.25), (labels[-1], labels[-1]), (-least, least)]
    y, p = np.array([pair for pair in pairs if in_domain(loss, *pair, dtype)], dtype).T
    count = ELEMENTS - 1 - len(y)
    more = [a[np.random.default_rng(1).permutation(a.size)[:count]] for a in points(reference, dtype)]
    y, p = np.r_[y, dtype(-7), more[0]], np.r_[p, dtype(-7), more[1]]
    w = np.ones(ELEMENTS, dtype)
    w[::6], w[::13] = 0.7, -2.5
    w[-count - 1] = 0
    return y, p, w


def outputs(loss: fl.Loss[...], y: np.ndarray, p: np.ndarray, w: np.ndarray) -> list[np.ndarray]:
    value = loss(y, p, sample_weight=w, reduction="none")
    return [value, *loss.grad_and_hess(y, p, sample_weight=w, reduction="none")]


def record(name: str, params: dict[str, float | None], dtype: type) -> Case:
    loss, reference = fl.get(name, **params), REFERENCES[name]
    y, p, w = inputs(loss, reference, dtype)
    columns = [bits(a) for a in (y, p, w)] + [canonical(a) for a in outputs(loss, y, p, w)]
    maps = LABEL_MAPS[reference.labels], SCORE_MAPS[reference.scores]
    long_y, long_p, long_w = long_inputs(maps, dtype)
    sums = [loss(long_y, long_p, sample_weight=weight, reduction="sum") for weight in (None, long_w)]
    constants = (*map(float, loss.declaration(**loss.params)), 0.0, 0.0, 0.0, 0.0)[:4]
    text = ",".join(f"{key}={float(value)!r}" for key, value in params.items()) or "-"
    rows = np.array(columns).T
    return Case(name, text, constants, maps, tuple(int(canonical(s)) for s in sums), rows)


def text_of(dtype_name: str) -> str:
    """The whole of a recorded file, from the installed module."""
    digits = 8 if dtype_name == "f32" else 16
    lines = [f"{dtype_name} {LONG}"]
    for name, reference in REFERENCES.items():
        for params in reference.params:
            case = record(name, params, DTYPES[dtype_name])
            places = " ".join(f"{start!r} {step.hex()} {shift}" for start, step, shift in case.maps)
            lines += [
                f"{case.name} {case.params} {len(case.rows)}",
                "constants " + " ".join(k.hex() for k in case.constants),
                f"sums {places} " + " ".join(f"{s:016x}" for s in case.sums),
                *(" ".join(f"{int(x):0{digits}x}" for x in row) for row in case.rows),
            ]
    return "\n".join(lines) + "\n"


# ---- reading ----------------------------------------------------------------------------------------


def read(dtype_name: str) -> list[Case]:
    lines = iter((FOLDER / f"{dtype_name}.txt").read_text(encoding="ascii").splitlines()[1:])
    cases = []
    for line in lines:
        name, params, count = line.split()
        constants = tuple(float.fromhex(k) for k in next(lines).split()[1:])
        y0, dy, y_shift, p0, dp, p_shift, *sums = next(lines).split()[1:]
        maps = tuple(
            (float(start), float.fromhex(step), int(shift))
            for start, step, shift in ((y0, dy, y_shift), (p0, dp, p_shift))
        )
        rows = [[int(x, 16) for x in next(lines).split()] for _ in range(int(count))]
        unsigned = "u4" if dtype_name == "f32" else "u8"
        cases.append(
            Case(name, params, constants, maps, tuple(int(s, 16) for s in sums), np.array(rows, unsigned))
        )
    return cases
