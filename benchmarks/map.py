"""Where fastloss is slow: many calls against the fastest of the other libraries and a physical limit; see README.md."""

from __future__ import annotations

import argparse
import csv
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from versus import environment, limit_threads, markdown

if TYPE_CHECKING:
    from cells import Cell

COLUMNS = ("family", "loss", "method", "dtype", "elements", "rows", "classes", "features", "threads", "shape")
COLUMNS += ("peer", "ratio", "limit", "reached", "rounds")
LARGEST = {False: 100_000_000, True: 1_000_000}  # elements, by --quick
SECONDS = {False: 2300.0, True: 340.0}
MANY = 10_000_000  # elements, of which a call takes a tenth of a second or more
SECOND_LOOK = 1 / 6  # of the budget

Result = dict[str, Any]
Ranking = tuple[str, Callable[[str], bool], str]  # a column, which limits count, and what it is called
RANKINGS: tuple[Ranking, ...] = (
    ("ratio", lambda limit: True, "against the fastest other library"),
    ("reached", lambda limit: "triad" in limit, "against the bandwidth"),
    ("reached", lambda limit: limit == "straight call", "shapes against the straight call"),
    (
        "reached",
        lambda limit: limit != "straight call" and "triad" not in limit,
        "against a simpler function",
    ),
)


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
        "--rounds",
        type=int,
        help="measurements of each contestant (5, with --quick 3; of large calls half as many)",
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
    rounds = (rounds + 1) // 2 if cell.elements >= MANY else rounds
    samples = interleave(timed, rounds, seconds, threadless(cell, timed))
    ratios = {name: times_as_fast(samples, "fastloss", name) for name in entries if name != "fastloss"}
    peer = min(ratios, key=ratios.__getitem__, default="")
    limit = min(limits, key=lambda name: median(samples[name]) * limits[name][1])
    reached = times_as_fast(samples, "fastloss", limit) * limits[limit][1]
    return dict(zip(COLUMNS, (*cell.key, peer, ratios.get(peer), limit, reached, rounds), strict=True))


def until(end: float, cells: Sequence[Cell], what: str) -> Iterator[Cell]:
    """Yield cells as long as there is time, and say how many there were too many."""
    for done, cell in enumerate(cells):
        if time.monotonic() > end:
            print(
                f"{len(cells) - done} cells of {len(cells)} not {what}: the budget is spent", file=sys.stderr
            )
            return
        print(f"[{done + 1}/{len(cells)}] {cell.title} {cell.shape}", file=sys.stderr, flush=True)
        yield cell


def measure_all(
    cells: Sequence[Cell], rounds: int, seconds: float, budget: float, left_out: dict[str, str]
) -> list[Result]:
    """Measure in random order, so that what is missing at the end is spread over the map, and the worst cells again.

    While another process has the processor, any call is slow: so the second look counts.
    """
    end, order = time.monotonic() + budget, list(cells)
    random.Random(0).shuffle(order)
    results = {
        cell.key: measure(cell, rounds, seconds, left_out)
        for cell in until(end - budget * SECOND_LOOK, order, "measured")
    }
    cell_of = {id(results[cell.key]): cell for cell in order if cell.key in results}
    lists = [lowest(list(results.values()), ranking) for ranking in RANKINGS]
    worst_first = [id(result) for rank in zip_longest(*lists) for result in rank if result]
    suspects = [cell_of[result] for result in dict.fromkeys(worst_first)]
    for cell in until(end, suspects, "measured again"):
        results[cell.key] = measure(cell, 2 * rounds, seconds, left_out)
    return [results[key] for key in sorted(results)]


# ---- what is shown ----------------------------------------------------------------------------------


def as_text(result: Result) -> list[str]:
    texts = {"ratio": "-" if result["ratio"] is None else f"{result['ratio']:.2f}x"}
    texts["reached"] = f"{result['reached']:.1%}"
    return [texts.get(column, str(result[column] or "-")) for column in COLUMNS]


def lowest(results: Sequence[Result], ranking: Ranking) -> list[Result]:
    """Return the worst ten by a measure."""
    measure, limit, _ = ranking
    found = [result for result in results if result[measure] is not None and limit(result["limit"])]
    return sorted(found, key=lambda result: result[measure])[:10]


def worst(results: Sequence[Result], ranking: Ranking) -> str:
    found = [as_text(result) for result in lowest(results, ranking)]
    return f"## The worst ten {ranking[2]}\n\n{markdown(COLUMNS, found) if found else 'no cell'}\n"


def write(folder: Path, found: dict[str, str], results: Sequence[Result], summary: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "map.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(results)
    machine = "\n".join(f"- {name}: {value}" for name, value in found.items())
    table = markdown(COLUMNS, [as_text(result) for result in results])
    text = f"# Map of speed\n\n{machine}\n\n{summary}\n## All cells\n\n{table}\n"
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
    budget = SECONDS[args.quick] if args.seconds is None else args.seconds
    results = measure_all(chosen, rounds, seconds, budget, left_out)
    found["cells"] = f"{len(results)} of {len(chosen)}"
    found |= {f"left out: {call}": reason for call, reason in left_out.items()}
    for name, value in found.items():
        print(f"{name:<13} {value}")
    summary = "\n".join(worst(results, ranking) for ranking in RANKINGS)
    print(f"\n{summary}")
    write(args.output, found, results, summary)
    from pictures import draw

    print(f"Written to {args.output}: map.csv, map.md, {', '.join(draw(args.output, results))}")


if __name__ == "__main__":
    main()
