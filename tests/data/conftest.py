"""A table in all formats, for what reads them."""

from commands import folder, table

__all__ = ["folder", "table"]
