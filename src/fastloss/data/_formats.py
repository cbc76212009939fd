"""The formats that data are read from, a block of rows at a time: CSV, Parquet, NPZ and svmlight."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

import math
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tokenize import TokenError
from typing import Any, ClassVar, NamedTuple

import numpy as np

from fastloss._checks.arrays import Array

# What libraries raise on a file that is not what it should be; OSError is for one that cannot be read.
DAMAGE = (
    *(ValueError, TypeError, LookupError, EOFError, OverflowError, RuntimeError, SyntaxError),
    *(TokenError, zipfile.BadZipFile, zlib.error),
)
INDICES = 2**31 - 1  # so many columns an svmlight file may have


class DataError(ValueError):
    """A file that cannot be read, or does not hold what is looked for; the message is one line."""


class Labels(NamedTuple):
    """A column of text: row i holds ``values[codes[i]]``; the code of a missing one is -1."""

    values: list[str]
    codes: Array


def required(module: str, what: str) -> Any:
    """Import a module, or say what to install."""
    package = {"sklearn": "scikit-learn"}.get(module.partition(".")[0], module.partition(".")[0])
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f'{what} needs {package}: pip install "fastloss[train]"') from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what libraries raise on a file that is not as it should be into a DataError."""
    try:
        yield
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"cannot read {path}: {_line(error.strerror or error)}") from error
    except DAMAGE as error:
        raise DataError(f"cannot read {path}: {_line(error)}") from error


def _line(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def refuse_text(path: Path, name: str, value: object) -> DataError:
    return DataError(
        f"column {name!r} of {path} is not numeric: it holds {value!r}; "
        "name it in --categorical, or leave it out with --exclude"
    )


class Csv:
    """A first line of names, then a line for each row."""

    def __init__(self, path: Path) -> None:
        self.path, self.csv = path, required("pyarrow.csv", "reading CSV")
        pa = required("pyarrow", "reading CSV")
        with reading(path), path.open("rb") as file:
            header = file.readline()
            if not header.strip():
                raise DataError(f"{path} has no line of names of columns")
            self.names = list(self.csv.read_csv(pa.py_buffer(header)).schema.names)
        self.bytes = path.stat().st_size

    def blocks(
        self, numeric: Sequence[str], text: Sequence[str], size: int
    ) -> Iterator[dict[str, Array | Labels]]:
        pa = required("pyarrow", "reading CSV")
        types = dict.fromkeys(numeric, pa.float64()) | dict.fromkeys(
            text, pa.dictionary(pa.int32(), pa.string())
        )
        reader = self.csv.open_csv(
            self.path,
            # It reads some 32 blocks ahead, and with more than one thread parses them, too.
            read_options=self.csv.ReadOptions(use_threads=False, block_size=max(size // 8, 1 << 14)),
            convert_options=self.csv.ConvertOptions(
                column_types=types, include_columns=list(types), strings_can_be_null=True
            ),
        )
        for batch in reader:
            yield {name: _from_arrow(batch.column(i)) for i, name in enumerate(types)}

    def frames(self, *arguments: Any) -> Iterator[dict[str, Array | Labels]]:
        try:
            yield from self.blocks(*arguments)
        except ValueError as error:
            found = re.search(r"CSV column #(\d+): .*error to double: invalid value '(.*)'", str(error))
            if found:
                raise refuse_text(self.path, self.names[int(found[1])], found[2]) from error
            if "straddling object" in str(error) or "Empty CSV file or block" in str(error):
                raise DataError(
                    f"{self.path} has a line that is longer than a block; raise memory= (--memory)"
                ) from error
            raise


class Parquet:
    """Columns of numbers, booleans, text or dictionaries."""

    # By default whole columns would be read ahead.
    options: ClassVar[dict[str, Any]] = {
        "pre_buffer": False,
        "buffer_size": 1 << 16,
        "page_checksum_verification": True,
    }

    def __init__(self, path: Path) -> None:
        self.path, self.parquet = path, required("pyarrow.parquet", "reading Parquet")
        with reading(path), self.parquet.ParquetFile(path, **self.options) as file:
            self.names = list(file.schema_arrow.names)
            self.bytes = 8 * file.metadata.num_rows * len(self.names)

    def frames(
        self, numeric: Sequence[str], text: Sequence[str], size: int
    ) -> Iterator[dict[str, Array | Labels]]:
        names = [*numeric, *text]
        with self.parquet.ParquetFile(self.path, **self.options) as file:
            rows = max(1, size // (8 * max(1, len(names))))
            for batch in file.iter_batches(batch_size=rows, columns=names, use_threads=False):
                yield {
                    name: _from_arrow(self._converted(name, batch.column(name), name in text))
                    for name in names
                }

    def _converted(self, name: str, column: Any, text: bool) -> Any:
        pa = required("pyarrow", "reading Parquet")
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if text:
            return column.cast(pa.string()).dictionary_encode()
        types = pa.types
        tests = (types.is_boolean, types.is_integer, types.is_floating, types.is_decimal)
        if not any(test(kind) for test in tests):
            example = next((value for value in column.to_pylist() if value is not None), str(kind))
            raise refuse_text(self.path, name, example)
        return column.cast(kind).cast(pa.float64(), safe=False)


def _from_arrow(column: Any) -> Array | Labels:
    if not hasattr(column, "dictionary"):
        return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
    return Labels(column.dictionary.to_pylist(), column.indices.fill_null(-1).to_numpy(zero_copy_only=False))


class Npz:
    """Arrays of one length: of one dimension a column each, of two dimensions ``NAME0``, ``NAME1``, ..."""

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
        if text:
            values, codes = np.unique(column, return_inverse=True)
            return Labels([str(value) for value in values.tolist()], codes)
        if column.dtype.kind == "U":
            raise refuse_text(self.path, name, str(column[0]))
        return column.astype(np.float64)


def _named(member: str, array: Array) -> Mapping[str, Array]:
    return {f"{member}{i}": column for i, column in enumerate(array.T)}


def _npy_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


class Svmlight:
    """Lines of a label and of ``index:value``; an index is the number of a column, as it stands in the file."""

    names = None

    def __init__(self, path: Path) -> None:
        self.path, self.load = path, required("sklearn.datasets", "reading svmlight").load_svmlight_file
        self.bytes = path.stat().st_size

    def matrices(self, size: int) -> Iterator[tuple[Any, Array]]:
        """Yield sparse rows and labels."""
        for offset in range(0, self.bytes, size):
            try:
                X, y = self.load(
                    str(self.path), n_features=INDICES, zero_based=True, offset=offset, length=size
                )
            except DAMAGE as error:
                raise DataError(f"{self.path}{self._bad_line()}: {_line(error)}") from error
            if len(y):
                yield X, y

    def _bad_line(self) -> str:
        item = rb"\s+\d+:[-+.\deEnaif]+"
        pattern = re.compile(rb"\s*([-+.\deE]+(\s+qid:\d+)?(%b)*)?\s*(#.*)?" % item)
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not pattern.fullmatch(line.rstrip(b"\n")):
                    return f", line {number}"
        return ""


FORMATS: dict[str, type[Csv | Parquet | Npz | Svmlight]] = {
    "csv": Csv,
    "parquet": Parquet,
    "npz": Npz,
    "svmlight": Svmlight,
}
ENDINGS = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".npz": "npz",
    ".svm": "svmlight",
    ".svmlight": "svmlight",
    ".libsvm": "svmlight",
}


def opened(path: Path, kind: str | None) -> Csv | Parquet | Npz | Svmlight:
    """Open a file, whose format its name says, unless `kind` does."""
    found = kind or ENDINGS.get(path.suffix.lower())
    if found is None:
        raise DataError(
            f"{path}: the format is that of the ending, one of {', '.join(ENDINGS)}; "
            f"for others pass --format, one of {', '.join(FORMATS)}"
        )
    with reading(path):
        if path.is_fifo():
            raise DataError(f"{path} is a pipe, and data are read more than once; write them to a file first")
        if not path.stat().st_size:
            raise DataError(f"{path} is empty")
        with path.open("rb"):  # a folder, or one without permission
            pass
    return FORMATS[found](path)
