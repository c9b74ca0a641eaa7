"""An aggregate is a decision as a class: fields are its state, public methods are commands, `evolve` is the fold.

    class Order(fait.Aggregate, category="order"):
        status: Literal["new", "placed"] = "new"

        def place(self, customer_id: str) -> None:              # command: check, then emit
            if self.status != "new":
                raise fait.Rejected("this order was placed before")
            self.emit(OrderPlaced(customer_id))

        def evolve(self, event: OrderPlaced) -> None:           # fact: change, never refuse
            self.status = "placed"

State is slotted and every field has a default: what is not declared cannot be set, and what it is before the first
event is always said.
"""

from collections.abc import Iterable, Mapping
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast, dataclass_transform

import msgspec
from msgspec import Struct, field

from fait._decisions.decider import DecidedEvent, FoldDefinition, SnapshotPolicy
from fait._errors import DeclarationError, UsageError
from fait._events.annotation import annotated_events, local_names
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
    """Whatever has an `evolve`: what it takes is what may be emitted."""

    def evolve(self, event: E_contra, /) -> None:
        """Change the state as the event says."""
        ...


class Command:
    """A public method of an aggregate, which knows the class it was reached through.

    `Order.place` is one, `order.place` an ordinary bound method.
    """

    __slots__ = ("__wrapped__", "aggregate", "function")

    def __init__(self, function: FunctionType, aggregate: "type[Aggregate] | None" = None) -> None:
        self.function = function
        self.aggregate = aggregate
        self.__wrapped__ = function

    def __get__(self, instance: object, owner: "type[Aggregate]") -> Any:
        """The command of a class, the method of an instance."""
        return Command(self.function, owner) if instance is None else MethodType(self.function, instance)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Run it on an aggregate given as the first argument."""
        return self.function(*arguments, **named)

    @property
    def name(self) -> str:
        """`category.method`, as it is recorded."""
        category = describe_aggregate(self.aggregate).category if self.aggregate else "?"
        return f"{category}.{self.function.__name__}"

    def arguments(self, given: Iterable[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name, as they are recorded."""
        code = self.function.__code__
        names = code.co_varnames[1 : code.co_argcount]
        values = tuple(given)
        rest = {"*": values[len(names) :]} if len(values) > len(names) else {}
        return {**dict(zip(names, values, strict=False)), **rest, **named}


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
                category: of its streams: "order" for `order-7`.
                snapshot_every: keep the state when so many events have come since it was last kept, so that loading
                    need not begin at the first event; None = never. Worth it for streams of hundreds of events.
            """

        @property
        def id(self) -> str:
            """The part of the stream's name after the category."""
            ...

        @property
        def version(self) -> int:
            """Of the last event folded into the state when it was loaded; 0 = no stream."""
            ...

        def emit(self: SupportsEvolve[E], event: E, /, *, tags: Iterable[str] = ()) -> None:
            """Say that something has happened: the state changes now, the event is stored when the command is done.

            Args:
                event: what has happened; one that `evolve` takes.
                tags: the other things it belongs to, as "kind:id".
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
            """The part of the stream's name after the category."""
            return self._id

        @property
        def version(self):
            """Of the last event folded into the state when it was loaded; 0 = no stream."""
            return self._version

        def emit(self, event, /, *, tags=()):
            """Say that something has happened."""
            description = describe_aggregate(type(self))
            if type(event) not in description.events:
                raise UsageError(
                    f"{type(self).__name__}.evolve does not take {type(event).__name__}: add it to its annotation. "
                    "Nothing was written."
                )
            self.evolve(event)
            self._pending.append(DecidedEvent(event, check_tags(tags)))


class _Description:
    """What a class statement said; the events are found out at first use, when all names are defined."""

    def __init__(self, cls: type, category: str, snapshot_every: int | None, names: Mapping[str, Any]) -> None:
        self.cls = cls
        self.category = category
        self.snapshots = None
        if snapshot_every is not None:
            self.snapshots = SnapshotPolicy(snapshot_every, cast("Any", cls).evolve, cls, cls, names, _with_id)
        self._names = names
        self._events: tuple[type, ...] | None = None

    @property
    def events(self) -> tuple[type, ...]:
        if self._events is None:
            self._events = annotated_events(self.cls.evolve, 1, self._names)  # type: ignore[attr-defined]
        return self._events


_DESCRIPTION = "__fait_aggregate__"


def describe_aggregate(cls: "type[Aggregate]") -> _Description:
    """Category and events of an aggregate."""
    found = cls.__dict__.get(_DESCRIPTION)
    if found is None:
        raise DeclarationError(
            f"{cls.__qualname__} is not an aggregate: class {cls.__name__}(fait.Aggregate, category=...)"
        )
    return cast("_Description", found)


def command_of(function: object) -> Command:
    """The command that a value is, or an error that says how commands are named."""
    if isinstance(function, Command) and function.aggregate is not None:
        return function
    raise UsageError(
        f"a command is a public method named through its class, as in transact(Order.place, id, ...), not "
        f"{function!r}. "
        "Nothing was written."
    )


def fold_definition_of(cls: "type[A]") -> FoldDefinition[A]:
    """How the loop folds an aggregate."""
    description = describe_aggregate(cls)

    def initial(id: str) -> A:
        return cast("A", _with_id(cls(), id))

    return FoldDefinition(
        description.category, description.events, initial, _evolve, description.snapshots, set_version
    )


def fold(cls: "type[A]", events: Iterable[object], *, id: str = "") -> A:
    """The aggregate after these events: its state is nothing else.

    Args:
        cls: the aggregate's class.
        events: facts its `evolve` takes, in order.
        id: the id it knows itself by.
    """
    state = fold_definition_of(cls).initial(id)
    for event in events:
        _evolve(state, event)
    return state


def pending_events(state: "Aggregate") -> list[DecidedEvent]:
    """The events that a command has emitted."""
    return cast("list[DecidedEvent]", cast("Any", state)._pending)


def set_version(state: "Aggregate", version: int) -> None:
    """Tell a state which version it is folded from."""
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
            f"{cls.__qualname__}: the category {category!r} has a '-', which begins the id in `category-id`"
        )
    if not callable(getattr(cls, "evolve", None)):
        raise DeclarationError(
            f"{cls.__qualname__} needs `def evolve(self, event: ...) -> None`, the fold of its events"
        )
    if "__post_init__" in namespace:
        raise DeclarationError(
            f"{cls.__qualname__}: state is made by events alone; give its fields defaults instead of __post_init__"
        )
    taken = sorted(_RESERVED.difference(("evolve",)).intersection(namespace.get("__annotations__", ())))
    if taken:
        raise DeclarationError(
            f"{cls.__qualname__}: {', '.join(taken)} belong to every aggregate; name the state field otherwise"
        )
    missing = [each.name for each in msgspec.structs.fields(cls) if each.required]
    if missing:
        raise DeclarationError(
            f"{cls.__qualname__}: {', '.join(missing)} need a default: what are they before the first event?"
        )
    setattr(cls, _DESCRIPTION, _Description(cls, category, snapshot_every, names))
