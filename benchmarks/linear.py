"""linear.value_and_grad against scikit-learn's LinearModelLoss and NumPy's or SciPy's two passes; see README.md."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from versus import limit_threads

DENSE = ((200_000, 100), (1_000_000, 30), (50_000, 1000))
SPARSE = (200_000, 50_000, 50)  # rows, columns, non-zeros of a row


def problems(dtype: str, scale: float) -> Iterator[tuple[str, Any, Any, Any]]:
    """Yield title, X, y and parameters, the intercept last."""
    import numpy as np

    rng = np.random.default_rng(0)

    def rest(rows: int, columns: int, used: int) -> tuple[Any, Any]:
        w = rng.normal(size=columns + 1) / used**0.5
        return rng.integers(0, 2, rows).astype(dtype), w.astype(dtype)

    for rows, columns in DENSE:
        rows = max(16, int(rows * scale))
        X = rng.standard_normal((rows, columns), dtype=np.dtype(dtype).type)
        yield f"{dtype} {rows} x {columns}", X, *rest(rows, columns, columns)
    try:
        from scipy.sparse import csr_array
    except ImportError:
        return
    rows, columns, used = max(16, int(SPARSE[0] * scale)), *SPARSE[1:]
    parts = rng.standard_normal(rows * used).astype(dtype), rng.integers(0, columns, rows * used)
    X = csr_array((*parts, np.arange(0, rows * used + 1, used)), shape=(rows, columns))
    yield f"{dtype} CSR {rows} x {columns}, {used} a row", X, *rest(rows, columns, used)


def contestants(X: Any, y: Any, w: Any, threads: int) -> dict[str, Any]:
    """Return functions of y and w that compute the mean and its gradient, and functions that only read X once."""
    import numpy as np
    from measure import Entry, readers

    import fastloss as fl

    fl.set_num_threads(threads)
    one_pass = fl.linear.Objective("logistic", X, y)

    def two_passes(y: Any, w: Any) -> tuple[Any, Any]:
        value, grad = fl.logistic.value_and_grad(y, X @ w[:-1] + w[-1])
        return value, np.append(X.T @ grad, grad.sum())

    entries = {"fastloss": lambda y, w: one_pass(w), "two passes": two_passes}
    if isinstance(X, np.ndarray):
        try:
            from sklearn._loss import HalfBinomialLoss
            from sklearn.linear_model._linear_loss import LinearModelLoss
        except ImportError:
            pass
        else:
            model = LinearModelLoss(HalfBinomialLoss(), fit_intercept=True)
            entries["LinearModelLoss"] = lambda y, w: model.loss_gradient(w, X, y, n_threads=threads)
    found = [entry(y, w) for entry in entries.values()]
    for value, grad in found[1:]:  # all compute the same
        np.testing.assert_allclose(value, found[0][0], rtol=1e-4)
        np.testing.assert_allclose(grad, found[0][1], atol=1e-5)
    timed = {name: Entry(function, y, w, tuple) for name, function in entries.items()}
    if isinstance(X, np.ndarray):
        halves = X[: len(X) // 2].ravel(), X[len(X) // 2 : len(X) // 2 * 2].ravel()
        timed |= readers(*halves, threads)
    return timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1, help="multiplies the numbers of rows (1)")
    args = parser.parse_args()
    limit_threads(args.threads)
    from measure import interleave, median, times_as_fast

    print("| X | fastloss | LinearModelLoss | two passes | of the bandwidth |\n|---|---|---|---|---|")
    for dtype in ("float64", "float32"):
        for title, X, y, w in problems(dtype, args.scale):
            samples = interleave(contestants(X, y, w, args.threads), args.rounds, 0.02)
            seconds = {name: median(times) for name, times in samples.items()}
            ratios = {name: times_as_fast(samples, "fastloss", name) for name in samples}
            others = [
                f"{seconds[name] * 1e3:.1f} ms {ratios[name]:.2f}x" if name in ratios else "-"
                for name in ("LinearModelLoss", "two passes")
            ]
            reading = [ratio for name, ratio in ratios.items() if name.startswith("memory")]
            share = f"{min(reading):.0%}" if reading else "-"
            print(
                f"| {title} | {seconds['fastloss'] * 1e3:.1f} ms | {' | '.join(others)} | {share} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
