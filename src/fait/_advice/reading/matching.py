"""Finds patterns in sentences.

Matching is greedy and looks at a word once per element, so its time is linear in the length of the text. A pattern may
contain a negation ("never changed"); any other negation before it in its clause denies it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Final, TypeAlias

from fait._advice.reading.sentences import Labels, Sentence, element_labels
from fait._advice.reading.situation import Situation, situations

__all__ = ["Match", "matches_of"]

_Places: TypeAlias = Mapping[str, Mapping[int, int]]
"""Where each label is in a sentence: the index after its last word, by that of its first."""

_GAP: Final = 2
"""Maximum number of words between two elements."""
_WIDE_GAP: Final = 8
"""Maximum number of words between two elements that `..` separates."""
_MAX_ATTEMPTS: Final = 8
"""Maximum number of words of a sentence from which a pattern is tried; a text may repeat one word."""
_MAX_DENIAL_REACH: Final = 8
"""Maximum distance of a negation before a pattern, in words."""
_DENIAL_DISTANCE: Final = 4
"""Maximum distance of a denial after a pattern, in words, as in "is not needed"."""


@dataclass(frozen=True, slots=True)
class Match:
    """A situation that a sentence describes.

    Attributes:
        situation: the situation.
        pattern: the index of the pattern, within all patterns.
        start: where the passage starts in the text.
        end: where it ends.
        is_denied: whether the sentence says that it is not so.
    """

    situation: Situation
    pattern: int
    start: int
    end: int
    is_denied: bool


@dataclass(frozen=True, slots=True)
class _Sequence:
    """Elements in order, each with the maximum number of words before it."""

    elements: tuple[tuple[tuple[str, ...], int], ...]


@dataclass(frozen=True, slots=True)
class _Pattern:
    number: int
    situation: Situation
    parts: tuple[_Sequence, ...]
    absent: tuple[str, ...]


@cache
def _patterns() -> dict[str, tuple[_Pattern, ...]]:
    """All patterns, by each label with which they can start."""
    index = dict[str, list[_Pattern]]()
    number = 0
    for situation in situations():
        for form in dict.fromkeys(situation.patterns):
            number += 1
            positive, _, absent = form.partition("!")
            parts = tuple(map(_sequence, positive.split("&")))
            pattern = _Pattern(number, situation, parts, element_labels(absent) if absent else ())
            for label in pattern.parts[0].elements[0][0]:
                index.setdefault(label, []).append(pattern)
    return {label: tuple(patterns) for label, patterns in index.items()}


def _sequence(text: str) -> _Sequence:
    elements = list[tuple[tuple[str, ...], int]]()
    gap = 0
    for element in text.split():
        if element == "..":
            gap = _WIDE_GAP
        else:
            elements.append((element_labels(element), gap))
            gap = _GAP
    return _Sequence(tuple(elements))


def matches_of(sentence: Sentence) -> Iterator[Match]:
    """Yield the matches of a sentence, at most one for each pattern."""
    found = _found(sentence.labels)
    refusals = [index for index in _refusals(sentence.labels) if sentence.words[index].clause not in sentence.blocked]
    spent = {index: (min(used), max(used)) for _, used in found for index in refusals if index in used}
    for pattern, used in found:
        if match := _judged(pattern, sentence, used, refusals, spent):
            yield match


def _found(labels: Sequence[Labels]) -> list[tuple[_Pattern, tuple[int, ...]]]:
    """Return the patterns that occur in a sentence, in its order, each with the indexes of its words."""
    places = _places(labels)
    candidates = {pattern.number: pattern for label in places for pattern in _patterns().get(label, ())}
    found = [(pattern, used) for pattern in candidates.values() if (used := _occurrence(pattern, places))]
    return sorted(found, key=lambda each: (each[1][0], each[0].number))


def _places(labels: Sequence[Labels]) -> _Places:
    places: dict[str, dict[int, int]] = {}
    for index, each in enumerate(labels):
        for label, end in each.items():
            places.setdefault(label, {})[index] = end
    return places


def _occurrence(pattern: _Pattern, places: _Places) -> tuple[int, ...]:
    """Return the indexes of the words of all parts, in the order of the parts; empty if one is missing."""
    if any(label in places for label in pattern.absent):
        return ()
    found = [_words_of(part, places) for part in pattern.parts]
    return tuple(index for each in found for index in each) if all(found) else ()


def _words_of(sequence: _Sequence, places: _Places) -> tuple[int, ...]:
    spans = [_spans(alternatives, places) for alternatives, _ in sequence.elements]
    if not all(spans):
        return ()
    starts = islice(sorted(spans[0]), _MAX_ATTEMPTS)
    return next((used for start in starts if (used := _follow(sequence, spans, start))), ())


def _spans(alternatives: Sequence[str], places: _Places) -> Mapping[int, int]:
    """Return where an element occurs: the index after its last word, by that of its first."""
    spans = dict[int, int]()
    for label in alternatives:
        for start, end in places.get(label, {}).items():
            spans[start] = max(end, spans.get(start, end))
    return spans


def _follow(sequence: _Sequence, spans: Sequence[Mapping[int, int]], start: int) -> tuple[int, ...]:
    """Return the indexes of the words of a sequence that starts at a word; empty if it does not."""
    used = list[int]()
    position = start
    for (_, gap), places in zip(sequence.elements, spans, strict=True):
        index = next((each for each in range(position, position + gap + 1) if each in places), None)
        if index is None:
            return ()
        used += range(index, places[index])
        position = places[index]
    return tuple(used)


def _judged(
    pattern: _Pattern,
    sentence: Sentence,
    used: Sequence[int],
    refusals: Sequence[int],
    spent: Mapping[int, tuple[int, int]],
) -> Match | None:
    """Return the match, unless its clauses are no evidence."""
    clauses = {sentence.words[index].clause for index in used}
    silent = sentence.blocked if pattern.situation.about_others else sentence.blocked | sentence.foreign
    # fault: advice-of-no-evidence
    if clauses & silent:
        return None
    first, last = min(used), max(used)
    free = [
        index
        for index in refusals
        if index not in used
        and sentence.words[index].clause in clauses
        and not (index in spent and (last < spent[index][0] or first > spent[index][1]))
    ]
    return Match(
        pattern.situation,
        pattern.number,
        sentence.words[first].token.start,
        sentence.words[last].token.end,
        any(_denies(sentence.labels, index, first, last) for index in free),
    )


def _denies(labels: Sequence[Labels], refusal: int, first: int, last: int) -> bool:
    """Whether a negation denies the words from `first` to `last`: it precedes them, or "is not needed" follows."""
    if refusal <= last:
        return first - refusal <= _MAX_DENIAL_REACH
    after = labels[refusal : refusal + _DENIAL_DISTANCE]
    return refusal <= last + _DENIAL_DISTANCE and any("@needed" in each for each in after)


def _refusals(labels: Sequence[Labels]) -> list[int]:
    """Return the indexes of negations; "we cannot tell what it was" states a need and denies nothing."""
    if any("@unable" in each for each in labels):
        return []
    apart = {index for at, each in enumerate(labels) for index in range(at, each.get("@no_refusal", at))}
    return [index for index, each in enumerate(labels) if "@refusal" in each and index not in apart]
