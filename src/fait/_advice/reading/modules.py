"""Splits a description into modules.

A module is a list item, a row of a table, a paragraph with a heading, "name: …", a paragraph, or a sentence.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from fait._advice.reading.lexicon import module_words

__all__ = ["Passage", "Split", "splits"]

_MIN_MODULES: Final = 3
"""Minimum number of parts for a text to have modules."""
_MAX_MODULES: Final = 30
"""Maximum number of parts; a text with more is read as a whole."""
_MAX_NAME_WORDS: Final = 5
"""Maximum length of a module's name, in words."""
_MIN_NAMED_SHARE: Final = 0.6
"""Minimum share of list items that begin with a name, for the items to be modules and not requirements."""

_ITEM: Final = re.compile(r"^[ \t]*(?:[-*•–]|\(?\d{1,2}[.)]|\(?[a-hA-H]\)|#{1,6})[ \t]+(?=\S)", re.MULTILINE)
_ENUMERATION: Final = re.compile(r"(?:(?<=\s)|^)(?:\([a-h1-9]\)|[a-h1-9]\)|[A-Z]{1,3}\d\b[.:]?)\s+(?=\S)", re.MULTILINE)
_NAME: Final = (
    r"(?:(?:[Tt]he|[Oo]ur|[Ff]or|[Oo]n) )?"
    r"(?P<name>[A-Z][\w&/'’+-]{0,30}(?: [\w&/'’+-]{1,30}){0,4})"
)
_HEADING: Final = re.compile(rf"^[ \t*_]*{_NAME}[*_]*[ \t]*(?:[:.]|[-–—])[*_]*(?=\s)", re.MULTILINE)
_INLINE: Final = re.compile(rf"(?:^|(?<=[.!?;:)]\s))[ \t]*{_NAME}(?::| [-–—])(?=\s)", re.MULTILINE)
_ROW: Final = re.compile(r"^[ \t]*\|[ \t]*(?P<name>\w[^|\n]{0,40}?)[ \t]*\|(?=[^\n]*\w)", re.MULTILINE)
_PARAGRAPH: Final = re.compile(r"\n[ \t]*\n\s*")
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"“'(\d])|(?<=;)\s+|(?<=\)),\s+|\n+")
_ITEM_NAME: Final = re.compile(
    r"[*_`]*(?P<name>[^\s:(,.;–—*]{1,30}(?: [^\s:(,.;–—*]{1,30}){0,4})[*_`]*\s?(?:[:(,.;–—]|- )"
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


@dataclass(frozen=True, slots=True)
class Split:
    """A way to divide a text.

    Attributes:
        passages: the modules.
        is_named: whether the text names them.
    """

    passages: Sequence[Passage]
    is_named: bool


def splits(text: str) -> Iterator[Split]:
    """Yield the ways to divide a text into modules, the most explicit first."""
    for marks, is_named in _marks(text):
        if _MIN_MODULES <= len(marks) <= _MAX_MODULES:
            yield Split(_passages(text, marks), is_named)


def _marks(text: str) -> Iterator[tuple[Sequence[tuple[str, int]], bool]]:
    """Yield names and starts of modules for each way, and whether the text names them."""
    yield _items(_ITEM, text), True
    for pattern in (_ROW, _HEADING, _INLINE):
        yield _named(pattern, text), True
    yield _items(_ENUMERATION, text), True
    for pattern in (_PARAGRAPH, _SENTENCE):
        yield _starts(text, pattern), False


def _passages(text: str, marks: Sequence[tuple[str, int]]) -> list[Passage]:
    """Return the passages from mark to mark; the last ends with its paragraph."""
    end = _PARAGRAPH.search(text, marks[-1][1])
    ends = [*(start for _, start in marks[1:]), end.start() if end else len(text)]
    return [Passage(name, start, end) for (name, start), end in zip(marks, ends, strict=True) if end > start]


def _items(pattern: re.Pattern[str], text: str) -> list[tuple[str, int]]:
    items = [match.end() for match in pattern.finditer(text)]
    names = [match["name"] if (match := _ITEM_NAME.match(text, start)) else "" for start in items]
    named = sum(bool(each) for each in names)
    if named < max(1, _MIN_NAMED_SHARE * len(items)):
        return []
    return [(name or _first_words(text, start), start) for name, start in zip(names, items, strict=True)]


def _named(pattern: re.Pattern[str], text: str) -> list[tuple[str, int]]:
    return [(match["name"], match.start("name")) for match in pattern.finditer(text) if _is_name(match["name"])]


def _is_name(name: str) -> bool:
    return not module_words().no_names & {word.lower().partition("'")[0].partition("’")[0] for word in name.split()}


def _starts(text: str, pattern: re.Pattern[str]) -> list[tuple[str, int]]:
    starts = [0, *(match.end() for match in pattern.finditer(text))]
    return [
        (_first_words(text, start), start) for start, end in pairwise([*starts, len(text)]) if _begins(text, start, end)
    ]


def _begins(text: str, start: int, end: int) -> bool:
    """Whether a sentence begins a new module, rather than continue the one before."""
    words = text[start:end].split(maxsplit=1)
    return bool(words) and words[0].lower().strip(",") not in module_words().continuations


def _first_words(text: str, start: int) -> str:
    words: Iterable[str] = text[start : start + 100].split("\n")[0].split()
    return " ".join(list(words)[:_MAX_NAME_WORDS]).strip("*_`.,:;") or "part"
