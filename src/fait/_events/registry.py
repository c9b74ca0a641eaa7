"""Registry of one app: maps stored names to event classes, and schema versions to upcasters.

A registry does not change. There is none for the whole process, so two apps may use different classes for one stored
name. A fold or a handler has the declarations of its events in its `HandledTypes`, also of those that the app does not
include.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from msgspec import Struct

from fait._errors import DeclarationError
from fait._events.envelope import Untyped
from fait._events.event import NOTHING_DECIDED, EventType, event_type
from fait._events.query import Query
from fait._events.upcast import Upcaster

__all__ = ["HandledTypes", "Registry", "build_registry", "check_event_classes", "declaration_of"]


class HandledTypes(Struct, frozen=True):
    """The event types that a fold or a handler accepts.

    Attributes:
        types: the declared ones, by stored name.
        untyped: whether it also accepts all undeclared ones, as `Untyped`.
    """

    types: Mapping[str, EventType]
    untyped: bool

    @property
    def query(self) -> Query:
        """The query that selects these events."""
        return Query() if self.untyped else Query(types=tuple(sorted(self.types)))


class Registry(Struct, frozen=True, eq=False):
    """Event types by stored name, and upcasters by name and version. `build_registry` checks them."""

    types: Mapping[str, EventType] = MappingProxyType({})
    upcasters: Mapping[tuple[str, int], Upcaster] = MappingProxyType({})

    def handled_types(self, classes: Iterable[type]) -> HandledTypes:
        """Return event classes, and `Untyped`, as handled types. The classes need not be included.

        Raises:
            DeclarationError: a class is not an event, or another class of the same name is given or included.
        """
        types = _types_by_name(cls for cls in classes if cls is not Untyped)
        for name, declared in types.items():
            _check_same(self.types.get(name, declared), declared)
        return HandledTypes(types, Untyped in classes)

    def may_expire(self, handled: HandledTypes) -> bool:
        """Return whether events of these types may expire. Undeclared ones may: their declaration is unknown."""
        return handled.untyped or any(each.retention is not None for each in handled.types.values())

    def handles(self, handled: HandledTypes, name: str) -> bool:
        """Return whether an event type is among the handled types."""
        return name in handled.types or (handled.untyped and name not in self.types and name != NOTHING_DECIDED)

    def ignored_types(self, handled: HandledTypes) -> frozenset[str]:
        """Return the names of the types that are not among the handled ones: declared ones, and the reserved one."""
        # fault: subscriptions-see-nothing-decided
        return frozenset({NOTHING_DECIDED, *self.types} - handled.types.keys())

    def upcasters_from(self, declared: EventType, schema_version: int) -> tuple[Upcaster, ...]:
        """Return the upcasters from a stored schema version to the current one, in order."""
        versions = range(schema_version, declared.schema_version)
        return tuple(self.upcasters[declared.name, v] for v in versions if (declared.name, v) in self.upcasters)


def build_registry(classes: Iterable[type], upcasters: Iterable[Upcaster] = ()) -> Registry:
    """Return the registry of an app.

    Args:
        classes: event classes; a class may be given several times.
        upcasters: upcasters of these classes.

    Raises:
        DeclarationError: a class is not an event, or JSON cannot store it exactly; two classes have one name; two
            upcasters read one schema version; or an upcaster is never used.
    """
    types = _types_by_name(classes)
    by_version: dict[tuple[str, int], Upcaster] = {}
    for upcaster in upcasters:
        other = by_version.setdefault((upcaster.name, upcaster.from_version), upcaster)
        if other is not upcaster:
            raise DeclarationError(
                f"two upcasters read version {upcaster.from_version} of {upcaster.name!r}: "
                f"{other.source_location} and {upcaster.source_location}. Remove one of them."
            )
        _check_used(upcaster, types.get(upcaster.name))
    return Registry(MappingProxyType(types), MappingProxyType(by_version))


def check_event_classes(classes: Iterable[type], handler: str) -> list[type]:
    """Return the classes without `Untyped`; raise `DeclarationError`, with the handler, if one is not an event."""
    declared = [cls for cls in classes if cls is not Untyped]
    for cls in declared:
        if event_type(cls) is None:
            raise DeclarationError(
                f"{handler} handles {cls.__qualname__}, which is not an event: declare it with "
                "@fait.event('some-name') (a subclass of an event needs its own declaration)"
            )
    return declared


def declaration_of(cls: type) -> EventType:
    """Return the declaration of an event class; raise `DeclarationError` if the class is not an event."""
    declared = event_type(cls)
    if declared is None:
        raise DeclarationError(
            f"{cls.__module__}.{cls.__qualname__} is not an event: declare it with @fait.event('some-name') "
            "(a subclass of an event needs its own declaration)"
        )
    return declared


def _types_by_name(classes: Iterable[type]) -> dict[str, EventType]:
    types: dict[str, EventType] = {}
    for declared in map(declaration_of, classes):
        _check_same(types.setdefault(declared.name, declared), declared)
        declared.check()
    return types


def _check_same(registered: EventType, declared: EventType) -> None:
    if registered is not declared:
        raise DeclarationError(
            f"two events are named {declared.name!r}: {_describe(registered)} and {_describe(declared)}. "
            "Rename one of them, or include only one of them."
        )


def _check_used(upcaster: Upcaster, declared: EventType | None) -> None:
    """Reject an upcaster of an unknown event type, or from its current schema version."""
    if declared is None:
        raise DeclarationError(
            f"the upcaster at {upcaster.source_location} is for {upcaster.name!r}, but no included event has that "
            "name: include the event class, or remove the upcaster"
        )
    if upcaster.from_version >= declared.schema_version:
        raise DeclarationError(
            f"the upcaster at {upcaster.source_location} reads version {upcaster.from_version} of {upcaster.name!r}, "
            f"whose current version is {declared.schema_version}: increase the event's version, or remove the upcaster"
        )


def _describe(declared: EventType) -> str:
    return f"{declared.cls.__qualname__} ({declared.source_location})"
