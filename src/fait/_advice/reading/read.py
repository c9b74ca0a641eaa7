"""Reads a description: splits it into modules and finds the facts of each, with the passages that say so."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from fait._advice.facts import FACTS, Fact, Module, Value
from fait._advice.reading.matching import Match, matches_of
from fait._advice.reading.modules import Passage, split
from fait._advice.reading.sentences import Sentence, sentences_of
from fait._errors import UsageError

__all__ = ["MAX_TEXT_BYTES", "read"]

MAX_TEXT_BYTES: Final = 200_000
"""Maximum size of a description, in bytes of UTF-8."""

_MIN_SCORE: Final = 1.0
"""Minimum sum of weights for a fact to be believed."""
_MAX_QUOTE: Final = 240
"""Maximum length of a quote, in characters."""
_DENIAL_WEIGHT: Final = 0.8
"""Weight of a denial, relative to that of the situation that is denied."""
_MAX_CONFIDENCE: Final = 0.95

_Scores = Mapping[str, Mapping[Value, list[tuple[float, Match]]]]


def read(text: str) -> tuple[Module, ...]:
    """Return the modules that a text describes, with their facts.

    Args:
        text: the description, in English, at most `MAX_TEXT_BYTES` long.

    Raises:
        UsageError: the text is empty or too long.
    """
    if not text.strip():
        raise UsageError("the description is empty. Describe the system in a few sentences, or answer the interview.")
    if (size := len(text.encode("utf-8", "surrogatepass"))) > MAX_TEXT_BYTES:
        raise UsageError(f"the description has {size:,} bytes, more than {MAX_TEXT_BYTES:,}. Shorten it.")
    passages, rest = split(text)
    if not passages:
        return (_module(text, "system", sentences_of(text, 0, len(text)), ()),)
    shared = [match for start, end in rest for match in _matches(sentences_of(text, start, end))]
    return tuple(_module(text, name, sentences_of(text, start, end), shared) for name, start, end in _unique(passages))


def _unique(passages: Iterable[Passage]) -> Iterator[tuple[str, int, int]]:
    counts = defaultdict[str, int](int)
    for each in passages:
        counts[each.name] += 1
        name = each.name if counts[each.name] == 1 else f"{each.name} {counts[each.name]}"
        yield name, each.start, each.end


_SHARED: Final = frozenset({"team_experience", "lifespan", "personal_data"})
"""Facts that a module takes from the text around the modules."""


def _module(text: str, name: str, sentences: Iterable[Sentence], shared: Sequence[Match]) -> Module:
    found = list(sentences)
    facts = facts_from(text, _matches(found))
    around = facts_from(text, shared)
    carries = any("@carrier" in labels for sentence in found for labels in sentence.labels)
    return Module(name, {**{key: fact for key, fact in around.items() if key in _SHARED}, **facts}, carries)


def _matches(sentences: Iterable[Sentence]) -> list[Match]:
    return [match for sentence in sentences for match in matches_of(sentence)]


def facts_from(text: str, matches: Iterable[Match]) -> dict[str, Fact]:
    """Weigh what the matches say and return the facts that are believed."""
    scores = _scores(matches)
    return {name: fact for name in FACTS if name in scores and (fact := _fact(text, name, scores[name]))}


def _scores(matches: Iterable[Match]) -> _Scores:
    scores = defaultdict[str, dict[Value, list[tuple[float, Match]]]](dict)
    for match in matches:
        weight = match.situation.weight * (_DENIAL_WEIGHT if match.is_denied else 1)
        for name, value in (match.situation.denied if match.is_denied else match.situation.facts).items():
            scores[name].setdefault(value, []).append((weight, match))
    return scores


def _fact(text: str, name: str, values: Mapping[Value, list[tuple[float, Match]]]) -> Fact | None:
    """Return the value with the highest score; of equal ones, the later in `FACTS`."""
    totals = {value: sum(weight for weight, _ in found) for value, found in values.items()}
    best = max(totals, key=lambda value: (totals[value], FACTS[name].index(value)))
    if totals[best] < _MIN_SCORE - 1e-9:
        return None
    match = max(values[best], key=lambda each: each[0])[1]
    certainty = totals[best] / sum(totals.values()) * (1 - 0.5 ** (totals[best] + 0.5))
    return Fact(best, _quote(text, match), round(min(_MAX_CONFIDENCE, certainty), 2))


def _quote(text: str, match: Match) -> str:
    return text[match.start : match.end][:_MAX_QUOTE].strip()
