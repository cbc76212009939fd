"""The commands fit, predict and evaluate: models as those of scikit-learn, what is printed, the page."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

import json
import re
import shlex

import numpy as np
import pytest
from commands import FEATURES, N, command, fit, matrix, predicted, run
from documents import ROOT
from pyarrow import parquet
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import fastloss as fl
from fastloss.__main__ import main

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
