"""The commands fit, predict and evaluate."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np

import fastloss as fl
from fastloss import _fitting, model_file
from fastloss._arguments import Array
from fastloss._core import Loss, RowLoss
from fastloss._readers import FORMATS, DataError, required
from fastloss._schedules import SCHEDULES
from fastloss.console import Console
from fastloss.data import MEMORY, Encoding, Source, batches
from fastloss.evaluation import Evaluation, _sum
from fastloss.model_file import Model

ON_PROBABILITIES = (
    "binary_cross_entropy",
    "brier",
    "cross_entropy",
    "kl_divergence",
    "js_divergence",
    "tv_distance",
)
SGD_ALONE = ("l1", "batch_size", "lr", "schedule", "momentum", "early_stopping")
LINES = 20  # of the table of epochs


def fit(arguments: argparse.Namespace) -> int:
    """Train a model and write it."""
    given = arguments
    for path in filter(None, (given.output, given.plot)):
        _check_writable(path)
    if given.plot:
        kinds = required("matplotlib.figure", "--plot").Figure().canvas.get_supported_filetypes()
        if given.plot.suffix.lstrip(".") not in kinds:
            raise ValueError(f"{given.plot}: a picture ends in one of {', '.join(kinds)}")
    loss: Loss[...] = given.loss
    classifies = loss.family in ("binary", "multiclass")
    if loss.name in ON_PROBABILITIES or (
        loss.family == "multiclass" and loss.name != "softmax_cross_entropy"
    ):
        raise ValueError(
            f"{loss.name} is no loss to train a linear model by; take logistic or softmax_cross_entropy"
        )
    data = batches(
        given.data,
        target=given.target,
        weight=given.weight,
        columns=given.columns,
        exclude=given.exclude,
        categorical=given.categorical,
        labels=classifies,
        scale=not given.no_scale,
        validation_fraction=given.validation,
        seed=given.seed,
        memory=given.memory,
        format=given.format,
    )
    classes = data.encoding.classes
    if classes is not None and len(classes) > 2:
        if loss == fl.logistic:
            loss = fl.softmax_cross_entropy
        elif not isinstance(loss, RowLoss):
            raise ValueError(
                f"{loss.name} takes two classes, and the target has {len(classes)}; take softmax_cross_entropy"
            )
    settings = _settings(given, data.streamed)
    note = Console(color=not given.no_color, error=True)
    with _progress(note, given.quiet, settings) as report:
        found = _fitting.train(loss, data, settings, report)
    model = Model(loss, found.coef, found.intercept, data.encoding, given.target)
    with _writing(given.output):
        model_file.save(model, given.output)
    if given.plot:
        _plot(found, given.plot, settings)
    if found.interrupted:
        note.line(
            f"interrupted after {len(found.training)} {_unit(settings)}s; {given.output} has what was learned until then"
        )
    elif found.note:
        note.line(f"{found.note}; {given.output} has what was found")
    if not given.quiet:
        _print(found, data, model, given, settings)
    return 130 if found.interrupted else 0


def predict(arguments: argparse.Namespace) -> int:
    """Write the predictions of a model."""
    _check_writable(arguments.output)
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
        weights = Fraction(len(y)) if weight is None else Fraction(_sum(weight))
        correct = 0 if classes is None else int((np.asarray(classes)[y] == model.predictions(scores)).sum())
        for i, loss in enumerate(losses):
            values = loss(y, _as_taken(loss, model, scores), sample_weight=weight, reduction="none")
            totals[i] += Evaluation(_sum(np.asarray(values)), weights, correct, len(y))
    console = Console(color=not arguments.no_color)
    figures = [(_shown(loss), f"{total.log_loss:.10g}") for loss, total in zip(losses, totals, strict=True)]
    if classes is not None:
        figures.append(("accuracy", f"{totals[0].accuracy:.10g}"))
    console.table(("loss", "mean"), figures)
    console.line(f"{totals[0].rows} rows")
    return 0


def add_to(commands: Any, plain: argparse.ArgumentParser, guarded: Callable[[Any], Any]) -> None:
    """Add the commands to a parser's."""
    reading = argparse.ArgumentParser(add_help=False)
    reading.add_argument("data", type=Path, metavar="DATA", help="a file of CSV, Parquet, NPZ or svmlight")
    reading.add_argument("--format", choices=FORMATS, help="default: by the ending of DATA")
    reading.add_argument(
        "--memory", type=_memory, default=MEMORY, metavar="SIZE", help="larger files are streamed; default 1G"
    )
    _add_fit(
        commands.add_parser("fit", parents=[plain, reading], help="train a linear model on a file"), guarded
    )

    using = argparse.ArgumentParser(add_help=False)
    using.add_argument("model", type=Path, metavar="MODEL", help="a file that fit has written")
    apply = commands.add_parser(
        "predict", parents=[plain, using, reading], help="write a model's predictions"
    )
    apply.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help="a file that ends in .csv, .parquet or .npy",
    )
    apply.add_argument("--proba", action="store_true", help="the probability of each class")
    apply.set_defaults(run=guarded(predict))

    score = commands.add_parser(
        "evaluate", parents=[plain, using, reading], help="mean losses of a model on a file"
    )
    score.add_argument(
        "--loss",
        type=_loss,
        nargs="+",
        metavar="NAME",
        help="default: the loss that the model was trained by",
    )
    score.add_argument("--target", metavar="COLUMN", help="default: the model's")
    score.add_argument("--weight", metavar="COLUMN", help="the weights of the rows")
    score.set_defaults(run=guarded(evaluate))


def _add_fit(parser: argparse.ArgumentParser, guarded: Callable[[Any], Any]) -> None:
    add = parser.add_argument
    add("--loss", type=_loss, required=True, metavar="NAME", help='as in "huber" or "huber(delta=2)"')
    add("--target", metavar="COLUMN", help="what is predicted; svmlight has its own")
    add("--weight", metavar="COLUMN", help="the weights of the rows")
    add("--columns", nargs="+", metavar="COLUMN", help="the columns to learn from; default: all others")
    add("--exclude", nargs="+", default=(), metavar="COLUMN", help="columns to leave out")
    add("--categorical", nargs="+", default=(), metavar="COLUMN", help="columns of categories, one-hot")
    add("--no-scale", action="store_true", help="leave the columns as they are")
    add("-o", "--output", type=Path, default=Path("model.npz"), metavar="FILE", help="default %(default)s")
    add("--plot", type=Path, metavar="FILE", help="draw the loss, as in loss.png")
    add("--validation", type=_between, metavar="FRACTION", help="hold out so large a part of the rows")
    add("--seed", type=_count, default=0, metavar="N", help="of the order and the validation rows")
    add("--solver", choices=("lbfgs", "sgd"), help="default: lbfgs in memory, sgd where an option is its own")
    add("--l2", type=_number, default=0.0, metavar="X", help="the penalty l2 / 2 * ||coef||^2")
    add("--l1", type=_number, metavar="X", help="sgd: the penalty l1 * ||coef||_1")
    add("--epochs", type=_positive, metavar="N", help="at most; default 20, of lbfgs 1000 iterations")
    add("--batch-size", type=_positive, metavar="N", help="sgd: the rows of a step; default 32")
    add(
        "--lr",
        type=_number,
        metavar="X",
        help="sgd: the learning rate; default: by the first rows",
    )
    add("--schedule", choices=SCHEDULES, help="sgd: how it changes; default cosine")
    add("--momentum", type=_number, metavar="X", help="sgd: in [0, 1); default 0")
    add(
        "--early-stopping",
        action="store_true",
        default=None,
        help="sgd: keep the best on the validation rows",
    )
    add("--quiet", action="store_true", help="print errors alone")
    parser.set_defaults(run=guarded(fit))


# ---- arguments ------------------------------------------------------------------------------------------


def _loss(text: str) -> Loss[...]:
    found = re.fullmatch(r"(\w+)\s*(?:\((.*)\))?", text.strip())
    try:
        if not found:
            raise ValueError(f"must be a name, or a name with parameters as in huber(delta=2), got {text!r}")
        pairs = [part.partition("=") for part in (found[2] or "").split(",") if part.strip()]
        return fl.get(found[1], **{name.strip(): float(value) for name, _, value in pairs})
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _memory(text: str) -> int:
    found = re.fullmatch(r"(\d+)([KMGT]?)B?", text.upper())
    if not found or not int(found[1]):
        raise argparse.ArgumentTypeError(f"must be a size as in 512M or 4G, got {text!r}")
    return int(found[1]) << 10 * " KMGT".index(found[2] or " ")


def _parsed(text: str, kind: type, what: str, holds: Callable[[Any], bool]) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not holds(value):
        raise argparse.ArgumentTypeError(f"must be {what}, got {text!r}")
    return value


def _number(text: str) -> float:
    return float(_parsed(text, float, "a number >= 0", lambda x: 0 <= x < math.inf))


def _between(text: str) -> float:
    return float(_parsed(text, float, "a number strictly between 0 and 1", lambda x: 0 < x < 1))


def _positive(text: str) -> int:
    return int(_parsed(text, int, "a positive integer", lambda x: x > 0))


def _count(text: str) -> int:
    return int(_parsed(text, int, "an integer >= 0", lambda x: x >= 0))


def _settings(given: argparse.Namespace, streamed: bool) -> _fitting.Settings:
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
    return _fitting.Settings(
        solver=solver, l2=given.l2, seed=given.seed, epochs=given.epochs or _fitting.EPOCHS[solver], **own
    )


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


def _check_writable(path: Path) -> None:
    """Fail before the work, not behind it."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise DataError(
            f"cannot write to {path}: {'it is a folder' if path.is_dir() else 'there is no such folder'}"
        )


def _unit(settings: _fitting.Settings) -> str:
    return "iteration" if settings.solver == "lbfgs" else "epoch"


def _progress(note: Console, quiet: bool, settings: _fitting.Settings) -> Any:
    # A file of errors shows no progress.
    return (
        nullcontext(lambda text: None)
        if quiet or not note.live
        else note.progress(_unit(settings), settings.epochs)
    )


def _print(
    found: _fitting.Fit, data: Any, model: Model, given: argparse.Namespace, settings: _fitting.Settings
) -> None:
    columns = {
        "training loss": found.training,
        "validation loss": found.validation,
        "learning rate": found.learning_rate,
    }
    columns = {name: values for name, values in columns.items() if values}
    shown = sorted(
        {round(i) for i in np.linspace(0, len(found.training) - 1, LINES)} & set(range(len(found.training)))
    )
    console = Console(color=not given.no_color)
    if shown:
        rows = [[str(i + 1), *(f"{values[i]:.6g}" for values in columns.values())] for i in shown]
        console.table((_unit(settings), *columns), rows)
    if found.best is not None:
        console.line(f"the best epoch was {found.best + 1}")
    way = "streamed" if data.streamed else "in memory"
    rows_of = f"{data.rows} rows" + f" and {data.held_out_rows} for validation" * bool(data.held_out_rows)
    console.line(f"{given.output}: {_shown(model.loss)}, {model.coef.size} coefficients, {rows_of}, {way}")


def _shown(loss: Loss[...]) -> str:
    return repr(loss).removeprefix("fastloss.").replace(".bind", "")


def _plot(found: _fitting.Fit, path: Path, settings: _fitting.Settings) -> None:
    from matplotlib.figure import Figure

    from fastloss._display import LossCurveDisplay

    figure = Figure(layout="constrained")
    axes = figure.subplots()
    for name, values in (("training", found.training), ("validation", found.validation)):
        if values:
            line = LossCurveDisplay(values, estimator_name=name).plot(axes).line_
            line.set_xdata(np.arange(1, len(values) + 1))
    axes.relim()
    axes.autoscale_view()
    axes.set(xlabel=_unit(settings).capitalize(), ylabel="Mean loss")
    with _writing(path), model_file.replacing(path) as file:
        figure.savefig(file, format=path.suffix.lstrip("."))


def _as_taken(loss: Loss[...], model: Model, scores: Array) -> Array:
    """What a loss takes of a model's scores."""
    classes = model.encoding.classes
    if (classes is None) != (loss.family in ("regression", "count")):
        raise ValueError(
            f"{loss.name} is a loss for {loss.family}, and the model was trained by {model.loss.name}"
        )
    if classes is None:
        if loss.family == "regression":
            return model.predictions(scores)
        if model.loss.family != "count":
            raise ValueError(
                f"{loss.name} takes the logarithm of a mean, which {model.loss.name} does not predict"
            )
        return scores
    pointwise = not isinstance(loss, RowLoss)
    if pointwise and len(classes) > 2:
        raise ValueError(f"{loss.name} takes two classes, and the model has {len(classes)}")
    if loss.name in ON_PROBABILITIES:
        probability = model.probabilities(scores)
        return probability[:, 1] if pointwise else probability
    if pointwise:
        return scores if scores.ndim == 1 else scores[:, 1] - scores[:, 0]
    return scores if scores.ndim == 2 else np.stack([-scores / 2, scores / 2], axis=1)


def _write_npy(file: IO[bytes], names: Sequence[str], blocks: Iterator[Array]) -> None:
    np.save(file, np.concatenate(list(blocks)), allow_pickle=False)


def _write_table(
    writer: Callable[[Any, Any], Any],
) -> Callable[[IO[bytes], Sequence[str], Iterator[Array]], None]:
    def write(file: IO[bytes], names: Sequence[str], blocks: Iterator[Array]) -> None:
        pa = required("pyarrow", "writing CSV and Parquet")
        opened = None
        for block in blocks:
            table = pa.table(dict(zip(names, np.atleast_2d(block.T), strict=True)))
            opened = opened or writer(file, table.schema)
            opened.write_table(table)
        if opened is not None:
            opened.close()

    return write


def _csv_writer(file: IO[bytes], schema: Any) -> Any:
    return required("pyarrow.csv", "writing CSV").CSVWriter(file, schema)


def _parquet_writer(file: IO[bytes], schema: Any) -> Any:
    return required("pyarrow.parquet", "writing Parquet").ParquetWriter(file, schema)


WRITERS = {".csv": _write_table(_csv_writer), ".parquet": _write_table(_parquet_writer), ".npy": _write_npy}
