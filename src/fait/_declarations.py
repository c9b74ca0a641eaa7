"""The declarations of an app: event types, upcasters, folds and subscriptions, checked against each other.

`resolve` computes them from the objects that an app included, without changing anything, so a failed resolution leaves
nothing behind. It runs when the app is used: by then, all names in the annotations of the objects are defined.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType, ModuleType
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Struct

from fait._decisions.aggregate import Aggregate, describe_aggregate, fold_definition_of
from fait._decisions.boundary import Boundary
from fait._decisions.decider import Decider, SnapshotPolicy, fold_definition_of_decider
from fait._decisions.snapshot import state_decoder
from fait._delivery.inbox.consumer import ConsumerDefinition
from fait._delivery.relay.definition import RelayDefinition
from fait._delivery.relay.published_versions import check_published_versions
from fait._errors import DeclarationError, UsageError
from fait._events.codec import Codec
from fait._events.event import event_type
from fait._events.registry import Registry, build_registry, check_event_classes, declaration_of
from fait._events.upcast import Upcaster, declared_in_module
from fait._subscriptions.reactor import ReactorDefinition
from fait._subscriptions.read_model import ReadModel, ReadModelDefinition, definition_of

__all__ = ["Declarations", "declared_objects", "resolve"]

T = TypeVar("T")


class Declarations(Struct, frozen=True, eq=False, kw_only=True):
    """Everything that an app declares.

    Attributes:
        name: name of the app.
        codec: encodes and decodes events with the registry of the app.
        aggregates: by category.
        deciders: in the order of inclusion.
        boundaries: in the order of inclusion.
        read_models: by table name.
        reactors: by subscription name.
        relays: by subscription name.
        consumers: by subscription name.
    """

    name: str
    codec: Codec
    aggregates: Mapping[str, type[Aggregate]]
    deciders: tuple[Decider[Any, Any, Any], ...]
    boundaries: tuple[Boundary[Any, Any, Any], ...]
    read_models: Mapping[str, ReadModelDefinition]
    reactors: Mapping[str, ReactorDefinition]
    relays: Mapping[str, RelayDefinition] = MappingProxyType({})
    consumers: Mapping[str, ConsumerDefinition] = MappingProxyType({})

    @property
    def registry(self) -> Registry:
        """Event types and upcasters."""
        return self.codec.registry

    def read_model(self, table: str) -> ReadModelDefinition:
        """Return the read model with this table; raise `UsageError` if there is none."""
        if table not in self.read_models:
            tables = ", ".join(sorted(self.read_models)) or "none"
            raise UsageError(f"the app {self.name!r} has no read model {table!r}. Its read models: {tables}")
        return self.read_models[table]

    @property
    def subscriptions(self) -> list[str]:
        """The names of all subscriptions, sorted."""
        return sorted({*self.read_models, *self.reactors, *self.relays, *self.consumers})

    @property
    def published_versions(self) -> set[tuple[str, int]]:
        """The schema versions in which relays publish events, with the names of their types."""
        versions = [pair for each in self.relays.values() for pair in each.versions.items()]
        return {(declaration_of(cls).name, version) for cls, version in versions}

    def only(
        self,
        *,
        read_models: Iterable[str] = (),
        reactors: Iterable[str] = (),
        relays: Iterable[str] = (),
        consumers: Iterable[str] = (),
    ) -> "Declarations":
        """Return declarations with these subscriptions only; the rest is the same.

        Raises:
            UsageError: the app has no read model with one of these tables.
        """
        chosen = {table: self.read_model(table) for table in read_models}
        handlers = {name: self.reactors[name] for name in reactors}
        kept = {name: self.relays[name] for name in relays}
        readers = {name: self.consumers[name] for name in consumers}
        return msgspec.structs.replace(
            self,
            read_models=MappingProxyType(chosen),
            reactors=MappingProxyType(handlers),
            relays=MappingProxyType(kept),
            consumers=MappingProxyType(readers),
        )


def declared_objects(thing: Any) -> list[Any]:
    """Return what including an object declares: itself, or all declarations that a module defines itself."""
    if isinstance(thing, ModuleType):
        return _defined_in(thing)
    if _is_declared(thing):
        return [thing]
    raise DeclarationError(
        f"include takes aggregates, deciders, boundaries, read models, events, upcasters and modules, not {thing!r}"
    )


def resolve(name: str, included: Iterable[Any]) -> Declarations:
    """Return the declarations of an app.

    Args:
        name: name of the app.
        included: the included objects, reactors and relays, in order; an object may be included several times.

    Raises:
        DeclarationError: an object is invalid, or some contradict each other.
    """
    objects = {id(each): each for each in included}.values()
    classes: list[type] = [each for each in objects if isinstance(each, type)]
    aggregates = _aggregates_by_category(each for each in classes if issubclass(each, Aggregate))
    read_models = _read_models_by_table(each for each in classes if issubclass(each, ReadModel))
    reactors = {each.name: each for each in _instances(objects, ReactorDefinition)}
    relays = {each.name: each for each in _instances(objects, RelayDefinition)}
    consumers = {each.name: each for each in _instances(objects, ConsumerDefinition)}
    deciders = _instances(objects, cast("type[Decider[Any, Any, Any]]", Decider))
    boundaries = _instances(objects, cast("type[Boundary[Any, Any, Any]]", Boundary))
    folded = list(_events_of_decisions(aggregates.values(), deciders, boundaries))
    handled = list(
        _events_of_subscriptions(read_models.values(), reactors.values(), relays.values(), consumers.values())
    )
    events = [each for each in classes if event_type(each) is not None]
    registry = build_registry([*folded, *handled, *events], _instances(objects, Upcaster))
    _check_folded(folded)
    for each in relays.values():
        if each.versions:
            check_published_versions(each, registry)
    _check_snapshots(aggregates.values(), deciders)
    _check_names(reactors, read_models, relays, consumers)
    return Declarations(
        name=name,
        codec=Codec(registry),
        aggregates=MappingProxyType(aggregates),
        deciders=deciders,
        boundaries=boundaries,
        read_models=MappingProxyType(read_models),
        reactors=MappingProxyType(reactors),
        relays=MappingProxyType(relays),
        consumers=MappingProxyType(consumers),
    )


def _instances(objects: Iterable[Any], cls: type[T]) -> tuple[T, ...]:
    return tuple(each for each in objects if isinstance(each, cls))


def _aggregates_by_category(classes: Iterable[type[Aggregate]]) -> dict[str, type[Aggregate]]:
    aggregates: dict[str, type[Aggregate]] = {}
    for each in classes:
        category = describe_aggregate(each).category
        if (other := aggregates.setdefault(category, each)) is not each:
            raise DeclarationError(
                f"two aggregates have the category {category!r}: {_full_name(other)} and {_full_name(each)}. Rename "
                "one category, or include only one of them."
            )
    return aggregates


def _read_models_by_table(classes: Iterable[type[ReadModel]]) -> dict[str, ReadModelDefinition]:
    """Return the definitions by table. Names that differ only in case are one table in SQLite, so all stores refuse."""
    read_models: dict[str, ReadModelDefinition] = {}
    for definition in map(definition_of, classes):
        # fault: table-names-by-case
        if (other := read_models.setdefault(definition.name.lower(), definition)) is not definition:
            raise DeclarationError(
                f"two read models have the table {definition.name!r}, upper and lower case being the same: "
                f"{_full_name(other.cls)} and {_full_name(definition.cls)}. Name one table explicitly, with "
                "table='...', or include only one of them."
            )
    return {each.name: each for each in read_models.values()}


def _events_of_decisions(
    aggregates: Iterable[type[Aggregate]],
    deciders: Iterable[Decider[Any, Any, Any]],
    boundaries: Iterable[Boundary[Any, Any, Any]],
) -> Iterator[type]:
    for aggregate in aggregates:
        yield from check_event_classes(fold_definition_of(aggregate).events, cast("Any", aggregate).evolve.__qualname__)
    for decider in deciders:
        yield from check_event_classes(fold_definition_of_decider(decider).events, decider.evolve.__qualname__)
    for boundary in boundaries:
        yield from check_event_classes(boundary.events, boundary.evolve.__qualname__)


def _events_of_subscriptions(
    read_models: Iterable[ReadModelDefinition],
    reactors: Iterable[ReactorDefinition],
    relays: Iterable[RelayDefinition],
    consumers: Iterable[ConsumerDefinition],
) -> Iterator[type]:
    for read_model in read_models:
        yield from check_event_classes(read_model.events, f"{read_model.cls.__qualname__}.evolve")
    for reactor in reactors:
        yield from check_event_classes(reactor.events, f"handler {reactor.name!r}")
    for relay in relays:
        yield from check_event_classes(relay.events, f"relay {relay.name!r}")
    for consumer in consumers:
        yield from check_event_classes(consumer.events, f"consumer {consumer.name!r}")


def _check_folded(events: Iterable[type]) -> None:
    """Check that events that a decision folds do not expire: dropping one would change the state."""
    for cls in events:
        declared = event_type(cls)
        if declared is not None and declared.retention is not None:
            raise DeclarationError(
                f"{declared!r} expires, and a decision folds it: the state would change when the message is dropped. "
                "Fold events that do not expire, and let a reactor publish the message."
            )


def _check_snapshots(aggregates: Iterable[type[Aggregate]], deciders: Iterable[Decider[Any, Any, Any]]) -> None:
    """Check that JSON can represent the states of which snapshots are saved."""
    policies: list[SnapshotPolicy | None] = [
        *(fold_definition_of(each).snapshots for each in aggregates),
        *(fold_definition_of_decider(each).snapshots for each in deciders),
    ]
    for policy in policies:
        if policy is not None:
            state_decoder(policy)


def _check_names(*subscriptions: Iterable[str]) -> None:
    for name, count in Counter(name for names in subscriptions for name in names).items():
        if count > 1:
            raise DeclarationError(
                f"two subscriptions are named {name!r}: rename the new one, with name='...' or table='...'"
            )


def _defined_in(module: ModuleType) -> list[Any]:
    """Return the declarations that a module defines itself, without those it imports."""
    members: list[Any] = [*vars(module).values(), *declared_in_module(module.__name__)]
    return [
        each
        for each in members
        if isinstance(each, Upcaster | Decider | Boundary)
        or (_is_declared(each) and getattr(each, "__module__", None) == module.__name__)
    ]


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _is_declared(thing: Any) -> bool:
    if isinstance(thing, Upcaster | Decider | Boundary):
        return True
    return isinstance(thing, type) and (
        event_type(thing) is not None
        or (issubclass(thing, Aggregate) and thing is not Aggregate)
        or (issubclass(thing, ReadModel) and thing is not ReadModel)
    )
