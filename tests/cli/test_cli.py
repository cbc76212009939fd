"""The command line: info, bench and demo."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache

import numpy as np
import pytest

import fastloss as fl
from fastloss.__main__ import main
from fastloss.cli import bench
from fastloss.cli.console import Console
from fastloss.cli.parser import NEEDED

demo = pytest.importorskip("fastloss.cli.demo")
log_loss = pytest.importorskip("sklearn.metrics").log_loss

ESCAPE = "\x1b"


def run(*arguments, **environment):
    """Run the command line as a user does, with its output in a pipe."""
    return subprocess.run(
        [sys.executable, "-m", "fastloss", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=300,
    )


# ---- info and the arguments ---------------------------------------------------------------------------


def test_info_shows_the_configuration():
    result = run("info")
    assert result.returncode == 0
    assert result.stderr == ""
    shown = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if "supported" not in line)
    assert shown["version"] == fl.__version__
    assert int(shown["threads"]) >= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench", "hubr"], "there is no loss named 'hubr'; did you mean 'huber'?"),
        (["bench", "--n", "0"], "must be a positive integer, got '0'"),
        (["bench", "--n", "1e6"], "must be a positive integer, got '1e6'"),
        (["bench", "--threads", "0"], "must be an integer of 1 to 1024, got '0'"),
        (["bench", "--dtype", "float16"], "invalid choice: 'float16'"),
        (["bench", "--n", str(10**15), "huber"], "Unable to allocate"),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        ([], "the following arguments are required: COMMAND; see fastloss --help"),
        (["info", "--verbose"], "unrecognized arguments: --verbose; see fastloss COMMAND --help"),
    ],
)
def test_errors_are_one_line_and_exit_with_2(arguments, message):
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stdout == "" or "--n" in arguments
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["bench", "demo"])
def test_ctrl_c_exits_with_130(command, monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "report", interrupted)
    monkeypatch.setattr(demo, "run", interrupted)
    assert main([command]) == 130
    assert capsys.readouterr() == ("", "")


# ---- bench --------------------------------------------------------------------------------------------


def test_bench_prints_two_rows_a_loss_and_dashes_for_what_is_missing():
    result = run("bench", "huber", "welsch", "--n", 500, "--dtype", "float32", "--threads", 1)
    assert result.returncode == 0
    assert result.stderr == ""
    assert ESCAPE not in result.stdout
    rows = {
        tuple(row[:2]): row[2:] for row in (re.split(r"\s{2,}", line) for line in result.stdout.splitlines())
    }
    assert rows["loss", "fastloss"] == ["NumPy", "sklearn", "vs NumPy", "vs sklearn"]
    for what in ("value", "grad"):
        assert all(re.fullmatch(r"[\d.]+ (us|ms|s)", cell) for cell in rows["huber", what][:3])
        assert all(re.fullmatch(r"[\d.]+x", cell) for cell in rows["huber", what][3:])
        assert rows["welsch", what][1:] == ["-"] * 4
    assert "500 elements, float32; threads: 1" in result.stdout


def test_bench_works_without_the_extras(monkeypatch, capsys):
    for package in ("rich", "sklearn", "sklearn._loss.loss", "sklearn.metrics"):
        monkeypatch.setitem(sys.modules, package, None)
    assert main(["bench", "huber", "hinge", "--n", "10"]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"huber .* us .* us +- .*x +-\n", out)) == 2


@pytest.mark.parametrize("name", bench.EXPRESSIONS)
def test_numpy_computes_what_fastloss_computes(name):
    y, s = bench.sample(name, 1000, "float64")
    value, gradient = fl.get(name).value_and_grad(y, s)
    numpy_value, numpy_gradient = (expression(y, s) for expression in bench.EXPRESSIONS[name])
    assert numpy_value == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(numpy_gradient, gradient, rtol=1e-9, atol=1e-18)


@pytest.mark.parametrize("name", [*bench.CLASSES, *bench.METRICS])
def test_scikit_learn_computes_what_fastloss_computes_up_to_a_factor(name):
    y, s = bench.sample(name, 1000, "float64")
    value, gradient = bench.sklearn_functions(name)
    factor = 0.5 if name == "squared_error" else 1.0
    if gradient is None:
        expected = fl.get(name)(y, s)
    else:
        np.testing.assert_allclose(
            gradient(y, s), factor * fl.get(name).grad(y, s, reduction="sum"), rtol=1e-9
        )
        # Terms of y_true alone may differ: compare how the value changes.
        value, there = (lambda y, s, f=value: f(y, s) - f(y, 0 * s)), 0 * s
        expected = factor * (fl.get(name)(y, s) - fl.get(name)(y, there))
    assert value(y, s) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", [name for names in fl.losses().values() for name in names])
def test_every_loss_can_be_measured(name):
    timings = bench.measure(name, 100, "float64", seconds=0)
    assert set(timings) == {"value", "grad"}
    assert all(timing.fastloss > 0 for timing in timings.values())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2.5, "2.5 s"),
        (0.9996, "1 s"),
        (1.234e-3, "1.23 ms"),
        (9.996e-4, "1 ms"),
        (4.2e-7, "0.42 us"),
        (None, "-"),
    ],
)
def test_times_have_three_digits_and_a_unit(seconds, text):
    assert bench._time(seconds) == text


# ---- the console ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terminal", "color", "no_color", "escapes"),
    [(True, True, "", True), (True, False, "", False), (True, True, "1", False), (False, True, "", False)],
)
def test_escape_codes_are_for_terminals_only(terminal, color, no_color, escapes, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    if not terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")  # of which a pipe takes no notice
    console = Console(color=color)
    console.heading("A [heading]")
    with console.progress("Task [x]", 2) as step:
        step("first [a]")
        step("second [b]")
    console.table(["name", "value"], [["[bold]", "1"]])
    out = capsys.readouterr().out
    assert (ESCAPE in out) == escapes
    for text in ("A [heading]", "Task [x]", "second [b]", "[bold]"):
        assert text in out


def test_plain_tables_are_aligned(capsys):
    Console(color=False).table(
        ["loss", "what", "time"], [["a", "value", "1 us"], ["long", "b", "12.5 ms"]], text_columns=2
    )
    assert capsys.readouterr().out.splitlines() == [
        "loss  what      time",
        "----  -----  -------",
        "a     value     1 us",
        "long  b      12.5 ms",
    ]


# ---- demo -----------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_demo_draws_and_prints_plain_text_in_a_pipe(tmp_path):
    # FORCE_COLOR is the wish of other programs' users: a pipe stays plain.
    result = run("demo", "--quick", "--output", tmp_path / "new" / "folder", FORCE_COLOR="1")
    assert result.returncode == 0, result.stderr
    assert ESCAPE not in result.stdout
    assert "\r" not in result.stdout
    assert "Traceback" not in result.stderr
    assert "Warning" not in result.stderr
    assert str(tmp_path / "new" / "folder") in result.stdout
    for name in ("fitted_line.png", "loss_curves.png", "losses.png"):
        picture = (tmp_path / "new" / "folder" / name).read_bytes()
        assert picture.startswith(b"\x89PNG\r\n\x1a\n")
        assert len(picture) > 10_000
        assert name in result.stdout


@pytest.mark.parametrize("missing", ["rich", "matplotlib", "sklearn"])
def test_demo_names_its_extra(missing, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["demo"]) == 2
    assert capsys.readouterr() == ("", f"fastloss: {NEEDED}\n")


@pytest.mark.parametrize("below", [".", "folder"])
def test_demo_refuses_an_unwritable_folder_before_it_works(below, tmp_path, capsys):
    (tmp_path / "file").touch()
    output = tmp_path / "file" / below
    assert main(["demo", "--output", str(output)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf"fastloss: cannot write to {re.escape(str(output))}: .+\n", err)


def test_the_line_is_that_of_least_squares():
    line = demo.fit_line()
    np.random.seed(0)
    x = 2 * np.random.rand(100, 1)
    y = 4 + 3 * x + np.random.randn(100, 1)
    np.testing.assert_array_equal(line.x, x.ravel())
    np.testing.assert_array_equal(line.y, y.ravel())
    exact = np.linalg.lstsq(np.hstack([np.ones_like(x), x]), y.ravel())[0]
    np.testing.assert_allclose(line.fitted, exact, rtol=0, atol=1e-3)
    np.testing.assert_allclose(line.least_squares, exact, rtol=0, atol=1e-12)


@cache
def trained(problem):
    data = demo.load(problem)
    return data, demo.train(problem.loss, data, problem.lr)


@pytest.mark.parametrize("problem", demo.PROBLEMS, ids=lambda problem: problem.name)
def test_models_are_as_good_as_those_of_scikit_learn(problem):
    data, model = trained(problem)
    reference, _ = demo.fit_reference(problem, data)
    ours = demo.quality(problem, data, demo.predict(model, data))
    theirs = demo.quality(problem, data, demo.predict(reference, data))
    figure, least = ("R^2", 0.3) if data.unit else ("accuracy", 0.95)
    assert set(ours) == set(theirs)
    assert ours[figure] >= least
    assert ours[figure] == pytest.approx(theirs[figure], abs=0.03)
    assert ours["test loss"] == pytest.approx(theirs["test loss"], rel=0.1)
    if "perplexity" in ours:
        mean = log_loss(data.test.y, reference.predict_proba(data.test.x))
        assert theirs["perplexity"] == pytest.approx(np.exp(mean), rel=1e-9)
        assert 1 < ours["perplexity"] < 1.2


def test_the_parts_of_the_data_are_disjoint_and_standardised_by_the_first():
    problem = demo.PROBLEMS[0]
    data = demo.load(problem)
    rows = np.vstack([data.training.x, data.validation.x, data.test.x])
    assert len(np.unique(rows, axis=0)) == len(rows) == len(problem.load().data)
    np.testing.assert_allclose(data.training.x.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(data.training.x.std(axis=0), 1, rtol=1e-12)
    assert abs(data.test.x.mean(axis=0)).max() > 1e-3


def test_training_repeats_itself_and_keeps_the_best_epoch():
    problem = demo.PROBLEMS[2]
    data, first = trained(problem)
    second = demo.train(problem.loss, data, problem.lr)
    assert first.losses == second.losses
    np.testing.assert_array_equal(first.weights, second.weights)

    validation = [losses[1] for losses in first.losses]
    assert first.best == int(np.argmin(validation))
    assert len(validation) == first.best + 1 + demo.PATIENCE < demo.EPOCHS
    x, y = data.validation
    assert problem.loss(y, x @ first.weights + first.bias) == validation[first.best]


def test_every_loss_has_its_panel():
    panels = [axes for part in demo.draw_losses().subfigs for axes in part.axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == [name for names in fl.losses().values() for name in names]
    for axes in panels:
        for line in axes.get_lines():
            assert np.isfinite(line.get_ydata()).all()
            assert line.get_label() != "value" or np.ptp(line.get_ydata()) > 0
        _, value, gradient = (line.get_ydata() for line in axes.get_lines())
        x = axes.get_lines()[1].get_xdata()
        # Except next to a kink it is the slope of the curve.
        error = np.abs(np.gradient(value, x) - gradient) / (1 + np.abs(gradient))
        assert np.quantile(error, 0.97) < 0.02, axes.get_title()
