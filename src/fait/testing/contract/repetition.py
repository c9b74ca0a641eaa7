"""The part of the log's contract on event ids that are stored already: what is a repetition, and what is not."""
# ruff: noqa: D102 - test names replace docstrings

import pytest
from msgspec.structs import replace

from fait._events.append import Appended, IdConflict
from fait._events.envelope import EncodedEvent
from fait._store.ports.log import Log
from fait.testing.contract.store import START, StoreContract, added, everything, new, write

__all__ = ["RepetitionContract"]

DATA = '{"n":1,"yes":true,"many":[1,2],"text":"ä","none":null}'

SAME: dict[str, dict[str, object]] = {
    "the same event": {},
    "keys in another order": {"data": '{"text":"ä","n":1,"yes":true,"many":[1,2],"none":null}'},
    "white space and escapes": {"data": '{"n": 1, "yes": true, "many": [1, 2], "text": "\\u00e4", "none": null}'},
    "a number in another form": {"data": DATA.replace("1", "1.0")},
    "tags in another order": {"tags": ("b:1", "a:1")},
    "other metadata": {"metadata": '{"actor":"ada"}'},
    "another time": {"occurred_at": START},
    "data of another schema version": {"schema_version": 2, "data": '{"changed":1}'},
}
"""Fields of an event that is the same as a stored one."""

OTHER: dict[str, dict[str, object]] = {
    "type": {"type": "other-thing-happened"},
    "type and schema version": {"type": "other-thing-happened", "schema_version": 2},
    "value": {"data": DATA.replace("1", "3", 1)},
    "boolean for a number": {"data": DATA.replace("1", "true", 1)},
    "number for a boolean": {"data": DATA.replace("true", "1")},
    "order of a list": {"data": DATA.replace("[1,2]", "[2,1]")},
    "additional member": {"data": DATA.replace("}", ',"new":null}')},
    "missing member": {"data": DATA.replace(',"none":null', "")},
    "no tag": {"tags": ()},
    "another tag": {"tags": ("a:1", "b:2")},
}
"""Fields of an event that is not the same as a stored one with its id."""


def stored() -> EncodedEvent:
    """Return a new event that differs from those of `SAME` and `OTHER` as they say."""
    return new(data=DATA, tags=("a:1", "b:1"))


class RepetitionContract(StoreContract):
    """The contract of `Log.append` with event ids that are stored already."""

    @pytest.mark.parametrize("size", [1, 3, 600])
    @pytest.mark.parametrize("change", SAME)
    async def test_append_of_the_same_events_is_a_repetition(self, log: Log, change: str, size: int) -> None:
        events = [stored() for _ in range(size)]
        first = await added(log, write("a", events))
        before = await everything(log)

        again = await log.append([write("a", [*events[:-1], replace(events[-1], **SAME[change])])])

        assert again == Appended(first.position, first.versions, repeated=True)
        assert await everything(log) == before

    @pytest.mark.parametrize("size", [1, 3, 600])
    @pytest.mark.parametrize("change", OTHER)
    async def test_append_of_another_event_with_a_stored_id_returns_id_conflict(
        self, log: Log, change: str, size: int
    ) -> None:
        events = [stored() for _ in range(size)]
        await added(log, write("a", events))
        before = await everything(log)

        result = await log.append([write("a", [*events[:-1], replace(events[-1], **OTHER[change])])])

        assert result == IdConflict(events[0].id)
        assert await everything(log) == before

    async def test_repetition_may_name_the_streams_in_another_order(self, log: Log) -> None:
        writes = [write("a", [stored(), stored()]), write("b", [stored()])]
        first = await added(log, *writes)

        again = await log.append(writes[::-1])

        assert again == Appended(first.position, (1, 2), repeated=True)

    async def test_repetition_may_name_other_expected_versions(self, log: Log) -> None:
        event = stored()
        first = await added(log, write("a", [event], "no_stream"))

        assert await log.append([write("a", [event], 7)]) == Appended(first.position, (1,), repeated=True)
        assert await log.append([write("a", [replace(event, type="x")], 7)]) == IdConflict(event.id)

    async def test_repetition_may_be_stored_under_another_name_of_its_type(self, log: Log) -> None:
        event = stored()
        first = await added(log, write("a", [event]))
        renamed = replace(event, type="x", data='{"other":1}', other_types=("y", event.type))

        assert await log.append([write("a", [renamed])]) == Appended(first.position, (1,), repeated=True)
