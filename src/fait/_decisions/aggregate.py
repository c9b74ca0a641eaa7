"""Aggregates: a decider written as a class. Fields are the state, public methods are commands, `evolve` is the fold.

    class Order(fait.Aggregate, category="order"):
        status: Literal["new", "placed"] = "new"

        def place(self, customer_id: str) -> None:              # command: check, then emit
            if self.status != "new":
                raise fait.Rejected("this order was already placed")
            self.emit(OrderPlaced(customer_id))

        def evolve(self, event: OrderPlaced) -> None:           # event: change the state, never reject
            self.status = "placed"

An aggregate is a slotted struct whose fields all have defaults. So an undeclared attribute cannot be set, and the state
before the first event is always defined.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast, dataclass_transform

import msgspec
from msgspec import Struct, field

from fait._arguments import check_iterable, check_type
from fait._decisions.decider import DecidedEvent, FoldDefinition, SnapshotPolicy
from fait._errors import DeclarationError, UsageError
from fait._events.annotation import annotated_events, local_names
from fait._events.codec import copy_event, encode_data
from fait._events.envelope import Untyped
from fait._events.event import event_type, not_an_event
from fait._events.stream import check_stream, check_tags

__all__ = [
    "Aggregate",
    "Command",
    "command_of",
    "describe_aggregate",
    "fold",
    "fold_definition_of",
    "pending_events",
    "set_version",
]

A = TypeVar("A", bound="Aggregate")
E_contra = TypeVar("E_contra", contravariant=True)
E = TypeVar("E")

_RESERVED = {"id", "version", "emit", "evolve"}


class SupportsEvolve(Protocol[E_contra]):
    """An object with `evolve`. It may emit the events that its `evolve` accepts."""

    def evolve(self, event: E_contra, /) -> None:
        """Apply an event to the state."""
        ...


class Command:
    """A public method of an aggregate together with the class it was accessed through.

    `Order.place` is a `Command`; `order.place` is an ordinary bound method.
    """

    __slots__ = ("__wrapped__", "aggregate", "function")

    def __init__(self, function: FunctionType, aggregate: "type[Aggregate] | None" = None) -> None:
        self.function = function
        self.aggregate = aggregate
        self.__wrapped__ = function

    def __get__(self, instance: object, owner: "type[Aggregate]") -> Any:
        """Return a command for a class, a bound method for an instance."""
        return Command(self.function, owner) if instance is None else MethodType(self.function, instance)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the method; the first argument is the aggregate."""
        return self.function(*arguments, **named)

    def arguments(self, positional: Iterable[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        """Return a call's arguments by name, as recorded in the metadata; surplus positional ones are under `*`.

        Defaults are included, so that it does not matter whether a call passes them.
        """
        names, defaults = _parameters(self.function)
        values = tuple(positional)
        surplus = {"*": values[len(names) :]} if len(values) > len(names) else {}
        given = {**dict(zip(names, values, strict=False)), **surplus, **named}
        # fault: defaults-not-recorded
        return given | defaults | given if defaults else given


@lru_cache(1024)
def _parameters(function: FunctionType) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the names of a command's positional parameters without `self`, and the defaults of all parameters.

    A decorated command has the parameters of the function that the decorator has wrapped.
    """
    while isinstance(inner := getattr(function, "__wrapped__", None), FunctionType):
        function = inner
    names = function.__code__.co_varnames[1 : function.__code__.co_argcount]
    defaults = dict(zip(reversed(names), reversed(function.__defaults__ or ()), strict=False))
    return names, defaults | (function.__kwdefaults__ or {})


if TYPE_CHECKING:

    @dataclass_transform(kw_only_default=True, field_specifiers=(field,))
    class Aggregate:
        """Base class of aggregates: fields are the state, public methods are commands, `evolve` is the fold.

        Class options:
            category: category of its streams: with "order", the stream of id "7" is `order-7`.
            snapshot_every: save a snapshot after this many events since the last one, so that loading need not start at
                version 1; None, the default: never. Useful for streams of hundreds of events or more.

        Attributes:
            id: the part of the stream's name after the category.
            version: version of the stream when the state was loaded; 0: the stream does not exist.

        Every field needs a default, which is its value before the first event. A command checks the state and emits
        events; it may run again after a version conflict, so it must have no other effects. `evolve` changes the state
        and must not raise; its annotation lists the events that the aggregate accepts.

        Example:
            class Order(fait.Aggregate, category="order", snapshot_every=500):
                status: Literal["new", "placed"] = "new"

                def place(self, customer_id: str) -> None:
                    if self.status != "new":
                        raise fait.Rejected("the order was already placed")
                    self.emit(OrderPlaced(customer_id))

                def evolve(self, event: OrderPlaced) -> None:
                    self.status = "placed"
        """

        def __init_subclass__(cls, *, category: str, snapshot_every: int | None = None) -> None:
            """Declare an aggregate.

            Args:
                category: category of its streams; see the class options. It contains no hyphen.
                snapshot_every: number of events after which a new snapshot is saved; see the class options.
            """

        @property
        def id(self) -> str:
            """The id: the part of the stream's name after the category."""
            ...

        @property
        def version(self) -> int:
            """The stream's version when the state was loaded; 0 if there is no stream."""
            ...

        def emit(self: SupportsEvolve[E], event: E, /, *, tags: Iterable[str] = ()) -> None:
            """Record an event: encode it and apply it to the state now, and append it when the command returns.

            Args:
                event: an event of a class that `evolve` handles.
                tags: further entities that the event belongs to, each as "kind:id".

            Raises:
                UsageError: this is not an event, or `evolve` does not handle its class. Nothing was written.
                InvalidValue: the event cannot be stored. Nothing was written.
            """

else:

    class _Hidden:
        __slots__ = ("_id", "_pending", "_version")

    class _AggregateMeta(type(Struct)):
        def __new__(mcs, name, bases, namespace, *, category=None, snapshot_every=None, **options):
            names = local_names(1)
            for attribute, value in list(namespace.items()):
                if isinstance(value, FunctionType) and not attribute.startswith("_") and attribute not in _RESERVED:
                    namespace[attribute] = Command(value)
            cls = super().__new__(mcs, name, bases, namespace, kw_only=True, **options)
            if namespace.get("__module__") != __name__:
                _check_declaration(cls, namespace, category, snapshot_every, names)
            return cls

    class Aggregate(_Hidden, Struct, metaclass=_AggregateMeta):
        """Base class of aggregates: fields are the state, public methods are commands, `evolve` is the fold.

        Class options:
            category: category of its streams: with "order", the stream of id "7" is `order-7`.
            snapshot_every: save a snapshot after this many events since the last one, so that loading need not start at
                version 1; None, the default: never. Useful for streams of hundreds of events or more.

        Attributes:
            id: the part of the stream's name after the category.
            version: version of the stream when the state was loaded; 0: the stream does not exist.

        Every field needs a default, which is its value before the first event. A command checks the state and emits
        events; it may run again after a version conflict, so it must have no other effects. `evolve` changes the state
        and must not raise; its annotation lists the events that the aggregate accepts.

        Example:
            class Order(fait.Aggregate, category="order", snapshot_every=500):
                status: Literal["new", "placed"] = "new"

                def place(self, customer_id: str) -> None:
                    if self.status != "new":
                        raise fait.Rejected("the order was already placed")
                    self.emit(OrderPlaced(customer_id))

                def evolve(self, event: OrderPlaced) -> None:
                    self.status = "placed"
        """

        def __post_init__(self):
            self._pending = []
            self._id = ""
            self._version = 0

        @property
        def id(self):
            """The id: the part of the stream's name after the category."""
            return self._id

        @property
        def version(self):
            """The stream's version when the state was loaded; 0 if there is no stream."""
            return self._version

        def emit(self, event, /, *, tags=()):
            """Record an event: encode it and apply it to the state now, and append it when the command returns.

            Args:
                event: an event of a class that `evolve` handles.
                tags: further entities that the event belongs to, each as "kind:id".

            Raises:
                UsageError: this is not an event, or `evolve` does not handle its class. Nothing was written.
                InvalidValue: the event cannot be stored. Nothing was written.
            """
            description = describe_aggregate(type(self))
            if type(event) not in description.fold.events:
                if event_type(type(event)) is None and not isinstance(event, Untyped):
                    raise not_an_event(event)
                raise UsageError(
                    f"{type(self).__name__}.evolve does not handle {type(event).__name__}: add it to the annotation of "
                    "its event parameter. Nothing was written."
                )
            # The state gets a copy, so that it shares no list with the stored event, nor with the command's arguments.
            decided = DecidedEvent(event, encode_data(event), check_tags(tags))
            # fault: event-shared-with-state
            self.evolve(copy_event(event, decided.data))
            self._pending.append(decided)


class _Description:
    """The declaration of an aggregate. Its events are resolved at first use, when all names are defined."""

    def __init__(self, cls: type, category: str, snapshot_every: int | None, names: Mapping[str, Any]) -> None:
        self.cls = cls
        self.category = category
        self.snapshots = None
        if snapshot_every is not None:
            self.snapshots = SnapshotPolicy(snapshot_every, cast("Any", cls).evolve, cls, cls, names, _with_id)
        self._names = names

    @cached_property
    def fold(self) -> FoldDefinition[Any]:
        """The fold definition."""
        cls: Any = self.cls
        return FoldDefinition(
            self.category, annotated_events(cls.evolve, 1, self._names), self._initial, _evolve, self.snapshots,
            set_version,
        )  # fmt: skip

    def _initial(self, id: str) -> Any:
        return _with_id(self.cls(), id)


_DESCRIPTION = "__fait_aggregate__"


def describe_aggregate(cls: "type[Aggregate]") -> _Description:
    """Return the declaration of an aggregate: its category, events and snapshot policy.

    Raises:
        DeclarationError: the class is not a declared aggregate.
    """
    description = cls.__dict__.get(_DESCRIPTION)
    if description is None:
        raise DeclarationError(
            f"{cls.__qualname__} is not an aggregate. Declare it as "
            f'class {cls.__name__}(fait.Aggregate, category="...")'
        )
    return cast("_Description", description)


def command_of(function: object) -> Command:
    """Return the value if it is a command.

    Raises:
        UsageError: it is not.
    """
    if isinstance(function, Command) and function.aggregate is not None:
        return function
    raise UsageError(
        "expected a command, a public method accessed through its class, as in transact(Order.place, id, ...); got a "
        f"{type(function).__name__}. Nothing was written."
    )


def fold_definition_of(cls: "type[A]") -> FoldDefinition[A]:
    """Return the fold definition of an aggregate."""
    check_type("an aggregate", cls, type, "a class of aggregates, or a Decider")
    return describe_aggregate(cls).fold


def fold(cls: "type[A]", events: Iterable[object], *, id: str = "") -> A:
    """Fold events into an aggregate, without a store. Useful in tests.

    Args:
        cls: the aggregate's class.
        events: events that its `evolve` handles, in order.
        id: the aggregate's id.

    Returns:
        The aggregate after the last event. Its `version` is 0, as it was not loaded from a stream.
    """
    state = fold_definition_of(cls).initial(id)
    for event in check_iterable("events", events, "a collection of events"):
        _evolve(state, event)
    return state


def pending_events(state: "Aggregate") -> list[DecidedEvent]:
    """Return the events that a command has emitted."""
    return cast("list[DecidedEvent]", cast("Any", state)._pending)


def set_version(state: "Aggregate", version: int) -> None:
    """Set the stream version that a state was loaded at."""
    cast("Any", state)._version = version


def _evolve(state: Any, event: object) -> Any:
    state.evolve(event)
    return state


def _with_id(state: Any, id: str) -> Any:
    state._id = id
    return state


def _check_declaration(
    cls: Any, namespace: dict[str, Any], category: str | None, snapshot_every: int | None, names: Mapping[str, Any]
) -> None:
    if category is None:
        raise DeclarationError(
            f'{cls.__qualname__} needs a category: class {cls.__name__}(fait.Aggregate, category="...")'
        )
    if "-" in check_stream(category):
        raise DeclarationError(
            f"{cls.__qualname__}: the category {category!r} contains '-', which separates category and id in the name "
            f"of a stream. Choose another category"
        )
    if not callable(getattr(cls, "evolve", None)):
        raise DeclarationError(
            f"{cls.__qualname__} needs `def evolve(self, event: ...) -> None`, which applies an event to the state"
        )
    if "__post_init__" in namespace:
        raise DeclarationError(
            f"{cls.__qualname__} defines __post_init__, but only events change the state of an aggregate. Give its "
            f"fields defaults instead"
        )
    reserved = sorted(_RESERVED.difference(("evolve",)).intersection(namespace.get("__annotations__", ())))
    if reserved:
        raise DeclarationError(
            f"{cls.__qualname__}: fait.Aggregate reserves the names {', '.join(reserved)}; rename the fields"
        )
    missing = [each.name for each in msgspec.structs.fields(cls) if each.required]
    if missing:
        raise DeclarationError(
            f"{cls.__qualname__}: fields without a default: {', '.join(missing)}. Give each of them a default, "
            f"its value before the first event"
        )
    setattr(cls, _DESCRIPTION, _Description(cls, category, snapshot_every, names))
