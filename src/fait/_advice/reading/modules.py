"""Splits a description into modules.

A module is a list item, a paragraph with a heading, "name: …", or, in a text that says that it has several parts, a paragraph or
a sentence of its own.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

__all__ = ["Passage", "Split", "splits"]

_MIN_MODULES: Final = 3
"""Minimum number of parts for a text to have modules."""
_MAX_NAME_WORDS: Final = 5
"""Maximum length of a module's name, in words."""
_MIN_NAMED_SHARE: Final = 0.6
"""Minimum share of list items that begin with a name, for the items to be modules and not requirements."""

_ITEM: Final = re.compile(r"^[ \t]*(?:[-*•–]|\(?\d{1,2}[.)]|\(?[a-hA-H]\)|#{1,6})[ \t]+(?=\S)", re.MULTILINE)
_ENUMERATION: Final = re.compile(r"(?:(?<=\s)|^)(?:\([a-h1-9]\)|[a-h1-9]\)|[A-Z]{1,3}\d\b[.:]?)\s+(?=\S)", re.MULTILINE)
_NAME: Final = r"(?:(?:[Tt]he|[Oo]ur|[Ff]or|[Oo]n) )?(?P<name>[A-Z][\w&/'’+-]{0,30}(?: [\w&/'’+-]{1,30}){0,4})"
_HEADING: Final = re.compile(rf"^[ \t*_]*{_NAME}[*_]*[ \t]*(?:[:.]|[-–—])[*_]*(?=\s)", re.MULTILINE)
_INLINE: Final = re.compile(rf"(?:^|(?<=[.!?;:)]\s))[ \t]*{_NAME}(?::| [-–—])(?=\s)", re.MULTILINE)
_PARAGRAPH: Final = re.compile(r"\n[ \t]*\n\s*")
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"“'(\d])|(?<=;)\s+|(?<=\)),\s+|\n+")
_ITEM_NAME: Final = re.compile(
    r"[*_`]*(?P<name>[^\s:(,.;–—*]{1,30}(?: [^\s:(,.;–—*]{1,30}){0,4})[*_`]*\s?(?:[:(,.;–—]|- )"
)
_CONTINUATION: Final = frozenset(
    "it they this that these those and but if so then also he she both there its their such otherwise in at yet still again which".split()
)
_NO_NAME: Final = frozenset(
    "is are was were be has have had do does did will would should must can could may i we you he she it they this that these those what why "
    "how when where who wants want need needs use uses said says say if because so but and no yes not now then today currently first second third "
    "fourth fifth finally lastly next also anyway well okay ok hi hello dear thanks regards re to from cc subject date note notes ps tldr present "
    "question questions problem background context requirements requirement constraints stack team plan goal goals scale volume numbers update "
    "hosting answers deadline budget users entities result conclusion summary status situation general ticket wish wishes reads writes mr ms mrs dr "
    "example tech audience title description priority reporter steps expected actual acceptance assumptions risks attendees timeline "
    "discussed unrelated reason cause impact action actions lessons agenda wanted freshness proposal history fact facts number cost costs people location "
    "meeting discussion decision decisions remarks remark feedback wednesday monday tuesday thursday friday incident review further other misc budget "
    "unknown open known current future past old new idea ideas opinion option options alternative alternatives tldr ask aim scope size problem trouble".split()
)
_PLURAL: Final = re.compile(
    r"\b(?:two|three|four|five|six|seven|eight|nine|ten|several|various|different|many|following|\d{1,2})\s+(?:\w+\s+){0,2}"
    r"(?:modules|subjects|parts|areas|programs|programmes|systems|departments|things|components|corners|domains|sections|divisions|"
    r"topics|pieces|building blocks|products|services|worlds|fields|applications|businesses|subsystems|concerns|work packages|packages|jobs|stations|halves|bits)\b"
    r"|(?:^|\n)\s*(?:modules|parts|components|areas|services|subsystems|work packages|building blocks)\b"
    r"|\bthese (?:modules|parts|components|areas|services|systems|programs|applications|products)\b|\bthe main one\b|\bmain (?:part|one|thing)\b"
    r"|\b(?:one|single|same|uniform)\s+(?:\w+\s+)?(?:style|architecture|approach|pattern|recipe|technology|design|solution|backbone|way)\b"
    r"|\b(?:uniformity|one size|per (?:module|part|program|programme|area|department|service)|for each of (?:them|these)|each of (?:them|these)|"
    r"which (?:goes|fits|belongs|pattern|approach|style) (?:for )?(?:where|which|what)|all of (?:them|these)|outweighs?|equally important|alike)\b",
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
    has_parts = bool(_PLURAL.search(text))
    for marks in (_items(_ITEM, text), _items(_ENUMERATION, text) if has_parts else []):
        if len(marks) >= _MIN_MODULES:
            yield Split(_passages(text, marks), is_explicit=True)
    for marks in (_named(_HEADING, text), _named(_INLINE, text)):
        if len(marks) >= _MIN_MODULES:
            yield Split(_passages(text, marks), is_explicit=has_parts)
    for pattern in (_PARAGRAPH, _SENTENCE) if has_parts else ():
        marks = _starts(text, pattern)
        if len(marks) >= _MIN_MODULES:
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
    if not named or (named < _MIN_NAMED_SHARE * len(items) and not _PLURAL.search(text)):
        return []
    return [(name or _first_words(text, start), start) for name, start in zip(names, items, strict=True)]


def _named(pattern: re.Pattern[str], text: str) -> list[tuple[str, int]]:
    return [(match["name"], match.start("name")) for match in pattern.finditer(text) if _is_name(match["name"])]


def _is_name(name: str) -> bool:
    return not _NO_NAME & {word.lower().partition("'")[0].partition("’")[0] for word in name.split()}


def _starts(text: str, pattern: re.Pattern[str]) -> list[tuple[str, int]]:
    starts = [0, *(match.end() for match in pattern.finditer(text))]
    return [
        (_first_words(text, start), start) for start, end in pairwise([*starts, len(text)]) if _begins(text, start, end)
    ]


def _begins(text: str, start: int, end: int) -> bool:
    """Whether a sentence begins a new module, rather than continue the one before."""
    words = text[start:end].split(maxsplit=1)
    return bool(words) and words[0].lower().strip(",") not in _CONTINUATION


def _first_words(text: str, start: int) -> str:
    words: Iterable[str] = text[start : start + 100].split("\n")[0].split()
    return " ".join(list(words)[:_MAX_NAME_WORDS]).strip("*_`.,:;") or "part"
