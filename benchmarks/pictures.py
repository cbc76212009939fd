"""Heat maps of what map.py has measured: the number of elements along one axis, losses, classes or shapes on the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Result = dict[str, Any]

MEASURES = {
    "peer": ("ratio", "times as fast as the fastest other library"),
    "limit": ("reached", "part of the limit's speed"),
}
BASE = {"method": "value_and_grad", "dtype": "float32"}


def draw(folder: Path, results: Sequence[Result]) -> list[str]:
    """Return the names of the pictures that were drawn."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return ["no pictures: matplotlib is not installed"]
    threads = max((result["threads"] for result in results), default=1)
    base = [r for r in results if r["threads"] == threads and all(r[k] == v for k, v in BASE.items())]
    drawn = []
    for axis, (family, label) in AXES.items():
        plane = [(label(result), result) for result in base if result["family"] == family and label(result)]
        for measure, (column, title) in MEASURES.items():
            cells = {
                (name, magnitude(r["elements"])): r[column] for name, r in plane if r[column] is not None
            }
            if cells:
                drawn.append(f"{axis}-{measure}.png")
                heat_map(folder / drawn[-1], cells, f"{title}\n{', '.join(BASE.values())}, {threads} threads")
    return drawn


def magnitude(n: int) -> int:
    """Return the power of ten that a number was made from: 333 rows of 3 are 1000 elements."""
    return 10 ** round(math.log10(n))


def heat_map(path: Path, cells: dict[tuple[Any, int], float], title: str) -> None:
    """Draw the cells: red is slower than what they are compared with, blue faster, each step a factor."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    names, sizes = sorted({name for name, _ in cells}), sorted({n for _, n in cells})
    grid = np.full((len(names), len(sizes)), np.nan)
    for (name, n), value in cells.items():
        grid[names.index(name), sizes.index(n)] = value
    figure = Figure(figsize=(4 + 0.8 * len(sizes), 2 + 0.28 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor("lightgrey")  # not measured
    image = axes.imshow(grid, "RdBu", norm=LogNorm(1 / 16, 16), aspect="auto")
    axes.set_xticks(range(len(sizes)), [f"{n:.0e}".replace("e+0", "e") for n in sizes])
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("elements")
    figure.suptitle(title)
    for (i, j), value in np.ndenumerate(grid):
        if np.isfinite(value):
            dark = not 0.25 < value < 4
            axes.text(j, i, f"{value:.2g}", ha="center", va="center", color="white" if dark else "black")
    figure.colorbar(image)
    figure.savefig(path)


def _shape(result: Result) -> str:
    classes = f" {result['classes']} classes" if result["classes"] > 1 else ""
    return f"{result['loss']}{classes}, {result['shape']}"


# The picture of classes has one loss, since a plane has one value in each cell.
AXES: dict[str, tuple[str, Callable[[Result], Any]]] = {
    "losses": ("pointwise", lambda result: result["loss"]),
    "classes": ("rows", lambda result: result["classes"] * (result["loss"] == "softmax_cross_entropy")),
    "shapes": ("shapes", _shape),
}
