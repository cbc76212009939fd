"""What is compared, and the targets: each says 'at least' in the unit of its column."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

DTYPES = ("float32", "float64")
MEMORY_BOUND = ("squared_error", "huber", "absolute_error")


@dataclass(frozen=True)
class Row:
    """A call to time, and its targets."""

    loss: str
    method: str
    dtype: str
    n: int  # elements, or rows of classes
    threads: int
    ahead: dict[str, float] = field(default_factory=dict)  # how many times as fast as each contestant
    at_most: float | None = None  # the microseconds that it may take
    of_memory: float | None = None  # the fraction of the bandwidth of the memory that it is to reach
    against: str = ""  # the only contestant besides fastloss, in the column of its library
    classes: int = 1
    features: int = 0  # inputs of the layer that computes the scores
    less_memory: float | None = None  # how many times less memory it is to take than PyTorch
    out: bool = False  # whether fastloss writes to arrays that it is given

    @property
    def title(self) -> str:
        call = self.loss if self.method == "value" else f"{self.loss}.{self.method}"
        size = f"n={self.n:.3g}".replace("e+0", "e") if self.n >= 10_000 else f"n={self.n}"
        if self.classes > 1:
            size = "x".join(str(k) for k in (self.n, self.features, self.classes) if k)
        size += " out=" if self.out else ""
        return f"{call} {self.dtype} {size}" + (f" against {self.against}" if self.against else "")

    @property
    def target(self) -> str:
        parts = [f"{ratio:g}x {name}" for name, ratio in self.ahead.items()]
        if self.at_most is not None:
            parts.insert(0, f"<= {self.at_most:g} us")
        if self.of_memory is not None:
            parts.insert(0, f"{self.of_memory:.0%} of memory")
        if self.less_memory is not None:
            parts.append(f"{self.less_memory:g}x less memory")
        return ", ".join(parts)


def rows(threads: int, large_bytes: int, scale: float) -> Iterator[Row]:
    """Yield all rows. `scale` shortens the arrays, for tests."""

    def size(n: float) -> int:
        return max(16, int(n * scale))

    million = size(1e6)
    for dtype in DTYPES:
        targets = {"scikit-learn": 8.0, "PyTorch": 4.0, "JAX": 3.0}
        yield Row("logistic", "value_and_grad", dtype, million, threads, targets)
    for loss in ("poisson", "focal", "log_cosh", "gamma"):
        for dtype in DTYPES:
            yield Row(loss, "value_and_grad", dtype, million, threads, {"PyTorch": 4.0})
    for loss in MEMORY_BOUND:
        for dtype in DTYPES:
            yield Row(loss, "value_and_grad", dtype, million, threads, {"PyTorch": 1.5})
    for loss in MEMORY_BOUND:
        for dtype, itemsize in zip(DTYPES, (4, 8), strict=True):
            large = size(large_bytes // itemsize)
            yield Row(loss, "value", dtype, large, threads, {"PyTorch": 1.0}, of_memory=0.9)
            yield Row(loss, "value_and_grad", dtype, large, threads, {"PyTorch": 1.5})
    for loss in ("squared_error", "huber"):
        for dtype in DTYPES:
            yield Row(loss, "value", dtype, 100, threads, {"NumPy": 8.0, "PyTorch": 15.0}, at_most=0.5)
    for dtype in DTYPES:
        yield Row("logistic", "value_and_grad", dtype, 100, threads, at_most=1.0)
    yield Row("logistic", "value_and_grad", "float32", 2048, 1, {"NumPy": 1.0}, against="exp + log1p")
    yield from multiclass(threads, size)


def multiclass(threads: int, size: Callable[[float], int]) -> Iterator[Row]:
    """Yield the rows whose elements are rows of scores or probabilities; the targets are those of float32."""
    softmax = ("softmax_cross_entropy", "value_and_grad")
    layer, of_layer = ("linear_cross_entropy", "value_and_grad"), {"classes": 32_000, "features": size(512)}
    workloads: list[tuple[tuple[str, str], float, dict[str, float], dict[str, Any]]] = [
        (softmax, 1e5, {"scikit-learn": 4.0, "PyTorch": 10.0}, {"classes": 10}),
        (softmax, 8192, {"PyTorch": 4.0}, {"classes": 1000}),
        (softmax, 1024, {"PyTorch": 6.0}, {"classes": 32_000}),
        (softmax, 1024, {"PyTorch": 6.0}, {"classes": 32_000, "of_memory": 2 / 3, "out": True}),
        (softmax, 128, {"PyTorch": 6.0}, {"classes": 128_256}),
        (softmax, 128, {"PyTorch": 6.0}, {"classes": 128_256, "of_memory": 2 / 3, "out": True}),
        (
            ("softmax_cross_entropy", "grad_and_hess"),
            1e6,
            {"NumPy": 5.0, "scikit-learn": 4.0},
            {"classes": 3},
        ),
        (("binary_cross_entropy", "value"), 1e6, {"scikit-learn": 50.0}, {}),
        (("cross_entropy", "value"), 1e6, {"scikit-learn": 50.0}, {"classes": 10}),
        (layer, 2048, {"PyTorch": 1.3}, {**of_layer, "less_memory": 4.0}),
        (layer, 2048, {"PyTorch": 1.0}, {**of_layer, "against": "F.linear_cross_entropy"}),
    ]
    for dtype, (call, n, ahead, rest) in product(DTYPES, workloads):
        row = Row(*call, dtype, size(n), threads, ahead, **rest)
        yield row if dtype == "float32" else replace(row, ahead={}, of_memory=None, less_memory=None)
