"""Files of Parquet, by pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from fastloss._checks.arrays import Array
from fastloss.data._errors import reading, required, text_in_numbers
from fastloss.data._formats.arrow import from_arrow
from fastloss.data._frame import Labels


class Parquet:
    """A file with columns of numbers, booleans, text or dictionaries."""

    # By default, pyarrow reads whole columns ahead.
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
        """Yield columns by name, numeric ones and those of text, of blocks of about `size` bytes."""
        names = [*numeric, *text]
        with self.parquet.ParquetFile(self.path, **self.options) as file:
            rows = max(1, size // (8 * max(1, len(names))))
            for batch in file.iter_batches(batch_size=rows, columns=names, use_threads=False):
                yield {
                    name: from_arrow(self._converted(name, batch.column(name), name in text))
                    for name in names
                }

    def _converted(self, name: str, column: Any, text: bool) -> Any:
        """Return a column as float64, or as a dictionary of text."""
        pa = required("pyarrow", "reading Parquet")
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if text:
            return column.cast(pa.string()).dictionary_encode()
        types = pa.types
        tests = (types.is_boolean, types.is_integer, types.is_floating, types.is_decimal)
        if not any(test(kind) for test in tests):
            example = next((value for value in column.to_pylist() if value is not None), str(kind))
            raise text_in_numbers(self.path, name, example)
        return column.cast(kind).cast(pa.float64(), safe=False)
