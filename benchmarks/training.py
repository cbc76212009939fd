"""SGD against scikit-learn's SGDClassifier: an epoch, and the time until the objective is nearly optimal; see README.md."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import product
from typing import Any

from versus import limit_threads

ROWS, COLUMNS, BATCH = 200_000, 100, 256
L2, NEAR = 1e-4, 1e-3  # the penalty, and how near the optimum is near, relatively
PARTS, EPOCHS = 10, 5  # how often in an epoch the objective is computed, and the most epochs
PARAMETERS = 10_000_000

Learner = Callable[[Any, Any], tuple[Any, Any]]  # trains on these rows, and returns the parameters


def problem(rows: int, dtype: str) -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, COLUMNS), dtype="float32").astype(dtype)
    scores = X @ rng.normal(size=COLUMNS).astype(dtype) / COLUMNS**0.5
    return X, (scores + rng.logistic(size=rows) > 0).astype(np.int64)


# ---- an epoch -------------------------------------------------------------------------------------------


def epochs(X: Any, y: Any) -> Iterator[tuple[str, Any]]:
    import numpy as np
    from measure import Entry
    from sklearn.linear_model import SGDClassifier

    import fastloss as fl

    classifier = SGDClassifier(loss="log_loss", alpha=L2)
    yield "SGDClassifier", Entry(lambda X, y: classifier.partial_fit(X, y, classes=[0, 1]), X, y, tuple)
    for shuffle in (None, "blocks", "rows"):

        def epoch(X: Any, y: Any, shuffle: Any = shuffle) -> None:
            coef, intercept = np.zeros(COLUMNS), np.zeros(1)
            fl.linear.sgd(
                "logistic", X, y, coef, intercept, lr=0.1, l2=L2, batch_size=BATCH, epochs=1, shuffle=shuffle
            )

        yield f"shuffle={shuffle!r}", Entry(epoch, X, y, tuple)


# ---- until the objective is nearly optimal --------------------------------------------------------------


def sgd_learner(lr: float, batch: int) -> Learner:
    import numpy as np

    import fastloss as fl

    coef, intercept, checkpoint = np.zeros(COLUMNS), np.zeros(1), None

    def learn(X: Any, y: Any) -> tuple[Any, Any]:
        nonlocal checkpoint
        history = fl.linear.sgd(
            "logistic", X, y, coef, intercept, lr=lr, l2=L2, batch_size=batch, epochs=1, average=True,
            shuffle=None, resume=checkpoint,
        )  # fmt: skip
        checkpoint = history.checkpoint
        return coef, intercept[0]

    return learn


def sklearn_learner(average: bool, **rate: Any) -> Learner:
    from sklearn.linear_model import SGDClassifier

    model = SGDClassifier(loss="log_loss", alpha=L2, shuffle=False, average=average, **rate)

    def learn(X: Any, y: Any) -> tuple[Any, Any]:
        model.partial_fit(X, y, classes=[0, 1])
        return model.coef_[0], model.intercept_[0]

    return learn


def seconds_until_near(learn: Learner, X: Any, y: Any, objective: Any, target: float) -> tuple[float, int]:
    """Return the seconds, without those for the objective, and how many parts of an epoch were needed."""
    import numpy as np

    spent, step = 0.0, len(X) // PARTS
    for part in range(PARTS * EPOCHS):
        rows = slice(part % PARTS * step, (part % PARTS + 1) * step)
        began = time.perf_counter()
        coef, intercept = learn(X[rows], y[rows])
        spent += time.perf_counter() - began
        if objective(np.append(coef, intercept))[0] <= target:
            return spent, part + 1
    return np.inf, 0


def contestants() -> Iterator[tuple[str, Callable[[], Learner]]]:
    """Return learners with a few learning rates each: the best of each library counts."""
    for lr, batch in product((0.5, 1.0, 2.0, 4.0), (64, 256, 1024)):
        yield f"sgd lr={lr} batch_size={batch}", lambda lr=lr, batch=batch: sgd_learner(lr, batch)
    rates: list[dict[str, Any]] = [{"learning_rate": "optimal"}]
    rates += [{"learning_rate": "constant", "eta0": eta} for eta in (0.001, 0.01, 0.1)]
    rates += [{"learning_rate": "invscaling", "eta0": eta, "power_t": 0.5} for eta in (0.1, 1.0)]
    for average, rate in product((False, True), rates):
        words = " ".join(str(x) for x in (*rate.values(), "average" if average else ""))
        yield f"SGDClassifier {words}", lambda average=average, rate=rate: sklearn_learner(average, **rate)


def until_near(X: Any, y: Any, rounds: int) -> None:
    import numpy as np
    from scipy.optimize import minimize

    import fastloss as fl

    objective = fl.linear.Objective("logistic", X, y, l2=L2)
    start = np.zeros(COLUMNS + 1)
    optimum = minimize(
        objective, start, jac=True, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-9}
    ).fun
    best: dict[str, tuple[float, int, str]] = {}
    for _ in range(rounds):
        for title, learner in contestants():
            spent, parts = seconds_until_near(learner(), X, y, objective, optimum * (1 + NEAR))
            name = title.partition(" ")[0]
            best[name] = min(best.get(name, (np.inf, 0, "")), (spent, parts, title))
    for spent, parts, title in best.values():
        print(f"| {title} | {1e3 * spent:.1f} ms | {parts / PARTS} epochs |")
    print(f"| ratio | {best['SGDClassifier'][0] / best['sgd'][0]:.1f}x | |\n")


# ---- the optimiser's update -----------------------------------------------------------------------------


def updates(size: int, threads: int) -> Iterator[tuple[str, Any]]:
    """Yield updates of float32 with momentum, and the triad a = b + 3 c, by which bandwidths are measured."""
    import torch
    from measure import Entry

    import fastloss as fl

    torch.set_num_threads(threads)
    a, b, c = (torch.rand(size) for _ in range(3))
    yield "triad", Entry(lambda b, c: torch.add(b, c, alpha=3, out=a), b, c, tuple)
    optimizer = fl.SGD(lr=1e-6, momentum=0.9)
    yield "SGD.update", Entry(optimizer.update, b.numpy(), c.numpy(), tuple)
    for form in ("foreach", "fused"):
        parameter = torch.nn.Parameter(torch.rand(size))
        parameter.grad = torch.rand(size)
        step = torch.optim.SGD([parameter], lr=1e-6, momentum=0.9, **{form: True}).step
        yield f"torch.optim.SGD({form}=True)", Entry(lambda *_, step=step: step(), b, c, tuple)


def print_updates(size: int, threads: int, rounds: int) -> None:
    from measure import interleave, median, times_as_fast

    samples = interleave(dict(updates(size, threads)), rounds, 0.02)
    print(f"### Momentum, float32, {size} parameters\n\n| | time | bandwidth | ratio |\n|---|---|---|---|")
    for name in samples:
        moved = (3 if name == "triad" else 5) * 4 * size
        seconds, ratio = median(samples[name]), times_as_fast(samples, "SGD.update", name)
        print(
            f"| {name} | {1e3 * seconds:.2f} ms | {moved / seconds / 1e9:.0f} GB/s | {ratio:.2f}x |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1, help="multiplies the number of rows (1)")
    args = parser.parse_args()
    limit_threads(args.threads)
    from measure import interleave, median, times_as_fast

    import fastloss as fl

    fl.set_num_threads(args.threads)
    for dtype in ("float64", "float32"):
        X, y = problem(max(1000, int(ROWS * args.scale)), dtype)
        print(
            f"### An epoch, {dtype}, {len(X)} x {COLUMNS}, batches of {BATCH}\n\n| | time | ratio |\n|---|---|---|"
        )
        samples = interleave(dict(epochs(X, y)), args.rounds, 0.02)
        for name in samples:
            ratio = times_as_fast(samples, name, "SGDClassifier")
            print(f"| {name} | {1e3 * median(samples[name]):.1f} ms | {ratio:.1f}x |", flush=True)
        print(
            f"\n### Until the objective is within {NEAR} of the optimum, {dtype}\n\n| | time | |\n|---|---|---|"
        )
        until_near(X, y, 1 + args.rounds // 3)
    if find_spec("torch"):
        print_updates(max(1000, int(PARAMETERS * args.scale)), args.threads, args.rounds)


if __name__ == "__main__":
    main()
