"""A progress bar on standard error: percentage, event count, rate and remaining time. Only a terminal shows it."""

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fait._tools.cli.output import stderr_console

__all__ = ["ProgressMeter"]


class ProgressMeter:
    """A bar from 0 to `total`, with a count of events and their rate.

    Args:
        label: text before the bar.
        total: the value of a complete bar, such as bytes or positions.
    """

    def __init__(self, label: str, total: int) -> None:
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
        self._task = self._progress.add_task(label, total=max(total, 1), events=0, rate=0.0)

    def __enter__(self) -> "ProgressMeter":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, completed: int, events: int) -> None:
        """Set the completed part of the total and the number of events so far."""
        elapsed_s = self._progress.tasks[0].elapsed or 0.0
        rate = events / elapsed_s if elapsed_s else 0.0
        self._progress.update(self._task, completed=completed, events=events, rate=rate)
