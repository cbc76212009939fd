"""A file as frames: blocks of its rows, of the columns that are asked for, and checked."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from fastloss.data._errors import DataError, reading
from fastloss.data._files import opened
from fastloss.data._formats.svmlight import Svmlight
from fastloss.data._frame import Frame, Labels, as_labels

MEMORY = 1 << 30
# The text of a block gets one of so many parts of the memory; the parser's arrays, X and copies of it need the others.
PARTS = 32


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
            if target or weight or columns is not None or exclude or categorical:
                raise DataError(
                    f"{path}: svmlight has no named columns: no target but its labels, no weight, none to choose or leave out"
                )
            return
        roles = [name for name in (target, weight) if name is not None]
        counts = Counter(names)
        for name in (*roles, *(columns or ()), *exclude, *self.categorical):
            self._check_column(name, counts)
        for name in roles:
            if [*roles, *self.categorical].count(name) > 1:
                raise DataError(
                    f"{path}: column {name!r} is either the target, or the weight, or categorical"
                )
        used = names if columns is None else list(dict.fromkeys([*columns, *self.categorical]))
        left_out = {target, weight, *exclude, *self.categorical}
        self.numeric = tuple(name for name in used if name not in left_out)
        if not self.numeric and not self.categorical:
            raise DataError(f"{path}: no column is left to learn from")
        for name in (*roles, *self.numeric, *self.categorical):
            if counts[name] > 1:
                raise DataError(f"{path} has {counts[name]} columns {name!r}; each needs a name of its own")

    def _check_column(self, name: str, names: Counter[str]) -> None:
        """Raise if the file has no column of that name."""
        if name not in names:
            close = get_close_matches(name, names, n=1)
            shown = ", ".join(list(names)[:10]) + ", ..." * (len(names) > 10)
            hint = f"did you mean {close[0]!r}?" if close else f"its columns are {shown}"
            raise DataError(f"{self.path} has no column {name!r}; {hint}")

    @property
    def larger_than_memory(self) -> bool:
        """Whether the rows are not to be held all at once."""
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
        """Yield blocks of rows as the format has them, unchecked."""
        size = max(1 << 14, self.memory // PARTS)
        if isinstance(self.file, Svmlight):
            for X, y in self.file.matrices(size):
                yield Frame(X, {}, as_labels(y) if self.as_labels else y, None)
            return
        assert self.numeric is not None
        roles = [name for name in (self.weight, self.target) if name is not None]
        as_text = {*self.categorical, *([self.target] if self.as_labels else [])}
        numbers = [*self.numeric, *(name for name in roles if name not in as_text)]
        texts = [*self.categorical, *(name for name in roles if name in as_text)]
        for block in self.file.frames(numbers, texts, size):
            first = next(iter(block.values()))
            X = np.empty((len(first.codes if isinstance(first, Labels) else first), len(self.numeric)))
            for i, name in enumerate(self.numeric):
                X[:, i] = block[name]
            text: dict[str, Any] = {name: block[name] for name in self.categorical}
            target, weight = (None if name is None else block[name] for name in (self.target, self.weight))
            yield Frame(X, text, target, weight)  # type: ignore[arg-type]

    def _check_finite(self, frame: Frame, row: int) -> None:
        """Raise for the first value that is missing or infinite; the first row of the frame is number `row`."""
        for name, column in ((self.target, frame.target), (self.weight, frame.weight), *frame.text.items()):
            if isinstance(column, Labels):
                bad = column.codes < 0
            else:
                bad = np.zeros(0, bool) if column is None else ~np.isfinite(column)
            if bad.any():
                at = int(bad.argmax())
                self._refuse(name or "target", row + at, np.nan if isinstance(column, Labels) else column[at])  # type: ignore[index]
        if frame.weight is not None and frame.weight.min() < 0:
            raise DataError(f"column {self.weight!r} of {self.path} has weights below 0")
        values = frame.X if self.numeric is not None else frame.X.data
        if np.isfinite(values).all():
            return
        at, *column_of = np.argwhere(~np.isfinite(values))[0]
        if self.numeric is not None:
            self._refuse(self.numeric[column_of[0]], row + int(at), values[at, column_of[0]])
        row += int(np.searchsorted(frame.X.indptr, at, side="right")) - 1
        self._refuse(str(frame.X.indices[at]), row, values[at])

    def _refuse(self, name: str, row: int, value: float) -> None:
        """Raise for a value of a column."""
        what = "has no value" if np.isnan(value) else f"holds {value}"
        raise DataError(
            f"column {name!r} of {self.path} {what} in row {row + 1} of the data; fill it in, or leave out the row or the column"
        )
