"""Splits a description into modules: list items, headings, "name: …", or the sentences of a text that says it has parts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Passage", "split"]

_MIN_MODULES: Final = 3
"""Minimum number of parts for a text to have modules."""
_MAX_NAME_WORDS: Final = 5
"""Maximum length of a module's name, in words."""

_ITEM: Final = re.compile(r"^[ \t]*(?:[-*•–]|\(?\d{1,2}[.)]|\(?[a-h]\)|#{1,6})[ \t]+(?=\S)", re.MULTILINE)
_HEADING: Final = re.compile(
    r"(?:^|(?<=[.!?;:]\s)|(?<=[.!?;]\s\s))[ \t]*(?:[Tt]he |[Oo]ur |[Ff]or )?(?P<name>[A-Z][\w&/'’-]*(?: [\w&/'’-]+){0,4})(?P<mark>:|[ \t]+[-–—]|\.(?=\s+[A-Z]))(?=\s)",
    re.MULTILINE,
)
_PART: Final = re.compile(r"(?:^|(?<=[.!?;]\s)|(?<=\s))(?:[Tt]he |[Oo]ur )?(?P<name>[\w-]+(?: [\w-]+)?) (?:part|module|service|side|area|bit|piece|component|subsystem)\b")
_GENERIC: Final = frozenset(
    "to re subject from cc date note notes present general background problem question questions context hi hello dear ps tl;dr tldr team "
    "stack today plan goal currently summary edit update requirements constraints scale volume no yes so ok now what why how when "
    "hosting answers deadline budget ticket asked answer situation wish wishes thanks regards problems users entities status quo".split()
)


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a text.

    Attributes:
        name: the name of the module.
        start: where it starts in the text.
        end: where it ends.
    """

    name: str
    start: int
    end: int


def split(text: str) -> tuple[Sequence[Passage], Sequence[tuple[int, int]]]:
    """Return the modules of a text and the passages that belong to none, which hold for all."""
    for marks in (_items(text), _headings(text)):
        if len(marks) >= _MIN_MODULES:
            return _passages(text, marks)
    return (), ((0, len(text)),)


def _passages(text: str, marks: Sequence[tuple[str, int]]) -> tuple[Sequence[Passage], Sequence[tuple[int, int]]]:
    ends = [start for _, start in marks[1:]]
    passages = [Passage(name, start, end) for (name, start), end in zip(marks, [*ends, len(text)], strict=True)]
    last = passages[-1]
    cut = text.find("\n\n", last.start)
    if cut != -1:
        passages[-1] = Passage(last.name, last.start, cut)
    kept = [each for each in passages if each.name.partition(" ")[0].lower() not in _GENERIC]
    shared = [(each.start, each.end) for each in passages if each not in kept]
    return kept, [(0, passages[0].start), *shared, *([(cut, len(text))] if cut != -1 else [])]


def _items(text: str) -> list[tuple[str, int]]:
    return [(_name(text, match.end()), match.end()) for match in _ITEM.finditer(text)]


def _name(text: str, start: int) -> str:
    """Return the first words of a list item, up to a mark."""
    line = text[start : start + 80].split("\n")[0]
    name = re.split(r"[:(,.;–—]| - | where | which | is | are ", line, maxsplit=1)[0].strip("*_` ")
    return " ".join(name.split()[:_MAX_NAME_WORDS]) or "part"


def _headings(text: str) -> list[tuple[str, int]]:
    return [(match["name"], match.start("name")) for match in _HEADING.finditer(text)]
