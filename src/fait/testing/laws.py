"""Laws that hold for every history, each checked with one line on generated histories.

    def test_account_can_be_replayed() -> None:
        check_replay(Account)

The histories are the same in each run, and a failure shows the shortest one that was found. That stored events of all
earlier versions can be read is checked by `fait.testing.event_check.check_events`, which knows these versions.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from fait._app import App
from fait._clock import ManualClock
from fait._decisions.aggregate import Aggregate, fold_definition_of
from fait._decisions.decider import Decider, FoldDefinition, fold_definition_of_decider
from fait._decisions.load import Loader
from fait._decisions.new_events import NewEvents
from fait._decisions.snapshot import Snapshots
from fait._errors import InvalidValue, UsageError
from fait._events.append import Until
from fait._events.event import event_type
from fait._events.record import fields_of
from fait._events.stream import stream_name
from fait._schema.describe import describe
from fait._schema.samples import samples
from fait._subscriptions.read_model import ReadModel, ReadModelDefinition, definition_of
from fait.testing.commands import Call, SubjectCommands
from fait.testing.differences import different_fields, different_items
from fait.testing.in_memory import START, GivenEvents, codec_for, complete
from fait.testing.read_models import Delivery, deliveries, duplicated, projected_rows

__all__ = ["check_projection_idempotent", "check_rebuild", "check_replay", "check_snapshot_equals_replay"]

T = TypeVar("T")
Subject = type[Aggregate] | Decider[Any, Any, Any]
Arguments = Mapping[Callable[..., Any], Sequence[tuple[Any, ...]]]

_MAX_LENGTH: Final = 8
"""Maximum number of commands or events in a history."""

_SAMPLES: Final = 30
"""Number of values that are generated for each type."""


def check_replay(
    subject: Subject, *, app: App | None = None, runs: int = 50, seed: int = 0, arguments: Arguments | None = None
) -> None:
    """Check that decisions and states depend only on the events, the command and the time.

    Commands with generated arguments run twice, on histories of their own. Both must decide the same events. The states
    after loading must be equal, and equal to the one that a command left behind. So a decision that is made again after
    a conflict, and a state that is loaded by another process, are the same.

    Args:
        subject: an aggregate or a decider.
        app: the app that it belongs to; see `given`.
        runs: number of histories.
        seed: chooses the histories; the same seed gives the same ones.
        arguments: arguments for commands, as tuples: `{Account.withdraw: [(1,), (50,)]}`. The others get arguments of
            their annotated types.

    Raises:
        AssertionError: the law does not hold; the text shows the commands.
        Exception: a command or `evolve` raised it. A note shows the commands.
    """
    __tracebackhide__ = True
    commands = SubjectCommands(subject)
    _check_all(_histories(commands, runs, seed, arguments), lambda calls: _check_twice(commands, calls, app))


def _check_twice(commands: SubjectCommands, calls: Sequence[Call], app: App | None) -> int:
    """Run commands on two cases. Returns the number of those that were accepted."""
    __tracebackhide__ = True
    one, other, accepted = commands.start(app), commands.start(app), 0
    for call in calls:
        rejections = [commands.run(case, call) for case in (one, other)]
        # fault: second-decision-not-compared
        lines = different_items(one.decided(), other.decided()) or list(different_fields(rejections[0], rejections[1]))
        _fail_if(lines, f"{call.name} decided other events in the same state:")
        accepted += rejections[0] is None
    states = [case.load() for case in (one, other)]
    _fail_if(list(different_fields(states[0], states[1])), "the states of two replays of the same events differ:")
    return accepted


def check_snapshot_equals_replay(
    subject: Subject, *, app: App | None = None, runs: int = 50, seed: int = 0, arguments: Arguments | None = None
) -> None:
    """Check that a state that is loaded from a snapshot is the one that is folded from all events.

    A snapshot is saved at every version of generated histories, and the stream is loaded from it.

    Args:
        subject: an aggregate or a decider with `snapshot_every`.
        app: the app that it belongs to; see `given`.
        runs: number of histories.
        seed: chooses the histories.
        arguments: as for `check_replay`.

    Raises:
        AssertionError: the law does not hold; the text shows the commands.
        UsageError: the subject has no snapshots.
    """
    __tracebackhide__ = True
    fold: FoldDefinition[Any] = (
        fold_definition_of_decider(subject) if isinstance(subject, Decider) else fold_definition_of(subject)
    )
    if fold.snapshots is None:
        raise UsageError(f"the fold of {fold.category!r} has no snapshots: set snapshot_every=")
    commands = SubjectCommands(subject)
    codec = codec_for(app, fold.events, subject=subject)

    def check(calls: Sequence[Call]) -> int:
        __tracebackhide__ = True
        events = commands.history(calls, app)
        memory = GivenEvents(codec, ManualClock(START))
        memory.append(NewEvents(stream_name(fold.category, "1"), events)) if events else None
        return _check_snapshots(memory, fold, len(events))

    _check_all(_histories(commands, runs, seed, arguments), check)


def _check_snapshots(memory: GivenEvents, fold: FoldDefinition[Any], versions: int) -> int:
    """Load a stream from a snapshot of each version. Returns the number of snapshots that could be saved."""
    __tracebackhide__ = True
    snapshots = Snapshots(memory.store.snapshots, memory.codec.registry)
    snapshots.random = lambda: 1.0  # a load does not verify its snapshot itself
    stream, loader, saved = stream_name(fold.category, "1"), Loader(memory.store.log, memory.codec, snapshots), 0
    for version, event in enumerate(memory.recorded_events()[:versions], 1):
        state = complete(memory.loader.load(fold, stream, Until(version=version))).state
        snapshot = snapshots.create(fold, stream, state, version, event.id)
        if snapshot is not None:
            complete(memory.store.snapshots.save_snapshot(snapshot))
            resumed, replayed = (
                complete(loader.load(fold, stream)).state,
                complete(memory.loader.load(fold, stream)).state,
            )
            lines = list(different_fields(replayed, resumed))
            _fail_if(lines, f"the state from the snapshot at version {version} (got) differs from the replayed one:")
            saved += 1
    return saved


def check_rebuild(model: type[ReadModel], *, app: App | None = None, runs: int = 50, seed: int = 0) -> None:
    """Check that a rebuilt read model has the rows of the one that was updated event by event.

    Args:
        model: a read model.
        app: the app that it belongs to; see `given`.
        runs: number of generated sequences of events.
        seed: chooses the sequences.

    Raises:
        AssertionError: the law does not hold; the text shows the events.
        Exception: `evolve` or `key_of` raised it. A note shows the events.
    """
    __tracebackhide__ = True
    _check_deliveries(model, app, runs, seed, lambda _: [])


def check_projection_idempotent(
    model: type[ReadModel], *, app: App | None = None, runs: int = 50, seed: int = 0
) -> None:
    """Check that a read model has the same rows if events are delivered twice.

    fait delivers an event to a read model once. Check this law if `evolve` feeds a table outside of the store, too. A
    read model that counts or sums does not fulfill it.

    Args:
        model: a read model.
        app: the app that it belongs to; see `given`.
        runs: number of generated sequences of events.
        seed: chooses the sequences.

    Raises:
        AssertionError: the law does not hold; the text shows the events.
        Exception: `evolve` or `key_of` raised it. A note shows the events.
    """
    __tracebackhide__ = True
    _check_deliveries(model, app, runs, seed, lambda events: list(duplicated(events)))


def _check_deliveries(
    model: type[ReadModel],
    app: App | None,
    runs: int,
    seed: int,
    further: Callable[[Sequence[Any]], Sequence[Delivery]],
) -> None:
    __tracebackhide__ = True
    definition = definition_of(model)
    codec = codec_for(app, definition.events, subject=model)

    def check(events: Sequence[NewEvents]) -> int:
        __tracebackhide__ = True
        memory = GivenEvents(codec, ManualClock(START))
        for each in events:
            memory.append(each)
        recorded = memory.recorded_events()
        ways = [*deliveries(recorded), *further(recorded)]
        try:
            tables = [projected_rows(definition, codec, each.batches) for each in ways]
        except InvalidValue:  # such as a sum of generated numbers that no row can have
            return 0
        for each, rows in zip(ways, tables, strict=True):
            lines = different_items(tables[0], rows, lambda row: getattr(row, definition.key))
            _fail_if(lines, f"the rows differ {each.name}:")
        return len(events)

    _check_all(_events(definition, runs, seed), check)


def _histories(commands: SubjectCommands, runs: int, seed: int, arguments: Arguments | None) -> list[list[Call]]:
    """Return generated sequences of commands."""
    random, chosen = Random(seed), arguments or {}  # noqa: S311 - no secret
    pool = dict[str, list[Mapping[Any, Any]]]()
    for each in commands.types:
        if given := chosen.get(each.command):
            pool[each.name] = [dict(enumerate(values)) for values in given]
        else:
            pool[each.name] = [commands.arguments(event) for event in _samples(each.arguments, seed)]
    names = [name for name in pool if pool[name]]

    def call() -> Call:
        name = random.choice(names)
        return Call(name, random.choice(pool[name]), random.choice((0, 0, 1, 24 * 30)))

    return [[call() for _ in range(random.randint(1, _MAX_LENGTH))] for _ in range(runs)]


def _events(definition: ReadModelDefinition, runs: int, seed: int) -> list[list[NewEvents]]:
    """Return generated sequences of events in a few streams."""
    random = Random(seed)  # noqa: S311 - no secret
    pool = [event for cls in definition.events if event_type(cls) for event in _samples(cls, seed)]
    kind = definition.table.columns[definition.table.index_of(definition.key)].kind
    streams = [f"generated-{_ids(kind, number)}" for number in (1, 2, 3)]

    def event() -> NewEvents:
        return NewEvents(random.choice(streams), [random.choice(pool)])

    return [[event() for _ in range(random.randint(1, _MAX_LENGTH))] for _ in range(runs)]


def _ids(kind: str, number: int) -> str:
    """Return an id of a stream that is the key of a row."""
    return {"uuid": str(UUID(int=number)), "date": f"2024-01-0{number}"}.get(kind, str(number))


def _samples(cls: type, seed: int) -> list[Any]:
    """Return events of a class; those are left out that it refuses although its types allow them."""
    declared, events = event_type(cls), list[Any]()
    assert declared is not None
    for each in samples(describe(cls), seed, count=_SAMPLES if fields_of(cls) else 1):
        try:
            event = declared.decode(msgspec.json.encode(each).decode())
            declared.encode(event)
            events.append(event)
        except Exception:  # noqa: S112 - code of the class may refuse any value
            continue
    return events


def _check_all(histories: Sequence[Sequence[T]], check: Callable[[Sequence[T]], int]) -> None:
    """Check histories; of one that fails, show the shortest part that still fails."""
    __tracebackhide__ = True
    checked = 0
    for history in histories:
        try:
            checked += check(history)
        except Exception as error:
            shortest = _shortest(history, check, type(error))
            shown = "".join(f"\n  {each!r}" for each in shortest)
            try:
                check(shortest)
            except Exception as last:
                last.add_note(f"after:{shown}")
                raise last from None
            raise
    if not checked:
        raise AssertionError(
            "nothing was checked: every generated command was rejected. Pass arguments= that are accepted."
        )


def _shortest(history: Sequence[T], check: Callable[[Sequence[T]], int], kind: type[Exception]) -> Sequence[T]:
    """Return a part of a history that fails, from which no further item can be removed."""
    for number in range(len(history)):
        part = [*history[:number], *history[number + 1 :]]
        try:
            check(part)
        except kind:
            return _shortest(part, check, kind)
        except Exception:  # noqa: S112 - another failure than the one to show
            continue
    return history


def _fail_if(lines: Sequence[str], text: str) -> None:
    __tracebackhide__ = True
    if lines:
        raise AssertionError("\n".join([text, *lines]))
