"""The catalog of an app as data: event types, what makes them, what reads them, and what is promised to each reader.

It contains what the app declares, what its source says (see `emitted` and `published`), and what pyproject.toml
declares of other programs. Each producer says which of these it is. Nothing is read from a log.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from fait._decisions.aggregate import Command
from fait._declarations import Declarations
from fait._delivery.relay.definition import RelayDefinition
from fait._design.emitted import Emitted, annotated_result, class_names, emitted_by
from fait._design.example import example
from fait._design.published import publishing_functions
from fait._errors import UsageError
from fait._events.changes import Defaulted, Dropped, Renamed
from fait._events.envelope import Untyped
from fait._events.event import EventType, event_type
from fait._events.registry import Registry
from fait._events.upcast import Downcaster, Upcaster
from fait._evolution.locks.history import history, lock_state
from fait._evolution.locks.lock import Locks
from fait._evolution.locks.settings import Settings
from fait._schema.describe import describe
from fait._schema.description import canonical_json
from fait._schema.json_schema import json_schema
from fait._subscriptions.failure import FailurePolicy
from fait._subscriptions.reactor import ReactorDefinition

__all__ = ["Catalog", "EventConsumer", "EventEntry", "EventProducer", "VersionStep", "build_catalog"]

ProducerKind = Literal["command", "decider", "boundary", "handler", "outbox", "function", "external"]
Evidence = Literal["code", "annotation", "declared", "none"]
ConsumerKind = Literal["read model", "reactor", "relay", "boundary", "external"]
Delivery = Literal["with_checkpoint", "at_least_once", "on_decision", "not_declared"]


class VersionStep(Struct, frozen=True):
    """How one schema version is read.

    Attributes:
        source: stored name and version that are read: `shop.order-placed 1`.
        target: what it becomes; empty if the event is dropped.
        change: what the step does, in words.
        backward: whether it makes an older version, for programs with an older class.
    """

    source: str
    target: str
    change: str
    backward: bool = False


class EventEntry(Struct, frozen=True, kw_only=True):
    """An event type.

    Attributes:
        type: its stored name.
        version: the schema version of its class.
        meaning: the first paragraph of the class's docstring.
        place: module and name of the class.
        former_names: stored names that it had before.
        lock: `locked`; `changed` if the class differs from its lock; `draft`; `not locked` without a folder of locks.
        locked_versions: the versions with a lock.
        fingerprint: the fingerprint of its description.
        retention_s: minimum retention in seconds; None if it is kept.
        schema: JSON Schema of its data.
        example: a generated event; None if none was found.
        steps: the declared upcasters and downcasters of its earlier versions.
    """

    type: str
    version: int
    meaning: str
    place: str
    former_names: tuple[str, ...]
    lock: str
    locked_versions: tuple[int, ...]
    fingerprint: str
    retention_s: float | None
    schema: dict[str, Any]
    example: Any
    steps: tuple[VersionStep, ...]


class EventProducer(Struct, frozen=True, kw_only=True):
    """What makes events.

    Attributes:
        name: `Order.place` for a command, the category of a decider, the name of a boundary
            or handler, module and name of a function.
        kind: what it is.
        events: stored names of the events that it makes.
        evidence: how this is known: from calls in the `code`, from an `annotation` of the result, `declared` in
            pyproject.toml; `none` if nothing was found.
        commands: the classes of the commands that a decider or boundary decides on.
        issues: commands that a handler issues.
    """

    name: str
    kind: ProducerKind
    evidence: Evidence
    events: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    issues: tuple[str, ...] = ()


class EventConsumer(Struct, frozen=True, kw_only=True):
    """What reads events, and what it is promised.

    Attributes:
        name: name of the subscription, boundary or program.
        kind: what it is.
        events: stored names of the event types.
        undeclared: whether it also reads the events of all types that the app does not declare.
        delivery: `with_checkpoint`: rows and checkpoint are written in one transaction. `at_least_once`. `on_decision`:
            it reads the log when it decides, and its append fails if it missed an event. `not_declared`.
        order: the scope in which events arrive in order.
        start: where a new subscription starts; empty if it is none.
        retry: what follows a failure.
        batch: maximum number of events that are recorded together; 0 if it is no reactor.
        timeout_s: timeout for one event in seconds; 0 if there is none.
        versions: the schema versions that an external program reads, each as `shop.order-placed 2`.
    """

    name: str
    kind: ConsumerKind
    delivery: Delivery
    order: Literal["log", "not_declared"]
    events: tuple[str, ...] = ()
    undeclared: bool = False
    start: str = ""
    retry: str = ""
    batch: int = 0
    timeout_s: float = 0
    versions: tuple[str, ...] = ()


class Catalog(Struct, frozen=True, kw_only=True):
    """The catalog of an app.

    Attributes:
        system: name of the app.
        events: its event types by name.
        producers: what makes events, by kind and name.
        consumers: what reads events, by kind and name.
        categories: the categories of the streams that commands and deciders write.
        retired: stored names without a class, which upcasters read as other events, and the steps.
    """

    system: str
    events: tuple[EventEntry, ...]
    producers: tuple[EventProducer, ...]
    consumers: tuple[EventConsumer, ...]
    categories: tuple[str, ...]
    retired: tuple[VersionStep, ...]

    def event(self, type: str) -> EventEntry | None:
        """Return the entry of an event type; None if there is none."""
        return next((each for each in self.events if each.type == type), None)

    def producers_of(self, type: str) -> list[EventProducer]:
        """Return what makes events of a type."""
        return [each for each in self.producers if type in each.events]

    def consumers_of(self, type: str) -> list[EventConsumer]:
        """Return what reads events of a type."""
        return [each for each in self.consumers if type in each.events]


def build_catalog(declarations: Declarations, settings: Settings, locks: Locks | None) -> Catalog:
    """Return the catalog of an app.

    Args:
        declarations: what the app declares.
        settings: the producers and consumers that pyproject.toml declares.
        locks: the locks of its event types; None if there is no folder of locks.

    Raises:
        UsageError: pyproject.toml names an event type that the app does not have.
        DeclarationError: an event type has no description.
    """
    types = sorted(declarations.registry.types.values(), key=lambda each: each.name)
    deciders = (each.category for each in declarations.deciders)
    return Catalog(
        system=declarations.name,
        events=tuple(_event(each, declarations.registry, locks) for each in types),
        producers=_by_name(_producers(declarations, settings)),
        consumers=tuple(sorted(_consumers(declarations, settings), key=lambda each: (each.kind, each.name))),
        categories=tuple(sorted({*declarations.aggregates, *deciders})),
        retired=tuple(map(_step, _retired(declarations.registry))),
    )


def _retired(registry: Registry) -> list[Upcaster]:
    steps = sorted(registry.upcasters.items())
    return [each for _, each in steps if registry.names.current(each.name) not in registry.types]


def _event(declared: EventType, registry: Registry, locks: Locks | None) -> EventEntry:
    description = describe(declared.cls)
    locked, retired = history(locks or {}, declared), {each.name for each in _retired(registry)}
    try:
        generated = example(description)
    except UsageError:
        generated = None
    return EventEntry(
        type=declared.name,
        version=declared.schema_version,
        meaning=_first_paragraph(declared.cls),
        place=f"{declared.cls.__module__}:{declared.cls.__qualname__}",
        former_names=tuple(declared.was),
        lock=lock_state(locks is not None, locked.get(declared.schema_version), description),
        locked_versions=tuple(locked),
        fingerprint=description.fingerprint,
        retention_s=None if declared.retention is None else declared.retention.total_seconds(),
        schema=json_schema(description),
        example=generated,
        steps=tuple(_step(each) for each in registry.steps_to(declared.name) if each.name not in retired),
    )


def _first_paragraph(cls: type) -> str:
    """Return the first paragraph of a docstring; empty if there is none, or only the signature of a dataclass."""
    text = (cls.__doc__ or "").strip()
    generated = text.startswith(f"{cls.__name__}(") and text.endswith(")")
    return "" if generated else " ".join(text.partition("\n\n")[0].split())


def _step(upcaster: Upcaster) -> VersionStep:
    target = ", ".join(upcaster.into or ()) if upcaster.target is None else " ".join(map(str, upcaster.target))
    source = f"{upcaster.name} {upcaster.from_version}"
    return VersionStep(source, target, _change(upcaster), isinstance(upcaster, Downcaster))


def _change(upcaster: Upcaster) -> str:
    if upcaster.into == ():
        return "not read any more"
    return ", ".join(map(_change_in_words, upcaster.steps))


def _change_in_words(step: Any) -> str:
    match step:
        case Renamed():
            return f"{step.old} is renamed to {step.new}"
        case Dropped():
            return f"{step.path} is dropped"
        case Defaulted():
            return f"{step.path} is {canonical_json(step.value)}"
        case _:
            return f"function {getattr(step, '__qualname__', type(step).__name__)}"


# Producers


def _producers(declarations: Declarations, settings: Settings) -> Iterator[EventProducer]:
    read = set[tuple[str, str]]()
    for producer, found in _declared_producers(declarations):
        read |= found.functions
        yield producer
    classes = [each.cls for each in declarations.registry.types.values()]
    for each in publishing_functions(_modules(declarations), classes):
        if each.name not in read:
            kind = "outbox" if each.outbox else "function"
            name = f"{each.name[0].rpartition('.')[2]}.{each.name[1]}"
            yield EventProducer(name=name, kind=kind, events=_stored_names(each.events), evidence="code")
    for name in sorted({each.name for each in settings.producers}):
        named = [each.event for each in settings.producers if each.name == name]
        events = {_known(each, declarations, f"producers]] {name}") for each in named}
        yield EventProducer(name=name, kind="external", events=tuple(sorted(events)), evidence="declared")


def _by_name(producers: Iterable[EventProducer]) -> tuple[EventProducer, ...]:
    """Return producers by kind and name; those that share both are one, with the events of all of them."""
    found: dict[tuple[str, str], EventProducer] = {}
    for each in producers:
        same = found.get((each.kind, each.name), each)
        events, issues = {*same.events, *each.events}, (*same.issues, *each.issues)
        merged = replace(each, events=tuple(sorted(events)), issues=tuple(dict.fromkeys(issues)))
        found[each.kind, each.name] = merged
    return tuple(found[key] for key in sorted(found))


def _declared_producers(declarations: Declarations) -> Iterator[tuple[EventProducer, Emitted]]:
    for aggregate in declarations.aggregates.values():
        for name, command in _commands(aggregate).items():
            found = emitted_by(command.function, aggregate)
            yield _producer(f"{aggregate.__qualname__}.{name}", "command", found), found
    for decider in declarations.deciders:
        yield _decision(decider.category, "decider", decider.decide)
    for boundary in declarations.boundaries:
        yield _decision(boundary.name, "boundary", boundary.decide)
    for reactor in declarations.reactors.values():
        found = emitted_by(reactor.handler)
        if found.events or found.commands:
            yield _producer(reactor.name, "handler", found, "code", issues=tuple(found.commands)), found


def _commands(aggregate: type) -> dict[str, Command]:
    members = [item for cls in reversed(aggregate.__mro__) for item in vars(cls).items()]
    return {name: value for name, value in members if isinstance(value, Command)}


def _decision(name: str, kind: ProducerKind, decide: Any) -> tuple[EventProducer, Emitted]:
    found, annotated = emitted_by(decide), annotated_result(decide)
    evidence = "code" if found.events else "annotation" if annotated else "none"
    found.events.update(dict.fromkeys(annotated))
    return _producer(name, kind, found, evidence, commands=class_names(decide, 0)), found


def _producer(
    name: str, kind: ProducerKind, found: Emitted, evidence: Evidence | None = None, **options: Any
) -> EventProducer:
    known = evidence or ("code" if found.events else "none")
    return EventProducer(name=name, kind=kind, events=_stored_names(found.events), evidence=known, **options)


def _stored_names(classes: Iterable[type]) -> tuple[str, ...]:
    return tuple(sorted({declared.name for cls in classes if (declared := event_type(cls))}))


def _modules(declarations: Declarations) -> set[str]:
    """Return the modules in which the app's declarations are."""
    functions = [each.handler for each in declarations.reactors.values()]
    functions += [each.decide for each in (*declarations.deciders, *declarations.boundaries)]
    classes = [each.cls for each in (*declarations.registry.types.values(), *declarations.read_models.values())]
    return {each.__module__ for each in (*functions, *classes, *declarations.aggregates.values())}


def _known(event: str, declarations: Declarations, entry: str) -> str:
    """Return the current name of an event type that pyproject.toml names."""
    name = declarations.registry.names.current(event)
    if name not in declarations.registry.types:
        raise UsageError(
            f"[[tool.fait.{entry} in pyproject.toml names the event type {event!r}, which the app "
            f"{declarations.name!r} does not have. Correct the entry, or include the event class in the app."
        )
    return name


# Consumers


def _consumers(declarations: Declarations, settings: Settings) -> Iterator[EventConsumer]:
    for model in declarations.read_models.values():
        yield EventConsumer(
            name=model.name,
            kind="read model",
            events=_stored_names(model.events),
            undeclared=Untyped in model.events,
            delivery="with_checkpoint",
            order="log",
            start="beginning",
            retry=_retry(model.policy, "key"),
        )
    yield from map(_reactor, declarations.reactors.values())
    for relay in declarations.relays.values():
        yield _relay(relay, declarations)
    for boundary in declarations.boundaries:
        events = _stored_names(boundary.events)
        yield EventConsumer(name=boundary.name, kind="boundary", events=events, delivery="on_decision", order="log")
    for name in sorted({each.name for each in settings.consumers}):
        entries = [each for each in settings.consumers if each.name == name]
        yield _external(
            name, {(_known(each.event, declarations, f"consumers]] {name}"), each.version) for each in entries}
        )


def _external(name: str, reads: set[tuple[str, int]]) -> EventConsumer:
    return EventConsumer(
        name=name,
        kind="external",
        events=tuple(sorted({event for event, _ in reads})),
        delivery="not_declared",
        order="not_declared",
        versions=tuple(f"{event} {version}" for event, version in sorted(reads)),
    )


def _reactor(reactor: ReactorDefinition) -> EventConsumer:
    return EventConsumer(
        name=reactor.name,
        kind="reactor",
        events=_stored_names(reactor.events),
        undeclared=Untyped in reactor.events,
        delivery="at_least_once",
        order="log",
        start=reactor.start,
        retry=_retry(reactor.policy, "stream"),
        batch=reactor.batch,
        timeout_s=reactor.timeout_s,
    )


def _relay(relay: RelayDefinition, declarations: Declarations) -> EventConsumer:
    events = relay.events or [each.cls for each in declarations.registry.types.values()]
    return EventConsumer(
        name=relay.name,
        kind="relay",
        events=_stored_names(events),
        delivery="at_least_once",
        order="log",
        start=relay.start,
        retry=_retry_of_relay(relay.policy),
    )


def _retry_of_relay(policy: FailurePolicy) -> str:
    error = _retry(policy, "key")
    if policy.attempts != 1:
        error = f"a message that the broker refuses: {_last(policy, 'key')} at once; another error: {error}"
    return f"{error}; an outage is retried without limit"


def _retry(policy: FailurePolicy, key: str) -> str:
    """Return what follows an event that cannot be handled; `key` says what decides which events wait for it."""
    if policy.attempts == 1:
        return f"none: {_last(policy, key)} at once"
    delays = f"retry after {policy.initial_s:g} s to {policy.max_s:g} s"
    if policy.attempts is None:
        return f"{delays}, without limit"
    return f"{delays}, {policy.attempts} attempts, then {_last(policy, key)}"


def _last(policy: FailurePolicy, key: str) -> str:
    return {
        "park": f"the {key} is parked",
        "skip": "the event is skipped and logged",
        "stop": "the subscription is paused",
    }[policy.then]
