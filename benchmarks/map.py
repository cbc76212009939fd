"""Where fastloss is slow: many calls against the fastest of the other libraries and a physical limit; see README.md."""

from __future__ import annotations

import argparse
import csv
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from versus import environment, limit_threads, markdown

if TYPE_CHECKING:
    from cells import Cell

COLUMNS = ("family", "loss", "method", "dtype", "elements", "rows", "classes", "features", "threads", "shape")
COLUMNS += ("peer", "ratio", "limit", "reached")
LARGEST = {False: 100_000_000, True: 1_000_000}  # elements, by --quick
SECONDS = {False: 2300.0, True: 340.0}
MANY = 10_000_000  # elements, of which a call takes a tenth of a second or more

Result = dict[str, Any]


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short samples, at most a million elements")
    parser.add_argument("--losses", nargs="+", default=[], metavar="LOSS", help="these alone")
    families = ["pointwise", "rows", "shapes", "linear"]
    parser.add_argument("--only", nargs="+", default=families, choices=families, help="families of cells")
    parser.add_argument(
        "--seconds", type=float, help="budget; cells beyond it are left out (2300, quick 340)"
    )
    parser.add_argument("--output", type=Path, default=Path("speed-map"), metavar="FOLDER")
    parser.add_argument(
        "--rounds", type=int, help="measurements of each contestant (5, of large calls and with --quick 3)"
    )
    parser.add_argument("--threads", type=int, default=2, help="of every contestant (2)")
    parser.add_argument("--largest", type=int, metavar="N", help="elements of the largest call")
    return parser.parse_args(argv)


# ---- measuring --------------------------------------------------------------------------------------


def measure(cell: Cell, rounds: int, seconds: float, left_out: dict[str, str]) -> Result:
    """Time all contestants and the limit in turns; the result has ratios alone."""
    from calls import prepared, threadless
    from measure import interleave, median, times_as_fast

    entries, limits = prepared(cell, left_out)
    timed = entries | {name: entry for name, (entry, _) in limits.items()}
    rounds = min(rounds, 3) if cell.elements >= MANY else rounds
    samples = interleave(timed, rounds, seconds, threadless(cell, timed))
    ratios = {name: times_as_fast(samples, "fastloss", name) for name in entries if name != "fastloss"}
    peer = min(ratios, key=ratios.__getitem__, default="")
    limit = min(limits, key=lambda name: median(samples[name]) * limits[name][1])
    reached = times_as_fast(samples, "fastloss", limit) * limits[limit][1]
    return dict(zip(COLUMNS, (*cell.key, peer, ratios.get(peer), limit, reached), strict=True))


def within_budget(cells: Sequence[Cell], seconds: float) -> Iterator[Cell]:
    """Yield cells in random order, so that what is left out at the end is spread over the map."""
    began, order = time.monotonic(), list(cells)
    random.Random(0).shuffle(order)
    for done, cell in enumerate(order):
        if time.monotonic() - began > seconds:
            print(f"{len(order) - done} cells of {len(order)} left out: the budget is spent", file=sys.stderr)
            return
        print(f"[{done + 1}/{len(order)}] {cell.title} {cell.shape}", file=sys.stderr, flush=True)
        yield cell


# ---- what is shown ----------------------------------------------------------------------------------


def as_text(result: Result) -> list[str]:
    texts = {"ratio": "-" if result["ratio"] is None else f"{result['ratio']:.2f}x"}
    texts["reached"] = f"{result['reached']:.1%}"
    return [texts.get(column, str(result[column] or "-")) for column in COLUMNS]


def worst(results: Sequence[Result], measure: str, limits: Callable[[str], bool], title: str) -> str:
    found = [result for result in results if result[measure] is not None and limits(result["limit"])]
    found = sorted(found, key=lambda result: result[measure])[:10]
    table = markdown(COLUMNS, [as_text(result) for result in found]) if found else "no cell"
    return f"## The worst ten {title}\n\n{table}\n"


def summary(results: Sequence[Result]) -> str:
    return "\n".join(
        (
            worst(results, "ratio", lambda limit: True, "against the fastest other library"),
            worst(results, "reached", lambda limit: "triad" in limit, "against the bandwidth"),
            worst(results, "reached", lambda limit: "triad" not in limit, "against a simpler call"),
        )
    )


def write(folder: Path, found: dict[str, str], results: Sequence[Result]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "map.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(results)
    machine = "\n".join(f"- {name}: {value}" for name, value in found.items())
    table = markdown(COLUMNS, [as_text(result) for result in results])
    text = f"# Map of speed\n\n{machine}\n\n{summary(results)}\n## All cells\n\n{table}\n"
    (folder / "map.md").write_text(text, encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    args = arguments(argv)
    limit_threads(args.threads)
    from cells import cells
    from contestants import PACKAGES, installed

    found = environment(args.threads)
    missing = [package for name, package in PACKAGES.items() if name not in installed()]
    found["not compared"] = f"{', '.join(missing) or '-'} (not installed)"
    chosen = cells(args.threads, args.largest or LARGEST[args.quick], args.losses, args.only)
    if not chosen:
        sys.exit("no cell is left: see --losses and --only")
    left_out: dict[str, str] = {}
    rounds = args.rounds or (3 if args.quick else 5)
    seconds = 0.002 if args.quick else 0.01
    results = [
        measure(cell, rounds, seconds, left_out)
        for cell in within_budget(chosen, SECONDS[args.quick] if args.seconds is None else args.seconds)
    ]
    found["cells"] = f"{len(results)} of {len(chosen)}"
    found |= {f"left out: {call}": reason for call, reason in left_out.items()}
    results.sort(key=lambda result: [result[column] for column in COLUMNS[:10]])
    for name, value in found.items():
        print(f"{name:<13} {value}")
    print(f"\n{summary(results)}")
    write(args.output, found, results)
    from pictures import draw

    print(f"Written to {args.output}: map.csv, map.md, {', '.join(draw(args.output, results))}")


if __name__ == "__main__":
    main()
