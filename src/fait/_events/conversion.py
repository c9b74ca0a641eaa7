"""How stored data of one type and schema version is read: by a chain of upcasters, then as one event or as several.

The chain is resolved once. For data of the current schema version, it is empty, and decoding it is the decoder of the
class itself.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from fait._errors import EventTooNew, UnknownEventType
from fait._events.event import EventType
from fait._events.unknown_keys import decode_known_keys
from fait._events.upcast import Upcaster

__all__ = ["Conversion", "Decode", "DecodeTable", "Steps", "encode_plain", "resolve_conversion", "unknown_type"]

Decode = Callable[[str], Any]

DecodeTable = defaultdict[str, dict[int, Decode | None]]
"""Decoders by type, then schema version; None: events that are not handled.

Nested, because a lookup by a tuple would take a fifth as long as decoding the event."""

Steps = Mapping[tuple[str, int], Upcaster]
"""Upcasters by current name of the type, and the schema version that they read."""

encode_plain = msgspec.json.Encoder(decimal_format="string").encode


class Conversion(Struct, frozen=True, eq=False):
    """How stored data of one type and schema version is read.

    Attributes:
        steps: the upcasters or downcasters to apply, in order.
        declared: the type of the result; None if the last step is a split.
        split: the last step if it makes several events, or none.
        decode: decodes the stored JSON text; None if the text is not enough, because of a split or of a step that takes
            the envelope.
    """

    steps: tuple[Upcaster, ...]
    declared: EventType | None
    split: Upcaster | None = None
    decode: Decode | None = None


def _conversion(steps: tuple[Upcaster, ...], declared: EventType) -> Conversion:
    is_direct = not any(step.takes_envelope for step in steps)
    return Conversion(steps, declared, decode=_decoder(steps, declared) if is_direct else None)


def _decoder(steps: tuple[Upcaster, ...], declared: EventType) -> Decode:
    if not steps:
        return declared.decode

    def upcast_and_decode(text: str) -> Any:
        data = msgspec.json.decode(text)
        for step in steps:
            data = step(data)
        encoded = encode_plain(data)
        try:
            return declared.decode(encoded)
        except Exception as error:
            return decode_known_keys(declared, encoded, error)

    return upcast_and_decode


def resolve_conversion(
    types: Mapping[str, EventType],
    aliases: Mapping[str, str],
    upcasters: Steps,
    downcasters: Steps,
    recorded: tuple[str, int, str, int],
) -> Conversion:
    """Return the conversion of recorded data.

    Args:
        types: event types by name.
        aliases: the current name for each former one.
        upcasters: upcasters by current name and schema version.
        downcasters: downcasters in the same way.
        recorded: stored name, schema version, and for the message of an error the stream and the version in it.

    Raises:
        EventTooNew: the schema version is newer than that of the class and of the downcasters, or than all upcasters.
        UnknownEventType: no class and no upcaster has this name.
    """
    name, schema_version = aliases.get(recorded[0], recorded[0]), recorded[1]
    steps = list[Upcaster]()
    while (declared := types.get(name)) is None or declared.schema_version != schema_version:
        newest = declared.schema_version if declared else max((v for n, v in upcasters if n == name), default=0)
        if declared is not None and schema_version > newest:
            step = downcasters.get((name, schema_version))
        else:
            step = upcasters.get((name, schema_version))
        if step is not None:
            if step.target is None:
                return Conversion(tuple(steps), None, step)
            steps.append(step)
            name, schema_version = aliases.get(step.target[0], step.target[0]), step.target[1]
        elif schema_version < newest:
            schema_version += 1
        else:
            raise _no_step(declared, newest, recorded, types)
    return _conversion(tuple(steps), declared)


def _no_step(
    declared: EventType | None, newest: int, recorded: tuple[str, int, str, int], known: Iterable[str]
) -> EventTooNew | UnknownEventType:
    name, schema_version, stream, version = recorded
    if declared is not None:
        reason = (
            f"it has schema version {schema_version}, but its class declares version {newest}. Newer code wrote it: "
            f"deploy that code here too, or include an @fait.downcast({declared.name!r}, {schema_version})"
        )
    elif newest:
        reason = (
            f"it has schema version {schema_version}, but it has no class, and its last upcaster reads version "
            f"{newest}. Newer code wrote it: deploy that code here too"
        )
    else:
        return unknown_type(name, stream, version, known)
    return EventTooNew(stream, version, name, reason)


def unknown_type(name: str, stream: str, version: int, known: Iterable[str]) -> UnknownEventType:
    """Return the error for an event whose type is not declared; `known` are the names of those that are."""
    from difflib import get_close_matches  # slow to import

    closest = get_close_matches(name, sorted(known), 1)
    hint = f". The closest is {closest[0]!r}: a renamed class has was=({name!r},)" if closest else ""
    reason = (
        "no included event class has that name. A newer version of the app may have stored it: deploy that one. "
        f"Otherwise include its class in the app, with app.include(...){hint}"
    )
    return UnknownEventType(stream, version, name, reason)
