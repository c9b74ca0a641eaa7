"""The runs that are published: copies in bench/published, and pages whose figures are written from them.

No figure on a page is typed by hand. Between two marker lines a page has what the published run says; `--check` tells
if it has anything else.
"""

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["END", "FOLDER", "README", "Line", "between", "box", "publish", "table"]

FOLDER = Path(__file__).parent / "published"
README = Path(__file__).parents[1] / "README.md"
END = "<!-- end of figures -->"
Result = dict[str, Any]


class Line(NamedTuple):
    """What the README says of a workload.

    Attributes:
        title: of the workload.
        figure: of fait.
        peers: by title, how many times as fast as it fait is.
        limits: the same for programs by hand.
    """

    title: str
    figure: str
    peers: dict[str, float]
    limits: dict[str, float]


def box(machine: dict[str, Any]) -> str:
    """The machine that a run was on, in a few words."""
    return f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB"


def table(lines: Sequence[Line]) -> list[str]:
    """Of each workload: fait to whoever comes nearest to it, or is ahead."""
    rows = [f"| {each.title} | {each.figure} | {_nearest(each.peers)} | {_nearest(each.limits)} |" for each in lines]
    return ["| | fait | to the best peer | to the best program by hand |", "|---|--:|--:|--:|", *rows]


def _nearest(ratios: dict[str, float]) -> str:
    if not ratios:
        return "–"
    title = min(ratios, key=lambda each: ratios[each])
    ratio = ratios[title]
    return f"{ratio:.{0 if ratio >= 10 else 1 if ratio >= 2 else 2}f} × {title}"


def between(page: Path, begin: str, figures: str) -> str:
    """A page with these figures behind its marker line."""
    before, found, rest = page.read_text("utf-8").partition(begin)
    if not found or END not in rest:
        raise SystemExit(f"{page.name} has no place for figures: a line {begin}, and a line {END}")
    return f"{before}{begin}\n\n{figures}\n\n{END}{rest.partition(END)[2]}"


def publish(arguments: Sequence[str], latest: Path, wanted: Callable[[Result | None], dict[Path, str]]) -> int:
    """Write what files shall say of the published run; another becomes it if it is named, `--check` only looks."""
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
        print(f"not what {latest.name} says: {', '.join(old)}; write them anew, without --check", file=sys.stderr)
    return 1 if old else 0
