"""linear_cross_entropy against PyTorch: forward and backward, time in turns and peak memory; see README.md."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def entries(n: int, d: int, classes: int, threads: int) -> Iterator[tuple[str, Any]]:
    import numpy as np
    import torch
    from contestants import Entry
    from torch.nn import functional as F  # noqa: N812 - its usual name

    import fastloss as fl

    fl.set_num_threads(threads)
    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d), np.float32)  # noqa: N806
    W = rng.standard_normal((classes, d), np.float32) / 20  # noqa: N806
    y = rng.integers(0, classes, n)
    yield "fastloss", Entry(lambda y, p: fl.linear_cross_entropy.value_and_grad(y, *p), y, (X, W), tuple)
    x, w = (torch.from_numpy(a).requires_grad_() for a in (X, W))

    def backward(value: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
        def call(y: Any, p: Any) -> Any:
            mean = value(y)
            return mean, *torch.autograd.grad(mean, p)

        return call

    def unpack(result: Any) -> tuple[Any, ...]:
        return result[0].item(), *(grad.numpy() for grad in result[1:])

    labels = torch.from_numpy(y)
    yield "F.cross_entropy", Entry(backward(lambda y: F.cross_entropy(x @ w.T, y)), labels, (x, w), unpack)
    if hasattr(F, "linear_cross_entropy"):
        function = backward(lambda y: F.linear_cross_entropy(x, w, y))
        yield "F.linear_cross_entropy", Entry(function, labels, (x, w), unpack)


def peak(entry: Any) -> float:
    """Return by how many MB one call raises the memory of this process, gradients included. Linux alone."""

    def status(field: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))

    Path("/proc/self/clear_refs").write_text("5")  # the peak is from now on
    before = status("VmRSS")
    entry.function(entry.y, entry.p)
    return status("VmHWM") - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--shape", type=int, nargs=3, default=[2048, 512, 32000], metavar=("ROWS", "D", "CLASSES")
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peak", metavar="NAME", help="print the peak memory of one contestant alone, in MB")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(args.threads)
    chosen = dict(entries(*args.shape, args.threads))
    if args.peak:
        print(peak(chosen[args.peak]))
        return
    from contestants import check
    from measure import interleave, median, times_as_fast

    check(chosen, "float32")
    samples = interleave(chosen, args.rounds, 0.0)
    for name, times in samples.items():
        command = [sys.executable, *sys.argv, "--peak", name]
        memory = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        ratio = times_as_fast(samples, "fastloss", name)
        print(f"{name:24}{median(times):8.3f} s {ratio:6.2f}x {memory:8.0f} MB")


if __name__ == "__main__":
    main()
