"""Registry of one app: maps stored names and schema versions to event classes, with the upcasters in between.

A registry does not change. There is none for the whole process, so two apps may use different classes for one stored
name. A fold or a handler has the declarations of its events in its `HandledTypes`, also of those that the app does not
include.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import force_setattr

from fait._errors import DeclarationError, UndecodableEvent
from fait._events.conversion import Conversion, DecodeTable, Steps, encode_plain, resolve_conversion
from fait._events.envelope import Envelope, RecordedEvent, Untyped
from fait._events.event import NOTHING_DECIDED, EventType, event_type
from fait._events.query import Query
from fait._events.stored_names import StoredNames
from fait._events.upcast import Downcaster, Upcaster, declared_in_package

__all__ = ["HandledTypes", "Registry", "build_registry", "check_event_classes", "declaration_of"]


class HandledTypes(Struct, frozen=True, eq=False):
    """The event types that a fold or a handler accepts.

    Attributes:
        types: the declared ones, by name.
        untyped: whether it also accepts all undeclared ones, as `Untyped`.
        registry: converts stored events to these types.
        stored_names: the stored names that events of these types are read from.
        decoders: decoders that were chosen already; see `Codec`.
    """

    types: Mapping[str, EventType]
    untyped: bool
    registry: "Registry"
    stored_names: frozenset[str]
    decoders: DecodeTable = field(default_factory=lambda: defaultdict(dict))

    @property
    def query(self) -> Query:
        """The query that selects these events."""
        return Query() if self.untyped else Query(types=tuple(sorted(self.stored_names)))


class Registry(Struct, frozen=True, eq=False):
    """Event types and upcasters. `build_registry` checks them.

    Attributes:
        types: event types by name.
        upcasters: upcasters by current name of the type, and schema version.
        downcasters: downcasters in the same way.
        names: the stored names of the types; computed.
    """

    types: Mapping[str, EventType] = MappingProxyType({})
    upcasters: Steps = MappingProxyType({})
    downcasters: Steps = MappingProxyType({})
    names: StoredNames = StoredNames((), {}, {})
    _conversions: dict[str, dict[int, Conversion]] = {}
    _handled: dict[tuple[type, ...], HandledTypes] = {}

    def __post_init__(self) -> None:
        """Compute the stored names."""
        force_setattr(self, "names", StoredNames(self.types, _aliases(self.types), self.upcasters))

    @property
    def readable(self) -> HandledTypes:
        """All event types, and undeclared ones as `Untyped`."""
        return HandledTypes(self.types, untyped=True, registry=self, stored_names=self.names.known)

    def handled_types(self, classes: Iterable[type]) -> HandledTypes:
        """Return event classes, and `Untyped`, as handled types. The classes need not be included.

        Raises:
            DeclarationError: a class is not an event, or another class of the same name is given or included.
        """
        key = tuple(classes)
        if key not in self._handled:
            types = self.check_together(cls for cls in key if cls is not Untyped)
            registry = self if types.keys() <= self.types.keys() else self._with(types)
            self._handled[key] = HandledTypes(types, Untyped in key, registry, registry.names.of(types))
        return self._handled[key]

    def check_together(self, classes: Iterable[type]) -> dict[str, EventType]:
        """Return event classes by name.

        Raises:
            DeclarationError: a class is not an event, or another class of the same name is given or included.
        """
        types = _types_by_name(classes)
        for name, declared in types.items():
            _check_same(self.types.get(self.names.current(name), declared), declared, name)
        return types

    def at_versions(self, versions: Mapping[str, int]) -> "Registry":
        """Return a registry that converts stored events to other schema versions. It decodes no events.

        Args:
            versions: schema versions by current name of the type; those of other types remain.
        """
        return self._with({name: self.types[name].at_version(version) for name, version in versions.items()})

    def _with(self, types: Mapping[str, EventType]) -> "Registry":
        return Registry({**self.types, **types}, self.upcasters, self.downcasters)

    def may_expire(self, handled: HandledTypes) -> bool:
        """Return whether events of these types may expire. Undeclared ones may: their declaration is unknown."""
        return handled.untyped or any(each.retention is not None for each in handled.types.values())

    def handles(self, handled: HandledTypes, name: str) -> bool:
        """Return whether events of a stored name may be of the handled types."""
        return name in handled.stored_names or (
            handled.untyped and name not in self.names.known and name != NOTHING_DECIDED
        )

    def ignored_types(self, handled: HandledTypes) -> frozenset[str]:
        """Return the stored names that are not read as handled types: those of declared types, and the reserved one."""
        # fault: subscriptions-see-nothing-decided
        return (self.names.known | {NOTHING_DECIDED}) - handled.stored_names

    def steps_to(self, name: str) -> list[Upcaster]:
        """Return the upcasters and downcasters that events of a type may pass, in the order of type and version."""
        names = self.names.of([name])
        both = (self.upcasters, self.downcasters)
        return [steps[key] for steps in both for key in sorted(steps) if key[0] in names]

    def conversion(self, name: str, schema_version: int, stream: str = "", version: int = 0) -> Conversion:
        """Return how stored data of a type and a schema version is read. It is resolved once.

        Args:
            name: stored name of the type.
            schema_version: its schema version.
            stream: name of the stream of such an event, for the message of an error.
            version: version of the event in the stream.

        Raises:
            EventTooNew: the schema version is newer than that of the class and of the downcasters, or than all
                upcasters.
            UnknownEventType: no class and no upcaster has this name.
        """
        resolved = self._conversions.setdefault(name, {})
        if schema_version not in resolved:
            recorded = name, schema_version, stream, version
            resolved[schema_version] = resolve_conversion(
                self.types, self.names.aliases, self.upcasters, self.downcasters, recorded
            )
        return resolved[schema_version]

    def convert(self, recorded: RecordedEvent) -> list[RecordedEvent]:
        """Return the events of current schema versions that a stored event is read as, in order.

        The results of a split have the ids "<id>/0", "<id>/1" and so on.

        Raises:
            EventTooNew: see `conversion`.
            UnknownEventType: see `conversion`.
        """
        conversion = self.conversion(recorded.type, recorded.schema_version, recorded.stream, recorded.version)
        data = msgspec.json.decode(recorded.data)
        envelope = Envelope(Untyped(recorded.type, data, recorded.schema_version), recorded)
        results = list(self.convert_data(conversion, data, envelope))
        ids = [f"{recorded.id}/{number}" for number in range(len(results))] if conversion.split else [recorded.id]
        return [_converted(recorded, id, each) for id, each in zip(ids, results, strict=True)]

    def convert_data(
        self, conversion: Conversion, data: Any, envelope: Envelope[Untyped] | None = None
    ) -> Iterator[Untyped]:
        """Yield the events of current schema versions that data is read as, in order, as plain data."""
        for step in conversion.steps:
            data = step(data, envelope)
        if conversion.split is None:
            assert conversion.declared is not None
            yield Untyped(conversion.declared.name, data, conversion.declared.schema_version)
            return
        stream, version = (envelope.stream, envelope.version) if envelope else ("", 0)
        # fault: split-loses-order
        for part in conversion.split.split(data, envelope):
            next_conversion = self.conversion(part.type, part.schema_version, stream, version)
            yield from self.convert_data(next_conversion, part.data, envelope)


def _converted(recorded: RecordedEvent, id: str, result: Untyped) -> RecordedEvent:
    data = encode_plain(result.data).decode()
    return msgspec.structs.replace(recorded, id=id, type=result.type, schema_version=result.schema_version, data=data)


def build_registry(classes: Iterable[type], upcasters: Iterable[Upcaster] = ()) -> Registry:
    """Return the registry of an app.

    Args:
        classes: event classes; a class may be given several times.
        upcasters: upcasters and downcasters of these classes.

    Raises:
        DeclarationError: a class is not an event, or JSON cannot store it exactly; two classes have one name; two
            upcasters read one schema version; an upcaster is never used or was not included; or upcasters form a
            circle.
    """
    types = _types_by_name(classes)
    aliases = _aliases(types)
    up, down = dict[tuple[str, int], Upcaster](), dict[tuple[str, int], Upcaster]()
    for each in upcasters:
        key = aliases.get(each.name, each.name), each.from_version
        other = (down if isinstance(each, Downcaster) else up).setdefault(key, each)
        if other is not each:
            raise DeclarationError(
                f"two upcasters read version {each.from_version} of {each.name!r}: {other.source_location} and "
                f"{each.source_location}. Remove one of them."
            )
    registry = Registry(MappingProxyType(types), MappingProxyType(up), MappingProxyType(down))
    for each in (*up.values(), *down.values()):
        _check_used(each, registry)
    for declared in types.values():
        _check_included(declared, registry)
    return registry


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
        _check_same(types.setdefault(declared.name, declared), declared, declared.name)
        declared.check()
    return types


def _aliases(types: Mapping[str, EventType]) -> dict[str, str]:
    """Return the current name for each former one; raise `DeclarationError` if a former name has two types."""
    aliases: dict[str, str] = {}
    for declared in types.values():
        for name in declared.was:
            _check_same(types[aliases.setdefault(name, declared.name)], declared, name)
            _check_same(types.get(name, declared), declared, name)
    return aliases


def _check_same(registered: EventType, declared: EventType, name: str) -> None:
    if registered is not declared:
        raise DeclarationError(
            f"two events are named {name!r}: {_describe(registered)} and {_describe(declared)}. "
            "Rename one of them, or include only one of them."
        )


def _check_used(upcaster: Upcaster, registry: Registry) -> None:
    """Reject an upcaster of an unknown event type, from its current schema version, or to what cannot be read."""
    name, version, location = registry.names.current(upcaster.name), upcaster.from_version, upcaster.source_location
    declared = registry.types.get(name)
    if declared is not None and version >= declared.schema_version and not isinstance(upcaster, Downcaster):
        raise DeclarationError(
            f"the upcaster at {location} reads version {version} of {upcaster.name!r}, whose current version is "
            f"{declared.schema_version}: increase the event's version, or remove the upcaster"
        )
    for target in (upcaster.name,) if upcaster.target else upcaster.into or ():
        if registry.names.current(target) not in registry.names.known:
            raise _no_class(location, target)
    if upcaster.target is not None and not isinstance(upcaster, Downcaster):
        _check_target(upcaster, upcaster.target, registry)


def _check_target(upcaster: Upcaster, target: tuple[str, int], registry: Registry) -> None:
    """Reject a target that is not newer, or that no class and no further upcaster reads."""
    same = registry.names.current(target[0]) == registry.names.current(upcaster.name)
    if same and target[1] <= upcaster.from_version:
        raise DeclarationError(
            f"the upcaster at {upcaster.source_location} converts version {upcaster.from_version} of "
            f"{upcaster.name!r} to version {target[1]}, which is not newer"
        )
    try:
        registry.conversion(*target)
    except UndecodableEvent:
        raise _no_class(upcaster.source_location, target[0]) from None


def _no_class(location: str, name: str) -> DeclarationError:
    return DeclarationError(
        f"the upcaster at {location} is for {name!r}, but no included event has that name and this version: include "
        "the event class, or remove the upcaster"
    )


def _check_included(declared: EventType, registry: Registry) -> None:
    """Reject a registry without an upcaster of an event that a module of the same package declares."""
    upcasters = declared_in_package(declared.cls.__module__.partition(".")[0])
    for each in (each for name in (declared.name, *declared.was) for each in upcasters.get(name, ())):
        if each.from_version < declared.schema_version and (declared.name, each.from_version) not in registry.upcasters:
            raise DeclarationError(
                f"the upcaster at {each.source_location} reads version {each.from_version} of {each.name!r}, but the "
                "app does not include it: older events would be read without it. Include it, or its module, with "
                "app.include(...)"
            )


def _describe(declared: EventType) -> str:
    return f"{declared.cls.__qualname__} ({declared.source_location})"
