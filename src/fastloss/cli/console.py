"""Tables and progress for the command line: with rich on a terminal, as plain text elsewhere."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console as RichConsole


class Console:
    """Where the commands print.

    Parameters
    ----------
    color : bool, default True
        Whether escape codes may be printed. They never are in a pipe, nor with NO_COLOR in the environment.
    error : bool, default False
        Whether it prints to stderr.
    """

    def __init__(self, *, color: bool = True, error: bool = False) -> None:
        self._file = sys.stderr if error else sys.stdout
        self._rich = _terminal(self._file) if color else None

    @property
    def live(self) -> bool:
        """Whether it is a terminal that shows progress."""
        return self._rich is not None

    def line(self, text: str = "") -> None:
        print(text, file=self._file, flush=True)

    def heading(self, text: str) -> None:
        if self._rich:
            self._rich.print(f"\n{text}", style="bold", markup=False)
        else:
            self.line(f"\n{text}\n{'-' * len(text)}")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 1) -> None:
        """Print a table; all but the first `text_columns` are aligned to the right."""
        if self._rich:
            from rich.box import SIMPLE_HEAD
            from rich.table import Table
            from rich.text import Text

            table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold cyan")
            for i, name in enumerate(header):
                table.add_column(name, justify="left" if i < text_columns else "right", overflow="fold")
            for row in rows:
                table.add_row(*map(Text, row))
            self._rich.print(table)
            return
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        for row in (header, ["-" * width for width in widths], *rows):
            cells = (
                cell.ljust(width) if i < text_columns else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            self.line("  ".join(cells).rstrip())

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[Callable[[str], None]]:
        """Show the steps of a task. Each call of what this yields is a step, described by its text.

        Plain output has the last text alone.
        """
        with self._bar(label, total) if self._rich else self._last(label) as step:
            yield step

    @contextmanager
    def _last(self, label: str) -> Iterator[Callable[[str], None]]:
        texts = deque([""], maxlen=1)
        yield texts.append
        self.line(f"{label}  {texts[0]}")

    @contextmanager
    def _bar(self, label: str, total: int) -> Iterator[Callable[[str], None]]:
        from rich.progress import BarColumn, Progress, TextColumn

        label_column = TextColumn("{task.description}", markup=False)
        text_column = TextColumn("{task.fields[text]}", markup=False)
        shown = 0.0

        def step(text: str) -> None:
            nonlocal shown
            bar.update(task, advance=1, text=text)
            if perf_counter() > shown + 0.05:
                bar.refresh()
                shown = perf_counter()

        # rich would refresh from a thread of its own, which would disturb what is being timed.
        columns = (label_column, BarColumn(bar_width=20), text_column)
        with Progress(*columns, console=self._rich, auto_refresh=False) as bar:
            task = bar.add_task(label, total=total, text="")
            bar.refresh()
            yield step
            # A task that ends before its last step is complete, too: the bar is full.
            bar.update(task, total=1, completed=1, refresh=True)


def _terminal(file: TextIO) -> RichConsole | None:
    """Return a console of rich, if the file is a terminal with colours and rich is installed."""
    if not file.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return None
    try:
        from rich.console import Console
    except ModuleNotFoundError:
        return None
    return Console(highlight=False, file=file)
