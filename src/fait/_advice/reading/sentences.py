"""From tokens to sentences and clauses, and which clauses are no evidence.

A clause may be a wish, hearsay, about another or a former system, out of scope, advertising, or a yes-no question. What
it says is then not a fact of the system that is described. Negation is not among these: whether it applies depends on
the pattern, see `matching.py`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Final

from fait._advice.reading.situation import lexicon, situations
from fait._advice.reading.tokens import MAX_WORD_LENGTH, MIN_CORRECTED_LENGTH, Token, deletions, stem, tokens_of

__all__ = ["Labels", "Sentence", "Word", "element_labels", "sentences_of"]

_MAX_SENTENCE_WORDS: Final = 150
"""Maximum length of a sentence, in words; a longer one is cut."""
_WRAP_COLUMNS: Final = 60
"""Minimum length of a line, in characters, that is taken as continued in the next one."""
_SPEAKER_DISTANCE: Final = 6
"""Maximum distance between a speaker and a verb of saying, in words."""
_MIN_BUZZWORDS: Final = 3
"""Minimum number of words of advertising for a sentence to be no evidence."""
_OPENING_WORDS: Final = 6
"""Number of words at the start of a sentence in which its subject is looked for."""
_CLAUSE_MARKS: Final = frozenset(",;:()–—-…=>")
_CLAUSE_WORDS: Final = frozenset({"but", "while", "whereas", "although", "though", "however", "because", "yet"})
_END_MARKS: Final = frozenset(".!?")
_NO_END: Final = frozenset(
    {"e.g", "i.e", "mr", "ms", "mrs", "dr", "st", "no", "vs", "etc", "approx", "ca", "g", "e", "incl", "art", "nr"}
)
_SUBJECTS: Final = frozenset({"we", "i", "it", "they", "he", "she", "you", "there", "the", "our", "that", "this"})
_BREAK: Final = re.compile(r"\n\s*\n|\n(?=[ \t]*(?:[-*•#–]|\d+[.)]|[a-z]\))\s)")

Labels = dict[str, int]
"""The labels of a word, each with the index after the last word that it covers."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a sentence.

    Attributes:
        token: the token.
        clause: the index of its clause.
    """

    token: Token
    clause: int


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence with what its words mean.

    Attributes:
        words: its words, without punctuation.
        labels: for each word, its stem, its groups and its quantities.
        blocked: clauses that are no evidence.
        foreign: clauses about another or a former system.
    """

    words: Sequence[Word]
    labels: Sequence[Labels]
    blocked: frozenset[int]
    foreign: frozenset[int]


def sentences_of(text: str, start: int, end: int) -> Iterator[Sentence]:
    """Yield the sentences of a passage of a text."""
    for first, last in _paragraphs(text, start, end):
        for tokens in _split(_tokens_between(text, first, last)):
            yield _sentence(tokens)


def _tokens_between(text: str, start: int, end: int) -> Iterator[Token]:
    for token in tokens_of(text[start:end]):
        yield replace(token, start=token.start + start, end=token.end + start)


def _paragraphs(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    cuts = [start, *(match.start() for match in _BREAK.finditer(text, start, end)), end]
    for first, last in pairwise(cuts):
        yield from _lines(text, first, last)


def _lines(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the lines of a paragraph, joined where a line is wrapped."""
    begin = start
    position = text.find("\n", start + 1, end)
    while position != -1:
        if position - max(begin, text.rfind("\n", start, position)) < _WRAP_COLUMNS:
            yield begin, position
            begin = position
        position = text.find("\n", position + 1, end)
    yield begin, end


def _split(tokens: Iterator[Token]) -> Iterator[list[Token]]:
    sentence = list[Token]()
    for token in tokens:
        ends = token.stem in _END_MARKS and not (sentence and sentence[-1].stem in _NO_END)
        if sentence and (
            len(sentence) >= _MAX_SENTENCE_WORDS or (not ends and sentence[-1].stem in _END_MARKS and _is_end(sentence))
        ):
            yield sentence
            sentence = []
        sentence.append(token)
    if sentence:
        yield sentence


def _is_end(sentence: Sequence[Token]) -> bool:
    return len(sentence) > 1 and sentence[-2].stem not in _NO_END


def _sentence(tokens: Sequence[Token]) -> Sentence:
    words = _words(tokens)
    labels = _labels(words)
    segments = _segments(words, labels)
    foreign = _clauses(words, segments, ("former",), labels) | _of_outsiders(words, segments, labels)
    blocked = (
        _clauses(words, segments, ("wish", "rumor", "excluded", "pattern"), labels)
        | _marketing(words, labels)
        | _hearsay(words, segments, labels)
        | (
            _questions(words, labels)
            if tokens[-1].stem == "?" or any(t.stem == "?" for t in tokens[-3:])
            else frozenset[int]()
        )
    )
    return Sentence(words, labels, blocked, foreign)


def _words(tokens: Sequence[Token]) -> list[Word]:
    words = list[Word]()
    clause = 0
    for index, token in enumerate(tokens):
        following = tokens[index + 1].stem if index + 1 < len(tokens) else ""
        if token.stem in _CLAUSE_MARKS:
            is_hyphen = token.stem == "-" and 0 < index < len(tokens) - 1 and tokens[index - 1].end == token.start
            clause += not is_hyphen
        elif token.stem.isalnum() or "'" in token.stem or token.number is not None or token.stem == "/":
            if token.stem in _CLAUSE_WORDS or (token.stem == "and" and following in _SUBJECTS):
                clause += 1
            _append(words, Word(token, clause))
    return words


def _append(words: list[Word], word: Word) -> None:
    """Append a word; "90 million" becomes one number."""
    last = words[-1].token if words else None
    number = word.token.number
    if last and number and last.number is not None and number >= 100 and word.token.stem.isalpha():
        words[-1] = Word(replace(last, end=word.token.end, number=last.number * number), word.clause)
    else:
        words.append(word)


# What the words mean


@cache
def _phrases() -> dict[str, list[tuple[tuple[str, ...], str]]]:
    """The entries of the lexicon, by their first word."""
    phrases = dict[str, list[tuple[tuple[str, ...], str]]]()
    for group, entries in lexicon().items():
        for entry in entries:
            stems = element_stems(entry)
            phrases.setdefault(stems[0], []).append((stems, f"@{group}"))
    for word in _pattern_words():
        if "-" in word or "_" in word:
            stems = element_stems(word.replace("_", " "))
            phrases.setdefault(stems[0], []).append((stems, f"~{word}"))
    return phrases


@cache
def _pattern_words() -> frozenset[str]:
    """The words in the patterns, without groups and quantities."""
    elements = (
        element for each in situations() for pattern in each.patterns for element in pattern.replace("!", " ").split()
    )
    return frozenset(word for element in elements for word in element.split("|") if word[0] not in "@%#=&.")


def element_stems(entry: str) -> tuple[str, ...]:
    """Return the stems of a phrase; a hyphen separates words, as it does in texts."""
    return tuple(word if word[0] == "=" else stem(word) for word in entry.replace("-", " ").split())


def element_labels(element: str) -> tuple[str, ...]:
    """Return the labels that an element of a pattern stands for."""
    return tuple(_element_label(each) for each in element.split("|"))


def _element_label(word: str) -> str:
    if word[0] in "@%#=":
        return word
    return f"~{word}" if "-" in word or "_" in word else stem(word)


@cache
def _vocabulary() -> frozenset[str]:
    phrases = {word for same in _phrases().values() for stems, _ in same for word in stems}
    return frozenset(phrases | {stem(word) for word in _pattern_words()})


@cache
def _corrections() -> dict[str, str]:
    """Long words of the vocabulary, by each form with one letter left out."""
    forms = dict[str, str]()
    for word in sorted(_vocabulary()):
        if len(word) >= MIN_CORRECTED_LENGTH:
            forms.update(dict.fromkeys(deletions(word), word))
    return forms


def _corrected(word: str) -> str:
    if not MIN_CORRECTED_LENGTH <= len(word) <= MAX_WORD_LENGTH or word in _vocabulary() or not word.isalpha():
        return word
    return next(
        (known for form in deletions(word) if (known := _corrections().get(form)) and known[0] == word[0]), word
    )


def _labels(words: Sequence[Word]) -> list[Labels]:
    stems = [_corrected(word.token.stem) for word in words]
    labels = [
        Labels({each: index + 1, f"={word.token.text}": index + 1})
        for index, (each, word) in enumerate(zip(stems, words, strict=True))
    ]
    for index, each in enumerate(stems):
        for phrase, group in _phrases().get(each, ()):
            end = index + len(phrase)
            if tuple(stems[index:end]) == phrase:
                labels[index][group] = max(end, labels[index].get(group, 0))
        for _, group in _phrases().get(f"={words[index].token.text}", ()):
            labels[index].setdefault(group, index + 1)
    for index, each in enumerate([*labels]):
        for covered in range(index, each.get("@idiom", index)):
            labels[covered] = Labels()
    for index, word in enumerate(words):
        if word.token.number is not None:
            labels[index].update(_quantities(word.token.number, stems, index))
    for index, each in enumerate(stems):
        if each in {"few", "half", "couple"} and any(unit in stems[index + 1 : index + 4] for unit in _UNITS):
            labels[index]["%window"] = index + 1
    return labels


_UNITS: Final = {stem("second"): 1.0, "s": 1.0, stem("minute"): 60.0, stem("hour"): 3600.0, stem("day"): 86400.0}
_FAST_PER_SECOND: Final = 100.0
"""Minimum rate, per second, that is high."""
_FAST_TIMES: Final = 5.0
"""Minimum rate, in "times a second", that is high for one device."""
_HUGE: Final = 1e6
_FEW: Final = 20.0
_RATE_DISTANCE: Final = 7
"""Maximum distance between a number and the unit of its rate, in words."""
_PER: Final = frozenset({"a", "per", "each", "every", "/", "an"})


def _quantities(number: float, stems: Sequence[str], index: int) -> Labels:
    """Return the labels of a number, by its size and the words after it."""
    after = stems[index + 1 : index + 1 + _RATE_DISTANCE]
    end = index + 1
    labels = Labels({"#": end} if number != 1 or stems[index][0].isdigit() else {})
    if number <= _FEW:
        labels["%few"] = end
    if number >= _HUGE:
        labels["%huge"] = end
    if any(unit in after[:2] for unit in list(_UNITS)[:4]):
        labels["%window"] = end
    if _is_fast(number, after):
        labels["%fast"] = end
    return labels


def _is_fast(number: float, after: Sequence[str]) -> bool:
    if {"hz", "khz", "mhz"} & set(after[:2]):
        return True
    rates = [number / _UNITS[unit] for per, unit in pairwise(after) if per in _PER and unit in _UNITS]
    minimum = _FAST_TIMES if after and after[0] == stem("times") else _FAST_PER_SECOND
    return bool(rates) and max(rates) >= minimum


# Which clauses are no evidence


def _segments(words: Sequence[Word], labels: Sequence[Labels]) -> list[int]:
    """Return for each word its segment; a segment starts at a clause that begins with a word of contrast."""
    segments = list[int]()
    clause, segment = 0, 0
    for word, each in zip(words, labels, strict=True):
        if word.clause != clause:
            clause = word.clause
            segment += "@contrast" in each
        segments.append(segment)
    return segments


def _in_segment(words: Sequence[Word], segments: Sequence[int], index: int) -> set[int]:
    return {word.clause for word, segment in zip(words, segments, strict=True) if segment == segments[index]}


def _clauses(
    words: Sequence[Word], segments: Sequence[int], groups: Sequence[str], labels: Sequence[Labels]
) -> frozenset[int]:
    marks = [index for index, each in enumerate(labels) if any(f"@{group}" in each for group in groups)]
    return frozenset(clause for index in _firsts(marks, segments) for clause in _in_segment(words, segments, index))


def _firsts(indexes: Sequence[int], segments: Sequence[int]) -> list[int]:
    return list({segments[index]: index for index in reversed(indexes)}.values())


def _hearsay(words: Sequence[Word], segments: Sequence[int], labels: Sequence[Labels]) -> frozenset[int]:
    marks = [
        index
        for index, each in enumerate(labels)
        if "@speaker" in each and any("@says" in other for other in labels[index + 1 : index + _SPEAKER_DISTANCE])
    ]
    return frozenset(clause for index in _firsts(marks, segments) for clause in _in_segment(words, segments, index))


def _marketing(words: Sequence[Word], labels: Sequence[Labels]) -> frozenset[int]:
    """Return all clauses of a sentence that has many words of advertising."""
    count = sum("@buzz" in each for each in labels)
    return frozenset(word.clause for word in words) if count >= _MIN_BUZZWORDS else frozenset()


def _of_outsiders(words: Sequence[Word], segments: Sequence[int], labels: Sequence[Labels]) -> frozenset[int]:
    marks = [index for index, each in enumerate(labels[:_OPENING_WORDS]) if "@outsider" in each]
    return frozenset(clause for index in marks for clause in _in_segment(words, segments, index))


def _questions(words: Sequence[Word], labels: Sequence[Labels]) -> frozenset[int]:
    """Return the clauses of a yes-no question: from the first clause that begins with its verb."""
    starts = [index for index, word in enumerate(words) if index == 0 or words[index - 1].clause != word.clause]
    first = next((words[index].clause for index in starts if "@yes_no" in labels[index]), None)
    return frozenset(word.clause for word in words if first is not None and word.clause >= first)
