"""LinearClassifier against scikit-learn's LogisticRegression: the same objective, method and tolerance; see README.md."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from versus import limit_threads

SHAPES = ((200_000, 100, 2), (50_000, 100, 10))  # rows, columns, classes
C, TOL = 0.01, 1e-6


def problems(dtype: str, scale: float) -> Iterator[tuple[str, Any, Any]]:
    """Yield title, X and y; the columns of X are correlated, and differ in scale."""
    import numpy as np

    rng = np.random.default_rng(0)
    for rows, columns, classes in SHAPES:
        rows = max(200, int(rows * scale))
        mixing = np.eye(columns) + rng.normal(size=(columns, columns)) / columns**0.5
        X = (rng.normal(size=(rows, columns)) @ mixing * np.geomspace(0.3, 3, columns)).astype(dtype)
        scores = X @ rng.normal(size=(columns, classes)) / columns**0.5 + rng.gumbel(size=(rows, classes))
        yield f"{dtype} {rows} x {columns}, {classes} classes", X, scores.argmax(axis=1)


def models(X: Any, y: Any) -> tuple[dict[str, Any], dict[str, int]]:
    """Return functions that fit X and y and agree to 1e-6 in the objective, and a dict of their iterations."""
    import numpy as np
    from measure import Entry
    from sklearn.linear_model import LogisticRegression

    import fastloss as fl
    from fastloss.estimators import LinearClassifier

    l2 = 1 / (C * len(X))
    fitted = {
        "fastloss": LinearClassifier(l2=l2, tol=TOL),
        "LogisticRegression": LogisticRegression(C=C, tol=TOL, max_iter=1000),
    }
    values = []
    for model in fitted.values():
        model.fit(X, y)
        several = len(model.coef_) > 1
        parameters = (model.coef_, model.intercept_) if several else (model.coef_[0], model.intercept_[0])
        loss = "softmax_cross_entropy" if several else "logistic"
        values.append(fl.linear.value_and_grad(loss, X.astype(float), y, *parameters, l2=l2)[0])
    np.testing.assert_allclose(values[0], values[1], rtol=1e-6)
    iterations = {name: int(np.max(model.n_iter_)) for name, model in fitted.items()}
    return {name: Entry(model.fit, X, y, tuple) for name, model in fitted.items()}, iterations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1, help="multiplies the numbers of rows (1)")
    args = parser.parse_args()
    limit_threads(args.threads)
    from measure import interleave, median, times_as_fast

    import fastloss as fl

    fl.set_num_threads(args.threads)
    print("| data | LinearClassifier | LogisticRegression | ratio |\n|---|---|---|---|")
    for dtype in ("float64", "float32"):
        for title, X, y in problems(dtype, args.scale):
            entries, iterations = models(X, y)
            samples = interleave(entries, args.rounds, 0.02)
            times = [f"{median(samples[n]):.3f} s, {iterations[n]} iterations" for n in samples]
            ratio = times_as_fast(samples, "fastloss", "LogisticRegression")
            print(f"| {title} | {' | '.join(times)} | {ratio:.2f}x |", flush=True)


if __name__ == "__main__":
    main()
