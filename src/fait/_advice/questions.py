"""The questions of the interview: a text for each fact, a text for each answer, and which question can still matter.

A question is asked only if some answer changes the headline, for the facts known so far and at least one way in which
the rest may be answered.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from fait._advice.facts import FACTS, Fact, KnownFacts, Value
from fait._advice.recommend import decide

__all__ = ["QUESTIONS", "Question", "open_questions"]


@dataclass(frozen=True, slots=True)
class Question:
    """A question for one fact.

    Attributes:
        text: the question.
        answers: a text for each value, in the order of `FACTS`.
    """

    text: str
    answers: tuple[str, ...]

    def choices(self, name: str) -> Iterator[tuple[Value, str]]:
        """Yield the values of the fact `name`, each with its text."""
        yield from zip(FACTS[name], self.answers, strict=True)


_LEVELS: Final = ("low", "medium", "high")
_YES_NO: Final = ("yes", "no")

QUESTIONS: Final[Mapping[str, Question]] = {
    "record_kind": Question(
        "What do most records describe?",
        (
            "business facts: orders, payments, decisions",
            "measurements: sensor values, clicks, positions",
            "documents: articles, pages, files",
            "reference data: lists, settings, master data",
        ),
    ),
    "lifespan": Question("How long will the system live?", ("it is a prototype", "years")),
    "history_need": Question(
        "What must the system say about the past?",
        (
            "nothing: the current state is enough",
            "who changed what and when",
            "a complete history that can be proven",
            "what was the case at any past moment",
        ),
    ),
    "consumers": Question(
        "Which code reacts to changes?", ("none", "code in the same process", "other programs, services or jobs")
    ),
    "loss": Question(
        "What if such a message is lost?", ("no harm: it is repeated, or not missed", "it must not be lost")
    ),
    "dual_write": Question("Is a database written and another system told in one step?", _YES_NO),
    "write_path_changeable": Question("Can the program that writes be changed?", _YES_NO),
    "read_asymmetry": Question("How much do reads and writes differ in load or shape?", _LEVELS),
    "read_shapes": Question("In how many shapes do readers need the data?", ("one", "several")),
    "intent_matters": Question("Is the reason for a change as important as its result?", _YES_NO),
    "lifecycle": Question(
        "What happens to an entity?",
        ("it is created, edited and deleted", "it has a few states", "it passes through a workflow with rules"),
    ),
    "events_natural": Question("Does the business itself speak of events: booked, approved, reversed?", _YES_NO),
    "domain_complexity": Question("How complex are the rules of the domain?", _LEVELS),
    "staleness": Question(
        "How current must reads be?",
        ("seconds old is fine", "current for decisions only", "every read sees every write"),
    ),
    "contention": Question("How often do several users change the same entity at once?", _LEVELS),
    "throughput": Question("How many records are written?", ("a few per second", "hundreds per second", "thousands")),
    "ordering": Question("In which order must consumers see changes?", ("any", "in order per entity", "in one order")),
    "stream_growth": Question("How many changes has one entity?", ("tens", "thousands", "without limit")),
    "personal_data": Question(
        "Does it contain personal data?", ("no", "some", "yes, and it must be erased on request")
    ),
    "team_experience": Question("Does the team know event-driven systems?", ("no", "some", "well")),
}

_OUTLOOKS: Final[tuple[Mapping[str, Value], ...]] = (
    {},
    {"history_need": "temporal", "intent_matters": True, "events_natural": True},
    {"history_need": "full_audit", "intent_matters": True, "events_natural": True, "lifecycle": "rich"},
    {"consumers": "services", "loss": "must_not_lose"},
    {"consumers": "services", "loss": "tolerable"},
    {"read_asymmetry": "high", "read_shapes": "several"},
)
"""Ways in which the open questions may be answered."""


def open_questions(facts: KnownFacts, skipped: frozenset[str] = frozenset()) -> list[str]:
    """Return the facts that are unknown and can still change the headline, in the order in which to ask.

    Args:
        facts: what is known.
        skipped: facts whose question was skipped.
    """
    return [name for name in QUESTIONS if name not in facts and name not in skipped and _can_change(facts, name)]


def _can_change(facts: KnownFacts, name: str) -> bool:
    for outlook in _OUTLOOKS:
        future = {key: Fact(value) for key, value in outlook.items() if key != name} | dict(facts)
        if len({decide({**future, name: Fact(value)}).headline for value in FACTS[name]}) > 1:
            return True
    return False
