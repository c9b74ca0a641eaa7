"""Publishes runs: copies them to bench/published, and generates the figures of pages from these copies.

The figures are between two marker lines of a page. `--check` fails if they differ from the published run.
"""

import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["END", "FOLDER", "README", "Line", "between", "box", "publish", "table", "wrap"]

FOLDER = Path(__file__).parent / "published"
README = Path(__file__).parents[1] / "README.md"
END = "<!-- end of figures -->"
Result = dict[str, Any]


class Line(NamedTuple):
    """A line of the README's table.

    Attributes:
        title: Title of the workload.
        figure: The figure of fait.
        peers: How many times as fast as each peer fait is, by the peer's title.
        limits: The same for hand-written programs.
    """

    title: str
    figure: str
    peers: dict[str, float]
    limits: dict[str, float]


def box(machine: dict[str, Any]) -> str:
    """Describe the machine of a run."""
    return f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB"


def wrap(text: str) -> list[str]:
    """Wrap a paragraph to the width of the pages."""
    return textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False)


def table(lines: Sequence[Line]) -> list[str]:
    """Format a table that compares fait with the fastest peer and the fastest program of each workload."""
    rows = [f"| {each.title} | {each.figure} | {_nearest(each.peers)} | {_nearest(each.limits)} |" for each in lines]
    return ["| | fait | to the best peer | to the best program by hand |", "|---|--:|--:|--:|", *rows]


def _nearest(ratios: dict[str, float]) -> str:
    if not ratios:
        return "–"
    title = min(ratios, key=lambda each: ratios[each])
    ratio = ratios[title]
    return f"{ratio:.{0 if ratio >= 10 else 1 if ratio >= 2 else 2}f} × {title}"


def between(page: Path, begin: str, figures: str) -> str:
    """Return the page with these figures between its marker lines."""
    before, found, rest = page.read_text("utf-8").partition(begin)
    if not found or END not in rest:
        raise SystemExit(f"{page.name} has no place for figures. Add the lines {begin} and {END}.")
    return f"{before}{begin}\n\n{figures}\n\n{END}{rest.partition(END)[2]}"


def publish(arguments: Sequence[str], latest: Path, wanted: Callable[[Result | None], dict[Path, str]]) -> int:
    """Write the figures of the published run to the pages, and return an exit code.

    Args:
        arguments: The file of a run to publish first; or `--check`, to compare without writing.
        latest: The published run.
        wanted: Returns the expected content of each file.
    """
    checking = list(arguments) == ["--check"]
    if arguments and not checking:
        latest.parent.mkdir(exist_ok=True)
        shutil.copyfile(arguments[0], latest)
    contents = wanted(json.loads(latest.read_text("utf-8")) if latest.exists() else None)
    if not checking:
        for path, content in contents.items():
            path.write_text(content, "utf-8")
        return 0
    old = [path.name for path, content in contents.items() if not path.exists() or path.read_text("utf-8") != content]
    if old:
        print(
            f"differs from {latest.name}: {', '.join(old)}. Write the figures again: run this without --check.",
            file=sys.stderr,
        )
    return 1 if old else 0
