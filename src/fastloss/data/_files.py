"""Opening a file by its ending, or by the name of its format."""

from __future__ import annotations

from pathlib import Path

from fastloss.data._errors import DataError, reading
from fastloss.data._formats.csv import Csv
from fastloss.data._formats.npz import Npz
from fastloss.data._formats.parquet import Parquet
from fastloss.data._formats.svmlight import Svmlight

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
    """Open a file. Its format is that of its ending, unless `kind` names one."""
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
