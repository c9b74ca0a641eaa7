"""Failures of keys and actions of operators in memory."""

from collections.abc import Sequence
from itertools import islice

from msgspec.structs import replace

from fait._store.memory.state import MemoryState
from fait._store.ports.failures import MAX_ACTIONS, REQUESTED, Action, FailureRequest, KeyFailure, is_requestable

__all__ = ["MemoryFailures"]


class MemoryFailures:
    """The port `Failures`."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    async def failures(self, subscription: str | None = None) -> list[KeyFailure]:
        ordered = [each for _, each in sorted(self._state.failures.items())]
        return [each for each in ordered if subscription in (None, each.subscription)]

    async def requested(self) -> list[KeyFailure]:
        return [each for each in await self.failures() if each.state in REQUESTED]

    async def request(self, request: FailureRequest) -> int:
        registration = self._state.registrations.get(request.subscription)
        paused = registration is not None and registration.paused
        requestable = {
            id: each
            for id, each in self._state.failures.items()
            if each.subscription == request.subscription
            and each.key in request.keys
            and is_requestable(each, paused=paused)
        }
        keys = {each.key for each in requestable.values()}
        if len(keys) == len(set(request.keys)):
            for id, each in requestable.items():
                self._state.failures[id] = replace(
                    each,
                    state=request.state,
                    requested_by=request.by,
                    reason=request.reason,
                    discard_until=request.discard_until,
                )
            self._state.record_action(*request.as_action())
        return len(keys)

    async def record_action(self, action: str, subscription: str, details: str, by: str, reason: str) -> None:
        self._state.record_action(action, subscription, details, by, reason)

    async def actions(
        self, subscription: str | None = None, action: str | None = None, *, limit: int = MAX_ACTIONS
    ) -> Sequence[Action]:
        matching = (
            each
            for each in reversed(self._state.actions)
            if subscription in (None, each.subscription) and action in (None, each.action)
        )
        return list(islice(matching, limit))
