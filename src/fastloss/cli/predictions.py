"""Predictions in files of CSV, Parquet and NPY."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

import numpy as np

from fastloss._checks.arrays import Array
from fastloss.data import required


def _write_npy(file: IO[bytes], names: Sequence[str], blocks: Iterator[Array]) -> None:
    """Write all blocks as one array; `names` have no place in it."""
    array, form = np.ascontiguousarray(np.concatenate(list(blocks))), np.lib.format
    form.write_array_header_1_0(file, form.header_data_from_array_1_0(array))
    file.write(array.data)  # np.save would not notice that the disk is full at the end


def _write_table(
    writer: Callable[[Any, Any], Any],
) -> Callable[[IO[bytes], Sequence[str], Iterator[Array]], None]:
    """Return what writes blocks as tables, by a writer of Arrow for a file and a schema."""

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
