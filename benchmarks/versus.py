"""fastloss against NumPy, scikit-learn, PyTorch and JAX on the same arrays; see README.md beside it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rows import Row

COLUMNS = ("NumPy", "scikit-learn", "PyTorch", "JAX")
CHECKED = 1_000_000  # elements on which contestants must agree: all of the large arrays would take minutes


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW-FILTER", help="part of a row's title; any of several")
    parser.add_argument("--quick", action="store_true", help="short samples, smaller arrays: a rough picture")
    parser.add_argument("--rounds", type=int, help="measurements of each contestant (15; 3 with --quick)")
    parser.add_argument("--threads", type=int, default=2, help="of every contestant (2)")
    parser.add_argument("--large-mb", type=float, help="of an array larger than cache (256; 64 with --quick)")
    parser.add_argument("--scale", type=float, default=1, help="multiplies all sizes (1); for tests")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples to a file")
    parser.add_argument(
        "--peak", metavar="NAME", help="print the MB one call of a contestant adds, of one title"
    )
    return parser.parse_args(argv)


def limit_threads(threads: int) -> None:
    """Set what the libraries read when they are imported; later no call could change it."""
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
    os.environ["NPROC"] = str(threads)  # the pool of XLA
    os.environ["JAX_PLATFORMS"] = "cpu"
    if threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"


def environment(threads: int) -> dict[str, str]:
    import fastloss as fl

    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        cpu = models[0].partition(":")[2].strip() if models else cpu
    found = {"CPU": f"{cpu}, {os.cpu_count()} logical", "threads": str(threads)}
    found["Python"] = platform.python_version()
    config = fl.show_config(mode="dicts")
    found["fastloss"] = f"{config['version']}, SIMD level {config['simd']} of {config['simd supported']}"
    for package in ("numpy", "scikit-learn", "torch", "jax", "optax"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "-"
    return found


def inputs(row: Row, n: int) -> tuple[Any, Any]:
    from suite.inputs import make_inputs, make_layer

    if row.features:
        return make_layer(n, row.features, row.classes, row.dtype)
    return make_inputs(row.loss, n * row.classes, row.dtype, row.classes)


def peaks(row: Row, names: Iterable[str], scale: float) -> dict[str, float]:
    """Return the MB that one call of each contestant adds, in a process of its own."""
    command = [sys.executable, __file__, row.title, f"--threads={row.threads}", f"--scale={scale}"]
    return {
        name: float(subprocess.run([*command, f"--peak={name}"], stdout=subprocess.PIPE, check=True).stdout)
        for name in names
    }


def measure_row(row: Row, rounds: int, seconds: float, scale: float) -> dict[str, Any]:
    """Check that all contestants agree, time them, and judge the row by its targets."""
    from contestants import check, prepare
    from measure import copiers, interleave, median, readers, times_as_fast

    y, p = inputs(row, min(row.n, max(1, CHECKED // row.classes)))
    entries = prepare(row, y, p)
    check(entries, row.dtype)
    if row.n > len(y):
        y, p = inputs(row, row.n)
        entries = prepare(row, y, p)
    if row.of_memory is not None and row.method == "value":
        entries |= readers(y, p, row.threads)
        moved = y.nbytes + p.nbytes
    elif row.of_memory is not None:
        entries |= copiers(p, row.threads)
        moved = 2 * p.nbytes
    samples = interleave(entries, rounds, seconds)

    result: dict[str, Any] = {"title": row.title, "target": row.target, "samples": samples}
    result["seconds"] = {name: median(times) for name, times in samples.items()}
    result["ratios"] = {name: times_as_fast(samples, "fastloss", name) for name in samples}
    judged = {name: result["ratios"][name] >= least for name, least in row.ahead.items() if name in samples}
    if row.at_most is not None:
        judged["time"] = result["seconds"]["fastloss"] <= row.at_most * 1e-6
    if row.of_memory is not None:
        best = min((name for name in samples if name.startswith("memory")), key=result["seconds"].__getitem__)
        reached = times_as_fast(samples, "fastloss", best)
        result["memory"] = {"by": best, "GB/s": moved / result["seconds"][best] / 1e9, "reached": reached}
        judged["memory"] = reached >= row.of_memory
    if row.less_memory is not None and "PyTorch" in samples and sys.platform == "linux":
        result["MB"] = peaks(row, ("fastloss", "PyTorch"), scale)
        judged["less memory"] = result["MB"]["fastloss"] * row.less_memory <= result["MB"]["PyTorch"]
    short = [name for name, met in judged.items() if not met]
    result["verdict"] = f"short: {', '.join(short)}" if short else "pass" if judged else "-"
    return result


def measure_levels(n: int, rounds: int, seconds: float, at_most: float = 4.0) -> dict[str, Any] | None:
    from levels import BASELINE, REFERENCE, slowdowns

    ratios = slowdowns(n, rounds, seconds)
    if not ratios:
        return None
    worst = max(ratios, key=ratios.__getitem__)
    above = [f"{name} {ratio:.1f}x" for name, ratio in ratios.items() if ratio > at_most]
    verdict = f"short: {', '.join(above)}" if above else "pass"
    print(
        f"\nLevel {BASELINE} against {REFERENCE}, value_and_grad n={n}, at most {at_most:g} times as slow: "
        f"worst {worst} {ratios[worst]:.1f}x; {verdict}"
    )
    return {"levels": [BASELINE, REFERENCE], "ratios": ratios, "at most": at_most, "above": above}


def duration(seconds: float) -> str:
    factor, unit = (1, "s") if seconds >= 1 else (1e3, "ms") if seconds >= 1e-3 else (1e6, "us")
    return f"{seconds * factor:.3g} {unit}"


def cells(result: dict[str, Any]) -> list[str]:
    seconds, ratios, memory = result["seconds"], result["ratios"], result.get("memory")
    timed = {name: f"{duration(seconds[name])} {ratios[name]:.1f}x" for name in seconds}
    timed["fastloss"] = duration(seconds["fastloss"])
    for name, size in result.get("MB", {}).items():
        timed[name] += f" {size:.0f} MB"
    contestants = [timed.get(name, "-") for name in ("fastloss", *COLUMNS)]
    limit = f"{memory['reached']:.0%} of {memory['GB/s']:.1f} GB/s" if memory else ""
    return [result["title"], *contestants, limit, result["target"], result["verdict"]]


def markdown(headings: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(headings, *body, strict=True)]
    lines = [headings, ["-" * width for width in widths], *body]
    return "\n".join(
        f"| {' | '.join(cell.ljust(k) for cell, k in zip(line, widths, strict=True))} |" for line in lines
    )


def print_table(results: list[dict[str, Any]]) -> None:
    """Print the results in Markdown, or on a terminal with colours."""
    headings = ["", "fastloss", *COLUMNS, "memory bandwidth", "target: at least", "verdict"]
    body = [cells(result) for result in results]
    try:
        if not sys.stdout.isatty():
            raise ImportError
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        print(markdown(headings, body))
        return
    table = Table(*headings)
    for line in body:
        table.add_row(*line, style="red" if line[-1].startswith("short") else None)
    Console().print(table)


def main(argv: Sequence[str] | None = None) -> None:
    args = arguments(argv)
    limit_threads(args.threads)
    from contestants import PACKAGES, installed
    from rows import rows

    if args.peak:
        from contestants import prepare
        from measure import peak_memory

        (row,) = (r for r in rows(args.threads, 0, args.scale) if r.title in args.rows)
        print(peak_memory(prepare(row, *inputs(row, row.n), names=[args.peak])[args.peak]))
        return
    rounds = args.rounds or (3 if args.quick else 15)
    seconds = 0.002 if args.quick else 0.02
    large = (args.large_mb or (64 if args.quick else 256)) * 1e6
    found = environment(args.threads)
    for name, value in found.items():
        print(f"{name:<13} {value}")
    missing = [package for name, package in PACKAGES.items() if name not in installed()]
    if missing:
        print(f"Not compared ('-'): what is not installed; pip install {' '.join(missing)}")

    def chosen(title: str) -> bool:
        return not args.rows or any(part in title for part in args.rows)

    selected = [r for r in rows(args.threads, int(large), args.scale) if chosen(r.title)]
    if not selected and not chosen("levels"):
        sys.exit(f"no row has {' or '.join(args.rows)} in its title")
    results = []
    for i, row in enumerate(selected, start=1):
        print(f"[{i}/{len(selected)}] {row.title}", file=sys.stderr)
        results.append(measure_row(row, rounds, seconds, args.scale))
    print()
    if results:
        print_table(results)
    levels = None
    if chosen("levels"):
        levels = measure_levels(max(16, int(2048 * args.scale)), rounds, seconds / 10)
    if args.json:
        args.json.write_text(json.dumps({"environment": found, "rows": results, "levels": levels}, indent=1))


if __name__ == "__main__":
    main()
