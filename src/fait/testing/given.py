"""Given events, when a command, then events: tests of decisions and read models without a store.

    given(Account, Opened("ada"), Deposited(100)).when(Account.withdraw, 10).then(Withdrawn(10))
    given(Account, Opened("ada")).when(Account.withdraw, 10).rejected("balance is 0")

`given` takes an aggregate, a decider, a boundary or a read model. Commands run as in an open system, on a log in
memory: given and decided events are encoded, stored, decoded and upcast. So a test fails for an event that cannot be
stored.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar, overload

from fait._app import App
from fait._clock import ManualClock
from fait._decisions.aggregate import Aggregate
from fait._decisions.boundary import Boundary
from fait._decisions.decider import Decider
from fait._decisions.new_events import NewEvents
from fait._errors import UsageError
from fait._subscriptions.read_model import ReadModel
from fait.testing.decisions import AggregateCase, BoundaryCase, DeciderCase
from fait.testing.read_models import ReadModelCase

__all__ = ["given"]

A = TypeVar("A", bound=Aggregate)
M = TypeVar("M", bound=ReadModel)
C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")

_CASES: Final[dict[type, Callable[..., Any]]] = {
    Aggregate: AggregateCase,
    Boundary: BoundaryCase,
    Decider: DeciderCase,
    ReadModel: ReadModelCase,
}


@overload
def given(
    subject: type[A], /, *events: object, id: str = ..., app: App | None = ..., clock: ManualClock | None = ...
) -> AggregateCase[A]: ...
@overload
def given(
    subject: type[M], /, *events: object, id: str = ..., app: App | None = ..., clock: ManualClock | None = ...
) -> ReadModelCase[M]: ...
@overload
def given(
    subject: Decider[C, S, E],
    /,
    *events: object,
    id: str = ...,
    app: App | None = ...,
    clock: ManualClock | None = ...,
) -> DeciderCase[C, S]: ...
@overload
def given(
    subject: Boundary[C, S, E], /, *events: NewEvents, app: App | None = ..., clock: ManualClock | None = ...
) -> BoundaryCase[C, S]: ...
def given(
    subject: Any, /, *events: object, id: str = "1", app: App | None = None, clock: ManualClock | None = None
) -> Any:
    """Start a test of a decision or of a read model with events that have been recorded.

    Args:
        subject: an aggregate, a decider, a boundary or a read model.
        *events: events of the subject's stream, in order; or `NewEvents`, for another stream or for tags. A boundary
            has no stream, so it takes only `NewEvents`. An `Untyped` event is stored as it is: with an earlier schema
            version, it is upcast.
        id: id of the stream of an aggregate or a decider, or of events for a read model.
        app: the app that the subject belongs to, for its event types and upcasters. None: those that the subject
            handles, with the upcasters in their package.
        clock: the clock of the decisions. None: one that shows 2024-01-01 00:00 UTC.

    Raises:
        UsageError: the subject is of another kind, or an event of a boundary has no stream.
        InvalidValue: an event cannot be stored.
        DeclarationError: a class or function cannot be used as declared.
    """
    return _case_of(subject)(subject, events, id, app, clock)


def _case_of(subject: Any) -> Callable[..., Any]:
    kinds: list[Any] = [*getattr(subject, "__mro__", ()), type(subject)]
    if case := next((_CASES[each] for each in kinds if each in _CASES), None):
        return case
    raise UsageError(f"given takes an aggregate, a decider, a boundary or a read model, not {subject!r}")
