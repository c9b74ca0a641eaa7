"""From text to tokens: words in a common form, numbers with their value, and where each is in the text.

Words are lower-case stems in American spelling, so one entry of the lexicon stands for all forms of a word. A long word
that the lexicon does not know, but that differs by one letter from one that it knows, is taken as a typing error.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from fait._advice.reading.situation import words

__all__ = ["MAX_WORD_LENGTH", "MIN_CORRECTED_LENGTH", "Token", "deletions", "stem", "tokens_of"]

MIN_CORRECTED_LENGTH: Final = 7
"""Minimum length of a word, in letters, that may be a typing error of another."""
_MIN_BRITISH_LENGTH: Final = 5
"""A word ending in -is(e) or -our that is longer, in letters, is respelled; shorter ones are other words."""
_SHORT: Final = 3
"""Maximum length of a word, in letters, that keeps its ending."""
MAX_WORD_LENGTH: Final = 40
"""Maximum length of a word, in letters; longer ones are not examined."""

_TOKEN: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d[\d.,]*(?:(?<=\d)[kKmM](?![^\W\d_]))?|[^\s\w]|_")

_FACTORS: Final[Mapping[str, float]] = {"k": 1e3, "m": 1e6}


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a number or a punctuation mark.

    Attributes:
        start: where it starts in the text.
        end: where it ends.
        text: the word in lower case.
        stem: the common form of the word, or the characters.
        number: the value if it is a number.
    """

    start: int
    end: int
    text: str
    stem: str
    number: float | None = None


def tokens_of(text: str) -> Iterator[Token]:
    """Split a text into tokens."""
    for match in _TOKEN.finditer(text):
        word = match[0]
        yield Token(match.start(), match.end(), word.lower(), stem(word), _number(word.lower()))


def _number(word: str) -> float | None:
    if not word[0].isdigit():
        return words().numbers.get(word)
    factor = _FACTORS.get(word[-1], 1)
    digits = word.rstrip("kmKM").rstrip(".,")
    if re.fullmatch(r"\d{1,3}(?:[.,]\d{3})+", digits):
        digits = re.sub("[.,]", "", digits)
    try:
        return float(digits.replace(",", ".")) * factor
    except ValueError:
        return None


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """Return the common form of a word."""
    word = word.lower().replace("’", "'")
    word = words().abbreviations.get(word, word)
    if "'" in word and not word.endswith("n't"):
        word = word.partition("'")[0]
    if not word.isalpha() or len(word) > MAX_WORD_LENGTH:
        return word
    base = words().irregular.get(word)
    return word if base == word else _american(_without_ending(base or word))


def _without_ending(word: str) -> str:
    for ending, replacement in (("ies", "y"), ("ied", "y"), ("sses", "ss"), ("ches", "ch"), ("shes", "sh")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word[: -len(ending)] + replacement
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > _SHORT:
        word = word[:-1]
    for ending in ("ing", "ed"):
        if (
            word.endswith(ending)
            and len(word) > len(ending) + 2
            and any(each in "aeiouy" for each in word[: -len(ending)])
        ):
            word = _undoubled(word[: -len(ending)])
            break
    return word[:-1] if word.endswith("e") and len(word) > _SHORT else word


def _undoubled(word: str) -> str:
    return word[:-1] if len(word) > _SHORT and word[-1] == word[-2] and word[-1] not in "sz" else word


def _american(word: str) -> str:
    if word.endswith("sation"):
        return word[:-6] + "zation"
    if len(word) > _MIN_BRITISH_LENGTH and word.endswith(("is", "our")):
        return word[:-2] + "iz" if word.endswith("is") else word[:-3] + "or"
    return word


def deletions(word: str) -> Iterator[str]:
    """Yield the word and each word that results from leaving out one letter."""
    yield word
    for index in range(len(word)):
        yield word[:index] + word[index + 1 :]
