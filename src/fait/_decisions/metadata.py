"""The metadata of new events: command, idempotency key, origin and extra entries."""

from collections.abc import Mapping
from typing import Any

import msgspec

from fait._decisions.calls import Options
from fait._errors import InvalidValue
from fait._events.codec import encode_metadata
from fait._events.envelope import CommandRecord, Metadata
from fait._telemetry import NO_ORIGIN, origin

__all__ = ["build_metadata", "command_record"]


def build_metadata(options: Options, command: CommandRecord | None) -> str:
    """Return the metadata of a call's events as JSON text."""
    current = origin()
    if command is None and current is NO_ORIGIN and options.key is None and not options.extra:
        return "{}"
    return encode_metadata(
        Metadata(
            correlation_id=current.correlation_id,
            causation_id=current.causation_id,
            actor=current.actor,
            traceparent=current.traceparent,
            command=command,
            key=options.key,
            extra=dict(options.extra),
        )
    )


def command_record(name: str, arguments: Mapping[str, Any]) -> CommandRecord:
    """Return a command as recorded in the metadata of its events.

    Raises:
        InvalidValue: JSON cannot represent an argument.
    """
    try:
        return CommandRecord(name, msgspec.Raw(msgspec.json.encode(arguments, enc_hook=_encode_argument)))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        reason = f"JSON cannot represent it ({type(error).__name__})"
        raise InvalidValue("a command's arguments", "$", reason) from None


def _encode_argument(value: object) -> Any:
    """Encode an argument that msgspec does not support: by its attributes, or by the name of its type."""
    return getattr(value, "__dict__", None) or f"<{type(value).__qualname__}>"
