"""Registry of one app: maps stored names to event classes, and schema versions to upcasters.

There is no registry for the whole process, so two apps may use different classes for one stored name.
"""

from collections.abc import Iterable

from msgspec import Struct

from fait._errors import DeclarationError
from fait._events.envelope import Untyped
from fait._events.event import EventType, event_type
from fait._events.query import Query
from fait._events.upcast import Upcaster

__all__ = ["HandledTypes", "Registry"]


class HandledTypes(Struct, frozen=True):
    """The event types that a fold or a handler accepts.

    Attributes:
        types: stored names of the declared ones.
        untyped: whether it also accepts all undeclared ones, as `Untyped`.
    """

    types: frozenset[str]
    untyped: bool

    @property
    def query(self) -> Query:
        """The query that selects these events."""
        return Query() if self.untyped else Query(types=tuple(sorted(self.types)))


class Registry:
    """Event types by stored name, and upcasters by name and version."""

    def __init__(self) -> None:
        self.types: dict[str, EventType] = {}
        self.upcasters: dict[tuple[str, int], Upcaster] = {}

    def add(self, cls: type) -> EventType:
        """Register an event class; adding it twice has no effect. Another class of the same name is an error."""
        declared = event_type(cls)
        if declared is None:
            raise DeclarationError(
                f"{cls.__module__}.{cls.__qualname__} is not an event: declare it with @fait.event('some-name') "
                "(a subclass of an event needs its own declaration)"
            )
        registered = self.types.setdefault(declared.name, declared)
        if registered is not declared:
            raise DeclarationError(
                f"two events are named {declared.name!r}: {_describe(registered)} and {_describe(declared)}. "
                "Rename one of them, or include only one of them."
            )
        declared.check()
        return declared

    def handled_types(self, classes: Iterable[type], handler: str = "") -> HandledTypes:
        """Register these classes and return them as handled types.

        Args:
            classes: event classes, and `Untyped`.
            handler: the function that handles them, for an error message.
        """
        declared = [cls for cls in classes if cls is not Untyped]
        for cls in declared if handler else ():
            if event_type(cls) is None:
                raise DeclarationError(
                    f"{handler} handles {cls.__qualname__}, which is not an event: declare it with "
                    "@fait.event('some-name') (a subclass of an event needs its own declaration)"
                )
        return HandledTypes(frozenset(self.add(cls).name for cls in declared), Untyped in classes)

    def may_expire(self, handled: HandledTypes) -> bool:
        """Return whether events of these types may expire. Undeclared ones may: their declaration is unknown."""
        return handled.untyped or any(self.types[name].retention is not None for name in handled.types)

    def handles(self, handled: HandledTypes, name: str) -> bool:
        """Return whether an event type is among the handled types."""
        return name in handled.types or (handled.untyped and name not in self.types)

    def add_upcaster(self, upcaster: Upcaster) -> None:
        """Register an upcaster. Two upcasters from one schema version are an error."""
        registered = self.upcasters.setdefault((upcaster.name, upcaster.from_version), upcaster)
        if registered is not upcaster:
            raise DeclarationError(
                f"two upcasters read version {upcaster.from_version} of {upcaster.name!r}: "
                f"{registered.source_location} and {upcaster.source_location}. Remove one of them."
            )

    def check(self) -> None:
        """Reject upcasters that are never used: of an unknown event type, or from its current schema version."""
        for (name, version), upcaster in self.upcasters.items():
            declared = self.types.get(name)
            if declared is None:
                raise DeclarationError(
                    f"the upcaster at {upcaster.source_location} is for {name!r}, but no included event has that "
                    "name: include the event class, or remove the upcaster"
                )
            if version >= declared.schema_version:
                raise DeclarationError(
                    f"the upcaster at {upcaster.source_location} reads version {version} of {name!r}, whose current "
                    f"version is {declared.schema_version}: increase the event's version, or remove the upcaster"
                )

    def upcasters_from(self, declared: EventType, schema_version: int) -> tuple[Upcaster, ...]:
        """Return the upcasters from a stored schema version to the current one, in order."""
        versions = range(schema_version, declared.schema_version)
        return tuple(self.upcasters[declared.name, v] for v in versions if (declared.name, v) in self.upcasters)


def _describe(declared: EventType) -> str:
    return f"{declared.cls.__qualname__} ({declared.source_location})"
