"""Trained linear models in files: NPZ that NumPy alone can read, without pickles."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fastloss._checks.arrays import Array
from fastloss._core import Loss
from fastloss._prediction import (
    has_probabilities,
    losses_with_probabilities,
    predicted_class,
    predicted_number,
    probabilities,
)
from fastloss._version import __version__
from fastloss.data import DAMAGE, Encoding, Frame
from fastloss.registry import get

FORMAT = 1


@dataclass(frozen=True)
class Model:
    """A linear model, and how rows of a file become rows of its `X`.

    Attributes
    ----------
    loss : Loss
        The loss that it was trained by.
    coef : ndarray, shape (d,) or (K, d)
        ``score = X @ coef + intercept``, with ``X = (column - mean) / scale``; with the softmax, a row for each class.
    intercept : ndarray, shape () or (K,)
    encoding : Encoding
        Columns, categories, means, scales and classes.
    target : str or None
        The name of the target.
    """

    loss: Loss[...]
    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]
    encoding: Encoding
    target: str | None = None

    def scores(self, frame: Frame) -> Array:
        """Return the raw scores, of shape (n,) or (n, K)."""
        with np.errstate(over="ignore", invalid="ignore"):
            scores = np.asarray(self.encoding.matrix(frame) @ self.coef.T + self.intercept)
        if not np.isfinite(scores).all():
            raise ValueError("the model's scores are not finite; look for huge numbers in the data")
        return scores

    def predictions(self, scores: Array) -> Array:
        """Return the classes; of a regression the scores, or with a log link the means exp(score)."""
        classes = self.encoding.classes
        if classes is None:
            return predicted_number(self.loss, scores)
        labels: Array = np.asarray(classes)[predicted_class(scores)]
        return labels

    def probabilities(self, scores: Array) -> Array:
        """Return the probability of each class, of shape (n, K)."""
        if not has_probabilities(self.loss):
            raise ValueError(
                f"the model's loss is {self.loss.name}, which has no probabilities; "
                f"{losses_with_probabilities()} have"
            )
        return probabilities(self.loss, scores)


@contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a new file, which replaces the one at `path` at the end; if anything fails, that one stays as it was."""
    final = Path(os.path.realpath(path))  # the file that a link leads to
    if final.exists() and not final.is_file():  # a device or a pipe, which must not be replaced
        with final.open("wb") as file:
            yield file
        return
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(final)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def save(model: Model, path: str | PathLike[str]) -> None:
    """Write a model.

    The file is what ``np.savez`` writes: the arrays `coef`, `intercept`, `means` and `scales`, and `model`, a text of
    JSON with format, fastloss (the version), loss, params, target, columns, categories, classes and features. A file
    that was there before is replaced when the new one is complete.

    Parameters
    ----------
    model : Model
    path : str or path

    Raises
    ------
    OSError
        If it cannot be written.
    """
    encoding = model.encoding
    description = {
        "format": FORMAT,
        "fastloss": __version__,
        "loss": model.loss.name,
        "params": model.loss.params,
        "target": model.target,
        "columns": encoding.columns,
        "categories": encoding.categories,
        "classes": encoding.classes,
        "features": None if encoding.columns is None else encoding.features,
    }
    with replacing(path) as file:
        np.savez(
            file,
            allow_pickle=False,
            coef=model.coef,
            intercept=model.intercept,
            means=encoding.means,
            scales=encoding.scales,
            model=np.array(json.dumps(description)),
        )


def load(path: str | PathLike[str]) -> Model:
    """Read a model.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If the file is no model, is damaged, or was written by a later version.
    OSError
        If it cannot be read.
    """
    try:
        with open(path, "rb") as content, np.load(content, allow_pickle=False) as file:
            found = json.loads(str(file["model"]))
            arrays = {
                name: file[name].astype(np.float64, casting="same_kind")
                for name in ("coef", "intercept", "means", "scales")
            }
        number = found["format"]
        if number == FORMAT:
            return _assembled(found, **arrays)
    except (*DAMAGE, AttributeError) as error:
        raise ValueError(
            f"{path} is not a model of fastloss, or is damaged; `fastloss fit` writes one"
        ) from error
    raise ValueError(
        f"{path} is a model of format {number}, written by fastloss {found.get('fastloss')}; this version reads {FORMAT}"
    )


def _assembled(found: dict[str, Any], coef: Array, intercept: Array, means: Array, scales: Array) -> Model:
    columns, classes = found["columns"], found["classes"]
    categories = {name: tuple(values) for name, values in found["categories"].items()}
    encoding = Encoding(
        None if columns is None else tuple(columns),
        categories,
        means,
        scales,
        None if classes is None else tuple(classes),
    )
    d = len(scales)
    rows = coef.shape[:-1]
    fits = (
        rows == intercept.shape
        and coef.shape[-1:] == means.shape == (d,)
        and (not rows or rows == (len(classes),))
    )
    if (
        not fits
        or not all(np.isfinite(array).all() for array in (coef, intercept, means, scales))
        or not scales.all()
    ):
        raise ValueError("arrays do not fit")
    if columns is not None and len(encoding.features) != d:
        raise ValueError("columns do not fit")
    names = [*(columns or ()), *categories, *(kind for kinds in categories.values() for kind in kinds)]
    labels = np.asarray((0, 1) if classes is None else classes)
    if not all(isinstance(name, str) for name in (*names, found["target"] or "")):
        raise TypeError("a name is no text")
    if labels.ndim != 1 or len(labels) < 2 or labels.dtype.kind not in "iU":
        raise TypeError("classes must be integers or text")
    params = {
        name: value for name, value in found["params"].items() if value != get(found["loss"]).params[name]
    }
    return Model(get(found["loss"], **params), coef, intercept, encoding, found["target"])
