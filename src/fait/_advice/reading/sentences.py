"""From tokens to sentences and clauses, and which words are no evidence.

A clause may be a wish, hearsay, about another or a former system, out of scope, advertising, or a yes-no question. What
it says is then not a fact of the system that is described. Neither are the words that a negation denies.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final, TypeAlias

from fait._advice.reading.lexicon import lexicon
from fait._advice.reading.tokens import Token, base_of, tokens_of

__all__ = ["Sentence", "Word", "sentences_of"]

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
_DENIAL_REACH: Final = 8
"""Maximum distance between a negation and a word that it denies, in words."""
_NEED_DISTANCE: Final = 4
"""Maximum distance between a negation and "needed", in words, for it to deny what precedes it."""
_MAX_GAP: Final = 8
"""Maximum number of words for which `…` in a phrase stands."""
_YEAR: Final = re.compile(r"(?:19|20)\d\d[.,]*")
_CLAUSE_MARKS: Final = frozenset(",;:()–—-…=>")
_CLAUSE_WORDS: Final = frozenset({"but", "while", "whereas", "although", "though", "however", "because", "yet"})
_END_MARKS: Final = frozenset(".!?")
_NO_END: Final = frozenset(
    {"e.g", "i.e", "mr", "ms", "mrs", "dr", "st", "no", "vs", "etc", "approx", "ca", "g", "e", "incl", "art", "nr"}
)
_TEAM: Final = frozenset({"new_team", "strong_team"})
_SUBJECTS: Final = frozenset({"we", "i", "it", "they", "he", "she", "you", "there", "the", "our", "that", "this"})
_BREAK: Final = re.compile(r"\n\s*\n|\n(?=[ \t]*(?:[-*•#–]|\d+[.)]|[a-z]\))\s)")


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a sentence.

    Attributes:
        token: the token.
        clause: the index of its clause.
    """

    token: Token
    clause: int


Labels = dict[str, int]
"""The groups of a word, each with the index after the last word that it covers."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence with what its words mean.

    Attributes:
        words: its words, without punctuation.
        labels: for each word, the groups of phrases that start with it.
        silent: indexes of the words that are no evidence.
        about_patterns: those of them that would be evidence if their clause did not name a pattern.
    """

    words: Sequence[Word]
    labels: Sequence[Labels]
    silent: frozenset[int]
    about_patterns: frozenset[int]

    def evidence(self) -> Iterator[Token]:
        """Yield the words that are evidence."""
        return (word.token for index, word in enumerate(self.words) if index not in self.silent)

    def passages(self, group: str) -> Iterator[tuple[int, int]]:
        """Yield where phrases of a group start and end in the text, if they are evidence.

        What a team knows is also evidence in a clause that names a pattern.
        """
        silent = self.silent - self.about_patterns if group in _TEAM else self.silent
        for index, labels in enumerate(self.labels):
            if group in labels and index not in silent:
                yield self.words[index].token.start, self.words[labels[group] - 1].token.end


def sentences_of(text: str, start: int, end: int) -> Iterator[Sentence]:
    """Yield the sentences of a passage of a text."""
    for first, last in _paragraphs(text, start, end):
        for tokens in _split(tokens_of(text, first, last)):
            yield _sentence(tokens)


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
        ends = token.base in _END_MARKS and not (sentence and sentence[-1].base in _NO_END)
        if sentence and (
            len(sentence) >= _MAX_SENTENCE_WORDS or (not ends and sentence[-1].base in _END_MARKS and _is_end(sentence))
        ):
            yield sentence
            sentence = []
        sentence.append(token)
    if sentence:
        yield sentence


def _is_end(sentence: Sequence[Token]) -> bool:
    return len(sentence) > 1 and sentence[-2].base not in _NO_END


def _sentence(tokens: Sequence[Token]) -> Sentence:
    words = _words(tokens)
    labels = _labels(words)
    is_question = any(token.base == "?" for token in tokens[-3:])
    # fault: advice-of-no-evidence
    clauses = _clauses_of_no_evidence(words, labels)
    if is_question:
        clauses |= _questions(words, labels)
    unread = _denied(words, labels) | _covered("idiom", labels) | _words_of(words, clauses)
    about_patterns = _words_of(words, _of_group("pattern", words, labels)) - unread
    return Sentence(words, labels, frozenset(unread | about_patterns), frozenset(about_patterns))


def _words_of(words: Sequence[Word], clauses: set[int]) -> set[int]:
    return {index for index, word in enumerate(words) if word.clause in clauses}


def _words(tokens: Sequence[Token]) -> list[Word]:
    words = list[Word]()
    clause = 0
    for index, token in enumerate(tokens):
        following = tokens[index + 1].base if index + 1 < len(tokens) else ""
        if token.base in _CLAUSE_MARKS:
            is_hyphen = token.base == "-" and 0 < index < len(tokens) - 1 and tokens[index - 1].end == token.start
            clause += not is_hyphen
        elif token.is_word:
            clause += token.base in _CLAUSE_WORDS or (token.base == "and" and following in _SUBJECTS)
            words.append(Word(token, clause))
    return words


_Run: TypeAlias = tuple[frozenset[str], ...]
"""Consecutive words of a phrase; each is one of several, in any form, or `=word` in the exact form."""


@cache
def _phrases() -> dict[str, list[tuple[tuple[_Run, ...], str]]]:
    """The entries of the lexicon as runs of words, with their group, by their first word."""
    phrases = dict[str, list[tuple[tuple[_Run, ...], str]]]()
    for group, entries in lexicon().items():
        for entry in entries:
            runs = tuple(tuple(map(_choices, run.split())) for run in entry.replace("-", " ").split("…"))
            for first in runs[0][0]:
                phrases.setdefault(first, []).append((runs, group))
    return phrases


def _choices(word: str) -> frozenset[str]:
    """Return the words for which a word of an entry stands."""
    choices = lexicon().get(word) if word.isupper() else word.split("|")
    return frozenset(each if each[0] == "=" else base_of(each) for each in choices or [word])


def _labels(words: Sequence[Word]) -> list[Labels]:
    forms = [_forms(word.token) for word in words]
    labels = [Labels() for _ in words]
    for index, same in enumerate(forms):
        for runs, group in (each for form in same for each in _phrases().get(form, ())):
            if end := _end(forms, index, runs):
                labels[index][group] = max(end, labels[index].get(group, 0))
    return labels


def _forms(token: Token) -> tuple[str, str]:
    return "#" if _YEAR.fullmatch(token.base) else token.base, f"={token.text}"


def _end(forms: Sequence[tuple[str, str]], start: int, runs: Sequence[_Run]) -> int:
    """Return the index after a phrase, 0 if the words are others."""
    end = start + len(runs[0])
    if not _matches(forms, start, runs[0]):
        return 0
    for run in runs[1:]:
        last = min(end + _MAX_GAP, len(forms) - len(run))
        end = next((each + len(run) for each in range(end, last + 1) if _matches(forms, each, run)), 0)
        if not end:
            return 0
    return end


def _matches(forms: Sequence[tuple[str, str]], start: int, run: _Run) -> bool:
    if start + len(run) > len(forms):
        return False
    for offset, choices in enumerate(run):  # a loop: the first word seldom matches, and all() costs a generator
        base, exact = forms[start + offset]
        if base not in choices and exact not in choices:
            return False
    return True


def _covered(group: str, labels: Sequence[Labels]) -> set[int]:
    """Return the indexes of all words of phrases of a group."""
    return {index for start, each in enumerate(labels) for index in range(start, each.get(group, start))}


# What is no evidence


def _clauses_of_no_evidence(words: Sequence[Word], labels: Sequence[Labels]) -> set[int]:
    groups = ("wish", "rumor", "excluded", "former")
    marks = [index for index, each in enumerate(labels) if any(group in each for group in groups)]
    marks += [index for index, each in enumerate(labels[:_OPENING_WORDS]) if "outsider" in each]
    marks += [index for index in range(len(words)) if _is_hearsay(labels, index)]
    return _of_segments(words, labels, marks) | _marketing(words, labels)


def _of_group(group: str, words: Sequence[Word], labels: Sequence[Labels]) -> set[int]:
    return _of_segments(words, labels, (index for index, each in enumerate(labels) if group in each))


def _is_hearsay(labels: Sequence[Labels], index: int) -> bool:
    after = labels[index + 1 : index + _SPEAKER_DISTANCE]
    return "speaker" in labels[index] and any("says" in each for each in after)


def _of_segments(words: Sequence[Word], labels: Sequence[Labels], marks: Iterable[int]) -> set[int]:
    """Return the clauses of the segments of words; a segment starts at a clause that begins with a word of contrast."""
    segments = list[int]()
    clause, segment = 0, 0
    for word, each in zip(words, labels, strict=True):
        if word.clause != clause:
            clause = word.clause
            segment += "contrast" in each
        segments.append(segment)
    marked = {segments[index] for index in marks}
    return {word.clause for word, segment in zip(words, segments, strict=True) if segment in marked}


def _marketing(words: Sequence[Word], labels: Sequence[Labels]) -> set[int]:
    """Return all clauses of a sentence that has many words of advertising."""
    count = sum("buzz" in each for each in labels)
    return {word.clause for word in words} if count >= _MIN_BUZZWORDS else set()


def _questions(words: Sequence[Word], labels: Sequence[Labels]) -> set[int]:
    """Return the clauses of a yes-no question: from the first clause that begins with its verb."""
    starts = [index for index, word in enumerate(words) if index == 0 or words[index - 1].clause != word.clause]
    first = next((words[index].clause for index in starts if "yes_no" in labels[index]), None)
    return {word.clause for word in words if first is not None and word.clause >= first}


def _denied(words: Sequence[Word], labels: Sequence[Labels]) -> set[int]:
    """Return the words that a negation denies: those after it, and those before "is not needed"."""
    denied = set[int]()
    for refusal in _refusals(labels):
        last = refusal + _DENIAL_REACH
        is_needless = any("needed" in each for each in labels[refusal : refusal + _NEED_DISTANCE])
        first = max(0, refusal - _DENIAL_REACH) if is_needless else refusal + 1
        reach = range(first, min(len(words), last + 1))
        denied |= {index for index in reach if words[index].clause == words[refusal].clause}
    return denied


def _refusals(labels: Sequence[Labels]) -> list[int]:
    """Return the indexes of negations; "we cannot tell what it was" states a need and denies nothing."""
    if any("unable" in each for each in labels):
        return []
    apart = _covered("no_refusal", labels)
    return [index for index, each in enumerate(labels) if "refusal" in each and index not in apart]
