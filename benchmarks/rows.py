"""What is compared, and the targets: each says 'at least' in the unit of its column."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

DTYPES = ("float32", "float64")
MEMORY_BOUND = ("squared_error", "huber", "absolute_error")


@dataclass(frozen=True)
class Row:
    loss: str
    method: str
    dtype: str
    n: int  # elements, or rows of classes
    threads: int
    ahead: dict[str, float] = field(default_factory=dict)  # by contestant: how many times as fast
    at_most: float | None = None  # microseconds
    of_memory: float | None = None  # fraction of the bandwidth of the memory
    against: str = ""  # what stands, alone, in the column of its library
    classes: int = 1
    features: int = 0  # of the layer whose scores the rows are
    less_memory: float | None = None  # times as little as PyTorch

    @property
    def title(self) -> str:
        call = self.loss if self.method == "value" else f"{self.loss}.{self.method}"
        size = f"n={self.n:.3g}".replace("e+0", "e") if self.n >= 10_000 else f"n={self.n}"
        if self.classes > 1:
            size = "x".join(str(k) for k in (self.n, self.features, self.classes) if k)
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
    """Yield the rows whose elements are rows of scores or probabilities; targets are for float32."""
    workloads = (
        (100_000, 10, {"scikit-learn": 4.0, "PyTorch": 10.0}, None),
        (8192, 1000, {"PyTorch": 4.0}, None),
        (1024, 32_000, {"PyTorch": 6.0}, 2 / 3),
        (128, 128_256, {"PyTorch": 6.0}, 2 / 3),
    )
    for dtype in DTYPES:

        def row(
            loss: str, method: str, n: int, ahead: dict[str, float], *, dtype: str = dtype, **rest: Any
        ) -> Row:
            return Row(loss, method, dtype, size(n), threads, ahead if dtype == "float32" else {}, **rest)

        for n, classes, ahead, of_memory in workloads:
            ours = of_memory if dtype == "float32" else None
            yield row("softmax_cross_entropy", "value_and_grad", n, ahead, classes=classes, of_memory=ours)
        ahead = {"NumPy": 5.0, "scikit-learn": 4.0}
        yield row("softmax_cross_entropy", "grad_and_hess", 1_000_000, ahead, classes=3)
        yield row("binary_cross_entropy", "value", 1_000_000, {"scikit-learn": 50.0})
        yield row("cross_entropy", "value", 1_000_000, {"scikit-learn": 50.0}, classes=10)
        layer = {"classes": 32_000, "features": size(512)}
        less = 4.0 if dtype == "float32" else None
        yield row("linear_cross_entropy", "value_and_grad", 2048, {"PyTorch": 1.3}, **layer, less_memory=less)
        fused = "F.linear_cross_entropy"
        yield row("linear_cross_entropy", "value_and_grad", 2048, {"PyTorch": 1.0}, **layer, against=fused)
