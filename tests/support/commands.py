"""A table in all formats, and the commands that are run on it."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet
from sklearn.datasets import dump_svmlight_file

from fastloss import model_file
from fastloss.__main__ import main

N = 400

FEATURES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 3)) * [1, 10, 0.1] + [0, 30, 1]
    colour = np.array(["blue", "green", "red"])[rng.integers(0, 3, N)]
    score = X @ [1, -0.1, 5] - 2 + (colour == "red") + rng.normal(size=N)
    return {
        **dict(zip(FEATURES, X.T.copy(), strict=True)),
        "colour": colour,
        "y": score,
        "kind": np.where(score > 0, "yes", "no"),
        "level": np.digitize(score, [-0.5, 0.5]),
        "count": rng.poisson(np.exp(score / 4)),
        "weight": rng.random(N),
    }


@pytest.fixture(scope="module")
def folder(table, tmp_path_factory):
    """The table in all formats."""
    path = tmp_path_factory.mktemp("data")
    arrow = pa.table(table)
    csv.write_csv(arrow, path / "data.csv")
    parquet.write_table(arrow, path / "data.parquet", row_group_size=150)
    np.savez(path / "data.npz", **table)
    dump_svmlight_file(matrix(table), table["level"], str(path / "data.svm"))
    return path


def matrix(table):
    return np.column_stack([table[name] for name in FEATURES])


def command(*arguments):
    return main([str(argument) for argument in arguments])


def fit(path, model, *arguments, **options):
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    assert command("fit", path, "-o", model, "--quiet", *words, *arguments) == 0
    return model_file.load(model)


def predicted(model, path, output, *arguments):
    assert command("predict", model, path, "-o", output, *arguments) == 0
    return csv.read_csv(output).to_pydict()


def refused(capsys, *arguments):
    """Run a command that fails, and return its one line."""
    assert command(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


def run(*arguments, **options):
    command = [sys.executable, "-m", "fastloss", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


# ---- errors ---------------------------------------------------------------------------------------------

GOOD = "a,y\n1,2\n2,3\n3,5\n"
