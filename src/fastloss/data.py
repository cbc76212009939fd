"""Rows of CSV, Parquet, NPZ and svmlight files as blocks ``(X, y)`` that linear models are trained on."""

# ruff: noqa: N803, N806 - X is the field's name

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastloss._arguments import Array
from fastloss._checks import fraction
from fastloss._readers import DataError, Labels, Svmlight, opened, reading, required

__all__ = ["Batches", "DataError", "Encoding", "batches"]

MEMORY = 1 << 30
PARTS = 32  # of the memory, for the text of a block: the parser's arrays, X and copies of it go beside it
CLASSES = 1000


class Frame(NamedTuple):
    """Rows as they lie in the file."""

    X: Any  # numeric columns, or a sparse matrix
    text: dict[str, Labels]
    target: Array | Labels | None
    weight: Array | None


@dataclass(frozen=True)
class Encoding:
    """How rows of a file become rows of `X`: what a model has to know beside its coefficients.

    Attributes
    ----------
    columns : tuple of str, or None
        The numeric columns, which come first. None: columns are numbered, as in svmlight.
    categories : dict of str to tuple of str
        A column of `X` for each category, which is 1 in its rows and else 0. Rows of other categories have zeros.
    means, scales : ndarray, shape (d,)
        ``X = (column - mean) / scale``. Sparse columns have the mean 0, and the largest magnitude as their scale.
    classes : tuple of int or str, or None
        The labels of a classifier: `y` is their position. None: `y` is a number.
    """

    columns: tuple[str, ...] | None
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)
    means: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    scales: NDArray[np.float64] = field(default_factory=lambda: np.ones(0))
    classes: tuple[Any, ...] | None = None

    @property
    def features(self) -> list[str]:
        """The names of the columns of `X`."""
        if self.columns is None:
            return [str(i) for i in range(len(self.scales))]
        return [
            *self.columns,
            *(f"{name}={value}" for name, kinds in self.categories.items() for value in kinds),
        ]

    def matrix(self, frame: Frame) -> Any:
        """Return `X`, dense or sparse."""
        if self.columns is None:
            X = frame.X[:, : len(self.scales)]  # a copy; columns that the model has not seen count nothing
            X.data /= self.scales[X.indices]
            return X
        X, at = np.zeros((len(frame.X), len(self.scales))), len(self.columns)
        np.subtract(frame.X, self.means[:at], out=X[:, :at])
        X[:, :at] /= self.scales[:at]
        for name, kinds in self.categories.items():
            values, codes = frame.text[name]
            places = {kind: at + i for i, kind in enumerate(kinds)}
            place = np.array([places.get(value, -1) for value in values], np.intp)[codes]
            X[np.flatnonzero(place >= 0), place[place >= 0]] = 1
            at += len(kinds)
        return X

    def labels(self, target: Array | Labels) -> Array:
        """Return `y`: numbers as they are, labels as their positions among the classes."""
        if self.classes is None:
            return np.asarray(target)
        values, codes = _labels(target)
        places = {label: i for i, label in enumerate(self.classes)}
        kinds = _numbers(values) if not isinstance(self.classes[0], str) else values
        unknown = [value for value in kinds or values if value not in places]
        if unknown:
            shown = ", ".join(map(repr, self.classes[:8])) + ", ..." * (len(self.classes) > 8)
            raise DataError(f"the target holds {unknown[0]!r}, which is none of the classes {shown}")
        return np.array([places[value] for value in kinds or values], np.int64)[codes]


def _labels(target: Array | Labels) -> Labels:
    if isinstance(target, Labels):
        return target
    values, codes = np.unique(target, return_inverse=True)
    return Labels([str(value) for value in values.tolist()], codes)


def _numbers(values: Sequence[str]) -> list[int] | None:
    """The labels as integers, or None if one is text."""
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return None
    odd = next((x for x in numbers if not x.is_integer()), None)
    if odd is not None:
        raise DataError(
            f"the target holds {odd!r}: labels of classes are integers or text; for numbers take a loss for regression"
        )
    return [int(x) for x in numbers]


class Source:
    """A file, and what its columns are for; each call of `frames` reads it from its beginning.

    A frame is checked: nothing is missing, and all numbers are finite.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        target: str | None = None,
        weight: str | None = None,
        columns: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        categorical: Sequence[str] = (),
        labels: bool = False,
        memory: int = MEMORY,
        kind: str | None = None,
    ) -> None:
        self.path = Path(path)
        self.file = opened(self.path, kind)
        self.target, self.weight, self.as_labels, self.memory = target, weight, labels, memory
        self.numeric: tuple[str, ...] | None = None
        self.categorical = tuple(dict.fromkeys(categorical))
        names = self.file.names
        if names is None:
            if weight or columns is not None or exclude or categorical:
                raise DataError(
                    f"{path}: svmlight has no named columns, so no weight, and none to choose or to leave out"
                )
            return
        given = [target, weight, *(columns or ()), *exclude, *self.categorical]
        for name in given:
            if name is not None:
                self._check(name, names)
        used = names if columns is None else list(dict.fromkeys([*columns, *self.categorical]))
        left_out = {target, weight, *exclude, *self.categorical}
        self.numeric = tuple(name for name in used if name not in left_out)
        if not self.numeric and not self.categorical:
            raise DataError(f"{path}: no column is left to learn from")

    def _check(self, name: str, names: list[str]) -> None:
        count = names.count(name)
        if count > 1:
            raise DataError(f"{self.path} has {count} columns {name!r}; each needs a name of its own")
        if not count:
            close = get_close_matches(name, names, n=1)
            shown = ", ".join(names[:10]) + ", ..." * (len(names) > 10)
            hint = f"did you mean {close[0]!r}?" if close else f"its columns are {shown}"
            raise DataError(f"{self.path} has no column {name!r}; {hint}")

    @property
    def larger_than_memory(self) -> bool:
        return self.file.bytes > self.memory

    def frames(self) -> Iterator[Frame]:
        """Yield checked blocks of rows."""
        row = 0
        with reading(self.path):
            for frame in self._read():
                rows = frame.X.shape[0]
                if rows:
                    self._check_finite(frame, row)
                    yield frame
                row += rows
        if not row:
            raise DataError(f"{self.path} has no rows")

    def _read(self) -> Iterator[Frame]:
        size = max(1 << 14, self.memory // PARTS)
        if isinstance(self.file, Svmlight):
            for X, y in self.file.matrices(size):
                yield Frame(X, {}, _labels(y) if self.as_labels else y, None)
            return
        assert self.numeric is not None
        roles = [name for name in (self.weight, self.target) if name is not None]
        as_text = {*self.categorical, *([self.target] if self.as_labels else [])}
        numbers = [*self.numeric, *(name for name in roles if name not in as_text)]
        texts = [*self.categorical, *(name for name in roles if name in as_text)]
        for block in self.file.frames(numbers, texts, size):
            some = next(iter(block.values()))
            X = np.empty((len(some.codes if isinstance(some, Labels) else some), len(self.numeric)))
            for i, name in enumerate(self.numeric):
                X[:, i] = block[name]
            text: dict[str, Any] = {name: block[name] for name in self.categorical}
            target, weight = (None if name is None else block[name] for name in (self.target, self.weight))
            yield Frame(X, text, target, weight)  # type: ignore[arg-type]

    def _check_finite(self, frame: Frame, row: int) -> None:
        for name, column in ((self.target, frame.target), (self.weight, frame.weight), *frame.text.items()):
            if isinstance(column, Labels):
                odd = column.codes < 0
            else:
                odd = np.zeros(0, bool) if column is None else ~np.isfinite(column)
            if odd.any():
                at = int(odd.argmax())
                self._refuse(name or "target", row + at, np.nan if isinstance(column, Labels) else column[at])  # type: ignore[index]
        if frame.weight is not None and frame.weight.min() < 0:
            raise DataError(f"column {self.weight!r} of {self.path} has weights below 0")
        values = frame.X if self.numeric is not None else frame.X.data
        if np.isfinite(values).all():
            return
        at, *which = np.argwhere(~np.isfinite(values))[0]
        if self.numeric is not None:
            self._refuse(self.numeric[which[0]], row + int(at), values[at, which[0]])
        inside = int(np.searchsorted(frame.X.indptr, at, side="right")) - 1
        self._refuse(str(frame.X.indices[at]), row + inside, values[at])

    def _refuse(self, name: str, row: int, value: float) -> None:
        what = "has no value" if np.isnan(value) else f"holds {value}"
        raise DataError(
            f"column {name!r} of {self.path} {what} in row {row + 1} of the data; fill it in, or leave out the row or the column"
        )


class _Survey:
    """What a first pass finds out."""

    def __init__(self) -> None:
        self.rows = self.held_out = 0
        self.weight = 0.0
        self.mean: Any = 0.0
        self.squares: Any = 0.0  # the sum of squared differences from the mean
        self.largest = np.zeros(0)
        self.kinds: dict[str, set[str]] = {}
        self.labels: set[str] = set()

    def add(self, frame: Frame, chosen: Array | None) -> None:
        for name, column in frame.text.items():
            self.kinds.setdefault(name, set()).update(_used(column))
        if isinstance(frame.target, Labels):
            self.labels |= _used(frame.target)
        X = frame.X if chosen is None else frame.X[chosen]
        self.held_out += frame.X.shape[0] - X.shape[0]
        if frame.weight is not None:
            self.weight += float((frame.weight if chosen is None else frame.weight[chosen]).sum())
        if X.shape[0]:
            self._add_rows(X)

    def _add_rows(self, X: Any) -> None:
        if not isinstance(X, np.ndarray):
            width = int(X.indices.max(initial=-1)) + 1
            self.largest = np.pad(self.largest, (0, max(0, width - len(self.largest))))
            np.maximum.at(self.largest, X.indices, np.abs(X.data))
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                mean, total = X.mean(axis=0), self.rows + len(X)
                self.squares = self.squares + ((X - mean) ** 2).sum(axis=0)
                self.squares += (mean - self.mean) ** 2 * (self.rows * len(X) / total)
                self.mean = self.mean + (mean - self.mean) * (len(X) / total)
        self.rows += X.shape[0]

    def encoding(self, source: Source, scale: bool) -> Encoding:
        classes = self._classes() if source.as_labels else None
        if source.numeric is None:
            scales = np.where(self.largest > 0, self.largest, 1.0) if scale else np.ones(len(self.largest))
            return Encoding(None, {}, np.zeros(len(scales)), scales, classes)
        categories = {name: tuple(sorted(self.kinds[name])) for name in source.categorical}
        more = sum(map(len, categories.values()))
        means, deviations = np.zeros(len(source.numeric)), np.ones(len(source.numeric))
        if scale:
            means, deviations = self.mean, np.sqrt(self.squares / self.rows)
            if not np.isfinite(deviations).all():
                name = source.numeric[int(np.argmin(np.isfinite(deviations)))]
                raise DataError(
                    f"column {name!r} of {source.path} has numbers too large to be squared; scale it"
                )
            # Of equal numbers rounding errors are left.
            deviations = np.where(deviations > 1e-14 * np.abs(means), deviations, 1.0)
        means, scales = np.pad(means, (0, more)), np.pad(deviations, (0, more), constant_values=1.0)
        return Encoding(source.numeric, categories, means, scales, classes)

    def _classes(self) -> tuple[Any, ...]:
        numbers = _numbers(sorted(self.labels))
        classes: list[Any] = sorted(self.labels if numbers is None else set(numbers))
        if not 1 < len(classes) <= CLASSES:
            what = (
                f"one class alone, {classes[0]!r}"
                if len(classes) == 1
                else f"{len(classes)} different labels"
            )
            raise DataError(f"the target has {what}; a classifier takes 2 to {CLASSES} classes")
        return tuple(classes)


def _used(column: Labels) -> set[str]:
    return {column.values[code] for code in np.unique(column.codes)}


class Batches:
    """Blocks ``(X, y)`` or ``(X, y, sample_weight)`` of a file, as `batches` returns them.

    Iterated, it yields the rows for training, anew in each pass.

    Attributes
    ----------
    encoding : Encoding
        How the rows became those of `X`.
    rows, held_out_rows : int
        For training, and for validation.
    streamed : bool
        Whether each pass reads the file.
    """

    def __init__(self, source: Source, scale: bool, validation: float, seed: int) -> None:
        self._source, self._validation, self._seed = source, validation, seed
        self.streamed = source.larger_than_memory
        self._frames = None if self.streamed else list(source.frames())
        survey = _Survey()
        for frame, chosen in self._chosen():
            survey.add(frame, chosen)
        self.rows, self.held_out_rows = survey.rows, survey.held_out
        if not self.rows or (validation and not self.held_out_rows):
            total = self.rows + self.held_out_rows
            raise DataError(f"a part of {validation} of {total} rows leaves none on one side")
        self.encoding = survey.encoding(source, scale)
        self._mean_weight = 1.0 if source.weight is None else survey.weight / self.rows
        if not self._mean_weight > 0:
            raise DataError(f"column {source.weight!r} of {source.path}: the weights are all 0")

    @property
    def held_out_bytes(self) -> float:
        """About what the rows for validation take in memory."""
        text = self._validation * self._source.file.bytes
        columns = len(self.encoding.scales) if self._source.numeric is not None else 0
        return max(text, 8.0 * self.held_out_rows * columns)

    @property
    def memory(self) -> int:
        """The bytes that were given."""
        return self._source.memory

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._part(False)

    def held_out(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows for validation."""
        return self._part(True)

    def _chosen(self) -> Iterator[tuple[Frame, Array | None]]:
        # Whether a row is for training depends on its number alone, not on where blocks are cut.
        rng = np.random.default_rng(self._seed)
        for frame in self._source.frames() if self._frames is None else self._frames:
            yield frame, rng.random(frame.X.shape[0]) >= self._validation if self._validation else None

    def _part(self, held_out: bool) -> Iterator[tuple[Any, ...]]:
        for frame, chosen in self._chosen():
            assert frame.target is not None
            parts: list[Any] = [self.encoding.matrix(frame), self.encoding.labels(frame.target)]
            parts += [] if frame.weight is None else [frame.weight / self._mean_weight]
            if chosen is not None:
                parts = [part[chosen != held_out] for part in parts]
            if len(parts[1]):
                yield tuple(parts)


def together(blocks: Iterator[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Return the rows of all blocks as one."""
    first, *rest = zip(*blocks, strict=True)
    if isinstance(first[0], np.ndarray):
        X = np.concatenate(first)
    else:
        X = required("scipy.sparse", "svmlight").vstack(first, format="csr")
    return X, *map(np.concatenate, rest)


def batches(
    path: str | PathLike[str],
    *,
    target: str | None = None,
    weight: str | None = None,
    columns: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    categorical: Sequence[str] = (),
    labels: bool = False,
    scale: bool = True,
    validation_fraction: float | None = None,
    seed: int = 0,
    memory: int = MEMORY,
    format: Literal["csv", "parquet", "npz", "svmlight"] | None = None,
) -> Batches:
    """Read a file in blocks of rows, as often as they are iterated.

    A first pass finds means and scales of the columns, categories and classes. A file larger than `memory` is read
    again in each pass, a block at a time; the rows of others are kept.

    Parameters
    ----------
    path : str or path
        A file that ends in .csv (a first line of names), .parquet, .npz (arrays of one length; of two dimensions
        ``NAME0``, ``NAME1``, ...) or .svm, .svmlight, .libsvm (sparse; a column is known by its index).
    target : str
        The name of the column `y`; svmlight has its own.
    weight : str, optional
        That of `sample_weight`: numbers >= 0, which are divided by their mean over the rows for training.
    columns, exclude : sequence of str, optional
        The columns of `X`, all others by default, and those that are left out.
    categorical : sequence of str
        Columns of text or numbers, each of whose values becomes a column of zeros and ones.
    labels : bool, default False
        Whether the target has labels of classes, integers or text: `y` is then their position in the sorted
        ``encoding.classes``.
    scale : bool, default True
        Whether numeric columns get the mean 0 and the deviation 1 over the rows for training; sparse ones the largest
        magnitude 1.
    validation_fraction : float, optional
        So large a part of the rows, drawn by `seed`, is held out.
    seed : int, default 0
    memory : int, default 2**30
        In bytes. Blocks are a small part of it.
    format : str, optional
        For other endings.

    Returns
    -------
    Batches
        An iterable of (X, y) or (X, y, sample_weight); `X` of float64, CSR for svmlight.

    Raises
    ------
    DataError
        A ValueError: the file cannot be read, is empty or cut, has no such column, or a column with missing values,
        infinities or text that is not in `categorical`. Also while it is iterated.
    ImportError
        If pyarrow (CSV, Parquet) or scikit-learn (svmlight) is not installed.

    References
    ----------
    Chan, T. F., Golub, G. H. & LeVeque, R. J. (1983). Algorithms for computing the sample variance. Amer. Statist. 37.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import fastloss as fl
    >>> from fastloss import data
    >>> path = os.path.join(tempfile.mkdtemp(), "line.npz")
    >>> np.savez(path, x=np.array([0.0, 1.0, 2.0]), y=np.array([4.0, 7.0, 10.0]))
    >>> blocks = data.batches(path, target="y", scale=False)
    >>> for X, y in blocks:
    ...     print(X.ravel(), y)
    [0. 1. 2.] [ 4.  7. 10.]
    >>> blocks.encoding.features
    ['x']
    """
    source = Source(
        path,
        target=target,
        weight=weight,
        columns=columns,
        exclude=exclude,
        categorical=categorical,
        labels=labels,
        memory=memory,
        kind=format,
    )
    if target is None and source.numeric is not None:
        raise DataError(f"{path}: which column is the target? Pass target= (--target)")
    part = 0.0 if validation_fraction is None else fraction(validation_fraction=validation_fraction)
    return Batches(source, scale, part, seed)
