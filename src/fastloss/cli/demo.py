"""The demo: models fitted with fastloss, compared with least squares and scikit-learn, and pictures."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryFile
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits  # type: ignore[import-untyped]
from sklearn.linear_model import HuberRegressor, LogisticRegression, Ridge  # type: ignore[import-untyped]
from sklearn.metrics import accuracy_score, mean_absolute_error, r2_score  # type: ignore[import-untyped]
from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]
from sklearn.svm import LinearSVC  # type: ignore[import-untyped]

import fastloss as fl
from fastloss._core import RowLoss
from fastloss.cli import bench
from fastloss.cli.console import Console

Array = NDArray[Any]

# Okabe and Ito's colours, which the colour-blind can tell apart.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"

WEIGHT_DECAY = 1e-3
EPOCHS = 300
PATIENCE = 20
BATCH = 32


# ---- a line -----------------------------------------------------------------------------------------


class Line(NamedTuple):
    """The points, and intercept and slope by gradient descent and by least squares."""

    x: Array
    y: Array
    fitted: Array
    least_squares: Array


def fit_line() -> Line:
    """Fit the line of the textbooks: y = 4 + 3x and normal noise."""
    random = np.random.RandomState(0)
    x = 2 * random.rand(100, 1)
    y = (4 + 3 * x + random.randn(100, 1)).ravel()
    design = np.column_stack([np.ones(len(y)), x])

    fitted = np.zeros(2)
    optimizer = fl.SGD(lr=0.1, momentum=0.9)
    for _ in range(500):
        _, g = fl.squared_error.value_and_grad(y, design @ fitted)
        optimizer.update(fitted, design.T @ g)
    return Line(x.ravel(), y, fitted, np.linalg.lstsq(design, y)[0])


def _show_line(console: Console, line: Line) -> None:
    rows = []
    for name, (intercept, slope) in (("fastloss SGD", line.fitted), ("least squares", line.least_squares)):
        scores = intercept + slope * line.x
        errors = [fl.squared_error(line.y, scores), fl.squared_error(line.y, scores, reduction="sum")]
        rows.append([name, *(f"{number:.6f}" for number in (intercept, slope, *errors))])
    console.table(["y = 4 + 3x + noise", "intercept", "slope", "MSE", "SSE"], rows)


# ---- real data --------------------------------------------------------------------------------------


class Part(NamedTuple):
    """Rows and their targets."""

    x: Array
    y: Array


class Data(NamedTuple):
    """A data set in three parts, standardised by the first. `unit` is the target's; None for classes."""

    training: Part
    validation: Part
    test: Part
    unit: float | None


class Problem(NamedTuple):
    """A loss on a data set. `reference` makes scikit-learn's model, for a number of training samples."""

    name: str
    load: Callable[[], Any]
    loss: fl.Loss[...]
    lr: float
    reference: Callable[[int], Any]


class Model(NamedTuple):
    """A linear model: its parameters, the training and validation losses, and the epoch that the parameters are from."""

    weights: Array
    bias: Array
    losses: list[tuple[float, float]]
    best: int
    seconds: float


# scikit-learn's penalties, written so that they are the weight decay (but the Huber regression's, which
# also estimates the scale of the noise).
PROBLEMS = (
    Problem(
        "breast cancer, logistic",
        load_breast_cancer,
        fl.logistic,
        0.01,
        lambda n: LogisticRegression(C=1 / (WEIGHT_DECAY * n), max_iter=1000),
    ),
    Problem(
        "breast cancer, hinge",
        load_breast_cancer,
        fl.hinge,
        0.003,
        lambda n: LinearSVC(loss="hinge", C=1 / (WEIGHT_DECAY * n), max_iter=1_000_000, random_state=0),
    ),
    Problem(
        "digits, softmax_cross_entropy",
        load_digits,
        fl.softmax_cross_entropy,
        0.01,
        lambda n: LogisticRegression(C=1 / (WEIGHT_DECAY * n), max_iter=1000),
    ),
    Problem("diabetes, huber", load_diabetes, fl.huber, 0.003, lambda n: HuberRegressor(max_iter=1000)),
    Problem(
        "diabetes, squared_error",
        load_diabetes,
        fl.squared_error,
        0.001,
        lambda n: Ridge(alpha=WEIGHT_DECAY * n / 2),
    ),
)


def load(problem: Problem, seed: int = 0) -> Data:
    """Split the data 60 : 20 : 20 and standardise them by the training part."""
    bunch = problem.load()
    x, y = bunch.data, bunch.target
    classes = problem.loss.traits.takes != "values"
    rest, test = train_test_split(
        np.arange(len(y)), test_size=0.2, random_state=seed, stratify=y if classes else None
    )
    training, validation = train_test_split(
        rest, test_size=0.25, random_state=seed, stratify=y[rest] if classes else None
    )
    mean, scale = x[training].mean(axis=0), x[training].std(axis=0)
    scale[scale == 0] = 1  # a pixel that is always white
    unit = None
    if not classes:
        unit = float(y[training].std())
        y = (y - y[training].mean()) / unit

    def part(rows: Array) -> Part:
        return Part((x[rows] - mean) / scale, y[rows])

    return Data(part(training), part(validation), part(test), unit)


def train(
    loss: fl.Loss[...], data: Data, lr: float, *, step: Callable[[str], None] | None = None, seed: int = 0
) -> Model:
    """Train a linear model on mini-batches until the validation loss has not fallen for PATIENCE epochs."""
    rng = np.random.default_rng(seed)
    (x, y), (valid_x, valid_y) = data.training, data.validation
    columns = (int(y.max()) + 1,) if isinstance(loss, RowLoss) else ()  # of scores: one for each class
    weights, bias = np.zeros((x.shape[1], *columns)), np.zeros((1, *columns))
    # A penalty on the bias would pull the predictions away from the mean: it has its own optimiser.
    weight_optimizer = fl.SGD(lr, momentum=0.9, weight_decay=WEIGHT_DECAY)
    bias_optimizer = fl.SGD(lr, momentum=0.9)
    losses: list[tuple[float, float]] = []
    best_parameters, best, seconds = (weights.copy(), bias.copy()), 0, 0.0

    while len(losses) < EPOCHS and len(losses) - best <= PATIENCE:
        start = perf_counter()
        order = rng.permutation(len(y))
        for batch in np.split(order, range(BATCH, len(y), BATCH)):
            rows = x[batch]
            _, g = loss.value_and_grad(y[batch], rows @ weights + bias)
            weight_optimizer.update(weights, rows.T @ g)
            bias_optimizer.update(bias, g.sum(axis=0, keepdims=True))
        now = loss(y, x @ weights + bias), loss(valid_y, valid_x @ weights + bias)
        if not losses or now[1] < losses[best][1]:
            best_parameters, best = (weights.copy(), bias.copy()), len(losses)
        losses.append(now)
        seconds += perf_counter() - start
        if step:
            step(f"epoch {len(losses):3d}  training {now[0]:.4f}  validation {now[1]:.4f}")
    return Model(*best_parameters, losses, best, seconds)


def fit_reference(problem: Problem, data: Data) -> tuple[Any, float]:
    """Fit scikit-learn's model to the same training data; return it and the seconds that took."""
    model = problem.reference(len(data.training.y))
    start = perf_counter()
    model.fit(*data.training)
    return model, perf_counter() - start


def predict(model: Any, data: Data) -> Array:
    """Return the predictions, or the scores of classes, that a model of fastloss or scikit-learn has for the test data."""
    x = data.test.x
    if isinstance(model, Model):
        scores = x @ model.weights + model.bias
    else:
        scores = model.predict(x) if data.unit else model.decision_function(x)
    return np.asarray(scores)


def quality(problem: Problem, data: Data, scores: Array) -> dict[str, float]:
    """Return the test loss by fastloss, and other figures by scikit-learn's metrics."""
    y = data.test.y
    figures = {"test loss": problem.loss(y, scores)}
    if isinstance(problem.loss, RowLoss):
        accuracy = accuracy_score(y, scores.argmax(axis=1))
        return figures | {"accuracy": accuracy, "perplexity": fl.perplexity(y, scores)}
    if data.unit is None:
        return figures | {"accuracy": accuracy_score(y, scores > 0)}
    return figures | {"R^2": r2_score(y, scores), "MAE": data.unit * mean_absolute_error(y, scores)}


class Result(NamedTuple):
    """What one library reached on a problem, and in how many seconds."""

    problem: str
    fitted_by: str
    figures: dict[str, float]
    seconds: float


def _show_problems(console: Console) -> list[tuple[Problem, Model]]:
    """Train and return the models; compare them with scikit-learn's."""
    trained, results = [], []
    for problem in PROBLEMS:
        data = load(problem)
        with console.progress(f"{problem.name:<{max(len(p.name) for p in PROBLEMS)}}", EPOCHS) as step:
            model = train(problem.loss, data, problem.lr, step=step)
        reference, seconds = fit_reference(problem, data)
        for fitted, name, took in (
            (model, "fastloss SGD", model.seconds),
            (reference, type(reference).__name__, seconds),
        ):
            figures = quality(problem, data, predict(fitted, data))
            results.append(Result(problem.name, name, figures, took))
        trained.append((problem, model))
    for names, group in groupby(results, key=lambda result: tuple(result.figures)):
        console.line()
        console.table(
            ["data, loss", "fitted by", *names, "time"],
            [
                [
                    result.problem,
                    result.fitted_by,
                    *(f"{value:#.4g}" for value in result.figures.values()),
                    f"{1e3 * result.seconds:.1f} ms",
                ]
                for result in group
            ],
            text_columns=2,
        )
    console.line(
        f"\nLinear models on the same split. fastloss: batches of {BATCH}, the epoch of the least\n"
        f"validation loss, stopped {PATIENCE} epochs after it. MAE in the units of the data."
    )
    return trained


# ---- pictures ---------------------------------------------------------------------------------------


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)


def draw_line(line: Line) -> Figure:
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    ends = np.array([0.0, 2.0])
    axes.scatter(line.x, line.y, s=18, color=GREY, alpha=0.7, linewidths=0, label="100 points")
    # The least squares line is broad and pale: the two coincide.
    for (intercept, slope), name, color, style, width, alpha in (
        (line.least_squares, "least squares", ORANGE, "-", 5.0, 0.5),
        (line.fitted, "fastloss SGD", BLUE, "--", 1.6, 1.0),
    ):
        label = f"{name}: {intercept:.3f} + {slope:.3f} x"
        axes.plot(
            ends, intercept + slope * ends, style, color=color, linewidth=width, alpha=alpha, label=label
        )
    axes.set(xlabel="x", ylabel="y", title="A line fitted to y = 4 + 3x + noise")
    axes.legend(frameon=False)
    _tidy(axes)
    return figure


def draw_curves(trained: list[tuple[Problem, Model]]) -> Figure:
    figure = Figure(figsize=(14, 7), layout="constrained")
    panels = figure.subplots(2, 3).flat
    for axes in panels[len(trained) :]:
        axes.set_visible(False)
    for axes, (problem, model) in zip(panels, trained, strict=False):
        epochs = np.arange(1, len(model.losses) + 1)
        training, validation = np.transpose(model.losses)
        axes.plot(epochs, training, color=BLUE, label="training")
        axes.plot(epochs, validation, color=ORANGE, linestyle="--", label="validation")
        best = model.best + 1
        axes.plot(best, validation[model.best], "o", color=GREEN, label=f"kept: epoch {best}")
        axes.set(xlabel="epoch", ylabel="mean loss", title=problem.name)
        axes.legend(frameon=False)
        _tidy(axes)
    return figure


# What is drawn: y_true, the range of y_pred and the label of its axis, by family, and for losses that need another.
Window = tuple[float, tuple[float, float], str]
WINDOWS: dict[str, Window] = {
    "regression": (0, (-4, 4), "y_pred (y_true = 0)"),
    "binary": (1, (-3, 3), "score (y_true = 1)"),
    "count": (2, (-2, 3), "log of the mean (y_true = 2)"),
    "multiclass": (0, (-4, 6), "the true class's score (two others 0)"),
}
SPECIAL: dict[str, Window] = {
    "binary_cross_entropy": (1, (0.05, 0.999), "probability (y_true = 1)"),
    "brier": (1, (0, 1), "probability (y_true = 1)"),
    "epsilon_insensitive": (0, (-0.5, 0.5), "y_pred (y_true = 0)"),
    "squared_epsilon_insensitive": (0, (-0.5, 0.5), "y_pred (y_true = 0)"),
    "squared_log_error": (1, (-0.7, 6), "y_pred (y_true = 1)"),
    "absolute_percentage_error": (2, (-2, 6), "y_pred (y_true = 2)"),
    "tukey_biweight": (0, (-7, 7), "y_pred (y_true = 0)"),
}
ROW_OF_PROBABILITIES: Window = (0.5, (0.02, 0.98), "a class's probability (y_true = 1/2)")


def draw_losses() -> Figure:
    """Draw every loss and its gradient, with the parameters' defaults."""
    columns = 5
    families = {family: names for family, names in fl.losses().items() if family in WINDOWS}
    heights = [-(-len(names) // columns) for names in families.values()]
    figure = Figure(figsize=(14, 2.5 * sum(heights) + 0.4 * len(heights)), layout="constrained")
    parts = figure.subfigures(len(families), 1, height_ratios=[h + 0.17 for h in heights], squeeze=False)
    for part, height, (family, names) in zip(parts.flat, heights, families.items(), strict=True):
        part.suptitle(f"{family} losses", fontsize=14, fontweight="bold", x=0.01, ha="left")
        panels = part.subplots(height, columns, squeeze=False).ravel()
        for axes, name in zip(panels, names, strict=False):
            loss = fl.get(name)
            takes_rows = isinstance(loss, RowLoss)
            takes_probabilities = takes_rows and loss.traits.takes == "probabilities"
            usual = ROW_OF_PROBABILITIES if takes_probabilities else WINDOWS[family]
            y_true, ends, label = SPECIAL.get(name, usual)
            s = np.linspace(*ends, 801)
            if takes_rows:
                if takes_probabilities:  # the two other classes lose what the first gains
                    start, direction = np.array([[0.0, 0.5, 0.5], [1.0, -0.5, -0.5]])
                    labels = np.tile([0.5, 0.25, 0.25], (s.size, 1))
                else:
                    start, direction = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
                    labels = np.zeros(s.size, int)
                scores = start + np.outer(s, direction)
                value, slopes = loss.value_and_grad(labels, scores, reduction="none")
                gradient = slopes @ direction
            else:
                value, gradient = loss.value_and_grad(y_true, s, reduction="none")
            axes.axhline(0, color="0.6", linewidth=0.8)
            axes.plot(s, value, color=BLUE, linewidth=2, label="value")
            axes.plot(s, gradient, color=ORANGE, linewidth=1.6, linestyle="--", label="gradient")
            axes.set_title(name, fontsize=10)
            axes.set_xlabel(label, fontsize=8)
            axes.tick_params(labelsize=8)
            _tidy(axes)
        panels[0].legend(frameon=False, fontsize=8)
        for axes in panels[len(names) :]:
            axes.set_visible(False)
    return figure


# ---- all of it --------------------------------------------------------------------------------------


def run(output: Path, *, quick: bool = False, console: Console | None = None) -> None:
    """Run the demo and write its pictures to a folder.

    Raises
    ------
    OSError
        If the folder cannot be made or written to; before anything else is done.
    """
    console = console or Console()
    output.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=output):
        pass

    console.heading("A line, by gradient descent on fastloss.squared_error")
    line = fit_line()
    _show_line(console, line)

    console.heading("Real data, by mini-batch SGD with early stopping")
    trained = _show_problems(console)

    console.heading("Speed on this machine")
    n, seconds = (100_000, 0.05) if quick else (1_000_000, 0.4)
    bench.report(console, bench.DEFAULT, n, "float64", seconds=seconds)

    console.heading(f"Pictures in {output.resolve()}")
    pictures = {
        "fitted_line.png": draw_line(line),
        "loss_curves.png": draw_curves(trained),
        "losses.png": draw_losses(),
    }
    for name, figure in pictures.items():
        figure.savefig(output / name, dpi=110)
        console.line(f"  {name}")
