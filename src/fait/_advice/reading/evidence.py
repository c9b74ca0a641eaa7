"""Weighs the words of a passage: how likely it describes each headline, and which sentence says so most clearly.

Each word speaks for or against headlines, with a weight that is fitted to the descriptions in `tests/advice` (see
`tests/advice/fit.py`). The weights of different words add up; a word counts once. The sum is divided by the square root
of the number of words, because a long text has chance words for everything.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Final

from fait._advice.reading import lexicon
from fait._advice.reading.sentences import Sentence
from fait._advice.recommend import Headline

__all__ = ["MIN_WORDS", "SCALE", "clearest", "evidence_of", "is_understood", "probabilities"]

SCALE: Final = 10
"""Value of a weight of one: the natural logarithm of a ratio of probabilities."""
MIN_WORDS: Final = 12
"""Minimum number of words by which a sum of weights is divided: few words are little evidence."""
_MIN_KNOWN_WORDS: Final = 2
"""Minimum number of different words with weights for a text to be understood."""
_MIN_KNOWN_SHARE: Final = 0.5
"""Minimum share of words with weights for a text to be English; the lowest of the descriptions in `tests` is 0.6."""
_WORD_LENGTH: Final = 6
"""Number of letters that count; what follows is seldom more than another form of a word or a typing error."""
_NUMBER: Final = "#"
"""The word that stands for all numbers."""
_MAX_QUOTE: Final = 240
"""Maximum length of a quote, in characters."""


def evidence_of(sentences: Iterable[Sentence]) -> frozenset[str]:
    """Return the beginnings of the different words of sentences that are evidence."""
    return frozenset(_beginning(token.base) for each in sentences for token in each.evidence())


def is_understood(sentences: Iterable[Sentence]) -> bool:
    """Whether a text is English, and has more than a chance word that is known."""
    words = {_beginning(word.token.base) for each in sentences for word in each.words} - {_NUMBER}
    known = len(words & lexicon.weights().words.keys())
    return known >= _MIN_KNOWN_WORDS and known >= _MIN_KNOWN_SHARE * len(words)


def _beginning(word: str) -> str:
    return _NUMBER if word[0].isdigit() else _known(word[:_WORD_LENGTH])


def _known(word: str) -> str:
    """Return a word, or the known one of which it may be a typing error."""
    if len(word) < _WORD_LENGTH or word in lexicon.weights().words:
        return word
    return next(
        (known for rest in _deletions(word) if (known := _long_words().get(rest)) and known[0] == word[0]), word
    )


@cache
def _long_words() -> dict[str, str]:
    """Long words that have weights, by each form with one letter left out."""
    long = sorted(word for word in lexicon.weights().words if len(word) == _WORD_LENGTH)
    return {rest: word for word in long for rest in (word, *_deletions(word))}


def _deletions(word: str) -> Iterator[str]:
    for index in range(len(word)):
        yield word[:index] + word[index + 1 :]


def probabilities(evidence: frozenset[str]) -> dict[Headline, float]:
    """Return the probability of each headline for the words of a description."""
    bias = lexicon.weights().bias
    divisor = SCALE * math.sqrt(max(MIN_WORDS, len(evidence)))
    odds: dict[Headline, float] = {each: math.exp(bias[each] / SCALE + _sum(evidence, each) / divisor) for each in bias}
    total = sum(odds.values())
    return {each: value / total for each, value in odds.items()}


def _sum(evidence: Iterable[str], headline: Headline) -> int:
    words = lexicon.weights().words
    return sum(words[word].get(headline, 0) for word in evidence if word in words)


def clearest(text: str, sentences: Sequence[Sentence], headline: Headline) -> str:
    """Return the sentence that speaks most clearly for a headline, empty if none does."""
    sums = [_sum(evidence_of([each]), headline) for each in sentences]
    if max(sums, default=0) <= 0:
        return ""
    words = [
        each.token for each in sentences[sums.index(max(sums))].words
    ]  # with the negated ones: a cut quote misleads
    start, end = words[0].start, words[-1].end
    return text[start : min(end, start + _MAX_QUOTE)].strip()
