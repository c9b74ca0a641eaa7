"""Reads the answer of `fait advise --json`: what it recommends for each module, and why."""

import re
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from fait._errors import UsageError

Headline: TypeAlias = Literal["mixed", "crud", "async_messaging", "outbox", "cqrs", "event_sourcing", "streaming"]

__all__ = ["Advice", "AdvisedChange", "AdvisedModule", "AdvisedReason", "named_events", "read_advice"]

_EVENT_NAME = re.compile(r"\b(?:[A-Z][a-z0-9]+){2,}\b|\b[a-z0-9]+(?:\.[a-z0-9]+)*(?:-[a-z0-9]+)+\b")
_PAST = re.compile(
    r"(?:ed|Paid|Sent|Sold|Lost|Held|Made|Met|Built|Bought|Taken|Given|Withdrawn|Begun|Left|Won|Set)$", re.I
)


class AdvisedAxes(Struct, frozen=True):
    """The three answers for a module.

    Attributes:
        integration: how facts leave the transaction.
        storage: what the source of truth is.
        read: how reads are served.
    """

    integration: Literal["none", "in_process", "async_messaging", "outbox", "cdc"]
    storage: Literal["crud", "audit_table", "event_sourcing"]
    read: Literal["same_model", "logical_cqrs", "projections"]

    @property
    def patterns(self) -> dict[str, str]:
        """The key of the pattern for each axis. A log of events needs no outbox: it is one."""
        is_log = (self.integration, self.storage) == ("outbox", "event_sourcing")
        return {
            "storage": self.storage,
            "integration": "log_as_outbox" if is_log else self.integration,
            "read": self.read,
        }


class AdvisedReason(Struct, frozen=True):
    """A rule that applied.

    Attributes:
        rule: its name.
        because: the reason as a sentence.
        quote: the words of the description.
        source: the page that gives the reason.
        weight: what it adds to the score; below 0 it speaks against the pattern.
    """

    rule: str
    because: str = ""
    quote: str = ""
    source: str = ""
    weight: float = 0


class AdvisedChange(Struct, frozen=True):
    """A change of one fact that changes the recommendation.

    Attributes:
        fact: name of the fact.
        value: its other value.
        headline: the recommendation with that value.
    """

    fact: str
    value: Any
    headline: str


class AdvisedModule(Struct, frozen=True):
    """What is recommended for a module.

    Attributes:
        name: its name.
        axes: the three answers.
        headline: the answer in one word; None in an answer that does not say it.
        score: sum of the weights for events as the source of truth.
        margin: distance to another answer.
        reasons: the rules that applied.
        vetoes: the rules that exclude event sourcing.
        questions: unknown facts that could change the answer.
        would_change: the changes of facts that would change it.
    """

    name: str
    axes: AdvisedAxes
    headline: Headline | None = None
    score: float | None = None
    margin: float | None = None
    reasons: tuple[AdvisedReason, ...] = ()
    vetoes: tuple[AdvisedReason, ...] = ()
    questions: tuple[str, ...] = ()
    would_change: tuple[AdvisedChange, ...] = ()


class Advice(Struct, frozen=True):
    """The answer of the advisor; members that a document does not use are ignored.

    Attributes:
        headline: the answer in one word.
        summary: the answer as a sentence.
        confidence: from 0 to 1.
        modules: the answer for each module.
    """

    headline: Headline
    confidence: float
    modules: tuple[AdvisedModule, ...]
    summary: str = ""


def read_advice(data: bytes, name: str) -> Advice:
    """Return the answer in a JSON file.

    Args:
        data: content of the file.
        name: its name, for messages.

    Raises:
        UsageError: it is not JSON, or not an answer of `fait advise --json`.
    """
    try:
        return msgspec.json.decode(data, type=Advice)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{name} is not an answer of the advisor: {error}. Write it with: fait advise --text FILE --json > {name}"
        ) from None


def named_events(advice: Advice) -> list[str]:
    """Return the events that the quoted words name, written as names: `OrderPlaced`, `order-placed`."""
    quotes = [each.quote for module in advice.modules for each in (*module.reasons, *module.vetoes)]
    names = [name for quote in quotes for name in _EVENT_NAME.findall(quote) if _PAST.search(name)]
    return list(dict.fromkeys(names))
