"""From text to tokens: words without their endings, and where each is in the text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

__all__ = ["Token", "base_of", "tokens_of"]

_SHORT: Final = 3
"""Maximum length of a word, in letters, that keeps its ending."""

_TOKEN: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d[\d.,]*|[^\s\w]|_")


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a number or a punctuation mark.

    Attributes:
        start: where it starts in the text.
        end: where it ends.
        text: the word in lower case.
        base: the word without its ending, or the characters.
    """

    start: int
    end: int
    text: str
    base: str

    @property
    def is_word(self) -> bool:
        """Whether it is a word or a number."""
        return self.text[0].isalnum()


def tokens_of(text: str, start: int, end: int) -> Iterator[Token]:
    """Split a passage of a text into tokens."""
    for match in _TOKEN.finditer(text, start, end):
        word = match[0].lower()
        yield Token(match.start(), match.end(), word, base_of(word))


@lru_cache(maxsize=20_000)
def base_of(word: str) -> str:
    """Return a word in lower case without its ending."""
    word = word.replace("’", "'")
    if "'" in word[1:] and not word.endswith("n't"):
        word = word.partition("'")[0]
    return _without_ending(word) if word.isalpha() else word


def _without_ending(word: str) -> str:
    for ending, replacement in (("ies", "y"), ("ied", "y"), ("sses", "ss"), ("ches", "ch"), ("shes", "sh")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word[: -len(ending)] + replacement
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > _SHORT:
        word = word[:-1]
    base = _without_inflection(word)
    return base[:-1] if base.endswith("e") and len(base) > _SHORT else base


def _without_inflection(word: str) -> str:
    for ending in ("ing", "ed"):
        base = word.removesuffix(ending)
        if base != word and len(base) > 2 and any(letter in "aeiouy" for letter in base):
            return base[:-1] if len(base) > _SHORT and base[-1] == base[-2] and base[-1] not in "sz" else base
    return word
