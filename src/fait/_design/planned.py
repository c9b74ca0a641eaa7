"""Reads the events that users plan: tables with the columns of the event catalog, outside of generated parts."""

import re
from collections.abc import Iterable, Iterator

from msgspec import Struct

from fait._design.document import DesignDocument
from fait._design.sections import CATALOG_COLUMNS

__all__ = ["PlannedEvent", "planned_events"]

_CELL = re.compile(r"(?<!\\)\|")
_VERSION = re.compile(r"\bv(?:ersion )?(\d+)\b")


class PlannedEvent(Struct, frozen=True):
    """A line of a table.

    Attributes:
        name: the stored name of the event type, or the name of its class.
        producers: names of producers.
        consumers: names of consumers.
        version: the schema version; 0 if the line has none.
        line: number of the line.
    """

    name: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    version: int
    line: int


def planned_events(document: DesignDocument) -> Iterator[PlannedEvent]:
    """Yield the planned events of a document; lines without a name are left out."""
    for part in document.sections.get("Event Catalog", ()):
        if not part.name:
            yield from _in_text(enumerate(part.text.splitlines(), part.line))


def _in_text(lines: Iterable[tuple[int, str]]) -> Iterator[PlannedEvent]:
    inside = False
    for number, line in lines:
        cells = _cells(line)
        is_head = tuple(cells) == CATALOG_COLUMNS
        inside = is_head or (inside and bool(cells))
        if inside and not is_head and len(cells) == len(CATALOG_COLUMNS) and cells[0].strip("-: "):
            version = _VERSION.search(cells[3])
            yield PlannedEvent(cells[0], _names(cells[1]), _names(cells[2]), int(version[1]) if version else 0, number)


def _cells(line: str) -> list[str]:
    """Return the cells of a line of a table; none of another line."""
    text = line.strip()
    return list(map(_plain, _CELL.split(text.removeprefix("|").removesuffix("|")))) if text.startswith("|") else []


def _plain(cell: str) -> str:
    """Return a cell without the marks of code and of escapes."""
    return re.sub(r"\\([^\w\s])", r"\1", cell).strip().strip("`").strip()


def _names(cell: str) -> tuple[str, ...]:
    """Return the names in a cell, without what is in parentheses behind them."""
    names = (re.sub(r"\(.*?\)", "", each).strip().strip("`").strip() for each in cell.split(","))
    return tuple(each for each in names if each and each not in ("–", "-", "none"))
