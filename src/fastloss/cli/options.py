"""The options of the commands fit, predict and evaluate, and the readers of their values."""

from __future__ import annotations

import math
import re
from argparse import ArgumentParser as Parser
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastloss._core import Loss
from fastloss.data import FORMATS, MEMORY
from fastloss.linear import SCHEDULES
from fastloss.registry import get


def _add_data(parser: Parser) -> None:
    add = parser.add_argument
    add("data", type=Path, metavar="DATA", help="a file of CSV, Parquet, NPZ or svmlight")
    add("--format", choices=FORMATS, help="default: by the ending of DATA")
    add(
        "--memory", type=_memory, default=MEMORY, metavar="SIZE", help="larger files are streamed; default 1G"
    )


def add_fit(parser: Parser) -> None:
    """Add the options of fit."""
    _add_data(parser)
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
    add("--validation", type=_fraction, metavar="FRACTION", help="hold out so large a part of the rows")
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


def add_predict(parser: Parser) -> None:
    """Add the options of predict."""
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="a file that fit has written")
    _add_data(parser)
    text = "a file that ends in .csv, .parquet or .npy"
    add("-o", "--output", type=Path, required=True, metavar="OUT", help=text)
    add("--proba", action="store_true", help="the probability of each class")


def add_evaluate(parser: Parser) -> None:
    """Add the options of evaluate."""
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="a file that fit has written")
    _add_data(parser)
    add("--loss", type=_loss, nargs="+", metavar="NAME", help="default: what the model was trained by")
    add("--target", metavar="COLUMN", help="default: the model's")
    add("--weight", metavar="COLUMN", help="the weights of the rows")


# ---- values ---------------------------------------------------------------------------------------------


def _loss(text: str) -> Loss[...]:
    """Read a loss, as in "huber" or "huber(delta=2)"."""
    found = re.fullmatch(r"(\w+)\s*(?:\(((?:[^=,]+=[^=,]+,?)*\s*)\))?", text.strip())
    try:
        if not found:
            raise ValueError(f"must be a name, or a name with parameters as in huber(delta=2), got {text!r}")
        pairs = [part.partition("=") for part in (found[2] or "").split(",") if part.strip()]
        return get(found[1], **{name.strip(): float(value) for name, _, value in pairs})
    except (ValueError, TypeError) as error:
        raise ArgumentTypeError(str(error)) from None


def _memory(text: str) -> int:
    """Read a number of bytes, as in "512M"."""
    found = re.fullmatch(r"(\d+)([KMGT]?)B?", text.upper())
    if not found or not int(found[1]):
        raise ArgumentTypeError(f"must be a size as in 512M or 4G, got {text!r}")
    return int(found[1]) << 10 * " KMGT".index(found[2] or " ")


def _parsed(text: str, kind: type, what: str, holds: Callable[[Any], bool]) -> Any:
    """Read a value of a type for which a condition holds; `what` describes both in the error."""
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not holds(value):
        raise ArgumentTypeError(f"must be {what}, got {text!r}")
    return value


def _number(text: str) -> float:
    return float(_parsed(text, float, "a number >= 0", lambda x: 0 <= x < math.inf))


def _fraction(text: str) -> float:
    return float(_parsed(text, float, "a number strictly between 0 and 1", lambda x: 0 < x < 1))


def _positive(text: str) -> int:
    return int(_parsed(text, int, "a positive integer", lambda x: x > 0))


def _count(text: str) -> int:
    return int(_parsed(text, int, "an integer >= 0", lambda x: x >= 0))
