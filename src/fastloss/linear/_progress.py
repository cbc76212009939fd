"""A progress bar on stderr, drawn by rich, for training in epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

Report = Callable[[int, int, float], None]  # complete epochs, rows since the last report, latest mean loss


@contextmanager
def progress_bar(wanted: bool, epochs: int) -> Iterator[Report]:
    """Yield a function that shows how far the training is; it does nothing where no bar is wanted."""
    if not wanted:
        yield lambda done, rows, loss: None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError as error:
        raise ImportError(f"progress=True needs rich: pip install rich ({error})") from error
    columns = MofNCompleteColumn(), TextColumn("epochs"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, TextColumn("{task.fields[text]}"), console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=epochs, text="")
        began, all_rows = perf_counter(), 0

        def report(done: int, rows: int, loss: float) -> None:
            nonlocal all_rows
            all_rows += rows
            speed = all_rows / max(perf_counter() - began, 1e-9)
            bar.update(task, completed=done, text=f"loss {loss:.6g}, {speed:.3g} rows/s")

        yield report
