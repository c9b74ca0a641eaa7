"""Reads a description: splits it into modules and finds the facts of each, with the passages that say so."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fait._advice.facts import FACTS, Fact, Facts, Module, Value
from fait._advice.reading.matching import Match, matches_of
from fait._advice.reading.modules import Passage, splits
from fait._advice.reading.sentences import element_stems, sentences_of
from fait._advice.recommend import decide, recommend
from fait._errors import UsageError

__all__ = ["MAX_TEXT_BYTES", "read"]

MAX_TEXT_BYTES: Final = 200_000
"""Maximum size of a description, in bytes of UTF-8."""

_MIN_SCORE: Final = 1.0
"""Minimum sum of weights for a fact to be believed, in a single sentence."""
_MODULE_SCORE: Final = 0.7
"""The same for a module of several, which is described in fewer words."""
_SENTENCE_SCORE: Final = 0.06
"""What each sentence adds to that minimum: long texts have more chance matches."""
_MAX_MIN_SCORE: Final = 1.8
"""Maximum of that minimum."""
_MAX_QUOTE: Final = 240
"""Maximum length of a quote, in characters."""
_DENIAL_WEIGHT: Final = 0.8
"""Weight of a denial, relative to that of the situation that is denied."""
_EASE: Final = {"read_shapes": 0.2, "read_asymmetry": 0.2, "loss": 0.1}
"""What is subtracted from the minimum for facts that few descriptions mention by chance."""
_MAX_CONFIDENCE: Final = 0.95
_TOLERANCE: Final = 1e-9
_CLEAR_SCORE: Final = 2.0
"""Minimum sum of weights for a theme to be believed although another is much stronger."""
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
_WINDOW: Final = 5
"""Number of neighboring sentences whose signs add up."""


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
    whole = _module(text, Passage("system", 0, len(text)), {})
    shared = {name: fact for name, fact in whole.facts.items() if name in _SHARED}
    for split in splits(text):
        modules = tuple(
            _module(text, each, shared, _MODULE_SCORE if split.is_explicit else _MIN_SCORE)
            for each in _unique(split.passages)
        )
        if _differ(modules) or (split.is_explicit and _is_informative(modules)):
            return _with_carrier(text, modules)
    return (whole,)


_SHARED: Final = frozenset({"team_experience", "lifespan", "personal_data"})
"""Facts of the whole text that hold in each module."""


def _differ(modules: Sequence[Module]) -> bool:
    return recommend(modules).headline == "mixed"


def _is_informative(modules: Sequence[Module]) -> bool:
    """Whether at least two modules need something; otherwise the headings may be those of minutes or of a mail."""
    return sum(decide(each.facts).headline != "crud" for each in modules) > 1


def _unique(passages: Iterable[Passage]) -> Iterator[Passage]:
    counts = Counter[str]()
    for each in passages:
        counts[each.name] += 1
        yield each if counts[each.name] == 1 else replace(each, name=f"{each.name} {counts[each.name]}")


def _module(text: str, passage: Passage, shared: Facts, minimum: float = _MIN_SCORE) -> Module:
    matches = [list(matches_of(each)) for each in sentences_of(text, passage.start, passage.end)]
    facts = facts_from(text, matches, minimum)
    if "loss" in facts and "consumers" not in facts:  # a message that may be lost, or not, has a receiver
        facts["consumers"] = replace(facts["loss"], value="services")
    return Module(passage.name, {**shared, **facts})


def _with_carrier(text: str, modules: Sequence[Module]) -> tuple[Module, ...]:
    """Mark the module that the text says matters most."""
    spoken = [
        sentence for sentence in sentences_of(text, 0, len(text)) if any("@carrier" in each for each in sentence.labels)
    ]
    words = {word.token.stem for sentence in spoken for word in sentence.words}
    return tuple(replace(each, carries=set(element_stems(each.name)) <= words) for each in modules)


@dataclass(frozen=True, slots=True)
class _Support:
    score: float
    match: Match


def facts_from(text: str, matches: Sequence[Sequence[Match]], minimum: float = _MIN_SCORE) -> dict[str, Fact]:
    """Weigh what the matches of each sentence say and return the facts that are believed."""
    best = defaultdict[str, dict[Value, _Support]](dict)
    for start in range(max(1, len(matches) - _WINDOW + 1)):
        window = [match for each in matches[start : start + _WINDOW] for match in each]
        for (name, value), support in _supports(window).items():
            best[name][value] = max(best[name].get(value, support), support, key=lambda each: each.score)
    growth = _SENTENCE_SCORE * len(matches)
    _drop_outweighed(best)
    return {
        name: fact
        for name in FACTS
        if best.get(name)
        and (fact := _fact(text, name, best[name], min(_MAX_MIN_SCORE, minimum - _EASE.get(name, 0) + growth)))
    }


def _drop_outweighed(best: Mapping[str, dict[Value, _Support]]) -> None:
    """Remove what is much weaker than what carries the text: a long text has chance matches for everything."""
    scores = {
        theme: max((best[n][v].score for n, v in theme if v in best.get(n, {})), default=0.0) for theme in _THEMES
    }
    strongest = max(scores.values())
    for theme, score in scores.items():
        if score < _THEMES[theme] * strongest and (score < _CLEAR_SCORE or _THEMES[theme] == 1):
            for name, value in theme:
                best.get(name, {}).pop(value, None)


def _supports(matches: Iterable[Match]) -> dict[tuple[str, Value], _Support]:
    """Return the support of each value in a few neighboring sentences."""
    found = dict[tuple[str, bool], list[Match]]()
    for match in matches:
        same = found.setdefault((match.situation.name, match.is_denied), [])
        if all(match.pattern != each.pattern and match.start != each.start for each in same):
            same.append(match)
    supports = dict[tuple[str, Value], _Support]()
    for (_, is_denied), same in found.items():
        situation = same[0].situation
        score = situation.weight * min(situation.cap, len(same)) * (_DENIAL_WEIGHT if is_denied else 1)
        for key in (situation.denied if is_denied else situation.facts).items():
            before = supports.get(key)
            strongest = before.match if before and before.match.situation.weight > situation.weight else same[0]
            supports[key] = _Support(score + (before.score if before else 0), strongest)
    return supports


def _fact(text: str, name: str, values: Mapping[Value, _Support], minimum: float) -> Fact | None:
    """Return the value with the most support; of equal ones, the later in `FACTS`."""
    best = max(values, key=lambda value: (values[value].score, FACTS[name].index(value)))
    score = values[best].score
    if score < minimum - _TOLERANCE:
        return None
    certainty = score / sum(each.score for each in values.values()) * (1 - 0.5 ** (score + 0.5))
    return Fact(best, _quote(text, values[best].match), round(min(_MAX_CONFIDENCE, certainty), 2))


def _quote(text: str, match: Match) -> str:
    return text[match.start : match.end][:_MAX_QUOTE].strip()
