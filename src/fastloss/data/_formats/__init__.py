"""A module for each format of files: its class names the columns, and yields them a block of rows at a time."""

from fastloss.data._errors import DAMAGE as DAMAGE
from fastloss.data._errors import DataError as DataError
from fastloss.data._errors import required as required
