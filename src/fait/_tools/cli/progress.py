"""A progress bar on standard error: percentage, count, rate and remaining time. Only a terminal shows it."""

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fait._tools.cli.output import stderr_console

__all__ = ["ProgressMeter"]


class ProgressMeter:
    """A bar from 0 to `total`, with a count and its rate.

    Args:
        label: text before the bar.
        total: the value of a complete bar, such as bytes or positions.
        unit: what is counted.
    """

    def __init__(self, label: str, total: int, unit: str = "events") -> None:
        console = stderr_console()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[count]:,} " + unit, markup=False),
            TextColumn("{task.fields[rate]:,.0f}/s", markup=False),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task(label, total=max(total, 1), count=0, rate=0.0)

    def __enter__(self) -> "ProgressMeter":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, completed: int, count: int) -> None:
        """Set the completed part of the total and the count so far."""
        elapsed_s = self._progress.tasks[0].elapsed or 0.0
        rate = count / elapsed_s if elapsed_s else 0.0
        self._progress.update(self._task, completed=completed, count=count, rate=rate)
