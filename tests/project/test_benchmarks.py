"""The benchmarks run: nothing here looks at a time."""

from __future__ import annotations

import csv
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import pytest
from documents import ROOT

import fastloss as fl

BENCHMARKS = ROOT / "benchmarks"
MAP_COLUMNS = (
    *("family", "loss", "method", "dtype", "elements", "rows", "classes", "features", "threads", "shape"),
    *("peer", "ratio", "limit", "reached", "rounds"),
)
MODULES = [path.stem for path in BENCHMARKS.glob("suite/*.py") if path.stem not in ("__init__", "inputs")]


@pytest.fixture(autouse=True)
def _benchmarks_on_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    threads = fl.get_num_threads()
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield
    fl.set_num_threads(threads)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_suite(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"suite.{name}")
    for size in ("ELEMENTS", "LARGE"):
        if hasattr(module, size):
            monkeypatch.setattr(module, size, 1000)
    classes = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
    assert classes
    for benchmark in classes:
        methods = [name for name in dir(benchmark) if name.startswith(("time_", "track_", "peakmem_"))]
        assert methods, benchmark
        for params in product(*benchmark.params):
            capped = [min(p, 3000) if isinstance(p, int) else p for p in params]
            instance = benchmark()
            instance.setup(*capped)
            for method in methods:
                getattr(instance, method)(*capped)


def test_inputs_of_every_loss_lie_in_its_domain() -> None:
    make_inputs = importlib.import_module("suite.inputs").make_inputs
    for loss in (name for family in fl.losses().values() for name in family):
        y, p = make_inputs(loss, 1000, "float32")
        assert p.dtype == "float32"
        assert y.dtype == ("int64" if y.shape != p.shape else "float32")
        assert p.size == 1000
        assert fl.get(loss)(y, p) < 100


def test_linear() -> None:
    command = [sys.executable, BENCHMARKS / "linear.py", "--rounds=1", "--scale=0.001"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("ms |") >= 6


@pytest.mark.exhaustive
def test_map(tmp_path: Path) -> None:
    """Every cell has both ratios, in the table and in the pictures, and the worst are shown."""
    losses = ["logistic", "softmax_cross_entropy", "linear_cross_entropy"]
    options = ["--quick", "--rounds=1", "--largest=100", f"--output={tmp_path}", "--losses", *losses]
    command = [sys.executable, BENCHMARKS / "map.py", *options]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("## The worst ten") == 4
    with (tmp_path / "map.csv").open(encoding="utf-8") as file:
        table = csv.DictReader(file)
        found = list(table)
    assert table.fieldnames == [*MAP_COLUMNS]
    module = importlib.import_module("cells")
    expected = module.cells(2, 100, losses, list(module.FAMILIES))
    assert sorted(cell["family"] for cell in found) == sorted(cell.family for cell in expected)
    assert {cell["family"] for cell in found} == set(module.FAMILIES)
    for cell in found:
        assert cell["peer"]
        assert float(cell["ratio"]) > 0
        assert cell["limit"]
        assert float(cell["reached"]) > 0
    assert {cell["rounds"] for cell in found} == {"1", "2"}  # the worst were measured again
    lines = (tmp_path / "map.md").read_text(encoding="utf-8").partition("## All cells")[2].splitlines()
    assert [line.count(" | ") for line in lines if line] == [len(MAP_COLUMNS) - 1] * (len(found) + 2)
    if find_spec("matplotlib"):
        pictures = [
            f"{axis}-{what}.png" for axis in ("classes", "losses", "shapes") for what in ("limit", "peer")
        ]
        assert sorted(path.name for path in tmp_path.glob("*.png")) == pictures


def test_cells_of_the_map() -> None:
    """No cell comes twice, every loss and number of classes is on the map, and --quick is smaller."""
    module = importlib.import_module("cells")
    quick, full = (module.cells(2, largest, [], list(module.FAMILIES)) for largest in (10**6, 10**8))
    assert len({cell.key for cell in full}) == len(full)
    assert len(quick) < len(full)
    for cells, largest in ((quick, 10**6), (full, 10**8)):
        assert {cell.loss for cell in cells} >= {name for family in fl.losses().values() for name in family}
        assert {cell.classes for cell in cells} >= set(module.CLASSES)
        assert max(cell.elements for cell in cells) <= largest
    assert module.cells(2, 10**6, ["huber"], ["rows"]) == []


def test_contestants_of_the_map_agree() -> None:
    """Every cell has a limit, and where PyTorch is installed another library that computes the same."""
    cells, calls = (importlib.import_module(name) for name in ("cells", "calls"))
    left_out: dict[str, str] = {}
    for cell in cells.cells(2, 1000, [], list(cells.FAMILIES)):
        entries, limits = calls.prepared(cell, left_out)
        assert limits
        assert "fastloss" in entries
        if find_spec("torch"):  # of some losses the only other library
            assert len(entries) > 1, cell
    # scikit-learn's losses of numbers have one dimension
    assert all(name.startswith("scikit-learn, ") and name.endswith("Fortran order") for name in left_out)


def test_map_says_what_its_budget_left_out(tmp_path: Path) -> None:
    options = ["--quick", "--largest=10", "--only", "pointwise", "--seconds=-1", f"--output={tmp_path}"]
    run = subprocess.run(
        [sys.executable, BENCHMARKS / "map.py", *options], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "not measured: the budget is spent" in run.stderr
    assert (tmp_path / "map.csv").read_text(encoding="utf-8").split() == [",".join(MAP_COLUMNS)]


@pytest.mark.exhaustive
def test_estimators() -> None:
    command = [sys.executable, BENCHMARKS / "estimators.py", "--rounds=1", "--scale=0.001"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count(" iterations |") == 8


@pytest.mark.exhaustive
def test_training() -> None:
    command = [sys.executable, BENCHMARKS / "training.py", "--rounds=1", "--scale=0.005"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count(" ms |") >= 12


@pytest.mark.exhaustive
def test_versus(tmp_path: Path) -> None:
    """The contestants that are installed agree, and every row is measured."""
    file = tmp_path / "versus.json"
    options = ["--quick", "--rounds=1", "--scale=0.001", f"--json={file}"]
    command = [sys.executable, BENCHMARKS / "versus.py", *options]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    results = json.loads(file.read_text())["rows"]
    rows = importlib.import_module("rows").rows(threads=2, large_bytes=64_000_000, scale=0.001)
    assert [result["title"] for result in results] == [row.title for row in rows]
    table = [line.split(" | ") for line in run.stdout.splitlines() if line.startswith("|")]
    assert [len(cells) for cells in table] == [9] * (len(results) + 2)
    for result in results:
        assert result["title"] in run.stdout
        assert result["seconds"]["fastloss"] > 0
