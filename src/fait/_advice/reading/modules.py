"""Splits a description into modules.

A module is a list item, a paragraph with a heading, or "name: …". In a text that says that it has several parts, it may
also be a paragraph or a sentence.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final

from fait._advice.reading.situation import module_words

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
_NUMBERS: Final = r"(?:two|three|four|five|six|seven|eight|nine|ten|several|various|different|many|following|\d{1,2})"


@cache
def _says_parts() -> re.Pattern[str]:
    """The phrases of a description that says that it has several parts."""
    words = module_words()
    parts, designs, phrases = ("|".join(each) for each in (words.parts, words.designs, words.phrases))
    return re.compile(
        rf"\b{_NUMBERS}\s+(?:\w+\s+){{0,2}}(?:{parts})\b|(?:^|\n)[ \t]*(?:{parts})\b|\bthese (?:{parts})\b"
        rf"|\b(?:one|single|same|uniform)\s+(?:\w+\s+)?(?:{designs})\b|\b(?:{phrases})\b",
        re.IGNORECASE,
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
        is_explicit: whether the text names them; otherwise they are modules only if they differ.
    """

    passages: Sequence[Passage]
    is_explicit: bool


def splits(text: str) -> Iterator[Split]:
    """Yield the ways to divide a text into modules, the most explicit first."""
    has_parts = bool(_says_parts().search(text))
    for marks, is_explicit in ((_items(_ITEM, text), True), (_items(_ENUMERATION, text), has_parts)):
        if _MIN_MODULES <= len(marks) <= _MAX_MODULES:
            yield Split(_passages(text, marks), is_explicit)
    for marks in (_named(_ROW, text), _named(_HEADING, text), _named(_INLINE, text)):
        if _MIN_MODULES <= len(marks) <= _MAX_MODULES:
            yield Split(_passages(text, marks), is_explicit=has_parts)
    for pattern in (_PARAGRAPH, _SENTENCE) if has_parts else ():
        marks = _starts(text, pattern)
        if _MIN_MODULES <= len(marks) <= _MAX_MODULES:
            yield Split(_passages(text, marks), is_explicit=False)


def _passages(text: str, marks: Sequence[tuple[str, int]]) -> list[Passage]:
    """Return the passages from mark to mark; the last ends with its paragraph."""
    end = _PARAGRAPH.search(text, marks[-1][1])
    ends = [*(start for _, start in marks[1:]), end.start() if end else len(text)]
    return [Passage(name, start, end) for (name, start), end in zip(marks, ends, strict=True) if end > start]


def _items(pattern: re.Pattern[str], text: str) -> list[tuple[str, int]]:
    items = [match.end() for match in pattern.finditer(text)]
    names = [match["name"] if (match := _ITEM_NAME.match(text, start)) else "" for start in items]
    named = sum(bool(each) for each in names)
    if not named or (named < _MIN_NAMED_SHARE * len(items) and not _says_parts().search(text)):
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
