"""From facts to a recommendation: the rules that apply to each module, and the headline of the whole system.

The decision is a pure function of the facts, so what would change it is found by trying: every other value of every
fact is put in its place, and the recommendation is made again.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from fait._advice.facts import FACTS, Fact, KnownFacts, Module, Value
from fait._advice.rules import (
    AUDIT_NEEDS,
    EVENT_SOURCING_SCORE,
    INTEGRATION,
    LOGICAL_CQRS_SCORE,
    PILOT_SCORE,
    PROJECTIONS_SCORE,
    READ,
    READ_EVENTS,
    STORAGE,
    STREAMING,
    VETOES,
    Integration,
    Rule,
    When,
)

__all__ = [
    "Axes",
    "Decision",
    "Flip",
    "Headline",
    "ModuleRecommendation",
    "Recommendation",
    "decide",
    "flips",
    "recommend",
]

Headline: TypeAlias = Literal["mixed", "crud", "async_messaging", "outbox", "cqrs", "event_sourcing", "streaming"]
Storage: TypeAlias = Literal["crud", "audit_table", "event_sourcing"]
Read: TypeAlias = Literal["same_model", "logical_cqrs", "projections"]

_CARRYING: Final[tuple[Headline, ...]] = ("event_sourcing", "streaming", "outbox", "cqrs")
"""Headlines of which two different ones make a system mixed."""
_UNKNOWN_CONFIDENCE: Final = 0.2
"""Confidence of a recommendation without any fact."""
_QUESTION_COST: Final = 0.93
"""Factor by which each open question lowers the confidence."""
_MAX_COUNTED_QUESTIONS: Final = 5
"""Maximum number of open questions that lower the confidence."""


@dataclass(frozen=True, slots=True)
class Axes:
    """The three answers for a module.

    Attributes:
        integration: how facts leave the transaction.
        storage: what the source of truth is.
        read: how reads are served.
    """

    integration: Integration
    storage: Storage
    read: Read


@dataclass(frozen=True, slots=True)
class Flip:
    """A change of one fact that changes the headline.

    Attributes:
        fact: the name of the fact.
        value: its other value.
        headline: the headline with that value.
        known: whether the fact is known with another value; otherwise it is an open question.
    """

    fact: str
    value: Value
    headline: Headline
    known: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What the rules say about the facts of one module.

    Attributes:
        headline: the answer in one word.
        axes: the three answers.
        rules: the rules that apply, in the order storage, integration, read.
        vetoed: the vetoes against event sourcing that apply.
        storage_score: sum of the storage rules.
        read_score: sum of the read rules.
        margin: distance of the closer score to its threshold.
    """

    headline: Headline
    axes: Axes
    rules: tuple[Rule, ...]
    vetoed: tuple[Rule, ...]
    storage_score: int
    read_score: int
    margin: int

    @property
    def is_pilot(self) -> bool:
        """Whether event sourcing is a candidate, but no more."""
        return self.axes.storage != "event_sourcing" and self.storage_score >= PILOT_SCORE and not self.vetoed


@dataclass(frozen=True, slots=True)
class ModuleRecommendation:
    """What one module needs.

    Attributes:
        module: the module with its facts.
        decision: headline, axes, rules, scores and margin.
        flips: what would change the headline.
        confidence: from 0 to 1.
    """

    module: Module
    decision: Decision
    flips: tuple[Flip, ...]
    confidence: float

    @property
    def questions(self) -> tuple[str, ...]:
        """Names of the unknown facts that could change the headline."""
        return tuple(dict.fromkeys(each.fact for each in self.flips if not each.known))

    def quote_of(self, rule: Rule) -> str:
        """Return the passage of the description for a rule, empty without a description."""
        return next((quote for name in rule.when if (quote := self.module.facts[name].quote)), "")


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What the system needs.

    Attributes:
        headline: the answer in one word; `mixed` if modules differ and none carries the system.
        confidence: from 0 to 1.
        modules: the recommendation for each module.
    """

    headline: Headline
    confidence: float
    modules: tuple[ModuleRecommendation, ...]

    @property
    def is_unfounded(self) -> bool:
        """Whether no fact is known."""
        return not any(each.module.facts for each in self.modules)

    @property
    def per_module(self) -> bool:
        """Whether the modules have different axes."""
        return len({each.decision.axes for each in self.modules}) > 1


def recommend(modules: Sequence[Module]) -> Recommendation:
    """Return the recommendation for a system, which has at least one module."""
    parts = tuple(_recommend_module(each) for each in modules)
    headline = _headline_of_system(parts)
    deciding = [each.confidence for each in parts if headline in ("mixed", each.decision.headline)]
    return Recommendation(headline, round(sum(deciding) / len(deciding), 2), parts)


def _headline_of_system(parts: Sequence[ModuleRecommendation]) -> Headline:
    headlines = [each.decision.headline for each in parts]
    carried: set[Headline] = {each.decision.headline for each in parts if each.module.carries}
    if len(carried) == 1:
        return carried.pop()
    carrying: set[Headline] = {each for each in headlines if each in _CARRYING}
    # fault: advice-never-mixed
    if len(carrying) > 1:
        return "mixed"
    if carrying:
        return carrying.pop()
    return "async_messaging" if "async_messaging" in headlines else "crud"


def _recommend_module(module: Module) -> ModuleRecommendation:
    decision = decide(module.facts)
    changes = flips(module, decision.headline)
    return ModuleRecommendation(module, decision, changes, _confidence(module.facts, decision, changes))


def _confidence(facts: KnownFacts, decision: Decision, changes: Iterable[Flip]) -> float:
    deciding = [fact.confidence for fact in _facts_of_rules(facts, (*decision.rules, *decision.vetoed))]
    known = sum(deciding) / len(deciding) if deciding else _UNKNOWN_CONFIDENCE
    questions = min(_MAX_COUNTED_QUESTIONS, len({each.fact for each in changes if not each.known}))
    return round(known * _QUESTION_COST**questions, 2)


def _facts_of_rules(facts: KnownFacts, rules: Iterable[Rule]) -> list[Fact]:
    return [facts[name] for name in dict.fromkeys(name for rule in rules for name in rule.when)]


def flips(module: Module, headline: Headline) -> tuple[Flip, ...]:
    """Return the changes of one fact that change a headline, those of unknown facts first."""
    found = [
        Flip(name, value, other, known=name in module.facts)
        for name, values in FACTS.items()
        for value in values
        if (other := decide(module.knowing(name, value).facts).headline) != headline
    ]
    reach = Counter(each.fact for each in found)
    return tuple(sorted(found, key=lambda each: (each.known, -reach[each.fact])))


def decide(facts: KnownFacts) -> Decision:
    """Apply all rules to the facts of a module."""
    vetoed = _applicable(VETOES, facts)
    storage = _applicable(STORAGE, facts)
    integration = _applicable(INTEGRATION, facts)[:1]
    storage_score = _sum(storage)
    source_of_truth = _storage(facts, storage_score, is_vetoed=bool(vetoed))
    read = (*_applicable(READ, facts), *([READ_EVENTS] if source_of_truth == "event_sourcing" else []))
    read_score = _sum(read)
    axes = Axes(integration[0].gives if integration else "none", source_of_truth, _read(facts, read_score))
    rules = (*storage, *integration, *read)
    margin = _margin(axes, storage_score, read_score)
    return Decision(_headline(facts, axes), axes, rules, vetoed, storage_score, read_score, margin)


def _sum(rules: Iterable[Rule]) -> int:
    return sum(rule.weight for rule in rules)


def _applicable(rules: Iterable[Rule], facts: KnownFacts) -> tuple[Rule, ...]:
    return tuple(rule for rule in rules if _holds(rule.when, facts))


def _holds(when: When, facts: KnownFacts) -> bool:
    return all(name in facts and facts[name].value in values for name, values in when.items())


def _storage(facts: KnownFacts, score: int, *, is_vetoed: bool) -> Storage:
    # fault: advice-without-veto
    if score >= EVENT_SOURCING_SCORE and not is_vetoed:
        return "event_sourcing"
    return "audit_table" if _holds({"history_need": AUDIT_NEEDS}, facts) else "crud"


def _read(facts: KnownFacts, score: int) -> Read:
    if _holds({"lifespan": ("prototype",)}, facts) or score < LOGICAL_CQRS_SCORE:
        return "same_model"
    return "projections" if score >= PROJECTIONS_SCORE else "logical_cqrs"


def _headline(facts: KnownFacts, axes: Axes) -> Headline:
    if _is_stream(facts):
        return "streaming"
    if axes.storage == "event_sourcing":
        return "event_sourcing"
    if axes.integration in ("outbox", "cdc"):
        return "outbox"
    if axes.read == "projections":
        return "cqrs"
    return "async_messaging" if axes.integration == "async_messaging" else "crud"


def _is_stream(facts: KnownFacts) -> bool:
    """Whether measurements carry the module: there are many, or nothing says that there are few."""
    return _holds(STREAMING.when, facts) and not _holds({"throughput": ("low",)}, facts)


def _margin(axes: Axes, storage_score: int, read_score: int) -> int:
    """Return the distance of the closer score to its threshold, in weights."""
    read = min(abs(read_score - PROJECTIONS_SCORE), abs(read_score - PROJECTIONS_SCORE + 1))
    storage = min(abs(storage_score - EVENT_SOURCING_SCORE), abs(storage_score - EVENT_SOURCING_SCORE + 1))
    return storage if axes.storage == "event_sourcing" else min(read, storage)
