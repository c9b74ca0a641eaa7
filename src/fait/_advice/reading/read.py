"""Reads a description: splits it into modules and finds the facts of each, with the passages that say so."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from fait._advice.facts import KnownFacts, Module
from fait._advice.reading.matching import matches_of
from fait._advice.reading.modules import Passage, splits
from fait._advice.reading.sentences import element_stems, sentences_of
from fait._advice.reading.weigh import MIN_SCORE, MODULE_SCORE, facts_from
from fait._advice.recommend import decide, recommend
from fait._errors import UsageError

__all__ = ["MAX_TEXT_BYTES", "read"]

MAX_TEXT_BYTES: Final = 200_000
"""Maximum size of a description, in bytes of UTF-8."""

_MAX_SENTENCES: Final = 2_000
"""Maximum number of sentences that are read of a module; a text of prose within the limit of bytes has fewer."""
_SHARED: Final = frozenset({"team_experience", "lifespan", "personal_data"})
"""KnownFacts of the whole text that hold in each module."""


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
    whole = _module(text, Passage("system", 0, len(text)), {}, MIN_SCORE)
    shared = {name: fact for name, fact in whole.facts.items() if name in _SHARED}
    for split in splits(text):
        minimum = MODULE_SCORE if split.is_explicit else MIN_SCORE
        modules = tuple(_module(text, each, shared, minimum) for each in _unique(split.passages))
        if _differ(modules) or (split.is_explicit and _is_informative(modules)):
            return _with_carrier(text, modules)
    return (whole,)


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


def _module(text: str, passage: Passage, shared: KnownFacts, minimum: float) -> Module:
    sentences = islice(sentences_of(text, passage.start, passage.end), _MAX_SENTENCES)
    matches = [list(matches_of(each)) for each in sentences]
    facts = facts_from(text, matches, minimum)
    if "loss" in facts and "consumers" not in facts:  # a message that may be lost, or not, has a receiver
        facts["consumers"] = replace(facts["loss"], value="services")
    return Module(passage.name, {**shared, **facts})


def _with_carrier(text: str, modules: Sequence[Module]) -> tuple[Module, ...]:
    """Mark the modules that the text says matter most."""
    words = {
        word.token.stem
        for sentence in sentences_of(text, 0, len(text))
        if any("@carrier" in labels for labels in sentence.labels)
        for word in sentence.words
    }
    return tuple(replace(each, carries=set(element_stems(each.name)) <= words) for each in modules)
