"""The commands fit, predict and evaluate."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

import io
import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
from documents import ROOT

import fastloss as fl
from fastloss import data, model_file
from fastloss.__main__ import main
from fastloss.cli import training as _fitting
from fastloss.data import together

pa = pytest.importorskip("pyarrow")
csv, parquet = pytest.importorskip("pyarrow.csv"), pytest.importorskip("pyarrow.parquet")
sklearn = pytest.importorskip("sklearn")
from sklearn.datasets import dump_svmlight_file  # noqa: E402
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: E402

pytest.importorskip("scipy.optimize")

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


# ---- models ---------------------------------------------------------------------------------------------


def test_two_classes_are_those_of_logistic_regression(table, folder, tmp_path):
    model = tmp_path / "model.npz"
    fit(
        folder / "data.csv",
        model,
        "--columns",
        *FEATURES,
        "colour",
        "--categorical",
        "colour",
        target="kind",
        loss="logistic",
        l2=0.01,
    )
    X = np.hstack(
        [
            StandardScaler().fit_transform(matrix(table)),
            OneHotEncoder(sparse_output=False).fit_transform(table["colour"][:, None]),
        ]
    )
    reference = LogisticRegression(C=1 / (0.01 * N), tol=1e-10, max_iter=10_000).fit(X, table["kind"])
    found = predicted(model, folder / "data.csv", tmp_path / "out.csv", "--proba")
    assert list(found) == ["no", "yes"]
    np.testing.assert_allclose(found["yes"], reference.predict_proba(X)[:, 1], atol=1e-4)
    labels = predicted(model, folder / "data.csv", tmp_path / "out.csv")["prediction"]
    assert (np.array(labels) == reference.predict(X)).mean() > 0.99


def test_several_classes_are_those_of_the_softmax(table, folder, tmp_path):
    model = fit(
        folder / "data.npz",
        tmp_path / "model.npz",
        "--columns",
        *FEATURES,
        target="level",
        loss="logistic",
        l2=0.01,
    )
    assert model.encoding.classes == (0, 1, 2)
    assert model.loss == fl.softmax_cross_entropy
    X = StandardScaler().fit_transform(matrix(table))
    reference = LogisticRegression(C=1 / (0.01 * N), tol=1e-10, max_iter=10_000).fit(X, table["level"])
    found = predicted(tmp_path / "model.npz", folder / "data.parquet", tmp_path / "out.csv", "--proba")
    np.testing.assert_allclose(np.transpose(list(found.values())), reference.predict_proba(X), atol=1e-4)


def test_weighted_regression_is_ridge(table, folder, tmp_path):
    model = tmp_path / "model.npz"
    fit(
        folder / "data.parquet",
        model,
        "--columns",
        *FEATURES,
        "--no-scale",
        target="y",
        weight="weight",
        loss="half_squared_error",
        l2=0.1,
    )
    weight = table["weight"]
    reference = Ridge(alpha=0.1 * weight.sum(), tol=1e-12).fit(
        matrix(table), table["y"], sample_weight=weight
    )
    found = predicted(model, folder / "data.csv", tmp_path / "out.csv")
    np.testing.assert_allclose(found["prediction"], reference.predict(matrix(table)), atol=1e-3)


def test_the_learning_rate_knows_the_penalty(folder, tmp_path):
    options = {"target": "y", "loss": "squared_error", "solver": "sgd", "l2": 1e6}
    model = fit(folder / "data.csv", tmp_path / "m.npz", "--columns", *FEATURES, **options)
    assert 0 < np.abs(model.coef).max() < 1e-4


def test_losses_of_counts_predict_the_mean(table, folder, tmp_path):
    model = tmp_path / "model.npz"
    fit(folder / "data.csv", model, "--columns", *FEATURES, target="count", loss="poisson", l2=0.01)
    X = StandardScaler().fit_transform(matrix(table))
    reference = PoissonRegressor(alpha=0.01, tol=1e-10, max_iter=10_000).fit(X, table["count"])
    found = predicted(model, folder / "data.csv", tmp_path / "out.csv")
    np.testing.assert_allclose(found["prediction"], reference.predict(X), rtol=1e-3)


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
def test_the_format_does_not_matter(folder, tmp_path, solver):
    options = {"loss": "softmax_cross_entropy", "solver": solver, "l2": 0.01}
    if solver == "sgd":
        options["loss"] = "squared_error"
    models = [
        fit(
            folder / f"data.{kind}",
            tmp_path / f"{kind}.npz",
            "--columns",
            *FEATURES,
            "--no-scale",
            target="level",
            **options,
        )
        for kind in ("csv", "parquet", "npz")
    ]
    sparse = fit(folder / "data.svm", tmp_path / "svm.npz", "--no-scale", **options)
    for model in models[1:]:
        np.testing.assert_array_equal(model.coef, models[0].coef)
        np.testing.assert_array_equal(model.intercept, models[0].intercept)
    # Sparse rows have sums in an order of their own.
    atol = 1e-2 if solver == "lbfgs" else 1e-9
    np.testing.assert_allclose(sparse.coef, models[0].coef, atol=atol)


def test_the_parameters_of_a_loss(folder, tmp_path):
    options = {"target": "y", "loss": "huber(delta=0.5)"}
    model = fit(folder / "data.csv", tmp_path / "model.npz", "--columns", *FEATURES, **options)
    assert model.loss == fl.huber.bind(delta=0.5)


def test_a_model_is_read_by_numpy_alone(table, folder, tmp_path):
    path = tmp_path / "model.npz"
    fit(folder / "data.csv", path, "--columns", *FEATURES, target="kind", loss="logistic", l2=0.01)
    with np.load(path, allow_pickle=False) as file:
        description = json.loads(str(file["model"]))
        score = (matrix(table) - file["means"]) / file["scales"] @ file["coef"] + file["intercept"]
    assert description["columns"] == description["features"] == FEATURES
    classes = np.array(description["classes"])[(score > 0).astype(int)]
    found = predicted(path, folder / "data.csv", tmp_path / "out.csv")
    assert found["prediction"] == classes.tolist()


def test_predictions_go_to_parquet_and_npy(table, folder, tmp_path):
    model = tmp_path / "model.npz"
    fit(folder / "data.csv", model, "--columns", *FEATURES, target="kind", loss="logistic")
    expected = predicted(model, folder / "data.csv", tmp_path / "out.csv")["prediction"]
    for name in ("out.parquet", "out.npy"):
        assert command("predict", model, folder / "data.csv", "-o", tmp_path / name) == 0
    assert parquet.read_table(tmp_path / "out.parquet")["prediction"].to_pylist() == expected
    assert np.load(tmp_path / "out.npy").tolist() == expected
    assert command("predict", model, folder / "data.csv", "-o", tmp_path / "out.npy", "--proba") == 0
    np.testing.assert_allclose(np.load(tmp_path / "out.npy").sum(axis=1), 1)


def test_an_unknown_category_counts_nothing(folder, tmp_path):
    model = fit(
        folder / "data.csv",
        tmp_path / "model.npz",
        "--columns",
        "a",
        "--categorical",
        "colour",
        target="y",
        loss="squared_error",
        l2=0.01,
    )
    assert model.encoding.features == ["a", "colour=blue", "colour=green", "colour=red"]
    (tmp_path / "new.csv").write_text("colour,a\nviolet,0.5\nred,0.5\n")
    found = predicted(tmp_path / "model.npz", tmp_path / "new.csv", tmp_path / "out.csv")["prediction"]
    z = (0.5 - model.encoding.means[0]) / model.encoding.scales[0]
    assert found[0] == pytest.approx(z * model.coef[0] + model.intercept, rel=1e-12)
    assert found[1] - found[0] == pytest.approx(model.coef[3], rel=1e-9)


def test_sparse_columns_that_a_model_has_not_seen_count_nothing(tmp_path):
    (tmp_path / "a.svm").write_text("1 0:1 3:2\n-1 0:-1 3:1\n1 0:2\n-1 3:0.5\n")
    model = fit(tmp_path / "a.svm", tmp_path / "model.npz", loss="logistic", l2=0.1)
    assert model.coef.shape == (4,)
    (tmp_path / "b.svm").write_text("1 0:1 9:100\n-1 0:1\n")
    scores = predicted(tmp_path / "model.npz", tmp_path / "b.svm", tmp_path / "out.csv", "--proba")["1"]
    assert scores[0] == scores[1]


# ---- evaluation -----------------------------------------------------------------------------------------


def test_evaluation_is_one_call_on_all_rows(table, folder, tmp_path, capsys):
    model = fit(
        folder / "data.csv", tmp_path / "model.npz", "--columns", *FEATURES, target="kind", loss="logistic"
    )
    names = ["logistic", "hinge", "brier", "softmax_cross_entropy"]
    arguments = ["evaluate", tmp_path / "model.npz", folder / "data.csv", "--weight", "weight"]
    assert command(*arguments, "--loss", *names, "--memory", "4K") == 0
    shown = dict(re.findall(r"^(\w+) +(\S+)$", capsys.readouterr().out, re.MULTILINE))
    X = (matrix(table) - model.encoding.means) / model.encoding.scales
    y, score, weight = table["kind"] == "yes", X @ model.coef + model.intercept, table["weight"]
    margin = np.where(y, score, -score).astype(np.longdouble)
    log_loss = np.log1p(np.exp(-margin))
    for name, values in {
        "logistic": log_loss,
        "softmax_cross_entropy": log_loss,
        "hinge": np.maximum(0, 1 - margin),
        "brier": (1 / (1 + np.exp(margin))) ** 2,
    }.items():
        assert float(shown[name]) == pytest.approx(float(np.average(values, weights=weight)), rel=1e-9)
    assert float(shown["accuracy"]) == np.mean(margin > 0)


def test_the_default_is_the_loss_of_the_training(folder, tmp_path, capsys):
    fit(folder / "data.svm", tmp_path / "model.npz", loss="logistic", l2=0.01)
    assert command("evaluate", tmp_path / "model.npz", folder / "data.svm") == 0
    out = capsys.readouterr().out
    assert re.search(r"^softmax_cross_entropy +0\.\d+$", out, re.MULTILINE)
    assert f"{N} rows" in out


# ---- what is printed and drawn --------------------------------------------------------------------------


def test_a_table_of_losses_and_a_picture(folder, tmp_path):
    pytest.importorskip("matplotlib")
    arguments = ["--target", "y", "--loss", "squared_error", "--columns", *FEATURES, "--validation", "0.25"]
    arguments += ["--solver", "sgd", "--epochs", "30", "-o", tmp_path / "m.npz", "--plot", tmp_path / "p.png"]
    result = run("fit", folder / "data.csv", *arguments)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    header, _, *lines, last = result.stdout.splitlines()
    assert header.split("  ") == ["epoch", "training loss", "validation loss", "learning rate"]
    epochs = [int(line.split()[0]) for line in lines]
    assert epochs[0] == 1
    assert epochs[-1] == 30
    assert len(epochs) == 20
    assert last.startswith(f"{tmp_path / 'm.npz'}: squared_error, 3 coefficients, ")
    training, validation = map(int, re.search(r"(\d+) rows and (\d+) for validation", last).groups())
    assert training + validation == N
    assert 0.15 < validation / N < 0.35
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_early_stopping_keeps_the_best_epoch(folder, tmp_path, capsys):
    arguments = ["--target", "y", "--loss", "squared_error", "--columns", *FEATURES, "--validation", "0.25"]
    assert command("fit", folder / "data.csv", *arguments, "--early-stopping", "-o", tmp_path / "m.npz") == 0
    out = capsys.readouterr().out
    assert re.search(r"^the best epoch was \d+$", out, re.MULTILINE)


def test_the_seed_decides(folder, tmp_path):
    def coef(seed):
        options = {"target": "y", "loss": "huber", "solver": "sgd", "seed": seed, "epochs": 2}
        return fit(folder / "data.csv", tmp_path / "m.npz", "--columns", *FEATURES, **options).coef

    np.testing.assert_array_equal(coef(1), coef(1))
    assert (coef(1) != coef(2)).any()


# ---- streams --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "parquet", "npz", "svm"])
def test_a_stream_is_the_same_rows(kind, folder):
    options = {"validation_fraction": 0.3, "seed": 5}
    if kind != "svm":
        options |= {"target": "level", "weight": "weight", "columns": FEATURES, "categorical": ["colour"]}
    whole = data.batches(folder / f"data.{kind}", **options)
    streamed = data.batches(folder / f"data.{kind}", memory=1000, **options)
    assert streamed.streamed
    assert not whole.streamed
    assert len(list(whole)) == 1
    for part in (iter, data.Batches.held_out):
        for _ in range(2):  # passes
            for one, other in zip(together(part(whole)), together(part(streamed)), strict=True):
                one, other = (x if isinstance(x, np.ndarray) else x.toarray() for x in (one, other))
                np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
    assert whole.encoding.categories == streamed.encoding.categories
    assert (whole.rows, whole.held_out_rows) == (streamed.rows, streamed.held_out_rows)
    assert whole.rows + whole.held_out_rows == N


def test_a_stream_has_several_blocks(folder):
    for kind in ("csv", "npz"):
        blocks = list(data.batches(folder / f"data.{kind}", target="y", columns=["a"], memory=1000))
        assert len(blocks) > 1


def test_scaled_columns_have_mean_0_and_deviation_1(folder):
    blocks = data.batches(
        folder / "data.csv", target="y", columns=FEATURES, validation_fraction=0.3, memory=1000
    )
    X, _ = together(iter(blocks))
    np.testing.assert_allclose(X.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(X.std(axis=0), 1, rtol=1e-12)


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


# ---- errors ---------------------------------------------------------------------------------------------

GOOD = "a,y\n1,2\n2,3\n3,5\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.csv", "", "is empty"),
        ("x.csv", "a,y\n", "has no rows"),
        ("x.csv", "\n", "has no line of names of columns"),
        ("x.csv", "a,y\n1,2\n3\n", "Expected 2 columns, got 1: 3"),
        ("x.csv", "a,y\n1,2\n,3\n", "column 'a' of x.csv has no value in row 2 of the data; fill it in"),
        ("x.csv", "a,y\n1,2\n3,NA\n", "column 'y' of x.csv has no value in row 2"),
        ("x.csv", "a,y\n1,2\ninf,3\n", "column 'a' of x.csv holds inf in row 2"),
        (
            "x.csv",
            "a,y\n1,2\nred,3\n",
            "column 'a' of x.csv is not numeric: it holds 'red'; name it in --categorical",
        ),
        ("x.csv", "b,y\n1,2\n", "no column 'a'; its columns are b, y"),
        ("x.csv", "A,y\n1,2\n", "no column 'a'"),
        ("x.csv", "a,a,y\n1,2,3\n", "2 columns 'a'"),
        ("x.csv", "a,y\n\xff,2\n", "column 'a' of x.csv is not numeric"),
        ("x.parquet", "PAR1 and no more", "cannot read x.parquet"),
        ("x.npz", "PK and no more", "cannot read x.npz: File is not a zip file"),
        ("x.txt", GOOD, "the format is that of the ending, one of .csv, .parquet"),
        ("x.svm", GOOD, "svmlight has no named columns"),
    ],
)
def test_files_that_are_not_as_they_should_be(name, text, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    arguments = ["--target", "y", "--columns", "a", "--loss", "squared_error"]
    assert message in refused(capsys, "fit", name, *arguments)
    assert os.listdir() == [name]


def test_a_line_that_is_longer_than_a_block(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, text in (
        ("names", f"{'a' * 20_000},y\n1,2\n"),
        ("values", f"a,y\n{'0' * 40_000},2\n{'0' * 40_000},2\n"),
    ):
        (tmp_path / f"{name}.csv").write_text(text)
        arguments = "--target", "y", "--loss", "huber", "--memory", "1K"
        assert "a line that is longer than a block; raise" in refused(
            capsys, "fit", f"{name}.csv", *arguments
        )


def test_a_pipe(tmp_path, capsys):
    os.mkfifo(tmp_path / "x.csv")
    err = refused(capsys, "fit", tmp_path / "x.csv", "--target", "y", "--loss", "huber")
    assert "x.csv is a pipe, and data are read more than once; write them to a file first" in err


@pytest.mark.parametrize("line", ["1 2:", "1 2", "yes 1:2", "1 2:x", "1 -1:2", "1 2:3 1:1", "1,2"])
def test_a_bad_line_of_svmlight(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.svm").write_text(f"1 1:2 3:4\n# a comment\n-1 2:1\n{line}\n1 1:1\n")
    err = refused(capsys, "fit", "x.svm", "--loss", "hinge")
    assert "x.svm" in err
    assert "line 4" in err or "sorted" in err


@pytest.mark.parametrize("kind", ["parquet", "npz"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_files_that_were_cut(kind, part, folder, tmp_path, capsys):
    content = (folder / f"data.{kind}").read_bytes()
    (tmp_path / f"x.{kind}").write_bytes(content[: int(part * len(content))])
    arguments = ["--target", "y", "--columns", "a", "--loss", "squared_error"]
    assert "cannot read" in refused(capsys, "fit", tmp_path / f"x.{kind}", *arguments)


def test_a_damaged_byte_of_an_npz(folder, tmp_path, capsys):
    content = bytearray((folder / "data.npz").read_bytes())
    at = content.index(b"a.npy") + 300
    content[at] ^= 1
    (tmp_path / "x.npz").write_bytes(content)
    arguments = ["--target", "y", "--columns", "a", "--loss", "squared_error"]
    assert "Bad CRC-32" in refused(capsys, "fit", tmp_path / "x.npz", *arguments)


def test_an_npz_of_arrays_that_make_no_table(tmp_path, capsys):
    arguments = ["--target", "y", "--loss", "squared_error"]
    np.savez(tmp_path / "x.npz", x=np.zeros(3), y=np.zeros(4))
    assert "one number of rows" in refused(capsys, "fit", tmp_path / "x.npz", *arguments)
    np.savez(tmp_path / "x.npz", x=np.array([None, 1]), y=np.zeros(2))
    assert "of numbers or text" in refused(capsys, "fit", tmp_path / "x.npz", *arguments)
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 3), order="F"), y=np.zeros(2))
    assert "Fortran order" in refused(capsys, "fit", tmp_path / "x.npz", *arguments)
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 2)), x1=np.zeros(2), y=np.zeros(2))
    assert "2 columns 'x1'" in refused(capsys, "fit", tmp_path / "x.npz", *arguments)


def test_an_npz_that_says_to_be_larger_than_it_is(tmp_path, capsys):
    header = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (3, 10**6)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    tracemalloc.start()
    try:
        err = refused(capsys, "fit", tmp_path / "x.npz", "--target", "x0", "--loss", "squared_error")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "array 'x' ends early" in err
    assert peak < 2**24  # there are no names of a million columns


def test_a_name_that_two_columns_have(tmp_path, capsys):
    path = tmp_path / "x.csv"
    path.write_text("a,a,b,y\n1,9,4,2\n2,9,5,3\n")
    arguments = [path, "--target", "y", "--loss", "squared_error", "-o", tmp_path / "m.npz"]
    assert "2 columns 'a'" in refused(capsys, "fit", *arguments)
    assert command("fit", *arguments, "--exclude", "a") == 0


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (("9007199254740992", "9007199254740993"), (2**53, 2**53 + 1)),
        (("-1.0", "1e2"), (-1, 100)),
        (("10", "1_0"), ("10", "1_0")),
        (("100000000000000000000001", "100000000000000000000002"),) * 2,
    ],
)
def test_labels_are_told_apart(labels, classes, tmp_path):
    path, out = tmp_path / "x.csv", tmp_path / "p.csv"
    path.write_text("a,y\n" + "".join(f"{i},{labels[i > 4]}\n" for i in range(10)))
    assert fit(path, tmp_path / "m.npz", target="y", loss="logistic").encoding.classes == classes
    assert command("predict", tmp_path / "m.npz", path, "-o", out) == 0
    predicted = [line.strip('"') for line in out.read_text().split()[1:]]
    assert predicted == [str(classes[i > 4]) for i in range(10)]


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
        (["evaluate", "m.npz", "data.csv", "--loss", "logistic"], "logistic is a loss for binary"),
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


def test_a_cut_model(folder, tmp_path, capsys):
    path = tmp_path / "m.npz"
    fit(folder / "data.csv", path, "--columns", *FEATURES, target="y", loss="huber")
    content = path.read_bytes()
    for length in (0, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        err = refused(capsys, "predict", path, folder / "data.csv", "-o", tmp_path / "o.csv")
        assert "or is damaged" in err


@pytest.mark.parametrize("kind", ["model", "npz", "parquet"])
def test_any_damaged_byte_is_an_error_or_nothing(kind, folder, tmp_path):
    path = folder / f"data.{kind}"
    if kind == "model":
        path = tmp_path / "m.npz"
        fit(folder / "data.csv", path, "--columns", *FEATURES, target="y", loss="huber")
    content, refusals = path.read_bytes(), 0
    step = 5 if kind == "model" else len(content) // 100
    for at in range(0, len(content), step):
        damaged = tmp_path / f"damaged.{kind}"
        damaged.write_bytes(content[:at] + bytes([content[at] ^ 0x5A]) + content[at + 1 :])
        try:
            if kind == "model":
                model_file.load(damaged)
            else:
                data.batches(damaged, target="y", columns=FEATURES)
        except ValueError as error:
            refusals += str(damaged) in str(error)
            continue
    assert refusals > 5  # a Parquet file has few checksums


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


# ---- the page -------------------------------------------------------------------------------------------


def test_the_blocks_of_the_page_run_in_order(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    page, namespace = (ROOT / "docs" / "command.md").read_text(encoding="utf-8"), {}
    for language, block in re.findall(r"^```(python|console)\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        if language == "python":
            exec(block, namespace)
            continue
        for line in block.splitlines():
            name, *arguments = shlex.split(line)
            assert name == "fastloss"
            assert main(arguments) == 0, capsys.readouterr().err
    assert (tmp_path / "loss.png").exists()


def test_the_page_has_every_option(capsys):
    page = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")
    for name in ("fit", "predict", "evaluate"):
        assert main([name, "--help"]) == 0
    options = set(re.findall(r"^  (?:-o [A-Z]+, )?(--[a-z0-9-]+)", capsys.readouterr().out, re.MULTILINE))
    assert {"--target", "--early-stopping", "--proba"} < options
    for option in options - {"--no-color", "--seed", "--output"}:
        assert option in page, option
