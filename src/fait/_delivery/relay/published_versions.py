"""In which schema version a relay publishes events: as they are stored, or as an older one for its consumers.

The conversion to an older version is the one that reads stored events, with that version in place of the class's: by
downcasters from a newer version, by upcasters from one that is older still.
"""

from collections.abc import Iterator

from fait._broker_errors import MessageRefused
from fait._delivery.relay.definition import RelayDefinition
from fait._errors import DeclarationError
from fait._events.envelope import RecordedEvent
from fait._events.event import EventType
from fait._events.registry import Registry, declaration_of

__all__ = ["PublishedVersions", "check_published_versions"]


def check_published_versions(relay: RelayDefinition, registry: Registry) -> None:
    """Check that events of each schema version can be published in the version that a relay declares.

    Args:
        relay: the relay.
        registry: event types, upcasters and downcasters of the app.

    Raises:
        DeclarationError: the class has an older version, a downcaster is missing, or upcasters split or drop events.
    """
    for cls, version in relay.versions.items():
        declared = declaration_of(cls)
        name, subject = declared.name, f"relay {relay.name!r} publishes {declared.name!r} as version {version}"
        if version > declared.schema_version:
            raise DeclarationError(f"{subject}, but its class has version {declared.schema_version}")
        # fault: missing-downcaster-accepted
        if missing := [each for each in _newer(version, declared) if (name, each) not in registry.downcasters]:
            raise DeclarationError(
                f"{subject}, and no downcaster converts version {missing[0]} to version {missing[0] - 1}: include an "
                f"@fait.downcast({name!r}, {missing[0]})"
            )
        if splits := [each for each in range(1, version) if registry.conversion(name, each).split is not None]:
            raise DeclarationError(
                f"{subject}, but events of version {splits[0]} are split or dropped when they are read"
            )


def _newer(version: int, declared: EventType) -> Iterator[int]:
    """Yield the schema versions that need a downcaster, the newest first."""
    yield from range(declared.schema_version, version, -1)


class PublishedVersions:
    """Converts events to the schema versions that a relay declares.

    Args:
        relay: the relay.
        registry: event types, upcasters and downcasters of the app.
    """

    def __init__(self, relay: RelayDefinition, registry: Registry) -> None:
        versions = {declaration_of(cls).name: version for cls, version in relay.versions.items()}
        self._published = frozenset(versions.items())
        self._stored_names = registry.names.of(versions)
        self._registry = registry.at_versions(versions)

    def convert(self, event: RecordedEvent) -> RecordedEvent:
        """Return an event in the version in which it is published. One without a declared version is not converted.

        Raises:
            EventTooNew: newer code has stored it, and no downcaster reads it.
            MessageRefused: it is split, or the result is no JSON object.
            Exception: a downcaster has raised it.
        """
        # fault: undeclared-version-published
        if event.type not in self._stored_names or (event.type, event.schema_version) in self._published:
            return event
        results = self._registry.convert(event)
        if len(results) != 1 or not results[0].data.startswith("{"):
            raise MessageRefused("version", "it cannot be converted to the version in which the relay publishes it")
        return results[0]
