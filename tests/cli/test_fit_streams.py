"""The commands on data that are read a block at a time, and how they end early."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from commands import FEATURES, command, fit, predicted, refused
from pyarrow import csv

from fastloss import data, model_file
from fastloss.cli import training as _fitting


def test_a_stream_is_trained_as_well(folder, tmp_path, capsys):
    def loss(*arguments):
        fit(
            folder / "data.csv",
            tmp_path / "m.npz",
            *["--columns", *FEATURES, "--weight", "weight", "--target", "level", "--categorical", "colour"],
            *arguments,
            loss="squared_error",
        )
        assert command("evaluate", tmp_path / "m.npz", folder / "data.csv", "--weight", "weight") == 0
        return float(re.search(r"squared_error +(\S+)", capsys.readouterr().out)[1])

    streamed = loss("--memory", "1K", "--epochs", "100")
    assert streamed == pytest.approx(loss(), rel=1e-3)


@pytest.mark.parametrize("kind", ["csv", "svm"])
def test_several_classes_by_sgd(kind, folder, tmp_path, capsys):
    path = folder / f"data.{kind}"
    named = ["--target", "level", "--columns", *FEATURES] if kind == "csv" else []

    def loss(*arguments):
        model = fit(path, tmp_path / "m.npz", *named, *arguments, loss="logistic", l2=0.01)
        assert model.coef.shape == (3, 3)
        assert command("evaluate", tmp_path / "m.npz", path) == 0
        return float(re.search(r"softmax_cross_entropy +(\S+)", capsys.readouterr().out)[1])

    best = loss()
    assert loss("--solver", "sgd", "--epochs", "100") == pytest.approx(best, rel=2e-2)
    assert loss("--memory", "1K", "--epochs", "100") == pytest.approx(best, rel=2e-2)


def test_predictions_of_a_stream(folder, tmp_path):
    fit(folder / "data.csv", tmp_path / "m.npz", "--columns", *FEATURES, target="kind", loss="logistic")
    arguments = tmp_path / "m.npz", folder / "data.csv", tmp_path / "out.csv"
    assert predicted(*arguments) == predicted(*arguments, "--memory", "1K")


def test_the_solver_of_a_stream_is_sgd(folder, tmp_path, capsys):
    arguments = [
        "--target",
        "y",
        "--columns",
        *FEATURES,
        "--loss",
        "huber",
        "--memory",
        "1K",
        "-o",
        tmp_path / "m",
    ]
    assert "lbfgs needs all rows" in refused(
        capsys, "fit", folder / "data.csv", *arguments, "--solver", "lbfgs"
    )
    err = refused(capsys, "fit", folder / "data.csv", *arguments, "--validation", "0.5")
    assert "more than a quarter of the memory" in err


PEAK = """
import resource, sys
import numpy, pyarrow.csv, pyarrow.parquet, scipy.optimize, sklearn.datasets
from fastloss.__main__ import main
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert main(sys.argv[1:]) == 0
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.not_sanitized("the sanitizer keeps what is freed")
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kB on Linux alone")
def test_the_memory_of_a_stream(tmp_path):
    rng = np.random.default_rng(0)
    values = {f"x{i}": rng.normal(size=400_000) for i in range(8)}
    csv.write_csv(pa.table({**values, "y": (values["x0"] > 0).astype(int)}), tmp_path / "big.csv")
    assert (tmp_path / "big.csv").stat().st_size > 60_000_000
    arguments = ["--target", "y", "--loss", "logistic", "--epochs", "1", "--quiet", "-o", tmp_path / "m.npz"]
    arguments = ["fit", tmp_path / "big.csv", "--validation", "0.02", "--memory", "16M", *arguments]
    peak = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    assert float(peak.stdout) < 48  # MB; in memory it is more than 150


# ---- Ctrl-C ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("solver", "memory"), [("lbfgs", "1G"), ("sgd", "1G"), ("sgd", "1K")])
def test_ctrl_c_keeps_what_has_been_learned(solver, memory, folder, tmp_path, monkeypatch, capsys):
    shown = _fitting._text

    def interrupt(training, *arguments):
        if len(training) == 3:
            signal.raise_signal(signal.SIGINT)
        return shown(training, *arguments)

    monkeypatch.setattr(_fitting, "_text", interrupt)
    path = tmp_path / "m.npz"
    arguments = ["--target", "y", "--loss", "log_cosh", "--columns", *FEATURES, "--quiet", "-o", path]
    arguments += ["--solver", solver, "--memory", memory]
    assert command("fit", folder / "data.csv", *arguments) == 130
    unit = "iterations" if solver == "lbfgs" else "epochs"
    assert capsys.readouterr().err == (
        f"interrupted after 3 {unit}; {path} has what was learned until then\n"
    )
    assert np.isfinite(model_file.load(path).coef).all()
    assert model_file.load(path).coef.any()


def test_a_request_to_end_leaves_no_unfinished_file(folder, tmp_path, monkeypatch):
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    monkeypatch.setattr(np, "savez", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    arguments = ["--target", "y", "--loss", "log_cosh", "-o", tmp_path / "m.npz", "--columns", "a"]
    try:
        assert command("fit", folder / "data.csv", *arguments) == 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)
    assert os.listdir(tmp_path) == []


def test_ctrl_c_before_the_training_writes_nothing(folder, tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(data._statistics.Statistics, "add", interrupt)
    arguments = ["--target", "y", "--loss", "log_cosh", "-o", tmp_path / "m.npz", "--columns", "a"]
    assert command("fit", folder / "data.csv", *arguments) == 130
    assert capsys.readouterr() == ("", "")
    assert os.listdir(tmp_path) == []
