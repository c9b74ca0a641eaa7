"""What a description may say, and which facts follow from it, as the files in `data/` declare it."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec

from fait._advice.facts import Value

__all__ = ["ModuleWords", "Situation", "Words", "lexicon", "module_words", "situations", "words"]

_DATA: Final = files("fait._advice.reading").joinpath("data")


class Situation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that a description may say.

    Attributes:
        name: what it says.
        facts: what follows from it.
        weight: how strongly.
        patterns: how it is said.
        denied: what follows if it is said not to be so.
        about_others: whether a statement about other parties counts.
        cap: maximum number of patterns that count, within a few sentences.
    """

    name: str
    facts: dict[str, Value]
    weight: float
    patterns: list[str]
    denied: dict[str, Value] = {}
    about_others: bool = False
    cap: int = 2


class Words(msgspec.Struct, frozen=True):
    """How words are read.

    Attributes:
        abbreviations: the word that an abbreviation stands for.
        irregular: the base form of an irregular form, or the American spelling.
        numbers: the value of a number word.
    """

    abbreviations: dict[str, str]
    irregular: dict[str, str]
    numbers: dict[str, float]


class ModuleWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a description is split into modules.

    Attributes:
        continuations: a sentence that begins with one of these continues the one before.
        no_names: a heading with one of these is no name of a module.
        parts: words for parts.
        designs: words for what the parts may have in common.
        phrases: other phrases of a description that has parts.
    """

    continuations: frozenset[str]
    no_names: frozenset[str]
    parts: list[str]
    designs: list[str]
    phrases: list[str]


@cache
def situations() -> tuple[Situation, ...]:
    """Return all situations: the clear statements and the weak signs."""
    documents = (_load("situations.toml"), _load("signs.toml"))
    return tuple(each for document in documents for each in msgspec.convert(document["situation"], list[Situation]))


@cache
def lexicon() -> dict[str, list[str]]:
    """Return words and phrases by the name of their group."""
    return msgspec.convert(_load("lexicon.toml"), dict[str, list[str]])


@cache
def words() -> Words:
    """Return abbreviations, irregular forms and number words."""
    return msgspec.convert(_load("words.toml"), Words)


@cache
def module_words() -> ModuleWords:
    """Return the words by which a description is split."""
    return msgspec.convert(_load("modules.toml"), ModuleWords)


def _load(name: str) -> dict[str, Any]:
    return tomllib.loads(_DATA.joinpath(name).read_text(encoding="utf-8"))
