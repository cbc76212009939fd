"""What is compared, and the targets: each says 'at least' in the unit of its column."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

DTYPES = ("float32", "float64")
MEMORY_BOUND = ("squared_error", "huber", "absolute_error")


@dataclass(frozen=True)
class Row:
    loss: str
    method: str
    dtype: str
    n: int
    threads: int
    ahead: dict[str, float] = field(default_factory=dict)  # by contestant: how many times as fast
    at_most: float | None = None  # microseconds
    of_read: float | None = None  # fraction of the read bandwidth
    exp_and_log1p: bool = False  # in NumPy's column, and alone

    @property
    def title(self) -> str:
        call = self.loss if self.method == "value" else f"{self.loss}.{self.method}"
        size = f"{self.n:.3g}".replace("e+0", "e") if self.n >= 10_000 else str(self.n)
        return f"{call} {self.dtype} n={size}" + (" against exp + log1p" if self.exp_and_log1p else "")

    @property
    def target(self) -> str:
        parts = [f"{ratio:g}x {name}" for name, ratio in self.ahead.items()]
        if self.at_most is not None:
            parts.insert(0, f"<= {self.at_most:g} us")
        if self.of_read is not None:
            parts.insert(0, f"{self.of_read:.0%} of read")
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
            yield Row(loss, "value", dtype, large, threads, {"PyTorch": 1.0}, of_read=0.9)
            yield Row(loss, "value_and_grad", dtype, large, threads, {"PyTorch": 1.5})
    for loss in ("squared_error", "huber"):
        for dtype in DTYPES:
            yield Row(loss, "value", dtype, 100, threads, {"NumPy": 8.0, "PyTorch": 15.0}, at_most=0.5)
    for dtype in DTYPES:
        yield Row("logistic", "value_and_grad", dtype, 100, threads, at_most=1.0)
    yield Row("logistic", "value_and_grad", "float32", 2048, 1, {"NumPy": 1.0}, exp_and_log1p=True)
