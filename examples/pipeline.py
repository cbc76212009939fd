"""Evaluate a model on files with a pool of threads, and get the loss of one call over all data.

docs/pipeline.md explains it. ``python examples/pipeline.py --quick`` takes a second.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import NamedTuple

# A matrix product must not start threads of its own in each of 8 workers. The library that NumPy multiplies with
# reads these when NumPy is imported; threadpoolctl can do the same later.
for library in ("OPENBLAS", "MKL", "BLIS"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import numpy as np  # noqa: E402

import fastloss as fl  # noqa: E402
from fastloss.cli.console import Console  # noqa: E402


class Part(NamedTuple):
    """What is kept of a batch, or of all: sums, which add up, and no averages, which do not."""

    logistic: float
    focal: float
    weight: float
    gradient: tuple[float, ...]  # of the logistic sum, by the last layer of the model


def write_shards(folder, rows, seed=0):
    """Write features, labels, weights and a model. Later rows are noisier and heavier, as data that drifts."""
    rng = np.random.default_rng(seed)
    coefficients = rng.normal(size=8)
    for i, index in enumerate(np.array_split(np.arange(rows), 4)):
        x, drift = rng.normal(size=(len(index), 8)), index / rows
        noise = rng.logistic(size=len(index)) * (1 + 4 * drift)
        np.save(folder / f"x{i}.npy", x)
        np.save(folder / f"y{i}.npy", (x @ coefficients + noise > 0).astype(np.uint8))
        np.save(folder / f"w{i}.npy", rng.exponential(1 + drift))
    np.save(folder / "hidden.npy", np.eye(8) + 0.1 * rng.normal(size=(8, 8)))
    np.save(folder / "last.npy", 1.5 * coefficients)


def open_shards(folder):
    """Map the files: the operating system reads a batch when a worker touches it, not before."""
    return [[np.load(folder / f"{name}{i}.npy", mmap_mode="r") for name in "xyw"] for i in range(4)]


def batches(shards, size):
    for shard in shards:
        for start in range(0, len(shard[0]), size):
            yield [array[start : start + size] for array in shard]


def in_order(pool, function, items, window):
    """Yield function(item) in the order of the items, with at most `window` of them in flight."""
    in_flight = deque()
    for item in items:
        in_flight.append(pool.submit(function, item))
        if len(in_flight) == window:
            yield in_flight.popleft().result()
    while in_flight:
        yield in_flight.popleft().result()


def score(x, model):
    hidden = np.tanh(x @ model[0])
    return hidden, hidden @ model[1]


def evaluate(batch, model, team):
    """Score a batch and return its sums. Runs in a worker; a fastloss call may use `team` threads."""
    x, y_true, weight = batch
    hidden, y_pred = score(x, model)
    with fl.threads(team):
        logistic, grad = fl.logistic.value_and_grad(y_true, y_pred, sample_weight=weight, reduction="sum")
        focal = fl.focal(y_true, y_pred, sample_weight=weight, reduction="sum")
    return Part(logistic, focal, float(weight.sum()), tuple(grad @ hidden))


def merge(parts):
    """Add up the sums of batches. math.fsum rounds once, however many there are."""
    *sums, gradients = zip(*parts, strict=True)
    return Part(*map(math.fsum, sums), tuple(map(math.fsum, zip(*gradients, strict=True))))


def run(shards, model, size, threads, team):
    with ThreadPoolExecutor(threads) as pool:
        return merge(in_order(pool, lambda b: evaluate(b, model, team), batches(shards, size), 2 * threads))


def report(folder, options):
    shards, model = open_shards(folder), (np.load(folder / "hidden.npy"), np.load(folder / "last.npy"))
    # The pool alone, and the pool with fastloss's own threads on top.
    settings = [(threads, team) for team in (1, fl.get_num_threads()) for threads in options.threads]
    times, results = {setting: [] for setting in settings}, {setting: set() for setting in settings}
    run(shards, model, options.batch, 1, 1)  # brings the files into memory
    for _ in range(options.rounds):
        for setting in settings:  # they take turns, so that a busy moment of the machine is shared
            start = perf_counter()
            results[setting].add(run(shards, model, options.batch, *setting))
            times[setting].append(perf_counter() - start)
    rows, speed = [], {setting: options.rows / median(times[setting]) for setting in settings}
    for setting in settings:
        losses = " ".join(repr(part.logistic / part.weight) for part in results[setting])
        rows.append(
            [
                *map(str, setting),
                f"{speed[setting]:,.0f}",
                f"{speed[setting] / speed[settings[0]]:.2f}",
                losses,
            ]
        )
    Console().table(["pool", "team", "rows/s", "ratio", "logistic loss"], rows)

    merged, *others = set.union(*results.values())
    y_pred = np.concatenate([score(batch[0], model)[1] for batch in batches(shards, options.batch)])
    _, y_true, weight = map(np.concatenate, zip(*shards, strict=True))
    one_call = fl.logistic(y_true, y_pred, sample_weight=weight)
    parts = [evaluate(batch, model, 1) for batch in batches(shards, options.batch)]
    value = merged.logistic / merged.weight
    print(f"\nsame bits on every number of threads: {'no' if others else 'yes'}")
    print(f"merged sums: {value!r}; focal: {merged.focal / merged.weight!r}")
    print(f"one call: {one_call!r}, {abs(value - one_call) / math.ulp(value):.0f} ulp away")
    print(f"average of {len(parts)} averages: {mean(part.logistic / part.weight for part in parts)!r}")
    return 1 if others else 0


def main():
    parser = argparse.ArgumentParser(description="A multithreaded evaluation whose loss is that of one call.")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--batch", type=int, default=65_536, help="rows of a batch")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4, 8], help="of the pool")
    parser.add_argument("--rounds", type=int, default=9, help="repetitions; their median counts")
    parser.add_argument("--quick", action="store_true", help="50 000 rows, batches of 6000, one round")
    parser.add_argument("--data", type=Path, help="an existing folder that keeps the files")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.batch, options.rounds = 50_000, 6_000, 1
    with nullcontext(options.data) if options.data else tempfile.TemporaryDirectory() as folder:
        write_shards(Path(folder), options.rows)
        return report(Path(folder), options)


if __name__ == "__main__":
    raise SystemExit(main())
