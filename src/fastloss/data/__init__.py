"""Rows of CSV, Parquet, NPZ and svmlight files as blocks ``(X, y)`` that linear models are trained on.

The public names are those of ``__all__``. The others are for the rest of the package, which takes nothing from the
modules within.
"""

from fastloss.data._blocks import Batches, batches
from fastloss.data._blocks import together as together
from fastloss.data._encoding import Encoding
from fastloss.data._errors import DAMAGE as DAMAGE
from fastloss.data._errors import DataError
from fastloss.data._errors import required as required
from fastloss.data._files import FORMATS as FORMATS
from fastloss.data._frame import Frame as Frame
from fastloss.data._source import MEMORY as MEMORY
from fastloss.data._source import Source as Source

__all__ = ["Batches", "DataError", "Encoding", "batches"]
