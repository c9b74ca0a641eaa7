"""Runs one hop on one event: the upcaster must return a JSON object, repeat its result and leave its input alone."""

from collections.abc import Callable, Set
from datetime import UTC, datetime
from types import CoroutineType
from typing import Any, Final, cast

import msgspec
from msgspec import UNSET

from fait._errors import DeclarationError
from fait._events.changes import Defaulted, Dropped, Renamed
from fait._events.conversion import encode_plain
from fait._events.envelope import Envelope, RecordedEvent, Untyped
from fait._events.upcast import Upcaster
from fait._evolution.check.clocks import clock_uses
from fait._evolution.check.failure import HopFailure
from fait._evolution.check.hops import Hop
from fait._evolution.locks.equality import changed_paths
from fait._evolution.locks.reading import as_json

__all__ = ["check_code", "check_pure", "convert", "envelopes", "has_code", "plain_result"]

_decode = msgspec.json.decode
_encode_sorted = msgspec.json.Encoder(decimal_format="string", order="sorted").encode

StoredEnvelope = Envelope[Untyped] | None


def convert(hop: Hop, data: Any, envelope: StoredEnvelope) -> list[Untyped]:
    """Return the events that a hop makes of data; raise `HopFailure` if its upcaster raises."""
    if hop.step is None:
        assert hop.target is not None
        return [Untyped(hop.target[0], data, hop.target[1])]
    if envelope is not None:
        envelope = Envelope(Untyped(hop.name, data, hop.version), envelope.recorded_event)
    try:
        if hop.target is None:
            return hop.step.split(data, envelope)
        return [Untyped(hop.target[0], hop.step(data, envelope), hop.target[1])]
    except Exception as error:
        kind = "" if isinstance(error, DeclarationError) else f"{type(error).__name__}: "
        raise HopFailure("FAIT110", hop, type(error).__name__, [f"raises   {kind}{error}"], data) from None


def has_code(step: Upcaster | None) -> bool:
    """Return whether a step runs code of the application, and not only declared changes."""
    return step is not None and not all(isinstance(each, _DECLARED_CHANGES) for each in step.steps)


def check_pure(hop: Hop, text: bytes, data: Any, envelope: StoredEnvelope, results: list[Untyped]) -> None:
    """Check an upcaster after it converted `data`: repeatable, and without an effect on its input.

    It runs again on an equal input, and on one whose members have another order.

    Args:
        hop: the hop.
        text: the JSON text of the input before.
        data: the input afterwards.
        envelope: the envelope that it got.
        results: its results.

    Raises:
        HopFailure: it changed its input (FAIT112), or is not repeatable (FAIT111).
    """
    if not has_code(hop.step):
        return
    # fault: changed-input
    if not _is_unchanged(data, text):
        raise HopFailure("FAIT112", hop, "changed", [f"after    {as_json(data)}"], _decode(text))
    first = [_encode_sorted(each) for each in results]
    second = _run_again(hop, _decode(text), envelope)
    # fault: unrepeatable
    if first != second:
        raise HopFailure("FAIT111", hop, "again", [_difference(first, second)], _decode(text))
    if isinstance(data, dict) and first != _run_again(hop, _reversed(_decode(text)), envelope):
        details = ["the result depends on the order of the members of the input, which has no meaning in JSON"]
        raise HopFailure("FAIT111", hop, "order", details, _decode(text))


def check_code(hop: Hop) -> None:
    """Raise `HopFailure` if the code of an upcaster uses the clock or the environment."""
    steps: tuple[Callable[..., Any], ...] = hop.step.steps if hop.step else ()
    if uses := [use for step in steps for use in clock_uses(step)]:
        raise HopFailure("FAIT111", hop, "clock", [f"its code uses {', '.join(uses)}"], UNSET)


_DECLARED_CHANGES: Final = (Renamed, Dropped, Defaulted)
"""Changes of fait, which are known to be repeatable."""


def _is_unchanged(data: Any, text: bytes) -> bool:
    try:
        return encode_plain(data) == text
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False


def _run_again(hop: Hop, data: Any, envelope: StoredEnvelope) -> list[bytes]:
    try:
        return [_encode_sorted(each) for each in convert(hop, data, envelope)]
    except HopFailure as failure:
        details = [f"a second run {failure.details[0].lstrip()}"]
        raise HopFailure("FAIT111", hop, "second run", details, data) from None


def _reversed(data: dict[str, Any]) -> dict[str, Any]:
    return dict(reversed(data.items()))


def _difference(first: list[bytes], second: list[bytes]) -> str:
    paths = changed_paths([_decode(each) for each in first], [_decode(each) for each in second])
    names = ", ".join(dict.fromkeys(path.removeprefix("[].data").removeprefix(".") for path in paths))
    return f"two runs on the same input differ in: {names or 'the events that it makes'}"


def plain_result(hop: Hop, data: Any, result: Any, unchanged: Set[str]) -> Any:
    """Return a result as JSON data, without members that are unchanged.

    Raises:
        HopFailure: it is not a JSON object.
    """
    if not isinstance(result, dict | list):
        given = "None" if result is None else f"a {type(result).__name__}"
        if isinstance(result, CoroutineType):
            result.close()  # one that is never awaited would print a warning
        raise HopFailure("FAIT110", hop, "no object", [f"returns  {given}, and not a JSON object"], data)
    if unchanged:
        result = {name: part for name, part in cast("dict[str, Any]", result).items() if name not in unchanged}
    try:
        return _decode(encode_plain(result))
    except Exception as error:
        raise HopFailure("FAIT110", hop, "not JSON", [f"returns  what JSON cannot store: {error}"], data) from None


def envelopes(name: str, version: int, text: bytes) -> list[Envelope[Untyped]]:
    """Return two envelopes of a stored event, as different as they can be."""
    return [
        Envelope(
            Untyped(name, _decode(text), version),
            msgspec.structs.replace(each, type=name, schema_version=version, data=text.decode()),
        )
        for each in _RECORDED
    ]


_ID: Final = "018f3b1c-7d2a-7c3e-9f4b-2a1d0c9e8b7a"
_METADATA: Final = f'{{"correlation_id":"{_ID}","causation_id":"{_ID}","actor":"user-1","key":"key-1"}}'
_EARLY: Final = datetime(2024, 2, 29, 12, tzinfo=UTC)
_LATE: Final = datetime(2025, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
_RECORDED: Final = (
    RecordedEvent(1, "stream-1", 1, "", 1, _ID, "", _METADATA, ("customer:1",), _EARLY, _EARLY),
    RecordedEvent(7, "stream-2", 3, "", 1, _ID, "", "{}", (), _LATE, _EARLY),
)
