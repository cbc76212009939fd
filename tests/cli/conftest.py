"""A table in all formats, for the commands."""

from commands import folder, table

__all__ = ["folder", "table"]
