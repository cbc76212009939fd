"""What goes wrong with a file: `DataError`, and how the errors of other libraries become one."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tokenize import TokenError
from typing import Any

# What libraries raise on a file that is not what it should be; OSError is for one that cannot be read.
DAMAGE = (
    *(ValueError, TypeError, LookupError, EOFError, OverflowError, RuntimeError, SyntaxError),
    *(TokenError, zipfile.BadZipFile, zlib.error),
)


class DataError(ValueError):
    """A file that cannot be read, or does not hold what is looked for; the message is one line."""


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
        raise DataError(f"cannot read {path}: {one_line(error.strerror or error)}") from error
    except DAMAGE as error:
        raise DataError(f"cannot read {path}: {one_line(error)}") from error


def one_line(error: object) -> str:
    """Return an error's message without its line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def text_in_numbers(path: Path, name: str, value: object) -> DataError:
    """Return the error for a column that was taken for numbers and holds text."""
    return DataError(
        f"column {name!r} of {path} is not numeric: it holds {value!r}; "
        "name it in --categorical, or leave it out with --exclude"
    )
