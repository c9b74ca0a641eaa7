"""Reads a description: finds what it describes, splits it into modules, and gives each its facts with a passage.

The words of a description decide which headline is most likely. The facts are those from which the rules conclude this
headline, so the rules explain it and answer the rest. Some facts are stated in phrases.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from fait._advice.facts import Fact, KnownFacts, Module, Value
from fait._advice.reading.evidence import clearest, evidence_of, is_understood, probabilities
from fait._advice.reading.modules import Passage, splits
from fait._advice.reading.sentences import Sentence, sentences_of
from fait._advice.recommend import Headline, decide, recommend
from fait._errors import UsageError

__all__ = ["MAX_TEXT_BYTES", "read"]

MAX_TEXT_BYTES: Final = 200_000
"""Maximum size of a description, in bytes of UTF-8."""

_MAX_SENTENCES: Final = 2_000
"""Maximum number of sentences that are read of a module; a text of prose within the limit of bytes has fewer."""
_MAX_CONFIDENCE: Final = 0.95
"""Maximum confidence of a fact that was read."""
_STATED_CONFIDENCE: Final = 0.8
"""Confidence of a fact that is stated in a phrase."""
_NAMED_FACTOR: Final = 6
"""By how much names of modules raise the probability that a system is mixed, if the modules differ."""
_SHARED: Final = frozenset({"team_experience", "lifespan", "personal_data"})
"""Facts of the whole text that hold in each module."""

_BINDING: Final = frozenset({"loss", "staleness", "write_path_changeable", "team_experience"})
"""Facts that hold although they contradict the headline that the words speak for."""

_FACTS: Final[Mapping[Headline, Mapping[str, Value]]] = {
    "crud": {"lifecycle": "crud"},
    "async_messaging": {"consumers": "services"},
    "outbox": {"consumers": "services", "loss": "must_not_lose", "dual_write": True},
    "cqrs": {"read_asymmetry": "high", "read_shapes": "several"},
    "event_sourcing": {"history_need": "temporal", "intent_matters": True, "events_natural": True},
    "streaming": {"record_kind": "measurements"},
}
"""The facts of a description or a module, by the headline that its words speak for."""
_DECIDED: Final = tuple(_FACTS)

_STATED: Final[Mapping[str, tuple[str, Value]]] = {
    "full_audit": ("history_need", "full_audit"),
    "change_log": ("history_need", "change_log"),
    "prototype": ("lifespan", "prototype"),
    "frozen_writer": ("write_path_changeable", False),
    "strict_reads": ("staleness", "strict_all"),
    "erasure": ("personal_data", "erasure"),
    "loss_tolerable": ("loss", "tolerable"),
    "no_loss": ("loss", "must_not_lose"),
    "new_team": ("team_experience", "none"),
    "strong_team": ("team_experience", "strong"),
}
"""The facts that phrases state, by the group of the phrases. Of two groups for one fact, the later one counts."""


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
    sentences = _sentences(text, 0, len(text))
    if not is_understood(sentences):
        return (Module("system", {}),)
    shared = {name: fact for name, fact in _stated(text, sentences).items() if name in _SHARED}
    likely = probabilities(evidence_of(sentences))
    headline = max(_DECIDED, key=lambda each: likely[each])
    for split in splits(text):
        modules = tuple(_module(text, each, shared) for each in _unique(split.passages))
        given = recommend(modules).headline
        # fault: advice-never-split
        if given == "mixed" and likely["mixed"] * (_NAMED_FACTOR if split.is_named else 1) >= likely[headline]:
            return modules
    return (Module("system", _facts(text, sentences, headline, likely[headline])),)


def _sentences(text: str, start: int, end: int) -> list[Sentence]:
    return list(islice(sentences_of(text, start, end), _MAX_SENTENCES))


def _unique(passages: Iterable[Passage]) -> Iterator[Passage]:
    counts = Counter[str]()
    for each in passages:
        counts[each.name] += 1
        yield each if counts[each.name] == 1 else replace(each, name=f"{each.name} {counts[each.name]}")


def _module(text: str, passage: Passage, shared: KnownFacts) -> Module:
    sentences = _sentences(text, passage.start, passage.end)
    likely = probabilities(evidence_of(sentences))
    headline = max(_DECIDED, key=lambda each: likely[each])
    return Module(passage.name, {**shared, **_facts(text, sentences, headline, likely[headline])})


def _facts(text: str, sentences: Sequence[Sentence], headline: Headline, probability: float) -> KnownFacts:
    """Return the facts of a headline and those that are stated."""
    quote = clearest(text, sentences, headline)
    confidence = round(min(_MAX_CONFIDENCE, probability), 2)
    facts = {name: Fact(value, quote, confidence) for name, value in _FACTS[headline].items() if quote}
    for name, fact in _stated(text, sentences).items():
        # fault: advice-of-one-phrase
        if name in _BINDING or decide({name: fact, **facts}).headline == headline:
            facts = {**facts, name: fact} if name in _BINDING else {name: fact, **facts}
    return facts


def _stated(text: str, sentences: Sequence[Sentence]) -> dict[str, Fact]:
    return {
        name: Fact(value, text[start:end], _STATED_CONFIDENCE)
        for group, (name, value) in _STATED.items()
        for each in sentences
        for start, end in islice(each.passages(group), 1)
    }
