"""Files of comma-separated values, by pyarrow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fastloss._checks.arrays import Array
from fastloss.data._errors import DataError, reading, required, text_in_numbers
from fastloss.data._formats.arrow import from_arrow
from fastloss.data._frame import Labels


class Csv:
    """A file with a first line of names, and then a line for each row."""

    def __init__(self, path: Path) -> None:
        self.path, self.csv = path, required("pyarrow.csv", "reading CSV")
        pa = required("pyarrow", "reading CSV")
        with reading(path), path.open("rb") as file:
            header = file.readline()
            if not header.strip():
                raise DataError(f"{path} has no line of names of columns")
            self.names = list(self.csv.read_csv(pa.py_buffer(header)).schema.names)
        self.bytes = path.stat().st_size

    def _blocks(
        self, numeric: Sequence[str], text: Sequence[str], size: int
    ) -> Iterator[dict[str, Array | Labels]]:
        pa = required("pyarrow", "reading CSV")
        types = dict.fromkeys(numeric, pa.float64()) | dict.fromkeys(
            text, pa.dictionary(pa.int32(), pa.string())
        )
        reader = self.csv.open_csv(
            self.path,
            # The reader reads some 32 blocks ahead; with more than one thread it would also hold them parsed.
            read_options=self.csv.ReadOptions(use_threads=False, block_size=max(size // 8, 1 << 14)),
            convert_options=self.csv.ConvertOptions(
                column_types=types, include_columns=list(types), strings_can_be_null=True
            ),
        )
        for batch in reader:
            yield {name: from_arrow(batch.column(i)) for i, name in enumerate(types)}

    def frames(self, *arguments: Any) -> Iterator[dict[str, Array | Labels]]:
        """Yield columns by name, numeric ones and those of text, of blocks of about `size` bytes."""
        try:
            yield from self._blocks(*arguments)
        except ValueError as error:
            found = re.search(r"CSV column #(\d+): .*error to double: invalid value '(.*)'", str(error))
            if found:
                raise text_in_numbers(self.path, self.names[int(found[1])], found[2]) from error
            if "straddling object" in str(error) or "Empty CSV file or block" in str(error):
                raise DataError(
                    f"{self.path} has a line that is longer than a block; raise memory= (--memory)"
                ) from error
            raise
