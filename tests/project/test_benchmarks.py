"""The benchmarks run: nothing here looks at a time."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from documents import ROOT

import fastloss as fl

BENCHMARKS = ROOT / "benchmarks"
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
