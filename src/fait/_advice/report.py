"""A recommendation as data, for `fait advise --json`, and in words."""

from collections.abc import Mapping
from typing import Any, Final

from fait._advice.facts import Fact
from fait._advice.recommend import Flip, Headline, ModuleRecommendation, Recommendation
from fait._advice.rules import Rule

__all__ = ["AXIS_WORDS", "as_data", "summary"]

_HEADLINE_WORDS: Final[Mapping[Headline, str]] = {
    "crud": "You do not need this. Plain tables serve this system well, and they are simpler to build and to change.",
    "async_messaging": "Simple asynchronous messages or jobs are enough, as long as a lost one does no harm.",
    "outbox": "Keep the state in tables, and send messages through an outbox, in the same transaction.",
    "cqrs": "Keep the state in tables, and serve reads from models of their own.",
    "event_sourcing": "Make events the source of truth.",
    "streaming": "These are measurements: a streaming platform and a time-series database serve them, not fait.",
    "mixed": "The modules need different things; decide for each of them.",
}

_UNFOUNDED: Final = "Only English is read; nothing in this text speaks for or against anything."
_HISTORY: Final = "Plain tables with a history table serve this system well."
_CANDIDATE: Final = (
    "Keep the state in {tables} for now; event sourcing is a candidate, which one small module can try first."
)

AXIS_WORDS: Final[Mapping[str, str]] = {
    "none": "nothing leaves the transaction",
    "in_process": "handlers in the same process, in the transaction",
    "async_messaging": "messages or jobs after the commit",
    "outbox": "an outbox in the transaction, with idempotent consumers",
    "cdc": "your database's change data capture",
    "crud": "plain tables",
    "audit_table": "plain tables with a history table",
    "event_sourcing": "events",
    "same_model": "the same tables",
    "logical_cqrs": "queries of their own on the same tables",
    "projections": "read models, maintained from changes",
}


def summary(recommendation: Recommendation) -> str:
    """Return the recommendation as a sentence that agrees with the axes of all modules."""
    if recommendation.is_unfounded:
        return _UNFOUNDED
    if recommendation.headline != "crud":
        return _HEADLINE_WORDS[recommendation.headline]
    decisions = [each.decision for each in recommendation.modules]
    has_history = any(each.axes.storage == "audit_table" for each in decisions)
    if any(each.is_pilot for each in decisions):
        return _CANDIDATE.format(tables=AXIS_WORDS["audit_table" if has_history else "crud"])
    return _HISTORY if has_history else _HEADLINE_WORDS["crud"]


def as_data(recommendation: Recommendation) -> dict[str, Any]:
    """Return a recommendation as JSON values.

    `axes` of the whole are the axes that all modules share; `per_module` stands where they differ.
    """
    modules = [_module(each) for each in recommendation.modules]
    return {
        "headline": recommendation.headline,
        "summary": summary(recommendation),
        "confidence": recommendation.confidence,
        "per_module": recommendation.per_module,
        "axes": {
            axis: _common([each["axes"][axis] for each in modules]) for axis in ("integration", "storage", "read")
        },
        "modules": modules,
    }


def _common(values: list[str]) -> str:
    return values[0] if len(set(values)) == 1 else "per_module"


def _module(each: ModuleRecommendation) -> dict[str, Any]:
    decision = each.decision
    return {
        "name": each.module.name,
        "headline": decision.headline,
        "confidence": each.confidence,
        "axes": {
            "integration": decision.axes.integration,
            "storage": decision.axes.storage,
            "read": decision.axes.read,
        },
        "score": decision.storage_score,
        "read_score": decision.read_score,
        "margin": decision.margin,
        "pilot": decision.is_pilot,
        "reasons": [_reason(each, rule) for rule in decision.rules],
        "vetoes": [_reason(each, rule) for rule in decision.vetoed],
        "questions": list(each.questions),
        "would_change": [_flip(flip) for flip in each.flips],
        "facts": {name: _fact(fact) for name, fact in each.module.facts.items()},
    }


def _reason(each: ModuleRecommendation, rule: Rule) -> dict[str, Any]:
    return {
        "rule": rule.id,
        "weight": rule.weight,
        "because": rule.because,
        "quote": each.quote_of(rule),
        "source": rule.source,
    }


def _flip(flip: Flip) -> dict[str, Any]:
    return {"fact": flip.fact, "value": flip.value, "headline": flip.headline, "known": flip.known}


def _fact(fact: Fact) -> dict[str, Any]:
    return {"value": fact.value, "quote": fact.quote, "confidence": fact.confidence}
