"""Progress on standard error: how far, how fast, how much longer. Where nobody watches a terminal, nothing is drawn."""

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fait._tools.cli.output import stderr_console

__all__ = ["ProgressMeter"]


class ProgressMeter:
    """A bar from 0 to `total`, with a count of events and their rate."""

    def __init__(self, what: str, total: int) -> None:
        console = stderr_console()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[events]:,} events", markup=False),
            TextColumn("{task.fields[rate]:,.0f}/s", markup=False),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task(what, total=max(total, 1), events=0, rate=0.0)

    def __enter__(self) -> "ProgressMeter":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, completed: int, events: int) -> None:
        """Say where things are."""
        elapsed_s = self._progress.tasks[0].elapsed or 0.0
        rate = events / elapsed_s if elapsed_s else 0.0
        self._progress.update(self._task, completed=completed, events=events, rate=rate)
