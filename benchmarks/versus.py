"""fastloss against NumPy, scikit-learn, PyTorch and JAX on the same arrays; see README.md beside it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
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
    return parser.parse_args(argv)


def limit_threads(threads: int) -> None:
    """Set what the libraries read when they are imported; later no call could change it."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # np.dot runs once in each of our own threads
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


def measure_row(row: Row, rounds: int, seconds: float) -> dict[str, Any]:
    """Check that all contestants agree, time them, and judge the row by its targets."""
    from contestants import check, prepare
    from measure import interleave, median, readers, times_as_fast
    from suite.inputs import make_inputs

    y, p = make_inputs(row.loss, row.n, row.dtype)
    entries = prepare(row, y[:CHECKED], p[:CHECKED])
    check(entries, row.dtype)
    if row.n > CHECKED:
        entries = prepare(row, y, p)
    if row.of_read is not None:
        entries |= readers(y, p, row.threads)
    samples = interleave(entries, rounds, seconds)

    result: dict[str, Any] = {"title": row.title, "target": row.target, "samples": samples}
    result["seconds"] = {name: median(times) for name, times in samples.items()}
    result["ratios"] = {name: times_as_fast(samples, "fastloss", name) for name in samples}
    judged = {name: result["ratios"][name] >= least for name, least in row.ahead.items() if name in samples}
    if row.at_most is not None:
        judged["time"] = result["seconds"]["fastloss"] <= row.at_most * 1e-6
    if row.of_read is not None:
        best = min((name for name in samples if name.startswith("read")), key=result["seconds"].__getitem__)
        result["read"] = {
            "by": best,
            "GB/s": (y.nbytes + p.nbytes) / result["seconds"][best] / 1e9,
            "reached": result["ratios"][best],
        }
        judged["read"] = result["ratios"][best] >= row.of_read
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
    seconds, ratios, read = result["seconds"], result["ratios"], result.get("read")
    ours = duration(seconds["fastloss"])
    timed = {name: f"{duration(seconds[name])} {ratios[name]:.1f}x" for name in seconds}
    others = [timed.get(name, "-") for name in COLUMNS]
    limit = f"{read['reached']:.0%} of {read['GB/s']:.1f} GB/s" if read else ""
    return [result["title"], ours, *others, limit, result["target"], result["verdict"]]


def print_table(results: list[dict[str, Any]]) -> None:
    headings = ["", "fastloss", *COLUMNS, "read bandwidth", "target: at least", "verdict"]
    body = [cells(result) for result in results]
    try:
        if not sys.stdout.isatty():
            raise ImportError
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        widths = [max(map(len, column)) for column in zip(headings, *body, strict=True)]
        for line in [headings, *body]:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
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
        results.append(measure_row(row, rounds, seconds))
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
