"""Sparse rows in the text format of svmlight and LIBSVM, by scikit-learn."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastloss._checks.arrays import Array
from fastloss.data._errors import DAMAGE, DataError, one_line, required

INDICES = 2**31 - 1  # so many columns a file may have


class Svmlight:
    """A file whose lines are a label and then ``index:value``; a column is known by its index in the file."""

    names = None

    def __init__(self, path: Path) -> None:
        self.path, self.load = path, required("sklearn.datasets", "reading svmlight").load_svmlight_file
        self.bytes = path.stat().st_size

    def matrices(self, size: int) -> Iterator[tuple[Any, Array]]:
        """Yield sparse rows and their labels, of blocks of about `size` bytes."""
        for offset in range(0, self.bytes, size):
            try:
                X, y = self.load(
                    str(self.path), n_features=INDICES, zero_based=True, offset=offset, length=size
                )
            except DAMAGE as error:
                raise DataError(f"{self.path}{self._bad_line()}: {one_line(error)}") from error
            if len(y):
                yield X, y

    def _bad_line(self) -> str:
        """Describe the first line that is not of the format, for an error; "" if none is found."""
        item = rb"\s+\d+:[-+.\deEnaif]+"
        pattern = re.compile(rb"\s*([-+.\deE]+(\s+qid:\d+)?(%b)*)?\s*(#.*)?" % item)
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not pattern.fullmatch(line.rstrip(b"\n")):
                    return f", line {number}"
        return ""
