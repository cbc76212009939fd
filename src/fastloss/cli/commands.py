"""The commands fit, predict and evaluate."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from fastloss import model_file
from fastloss._checks.arrays import Array
from fastloss._core import Loss, RowLoss
from fastloss._prediction import predicts_numbers
from fastloss.cli import options
from fastloss.cli.console import Console
from fastloss.cli.predictions import WRITERS
from fastloss.cli.training import EPOCHS, Settings, train
from fastloss.data import Batches, DataError, Encoding, Source, batches, required
from fastloss.evaluation import Evaluation, exact_sum
from fastloss.linear import Solution
from fastloss.model_file import Model
from fastloss.registry import get

SGD_ALONE = ("l1", "batch_size", "lr", "schedule", "momentum", "early_stopping")
MOST_LINES = 20  # of the table of epochs


def fit(arguments: argparse.Namespace) -> int:
    """Train a model and write it."""
    _check_outputs(arguments)
    data = _training_data(arguments)
    loss = _for_classes(arguments.loss, data.encoding)
    settings = _settings(arguments, data.streamed)
    note = Console(color=not arguments.no_color, error=True)
    with _progress(note, arguments.quiet, settings) as report:
        found = train(loss, data, settings, report)
    assert found.intercept is not None
    intercept = found.intercept.reshape(found.coef.shape[:-1])
    model = Model(loss, found.coef, intercept, data.encoding, arguments.target)
    with _writing(arguments.output):
        model_file.save(model, arguments.output)
    if arguments.plot:
        _plot(found, loss.name, arguments.plot, settings)
    if found.interrupted:
        note.line(
            f"interrupted after {len(found.losses)} {_unit(settings)}s; "
            f"{arguments.output} has what was learned until then"
        )
    elif (
        settings.solver == "lbfgs" and not found.converged
    ):  # of SGD, the number of epochs is what was asked for
        note.line(f"lbfgs {found.reason}; {arguments.output} has what was found")
    if not arguments.quiet:
        _print(found, data, model, arguments, settings)
    return 130 if found.interrupted else 0


def predict(arguments: argparse.Namespace) -> int:
    """Write the predictions of a model."""
    _check_writable(arguments.output, arguments.data, arguments.model)
    model = _model(arguments.model)
    source = _source(model, arguments)
    classes = model.encoding.classes
    if arguments.proba:
        model.probabilities(np.zeros((0, 2)))  # or say that it has none
        names = [str(label) for label in classes or ()]
    else:
        names = ["prediction"]
    kind = arguments.output.suffix.lower()
    if kind not in WRITERS:
        raise ValueError(f"{arguments.output}: predictions go to a file that ends in {', '.join(WRITERS)}")

    def blocks() -> Iterator[Array]:
        for frame in source.frames():
            scores = model.scores(frame)
            yield model.probabilities(scores) if arguments.proba else model.predictions(scores)

    with _writing(arguments.output), model_file.replacing(arguments.output) as file:
        WRITERS[kind](file, names, blocks())
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Print mean losses of a model on data."""
    model = _model(arguments.model)
    losses: list[Loss[...]] = list(dict.fromkeys(arguments.loss or [model.loss]))
    source = _source(model, arguments, target=arguments.target or model.target, weight=arguments.weight)
    classes = model.encoding.classes
    totals = [Evaluation() for _ in losses]
    for frame in source.frames():
        assert frame.target is not None
        y, scores, weight = model.encoding.labels(frame.target), model.scores(frame), frame.weight
        weights = Fraction(len(y)) if weight is None else Fraction(exact_sum(weight))
        correct = 0 if classes is None else int((np.asarray(classes)[y] == model.predictions(scores)).sum())
        for i, loss in enumerate(losses):
            values = loss(y, _as_taken(loss, model, scores), sample_weight=weight, reduction="none")
            totals[i] += Evaluation(exact_sum(np.asarray(values)), weights, correct, len(y))
    console = Console(color=not arguments.no_color)
    figures = [(_shown(loss), f"{total.log_loss:.10g}") for loss, total in zip(losses, totals, strict=True)]
    if classes is not None:
        figures.append(("accuracy", f"{totals[0].accuracy:.10g}"))
    console.table(("loss", "mean"), figures)
    console.line(f"{totals[0].rows} rows")
    return 0


def add_to(commands: Any, plain: argparse.ArgumentParser, guarded: Callable[[Any], Any]) -> None:
    """Add the commands to a parser's."""
    for name, run, add_options, text in (
        ("fit", fit, options.add_fit, "train a linear model on a file"),
        ("predict", predict, options.add_predict, "write a model's predictions"),
        ("evaluate", evaluate, options.add_evaluate, "mean losses of a model on a file"),
    ):
        parser = commands.add_parser(name, parents=[plain], help=text)
        add_options(parser)
        parser.set_defaults(run=guarded(run))


# ---- arguments ------------------------------------------------------------------------------------------


def _settings(given: argparse.Namespace, streamed: bool) -> Settings:
    own = {name: getattr(given, name) for name in SGD_ALONE if getattr(given, name) is not None}
    solver = given.solver or ("sgd" if own or streamed else "lbfgs")
    if solver == "lbfgs" and own:
        raise ValueError(f"--{next(iter(own)).replace('_', '-')} goes with --solver sgd")
    if solver == "lbfgs" and streamed:
        raise ValueError(
            f"{given.data} is larger than --memory, and lbfgs needs all rows; take sgd, or raise --memory"
        )
    if given.early_stopping and not given.validation:
        raise ValueError("--early-stopping needs --validation FRACTION")
    return Settings(solver=solver, l2=given.l2, seed=given.seed, epochs=given.epochs or EPOCHS[solver], **own)


def _check_outputs(given: argparse.Namespace) -> None:
    """Fail before the training where its results could not be written."""
    for path in filter(None, (given.output, given.plot)):
        _check_writable(path, given.data)
    if given.plot:
        formats = required("matplotlib.figure", "--plot").Figure().canvas.get_supported_filetypes()
        if given.plot.suffix.lstrip(".") not in formats:
            raise ValueError(f"{given.plot}: a picture ends in one of {', '.join(formats)}")


def _training_data(given: argparse.Namespace) -> Batches:
    loss: Loss[...] = given.loss
    if not loss.traits.linear:
        raise ValueError(f"{loss.name} {loss.traits.not_linear}; take logistic or softmax_cross_entropy")
    return batches(
        given.data,
        target=given.target,
        weight=given.weight,
        columns=given.columns,
        exclude=given.exclude,
        categorical=given.categorical,
        labels=not predicts_numbers(loss),
        scale=not given.no_scale,
        validation_fraction=given.validation,
        seed=given.seed,
        memory=given.memory,
        format=given.format,
    )


def _for_classes(loss: Loss[...], encoding: Encoding) -> Loss[...]:
    """Return the loss for this number of classes: with more than two, the loss of rows that takes its place."""
    classes = encoding.classes
    if classes is None or len(classes) <= 2 or isinstance(loss, RowLoss):
        return loss
    several = loss.traits.several_classes
    if several is None:
        raise ValueError(
            f"{loss.name} takes two classes, and the target has {len(classes)}; take softmax_cross_entropy"
        )
    return get(several)


def _model(path: Path) -> Model:
    try:
        return model_file.load(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def _source(model: Model, given: argparse.Namespace, **roles: Any) -> Source:
    encoding: Encoding = model.encoding
    columns: dict[str, Any] = {}
    if encoding.columns is not None:
        columns = {"columns": encoding.columns, "categorical": tuple(encoding.categories)}
    source = Source(
        given.data,
        **columns,
        **roles,
        labels=encoding.classes is not None,
        memory=given.memory,
        kind=given.format,
    )
    if encoding.columns is None and source.numeric is not None:
        raise DataError(f"{given.model} was trained on svmlight, and {given.data} has named columns")
    for role, name in roles.items():
        if name in columns.get("columns", ()):
            raise DataError(f"{given.model} has learned from column {name!r}; take another --{role}")
    return source


# ---- output ---------------------------------------------------------------------------------------------


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DataError(f"cannot write to {path}: {error.strerror or error}") from error


def _check_writable(path: Path, *inputs: Path) -> None:
    """Fail before the work, not after it."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise DataError(
            f"cannot write to {path}: {'it is a folder' if path.is_dir() else 'there is no such folder'}"
        )
    for other in inputs:
        if path.exists() and other.exists() and path.samefile(other):
            raise DataError(f"cannot write to {path}: it is read; choose another name")


def _unit(settings: Settings) -> str:
    return "iteration" if settings.solver == "lbfgs" else "epoch"


def _progress(note: Console, quiet: bool, settings: Settings) -> Any:
    # Where stderr goes to a file, there is no progress to show.
    return (
        nullcontext(lambda text: None)
        if quiet or not note.live
        else note.progress(_unit(settings), settings.epochs)
    )


def _print(
    found: Solution, data: Batches, model: Model, given: argparse.Namespace, settings: Settings
) -> None:
    columns = {
        "training loss": found.losses,
        "validation loss": found.validation_losses,
        "learning rate": [] if found.history is None else found.history.learning_rate,
    }
    columns = {name: values for name, values in columns.items() if values}
    shown = sorted(
        {round(i) for i in np.linspace(0, len(found.losses) - 1, MOST_LINES)} & set(range(len(found.losses)))
    )
    console = Console(color=not given.no_color)
    if shown:
        rows = [[str(i + 1), *(f"{values[i]:.6g}" for values in columns.values())] for i in shown]
        console.table((_unit(settings), *columns), rows)
    best = None if found.history is None else found.history.best_epoch
    if best is not None:
        console.line(f"the best epoch was {best + 1}")
    where = "streamed" if data.streamed else "in memory"
    row_counts = f"{data.rows} rows" + f" and {data.held_out_rows} for validation" * bool(data.held_out_rows)
    console.line(
        f"{given.output}: {_shown(model.loss)}, {model.coef.size} coefficients, {row_counts}, {where}"
    )


def _shown(loss: Loss[...]) -> str:
    return repr(loss).removeprefix("fastloss.").replace(".bind", "")


def _plot(found: Solution, name: str, path: Path, settings: Settings) -> None:
    from matplotlib.figure import Figure

    from fastloss.estimators import LossCurveDisplay

    figure = Figure(layout="constrained")
    axes = figure.subplots()
    LossCurveDisplay(
        found.losses,
        validation_loss_curve=found.validation_losses or None,
        epochs=True,
        estimator_name=name,
    ).plot(axes)
    axes.set(xlabel=_unit(settings).capitalize(), ylabel="Mean loss")
    with _writing(path), model_file.replacing(path) as file:
        figure.savefig(file, format=path.suffix.lstrip("."))


def _as_taken(loss: Loss[...], model: Model, scores: Array) -> Array:
    """Return what a loss takes of a model's scores: predictions, probabilities, or scores of its own form."""
    classes = model.encoding.classes
    if (classes is None) != predicts_numbers(loss):
        purpose = {"regression": "regression", "count": "counts"}.get(
            loss.family, f"{loss.family} classification"
        )
        raise ValueError(
            f"{loss.name} is a loss for {purpose}, and the model was trained by {model.loss.name}"
        )
    if classes is None:
        if loss.traits.takes == "values":
            return model.predictions(scores)
        if model.loss.traits.link != "log":
            raise ValueError(
                f"{loss.name} takes the logarithm of a mean, which {model.loss.name} does not predict"
            )
        return scores
    pointwise = not isinstance(loss, RowLoss)
    if pointwise and len(classes) > 2:
        raise ValueError(f"{loss.name} takes two classes, and the model has {len(classes)}")
    if loss.traits.takes == "probabilities":
        probability = model.probabilities(scores)
        return probability[:, 1] if pointwise else probability
    if pointwise:
        return scores if scores.ndim == 1 else scores[:, 1] - scores[:, 0]
    return scores if scores.ndim == 2 else np.stack([-scores / 2, scores / 2], axis=1)
