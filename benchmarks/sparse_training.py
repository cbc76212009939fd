"""SGD on sparse rows against SGDClassifier: the time until the objective is nearly optimal; see README.md."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

from versus import limit_threads

ROWS, COLUMNS, USED = 200_000, 50_000, 50
NEAR = 1e-3  # relative to the optimum
# Takes the time so far and the parameters, and returns whether these are near the optimum.
IsNear = Callable[[float, Any, Any], bool]


def text(rows: int, columns: int, used: int) -> tuple[Any, Any]:
    """Return rows like those of texts (Zipf's law, tf-idf, norm 1), and labels that depend on few of the words."""
    import numpy as np
    from scipy.sparse import csr_array

    rng = np.random.default_rng(0)
    share = np.cumsum(1 / np.arange(10, columns + 10))
    words = np.searchsorted(share / share[-1], rng.random((rows, used))).astype(np.int32)
    words.sort(axis=1)
    starts = np.arange(0, rows * used + 1, used, dtype=np.int32)
    X = csr_array((np.ones(rows * used), words.ravel(), starts), shape=(rows, columns))
    X.sum_duplicates()
    seen = np.bincount(X.indices, minlength=columns)
    X.data = (1 + np.log(X.data)) * (1 + np.log((1 + rows) / (1 + seen)))[X.indices]
    X.data /= np.sqrt(np.add.reduceat(X.data**2, X.indptr[:-1])).repeat(np.diff(X.indptr))
    scores = X @ (8 * rng.normal(size=columns) * (rng.random(columns) < 0.1))
    return X, (scores + rng.logistic(size=rows) > np.median(scores)).astype(np.int64)


# ---- contestants: a small grid for each side, whose best counts ----------------------------------------


def by_epochs(l2: float, X: Any, y: Any, is_near: IsNear, epochs: int, **options: Any) -> None:
    """Train epoch by epoch: these learning rates do not depend on the number of epochs."""
    import numpy as np

    import fastloss as fl

    options |= {"l2": l2, "intercept_lr": 0.01, "epochs": 1}
    coef, intercept, spent, checkpoint = np.zeros(X.shape[1]), np.zeros(1), 0.0, None
    for _ in range(epochs):
        began = time.perf_counter()
        history = fl.linear.sgd("logistic", X, y, coef, intercept, resume=checkpoint, **options)
        checkpoint, spent = history.checkpoint, spent + time.perf_counter() - began
        if is_near(spent, coef, intercept[0]):
            return


def sklearn(l2: float, X: Any, y: Any, is_near: IsNear, epochs: int, **options: Any) -> None:
    from sklearn.linear_model import SGDClassifier

    spent, model = 0.0, SGDClassifier(loss="log_loss", alpha=l2, random_state=0, **options)
    for _ in range(epochs):
        began = time.perf_counter()
        model.partial_fit(X, y, classes=[0, 1])
        spent += time.perf_counter() - began
        if is_near(spent, model.coef_[0], model.intercept_[0]):
            return


def contestants(l2: float, most: int) -> Iterator[tuple[str, Callable[..., None], int, dict[str, Any]]]:
    for batch in (1, 16):
        yield "sgd", by_epochs, most, {"schedule": "optimal", "batch_size": batch}
    for share in (0.5, 0.6, 0.7):  # the rate is constant, from some step on share / (l2 * t)
        for start in (25, 50):
            rate = {"lr": share / l2, "power_t": 1, "warmup_steps": int(share / l2 / start)}
            yield "sgd", by_epochs, most, {"schedule": "invscaling", **rate, "batch_size": 16}
    yield "SGDClassifier", sklearn, most, {"learning_rate": "optimal"}
    yield "SGDClassifier", sklearn, most, {"learning_rate": "optimal", "average": True}
    for eta in (1.0, 4.0, 10.0):
        for power in (0.25, 0.5):
            rate = {"learning_rate": "invscaling", "eta0": eta, "power_t": power}
            yield "SGDClassifier", sklearn, most, rate
    for eta in (0.1, 0.5, 1.0):
        yield "SGDClassifier", sklearn, most, {"learning_rate": "constant", "eta0": eta, "average": True}


def until_near(l2: float, most: int, X: Any, y: Any) -> None:
    import numpy as np
    from scipy.optimize import minimize

    import fastloss as fl

    objective = fl.linear.Objective("logistic", X, y, l2=l2)
    tight = {"ftol": 1e-14, "gtol": 1e-8, "maxiter": 10_000, "maxcor": 20}
    found = minimize(objective, np.zeros(X.shape[1] + 1), jac=True, method="L-BFGS-B", options=tight)
    target, best = found.fun * (1 + NEAR), dict.fromkeys(("sgd", "SGDClassifier"), (np.inf, "none in time"))
    for name, run, epochs, options in contestants(l2, most):

        def is_near(
            spent: float, coef: Any, intercept: float, name: str = name, words: Any = options
        ) -> bool:
            near = objective(np.append(coef, intercept))[0] <= target
            if near:
                best[name] = min(best[name], (spent, str(words)))
            return near or spent > best[name][0]

        run(l2, X, y, is_near, epochs, **options)
    for name, (spent, words) in best.items():
        print(f"| {name} {words} | {spent:.3f} s |", flush=True)
    print(f"| ratio | {best['SGDClassifier'][0] / best['sgd'][0]:.1f}x |\n", flush=True)


def steps_cost_elements() -> None:
    """Time the same rows among more and more columns."""
    import numpy as np

    import fastloss as fl

    for columns in (10_000, 100_000, 1_000_000):
        X, y = text(ROWS, columns, USED)
        coef, intercept = np.zeros(columns), np.zeros(1)
        history = fl.linear.sgd("logistic", X, y, coef, intercept, lr=0.5, l2=1e-6, batch_size=1, epochs=3)
        print(f"| {columns} columns | {1e9 * min(history.seconds) / len(y):.0f} ns a step |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1, help="multiplies the number of rows (1)")
    parser.add_argument("--l2", type=float, action="append", help="1e-4, 1e-5 and 1e-6")
    args = parser.parse_args()
    limit_threads(1)
    import fastloss as fl

    fl.set_num_threads(1)
    print("### A step\n\n| of 50 elements | |\n|---|---|")
    steps_cost_elements()
    X, y = text(max(1000, int(ROWS * args.scale)), COLUMNS, USED)
    for l2 in args.l2 or (1e-4, 1e-5, 1e-6):
        print(f"\n### Until the objective is within {NEAR} of the optimum, l2={l2}\n\n| | time |\n|---|---|")
        until_near(l2, 15 if l2 > 3e-6 else 60, X, y)


if __name__ == "__main__":
    main()
