"""`batches`, which reads a file in blocks of rows, and what it returns."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Any, Literal

import numpy as np

from fastloss._checks.arrays import Array
from fastloss._checks.parameters import fraction
from fastloss.data._errors import DataError, required
from fastloss.data._frame import Frame
from fastloss.data._source import MEMORY, Source
from fastloss.data._statistics import Statistics


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
        statistics = Statistics()
        for frame, for_training in self._split():
            statistics.add(frame, for_training)
        self.rows, self.held_out_rows = statistics.rows, statistics.held_out
        if not self.rows or (validation and not self.held_out_rows):
            total = self.rows + self.held_out_rows
            raise DataError(f"a part of {validation} of {total} rows leaves none on one side")
        self.encoding = statistics.encoding(source, scale)
        self._mean_weight = 1.0 if source.weight is None else statistics.weight / self.rows
        if not self._mean_weight > 0:
            raise DataError(f"column {source.weight!r} of {source.path}: the weights are all 0")

    @property
    def held_out_bytes(self) -> float:
        """An estimate of the memory that the rows for validation take."""
        text = self._validation * self._source.file.bytes
        columns = len(self.encoding.scales) if self._source.numeric is not None else 0
        return max(text, 8.0 * self.held_out_rows * columns)

    @property
    def memory(self) -> int:
        """The number of bytes that may be used, as it was given."""
        return self._source.memory

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._part(False)

    def held_out(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows for validation."""
        return self._part(True)

    def _split(self) -> Iterator[tuple[Frame, Array | None]]:
        """Yield each frame, and which of its rows are for training; None: all of them.

        The same rows are in every pass: it depends on a row's number in the file, not on where blocks are cut.
        """
        rng = np.random.default_rng(self._seed)
        for frame in self._source.frames() if self._frames is None else self._frames:
            yield frame, rng.random(frame.X.shape[0]) >= self._validation if self._validation else None

    def _part(self, held_out: bool) -> Iterator[tuple[Any, ...]]:
        """Yield the blocks of the rows for training, or of those that are held out."""
        for frame, for_training in self._split():
            assert frame.target is not None
            parts: list[Any] = [self.encoding.matrix(frame), self.encoding.labels(frame.target)]
            parts += [] if frame.weight is None else [frame.weight / self._mean_weight]
            if for_training is not None:
                parts = [part[for_training != held_out] for part in parts]
            if len(parts[1]):
                yield tuple(parts)


def together(blocks: Iterator[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Return the rows of all blocks as one block."""
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
