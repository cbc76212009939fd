"""Files of NumPy arrays as ``np.savez`` writes them, of which a block at a time is read."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastloss._checks.arrays import Array
from fastloss.data._errors import DataError, reading, text_in_numbers
from fastloss.data._frame import Labels


class Npz:
    """A file of arrays of one length.

    An array of one dimension is a column; one of two dimensions has the columns ``NAME0``, ``NAME1``, ...
    """

    def __init__(self, path: Path) -> None:
        self.path, self.names, self.bytes = path, [], 0
        self.members: dict[str, int] = {}
        with reading(path), zipfile.ZipFile(path) as archive:
            rows = {}
            for info in archive.infolist():
                member = info.filename.removesuffix(".npy")
                with archive.open(info) as file:
                    shape, fortran, dtype = _npy_header(file)
                if dtype.kind not in "biufU" or len(shape) not in (1, 2) or (fortran and len(shape) == 2):
                    raise DataError(
                        f"{path}: array {member!r} has shape {shape} and dtype {dtype}{', Fortran order' * fortran}; "
                        "arrays must be of numbers or text, with 1 dimension or with 2 in C order"
                    )
                if math.prod(shape) * dtype.itemsize > info.file_size:
                    raise EOFError(f"array {member!r} ends early")
                rows[member] = shape[0]
                self.members[member] = 0 if len(shape) == 1 else shape[1]
                self.names += [member] if len(shape) == 1 else [f"{member}{i}" for i in range(shape[1])]
                self.bytes += info.file_size
            if len(set(rows.values())) > 1:
                raise DataError(f"{path}: its arrays must have one number of rows, got {rows}")
        self.rows = next(iter(rows.values()), 0)

    def frames(
        self, numeric: Sequence[str], text: Sequence[str], size: int
    ) -> Iterator[dict[str, Array | Labels]]:
        """Yield columns by name, numeric ones and those of text, of blocks of about `size` bytes."""
        wanted = {name: name in text for name in (*numeric, *text)}
        width = sum(max(1, columns) for columns in self.members.values())
        step = max(1, size // (8 * max(1, width)))
        with zipfile.ZipFile(self.path) as archive:
            files = {member: archive.open(f"{member}.npy") for member in self.members}
            headers = {member: _npy_header(file) for member, file in files.items()}
            for start in range(0, self.rows, step):
                block: dict[str, Array | Labels] = {}
                for member, (shape, _, dtype) in headers.items():
                    shape = (min(step, self.rows - start), *shape[1:])
                    length = int(np.prod(shape)) * dtype.itemsize
                    content = files[member].read(length)
                    if len(content) < length:
                        raise EOFError(f"array {member!r} ends early")
                    array = np.frombuffer(content, dtype).reshape(shape)
                    columns = {member: array} if array.ndim == 1 else _named(member, array)
                    block |= {
                        name: self._column(name, column, wanted[name])
                        for name, column in columns.items()
                        if name in wanted
                    }
                yield block

    def _column(self, name: str, column: Array, text: bool) -> Array | Labels:
        """Return a column as float64, or as labels."""
        if text:
            values, codes = np.unique(column, return_inverse=True)
            return Labels([str(value) for value in values.tolist()], codes)
        if column.dtype.kind == "U":
            raise text_in_numbers(self.path, name, str(column[0]))
        return column.astype(np.float64)


def _named(member: str, array: Array) -> Mapping[str, Array]:
    """Return the columns of an array of two dimensions by their names."""
    return {f"{member}{i}": column for i, column in enumerate(array.T)}


def _npy_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read shape, whether the order is Fortran's, and dtype."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)
