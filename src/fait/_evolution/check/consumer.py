"""The rule for declared consumers: readers of events outside of the code of the app."""

from collections.abc import Mapping

from msgspec import UNSET
from msgspec.structs import replace

from fait._events.registry import Registry
from fait._evolution.check.type_history import TypeHistory
from fait._evolution.check.versions import field_path
from fait._evolution.locks.rules import make_violation
from fait._evolution.locks.settings import DeclaredConsumer
from fait._evolution.locks.violation import RuleViolation
from fait._schema.compare import compare
from fait._schema.description import Description, JsonObject
from fait._schema.difference import Difference, Verdict

__all__ = ["check_consumer"]


def check_consumer(
    consumer: DeclaredConsumer, registry: Registry, histories: Mapping[str, TypeHistory]
) -> list[RuleViolation]:
    """Return the violation of a consumer that cannot read the version that is published; empty if it can."""
    history = histories.get(registry.names.current(consumer.event))
    old = history.description(consumer.version) if history else None
    if history is None or old is None:
        return [_unknown(consumer)]
    published = _published_version(consumer.version, history, registry)
    new = history.description(published)
    differences = compare(_tolerant(old), new, "forward") if new else []
    broken = [each for each in differences if each.verdict is not Verdict.READABLE]
    return [_broken(consumer, history.name, published, broken)] if broken else []


def _tolerant(described: Description) -> Description:
    """Return a description whose readers ignore unknown members, as consumers do."""
    records = {
        name: replace(each, strict=False) if isinstance(each, JsonObject) else each
        for name, each in described.records.items()
    }
    return replace(described, records=records)


def _published_version(wanted: int, history: TypeHistory, registry: Registry) -> int:
    """Return the version that a consumer gets: that of the class, made older by the downcasters there are."""
    version = history.current or max(history.locks)
    while version > wanted and (history.name, version) in registry.downcasters:
        version -= 1
    return version


def _unknown(consumer: DeclaredConsumer) -> RuleViolation:
    return make_violation(
        "FAIT120",
        consumer.event,
        consumer.version,
        details=(f"{consumer.name} reads version {consumer.version}, which has neither a lock nor a class.",),
        advice=("Correct [[tool.fait.consumers]] in pyproject.toml, or restore the lock.",),
    )


def _broken(consumer: DeclaredConsumer, name: str, published: int, broken: list[Difference]) -> RuleViolation:
    return make_violation(
        "FAIT120",
        name,
        consumer.version,
        step=f"{published} -> {consumer.version}",
        details=(
            f"{consumer.name} (declared in pyproject.toml) reads version {consumer.version}.",
            *(f"{field_path(each.path)}: {each.explanation}" for each in broken),
        ),
        value=next((each.value for each in broken if each.value is not UNSET), UNSET),
        advice=(
            f'Publish the older version for a time: @fait.downcast("{name}", {published})',
            f"Or wait until {consumer.name} reads version {published}, and change its entry in pyproject.toml.",
        ),
    )
