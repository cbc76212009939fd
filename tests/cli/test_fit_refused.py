"""The commands fit, predict and evaluate: what is refused, and what stays of files when writing fails."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys

import numpy as np
import pytest
from commands import FEATURES, GOOD, command, fit, refused, run

import fastloss as fl
from fastloss import model_file


def test_what_is_read_is_not_written_over(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.npz").write_bytes((folder / "data.npz").read_bytes())
    (tmp_path / "data.csv").write_bytes((folder / "data.csv").read_bytes())
    os.link("data.csv", "same.csv")
    before = (tmp_path / "data.npz").read_bytes(), (tmp_path / "data.csv").read_bytes()
    options = ["--target", "y", "--loss", "huber", "--columns", *FEATURES]
    assert "it is read" in refused(capsys, "fit", "data.npz", *options, "-o", "./data.npz")
    assert command("fit", "data.csv", *options, "--quiet") == 0
    assert "it is read" in refused(capsys, "predict", "model.npz", "data.csv", "-o", "same.csv")
    assert before == ((tmp_path / "data.npz").read_bytes(), (tmp_path / "data.csv").read_bytes())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--loss", "hubr"], "there is no loss named 'hubr'; did you mean 'huber'?"),
        (["--loss", "huber(delt=1)"], "did you mean delta?"),
        (["--loss", "huber(delta=-1)"], "delta must be > 0"),
        (["--loss", "huber(delta)"], "must be a name, or a name with parameters"),
        (["--loss", "huber(delta=x)"], "could not convert"),
        (["--loss", "huber", "--target", "yy"], "no column 'yy'; did you mean 'y'?"),
        (["--loss", "huber"], "which column is the target?"),
        (["--loss", "brier", "--target", "kind"], "take logistic"),
        (["--loss", "perceptron", "--target", "kind"], "take logistic"),
        (["--loss", "hinge", "--target", "level"], "hinge takes two classes, and the target has 3"),
        (["--loss", "logistic", "--target", "y"], "labels of classes are integers or text"),
        (["--loss", "poisson", "--target", "y"], "poisson: y_true must be >= 0"),
        (["--loss", "huber", "--target", "kind"], "column 'kind' of"),
        (["--loss", "huber", "--target", "y", "--weight", "a"], "weights below 0"),
        (
            ["--loss", "logistic", "--target", "kind", "--weight", "kind"],
            "is either the target, or the weight",
        ),
        (["--loss", "huber", "--target", "y", "--categorical", "y"], "is either the target, or the weight"),
        (
            ["--loss", "huber", "--target", "y", "--categorical", "count", "--weight", "count"],
            "is either the target, or the weight, or categorical",
        ),
        (
            ["--loss", "huber", "--target", "y", "--solver", "lbfgs", "--l1", "1"],
            "--l1 goes with --solver sgd",
        ),
        (["--loss", "huber", "--target", "y", "--early-stopping"], "needs --validation"),
        (["--loss", "huber", "--target", "y", "--validation", "1.5"], "strictly between 0 and 1"),
        (["--loss", "huber", "--target", "y", "--validation", "1e-9"], "leaves none on one side"),
        (["--loss", "huber", "--target", "y", "--memory", "much"], "must be a size as in 512M"),
        (["--loss", "huber", "--target", "y", "--epochs", "0"], "must be a positive integer"),
        (["--loss", "huber", "--target", "y", "--lr", "-1"], "must be a number >= 0"),
        (["--loss", "squared_error", "--target", "y", "--lr", "1e9"], "lower it, scale the columns"),
        (["--loss", "huber", "--target", "y", "--exclude", *FEATURES], "no column is left"),
        (["--loss", "huber", "--target", "y", "--plot", "no/loss.png"], "there is no such folder"),
        (["--loss", "huber", "--target", "y", "--plot", "loss.xyz"], "a picture ends in one of"),
    ],
)
def test_arguments_that_do_not_fit(arguments, message, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    err = refused(capsys, "fit", folder / "data.csv", "--columns", *FEATURES, *arguments)
    assert message in err
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "none.npz", "data.csv", "-o", "o.csv"], "cannot read none.npz: No such file"),
        (["predict", "data.npz", "data.csv", "-o", "o.csv"], "data.npz is not a model of fastloss"),
        (["predict", "data.csv", "data.csv", "-o", "o.csv"], "data.csv is not a model of fastloss"),
        (["predict", "m.npz", "none.csv", "-o", "o.csv"], "cannot read none.csv: No such file"),
        (
            ["predict", "m.npz", "other.csv", "-o", "o.csv"],
            "other.csv has no column 'b'; its columns are a, y",
        ),
        (["predict", "m.npz", "data.svm", "-o", "o.csv"], "svmlight has no named columns"),
        (
            ["fit", "data.svm", "--loss", "huber", "--target", "y"],
            "svmlight has no named columns: no target but",
        ),
        (["predict", "m.npz", "data.csv", "-o", "o.txt"], "ends in .csv, .parquet, .npy"),
        (["predict", "m.npz", "data.csv", "-o", "no/o.csv"], "there is no such folder"),
        (
            ["predict", "m.npz", "data.csv", "-o", "o.csv", "--proba"],
            "squared_error, which has no probabilities",
        ),
        (
            ["evaluate", "m.npz", "data.csv", "--loss", "logistic"],
            "logistic is a loss for binary classification",
        ),
        (["evaluate", "m.npz", "data.csv", "--loss", "poisson"], "takes the logarithm of a mean"),
        (["evaluate", "m.npz", "data.csv", "--loss", "huver"], "did you mean 'huber'?"),
        (
            ["evaluate", "m.npz", "data.csv", "--target", "a"],
            "learned from column 'a'; take another --target",
        ),
        (
            ["evaluate", "m.npz", "data.csv", "--weight", "b"],
            "learned from column 'b'; take another --weight",
        ),
    ],
)
def test_models_and_data_that_do_not_fit(arguments, message, folder, tmp_path, monkeypatch, capsys):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "other.csv").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    fit("data.csv", "m.npz", "--columns", *FEATURES, target="y", loss="squared_error")
    before = sorted(os.listdir())
    assert message in refused(capsys, *arguments)
    assert sorted(os.listdir()) == before


def changed(path, **parts):
    with np.load(path) as file:
        arrays = dict(file)
    description = json.loads(str(arrays["model"])) | parts.pop("description", {})
    np.savez(path, **{**arrays, "model": np.array(json.dumps(description)), **parts})


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"description": {"format": 2, "fastloss": "9.9"}},
            "is a model of format 2, written by fastloss 9.9",
        ),
        ({"description": {"loss": "none"}}, "is not a model of fastloss, or is damaged"),
        ({"description": {"columns": ["a"]}}, "or is damaged"),
        ({"coef": np.zeros(2)}, "or is damaged"),
        ({"coef": np.full(3, np.nan)}, "or is damaged"),
        ({"scales": np.zeros(3)}, "or is damaged"),
        ({"intercept": np.zeros(2)}, "or is damaged"),
        ({"model": np.array("{")}, "or is damaged"),
        ({"model": np.array("3")}, "or is damaged"),
        ({"coef": np.array([None, 1, 2])}, "or is damaged"),
        ({"coef": np.full(3, 1j)}, "or is damaged"),
        ({"scales": np.full(3, 5e-324)}, "scores are not finite; look for huge numbers"),
        ({"description": {"columns": [1, 2, 3]}}, "or is damaged"),
        ({"description": {"target": 1}}, "or is damaged"),
        ({"description": {"classes": []}}, "or is damaged"),
        ({"description": {"classes": ["a"]}}, "or is damaged"),
        ({"description": {"classes": [1, None]}}, "or is damaged"),
        ({"description": {"classes": [1, 2**64]}}, "or is damaged"),
    ],
)
def test_models_of_another_version_or_damaged(parts, message, folder, tmp_path, capsys):
    path = tmp_path / "m.npz"
    fit(folder / "data.csv", path, "--columns", *FEATURES, target="y", loss="huber(delta=2)")
    changed(path)
    assert model_file.load(path).loss == fl.huber.bind(delta=2.0)
    changed(path, **parts)
    assert message in refused(capsys, "predict", path, folder / "data.csv", "-o", tmp_path / "o.csv")
    assert not (tmp_path / "o.csv").exists()


@pytest.mark.parametrize("library", ["pyarrow", "scipy.optimize", "matplotlib"])
def test_what_is_missing_is_named(library, folder, tmp_path, monkeypatch, capsys):
    for name in (library, *(f"{library}.{part}" for part in ("csv", "parquet", "figure"))):
        monkeypatch.setitem(sys.modules, name, None)
    err = refused(
        capsys,
        "fit",
        folder / "data.csv",
        *["--target", "y", "--loss", "huber", "--columns", *FEATURES],
        *["-o", tmp_path / "m.npz", "--plot", tmp_path / "p.png"],
    )
    assert 'pip install "fastloss[train]"' in err
    assert library.partition(".")[0] in err
    assert os.listdir(tmp_path) == []


# ---- what is written ------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk(folder, tmp_path, capsys):
    arguments = ["--target", "y", "--loss", "huber", "--columns", *FEATURES, "--quiet"]
    err = refused(capsys, "fit", folder / "data.csv", *arguments, "-o", "/dev/full")
    assert "cannot write to /dev/full: No space left on device" in err
    assert os.path.exists("/dev/full")
    fit(folder / "data.csv", tmp_path / "m.npz", *arguments[:-1])
    for ending in ("csv", "parquet", "npy"):
        output = tmp_path / f"full.{ending}"
        output.symlink_to("/dev/full")
        err = refused(capsys, "predict", tmp_path / "m.npz", folder / "data.csv", "-o", output)
        assert f"cannot write to {output}: No space left on device" in err


def test_what_was_there_survives_a_write_that_fails(folder, tmp_path):
    path = tmp_path / "m.npz"
    fit(folder / "data.csv", path, "--columns", *FEATURES, target="y", loss="huber")
    before = path.read_bytes()

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))

    arguments = ["--target", "y", "--loss", "log_cosh", "--columns", *FEATURES, "-o", path]
    result = run("fit", folder / "data.csv", *arguments, preexec_fn=limit)
    assert result.returncode == 2
    assert f"fastloss: cannot write to {path}: File too large\n" == result.stderr
    assert path.read_bytes() == before
    for ending in ("csv", "parquet", "npy"):  # predictions of which some still fit
        output = tmp_path / f"p.{ending}"
        result = run("predict", path, folder / "data.csv", "-o", output, preexec_fn=limit)
        assert f"fastloss: cannot write to {output}: File too large\n" == result.stderr
    assert os.listdir(tmp_path) == ["m.npz"]


def test_a_link_leads_to_the_new_model(folder, tmp_path):
    (tmp_path / "real.npz").touch()
    (tmp_path / "link.npz").symlink_to("real.npz")
    fit(folder / "data.csv", tmp_path / "link.npz", "--columns", *FEATURES, target="y", loss="huber")
    assert (tmp_path / "link.npz").is_symlink()
    assert model_file.load(tmp_path / "real.npz").loss == fl.huber
