"""The declarations of an app: event types, upcasters, folds, read models and reactors, checked against each other.

`resolve` registers the included objects when an app is opened: by then, all names in their annotations are defined.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any, cast

from fait._decisions.aggregate import Aggregate, describe_aggregate, fold_definition_of
from fait._decisions.boundary import Boundary
from fait._decisions.decider import Decider, FoldDefinition, fold_definition_of_decider
from fait._decisions.snapshot import state_decoder
from fait._errors import DeclarationError
from fait._events.event import event_type
from fait._events.registry import Registry
from fait._events.upcast import Upcaster
from fait._subscriptions.reactor import ReactorDefinition
from fait._subscriptions.read_model import ReadModel, definition_of

__all__ = ["Declarations"]


class Declarations:
    """Everything that an app includes.

    Attributes:
        registry: event types and upcasters.
        aggregates: by category.
        read_models: by table name.
        reactors: by subscription name.
    """

    def __init__(self) -> None:
        self.registry: Registry = Registry()
        self.aggregates: dict[str, type[Aggregate]] = {}
        self.read_models: dict[str, type[ReadModel]] = {}
        self.reactors: dict[str, ReactorDefinition] = {}
        self._deferred: list[Any] = []

    def include(self, thing: Any) -> None:
        """Include an object, or all declarations that a module defines itself. `resolve` registers them."""
        if isinstance(thing, ModuleType):
            self._deferred.extend(_defined_in(thing))
        elif _is_declared(thing):
            self._deferred.append(thing)
        else:
            raise DeclarationError(
                "include takes aggregates, deciders, boundaries, read models, events, upcasters and modules, not "
                f"{thing!r}"
            )

    def add_reactor(self, reactor: ReactorDefinition) -> None:
        """Register a reactor. Two reactors of one name are an error."""
        if not reactor.events:
            raise DeclarationError("on(...) needs the events to handle: @app.on(OrderPlaced)")
        if self.reactors.setdefault(reactor.name, reactor) is not reactor:
            raise DeclarationError(
                f"two reactors are named {reactor.name!r}: name one of them explicitly, with @app.on(..., name='...')"
            )

    def resolve(self) -> None:
        """Register everything that was included, and check that it fits together."""
        while self._deferred:
            self._add(self._deferred.pop(0))
        for reactor in self.reactors.values():
            self.registry.handled_types(reactor.events, f"handler {reactor.name!r}")
        self.registry.check()
        if names := self.reactors.keys() & self.read_models.keys():
            raise DeclarationError(
                f"a reactor and a read model are both named {names.pop()!r}: rename the new one, with "
                "@app.on(..., name='...') or table='...'"
            )

    def _add(self, thing: Any) -> None:
        if isinstance(thing, Upcaster):
            self.registry.add_upcaster(thing)
        elif isinstance(thing, Decider):
            decider = cast("Decider[Any, Any, Any]", thing)
            self._add_fold(fold_definition_of_decider(decider), decider.evolve)
        elif isinstance(thing, Boundary):
            boundary = cast("Boundary[Any, Any, Any]", thing)
            self._add_folded_events(boundary.events, boundary.evolve)
        elif issubclass(thing, Aggregate):
            description = describe_aggregate(thing)
            if self.aggregates.setdefault(description.category, thing) is not thing:
                raise DeclarationError(
                    f"two aggregates have the category {description.category!r}: "
                    f"{_full_name(self.aggregates[description.category])} and {_full_name(thing)}. Rename one "
                    "category, or include only one of them."
                )
            self._add_fold(fold_definition_of(thing), cast("Any", thing).evolve)
        elif issubclass(thing, ReadModel):
            definition = definition_of(thing)
            if self.read_models.setdefault(definition.name, thing) is not thing:
                raise DeclarationError(
                    f"two read models have the table {definition.name!r}: "
                    f"{_full_name(self.read_models[definition.name])} and {_full_name(thing)}. Name one table "
                    "explicitly, with table='...', or include only one of them."
                )
            self.registry.handled_types(definition.events, f"{thing.__qualname__}.evolve")
        else:
            self.registry.add(thing)

    def _add_fold(self, definition: FoldDefinition[Any], evolve: Any) -> None:
        self._add_folded_events(definition.events, evolve)
        if definition.snapshots is not None:
            state_decoder(definition.snapshots)

    def _add_folded_events(self, events: Sequence[type], evolve: Any) -> None:
        """Register events that a decision folds. They must not expire: dropping one would change the state."""
        for name in sorted(self.registry.handled_types(events, evolve.__qualname__).types):
            if self.registry.types[name].retention is not None:
                raise DeclarationError(
                    f"{self.registry.types[name]!r} expires, and a decision folds it: the state would change when the "
                    "message is dropped. Fold events that do not expire, and let a reactor publish the message."
                )


def _defined_in(module: ModuleType) -> list[Any]:
    """Return the declarations that a module defines itself, without those it imports."""
    members: list[Any] = list(vars(module).values())
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
