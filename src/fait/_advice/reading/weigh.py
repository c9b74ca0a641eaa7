"""Weighs what the sentences of a module say, and returns the facts that are believed.

The signs of a few neighboring sentences add up, because a description says one thing in one place. The minimum for a
fact grows with the length of the text, because a long text has chance matches for everything.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fait._advice.facts import FACTS, Fact, Value
from fait._advice.reading.matching import Match

__all__ = ["MIN_SCORE", "MODULE_SCORE", "facts_from"]

MIN_SCORE: Final = 1.3
"""Minimum sum of weights for a fact to be believed, without the growth for each sentence."""
MODULE_SCORE: Final = 0.7
"""The same for a module that the text names: it is described in few words."""
_SENTENCE_SCORE: Final = 0.06
"""What each sentence adds to the minimum."""
_MAX_MIN_SCORE: Final = 3.0
"""Maximum of the minimum."""
_EASE: Final[Mapping[str, float]] = {"read_shapes": 0.2, "read_asymmetry": 0.2, "loss": 0.1}
"""What is subtracted from the minimum for facts that few descriptions mention by chance."""
_DENIAL_WEIGHT: Final = 0.8
"""Weight of a denial, relative to that of the situation that is denied."""
_CLEAR_SCORE: Final = 2.0
"""Minimum sum of weights for a theme to be believed although another is much stronger."""
_MAX_CONFIDENCE: Final = 0.95
"""Maximum confidence of a fact that was read."""
_TOLERANCE: Final = 1e-9
"""Maximum rounding error of a sum of weights."""
_WINDOW: Final = 5
"""Number of neighboring sentences whose signs add up."""
_MAX_WINDOWS: Final = 100
"""Maximum number of overlapping windows; in longer texts they overlap less."""
_MAX_QUOTE: Final = 240
"""Maximum length of a quote, in characters."""
_WORD_WEIGHT: Final = 0.15
"""Maximum weight of a situation that is recognized by single words."""
_MIN_KINDS: Final = 2
"""Minimum number of kinds of evidence for a costly fact."""
_MIN_CORROBORATION: Final = 0.8
"""Minimum sum of the weights of the kinds of evidence for a costly fact."""
_COSTLY: Final = frozenset({("loss", "must_not_lose"), ("dual_write", True)})
"""Facts that need more than one kind of evidence: a wrong one costs more than a question."""
_THEMES: Final[Mapping[tuple[tuple[str, Value], ...], float]] = {
    (
        ("history_need", "temporal"),
        ("history_need", "full_audit"),
        ("events_natural", True),
        ("intent_matters", True),
    ): 0.7,
    (("loss", "must_not_lose"), ("dual_write", True)): 0.7,
    (("loss", "tolerable"),): 0.7,
    (("read_asymmetry", "high"), ("read_shapes", "several")): 0.7,
    (("record_kind", "measurements"),): 1.0,
}
"""What can carry a description, with the minimum support relative to the strongest one."""


@dataclass(frozen=True, slots=True)
class _Support:
    score: float
    match: Match
    same: Sequence[Match] = ()


def facts_from(text: str, matches: Sequence[Sequence[Match]], minimum: float) -> dict[str, Fact]:
    """Return the facts of a module.

    Args:
        text: the whole description, for quotes.
        matches: the matches of each sentence of the module.
        minimum: minimum sum of weights for a fact to be believed, without the growth for each sentence.
    """
    best = defaultdict[str, dict[Value, _Support]](dict)
    for window in _windows(matches):
        for (name, value), support in _supports(window, minimum).items():
            best[name][value] = max(best[name].get(value, support), support, key=lambda each: each.score)
    _drop_outweighed(best)
    required = minimum + _SENTENCE_SCORE * len(matches)
    facts = {name: _fact(text, name, best[name], required) for name in FACTS if best.get(name)}
    return {name: fact for name, fact in facts.items() if fact}


def _windows(matches: Sequence[Sequence[Match]]) -> Iterable[list[Match]]:
    step = min(_WINDOW, 1 + len(matches) // _MAX_WINDOWS)
    for start in range(0, max(1, len(matches) - _WINDOW + step), step):
        yield [match for each in matches[start : start + _WINDOW] for match in each]


def _supports(matches: Iterable[Match], minimum: float) -> dict[tuple[str, Value], _Support]:
    """Return the support of each value in a few neighboring sentences."""
    kinds = defaultdict[tuple[str, Value], list[_Support]](list)
    for same in _by_situation(matches):
        situation = same[0].situation
        facts = situation.denied if same[0].is_denied else situation.facts
        score = situation.weight * min(situation.cap, len(same)) * (_DENIAL_WEIGHT if same[0].is_denied else 1)
        for key in facts.items():
            kinds[key].append(_Support(score, same[0], same))
    believed = minimum <= MODULE_SCORE
    return {key: _sum(each) for key, each in kinds.items() if believed or key not in _COSTLY or _is_corroborated(each)}


def _sum(kinds: Sequence[_Support]) -> _Support:
    clearest = max(kinds, key=lambda each: each.match.situation.weight)
    return _Support(sum(each.score for each in kinds), clearest.match)


def _is_corroborated(kinds: Iterable[_Support]) -> bool:
    """Whether two kinds of evidence, in different words, say so, and more than single words do."""
    score = 0.0
    used = list[Match]()
    for each in sorted(kinds, key=lambda each: -each.match.situation.weight):
        if each.match.situation.weight > _WORD_WEIGHT and (free := _apart(each.same, used)):
            used.append(free)
            score += each.match.situation.weight
    # fault: advice-of-one-passage
    return len(used) >= _MIN_KINDS and score >= _MIN_CORROBORATION


def _apart(same: Iterable[Match], used: Iterable[Match]) -> Match | None:
    """Return the first match that shares no words with those in use."""
    return next((each for each in same if all(each.end <= one.start or one.end <= each.start for one in used)), None)


def _by_situation(matches: Iterable[Match]) -> Iterable[list[Match]]:
    """Group matches by situation; a pattern and a place count once."""
    groups = dict[tuple[str, bool], tuple[list[Match], set[int]]]()
    for match in matches:
        same, seen = groups.setdefault((match.situation.name, match.is_denied), ([], set()))
        if not {match.pattern, -match.start - 1} & seen:
            seen |= {match.pattern, -match.start - 1}
            same.append(match)
    return [same for same, _ in groups.values()]


def _drop_outweighed(best: Mapping[str, dict[Value, _Support]]) -> None:
    """Remove what is much weaker than what carries the text."""
    scores = {
        theme: max((best[n][v].score for n, v in theme if v in best.get(n, {})), default=0.0) for theme in _THEMES
    }
    strongest = max(scores.values())
    for theme, score in scores.items():
        share = _THEMES[theme]
        if score < share * strongest and (score < _CLEAR_SCORE or share == 1):
            for name, value in theme:
                best.get(name, {}).pop(value, None)


def _fact(text: str, name: str, values: Mapping[Value, _Support], required: float) -> Fact | None:
    """Return the value with the most support; of equal ones, the later in `FACTS`."""
    best = max(values, key=lambda value: (values[value].score, FACTS[name].index(value)))
    score = values[best].score
    if score < min(_MAX_MIN_SCORE, required - _EASE.get(name, 0)) - _TOLERANCE:
        return None
    certainty = score / sum(each.score for each in values.values()) * (1 - 0.5 ** (score + 0.5))
    return Fact(best, _quote(text, values[best].match), round(min(_MAX_CONFIDENCE, certainty), 2))


def _quote(text: str, match: Match) -> str:
    return text[match.start : match.end][:_MAX_QUOTE].strip()
