"""Health checks of a store. A check that could not be made has the status "unknown", not "ok"."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from operator import attrgetter
from typing import Final

from fait._clock import SystemClock
from fait._events.event import DEFAULT_RETENTION
from fait._store.command_hint import command_hint
from fait._store.overview import SubscriptionOverview, error_with_place, read_overviews, worker_name
from fait._store.ports.failures import Action, FailureState, KeyFailure
from fait._store.ports.inbox import MAX_POSITION_JUMP, MAX_STORED_MESSAGES, PositionJump
from fait._store.ports.leases import Outage, Range
from fait._store.ports.log import Log
from fait._store.ports.registrations import Registration
from fait._store.ports.store import Finding, Store

__all__ = ["MAX_CALL_S", "examine_subscriptions"]

MAX_CALL_S: Final = 30.0
"""Maximum duration of a call that is no problem."""

MAX_HELD_AGE: Final = DEFAULT_RETENTION
"""Maximum age of a message that a subscription has not passed; an older one is a problem."""


async def examine_subscriptions(store: Store, redacted_url: str) -> list[Finding]:
    """Check each subscription: its log and epoch, the positions of its ranges, its worker, and the keys that failed."""
    overviews, findings = await read_overviews(store), list[Finding]()
    last = await store.log.last_position()  # read after the positions, which are at or below it
    for each in overviews:
        findings.append(_examine_subscription(store.log, each, last, await _last_pause(store, each), redacted_url))
        findings += _find_long_call(each)
        findings += _find_failed_keys(each, redacted_url)
        lowest = min(each.ranges, key=attrgetter("finished"))
        findings += await _find_held_messages(store.log, each, lowest, last, redacted_url)
        if each.registration.kind == "consumer":
            findings += _find_jumps(each.name, await store.inbox.position_jumps(each.name, MAX_POSITION_JUMP))
    return findings


async def _last_pause(store: Store, each: SubscriptionOverview) -> Action | None:
    """Return the record of the pause of a subscription; None if it is not paused."""
    if each.state != "paused":
        return None
    # fault: pause-before-many-actions-not-found
    found = await store.failures.actions(each.name, "pause", limit=1)
    return found[0] if found else None


def _examine_subscription(
    log: Log, each: SubscriptionOverview, head: int, pause: Action | None, redacted_url: str
) -> Finding:
    name, registration, frontier = f"subscription {each.name}", each.registration, max(r.frontier for r in each.ranges)
    restart = _restart_advice(registration, redacted_url)
    if (registration.log_id, registration.epoch_id) != (log.identity.log_id, log.identity.epoch_id):
        advice = f"the database was restored or copied: {restart}"
        return Finding(name, "problem", "its position belongs to another log or epoch", advice)
    is_consumer = registration.kind == "consumer"
    if frontier > head and not is_consumer:
        advice = f"the database was restored: run {command_hint('log adopt --in-place', redacted_url)}. Then, {restart}"
        return Finding(name, "problem", f"its position, {frontier:,} of {head:,}, is after the last event", advice)
    progress = f"{each.position:,} messages" if is_consumer else f"position {each.position:,} of {head:,}"
    return _examine_activity(name, progress, each, pause, redacted_url)


def _examine_activity(
    name: str, progress: str, each: SubscriptionOverview, pause: Action | None, redacted_url: str
) -> Finding:
    """Find why a subscription does not handle events."""
    if each.state == "paused":
        reason = f" by {pause.by} at {pause.at:%Y-%m-%d %H:%M:%S}Z: {pause.reason}" if pause else ""
        resume = command_hint(f"resume {each.name}", redacted_url)
        return Finding(name, "problem", f"{progress}: paused{reason}", f"remove the reason, then run: {resume}")
    if each.state == "waiting":
        return _find_waiting(name, progress, each, redacted_url)
    if each.state == "no worker":
        return _find_no_worker(name, progress, each, redacted_url)
    if each.state == "full":
        return _find_full(name, progress, each, redacted_url)
    owners = ", ".join(map(worker_name, each.owners))
    return Finding(name, "ok", f"{progress}, {f'run by {owners}' if owners else 'idle: up to date, no worker'}")


def _find_waiting(name: str, progress: str, each: SubscriptionOverview, redacted_url: str) -> Finding:
    if each.outage is not None:
        advice = f"its worker retries it; no event was parked for this. {_next_step(each, each.outage, redacted_url)}"
        return Finding(name, "problem", f"{progress}: waits since {_describe_outage(each.outage)}", advice)
    workers = ", ".join(map(worker_name, each.waiting_workers))
    advice = f"wait: it tries again by itself, as a rule within 30 s. The error is in the log of {workers}"
    return Finding(name, "problem", f"{progress}: {workers} waits after an error", advice)


def _next_step(each: SubscriptionOverview, outage: Outage, redacted_url: str) -> str:
    """Return what ends an outage: not each one is that of a service."""
    # fault: lost-messages-called-an-outage-of-a-service
    match outage.error_type.removeprefix("fait."):
        case "EventTooNew":
            accept = command_hint(f"definition accept {each.name} --app MODULE:APP", redacted_url)
            return (
                "Deploy the version of the app that has stored the event, or that handles its type. If no version is "
                f"to handle the type any more, end all processes that run old code, and run: {accept}"
            )
        case "OffsetLost" | "BrokerLostMessages":
            rewind = command_hint(f"rewind {each.name} --app MODULE:APP --dry-run", redacted_url)
            return f"The broker has lost messages, or the topic was created again. See what would be repeated: {rewind}"
        case "TopologyMismatch":
            return "Create or correct the topic, as the error says: fait broker check URL --topic NAME=LANES --create"
        case _:
            return "Make the service available that the error names"


def _describe_outage(outage: Outage) -> str:
    error = error_with_place(outage.error_type, outage.location)
    return f"{outage.since:%Y-%m-%d %H:%M:%S}Z: {error}: {outage.error}"


def _find_no_worker(name: str, progress: str, each: SubscriptionOverview, redacted_url: str) -> Finding:
    registration = each.registration
    if each.refused_workers:
        workers = ", ".join(map(worker_name, each.refused_workers))
        detail = f"{progress}: it lags, and the definition of {workers} is not the registered one, so it cannot run it"
        rebuild = command_hint(f"rebuild {each.name} --app MODULE:APP", redacted_url)
        accept = command_hint(f"definition accept {each.name} --app MODULE:APP", redacted_url)
        diff = command_hint(f"definition diff {each.name} --app MODULE:APP", redacted_url)
        advice = f"see what differs with: {diff}. If it is meant for this subscription, run: {accept}"
        if registration.kind == "read_model":
            advice = (
                f"see what differs with: {diff}. Then run: {rebuild}. If the rows of both are the same, run: {accept}"
            )
        return Finding(name, "problem", detail, advice)
    advice = _describe_start(each, redacted_url)
    outage = f"; the last one waited since {_describe_outage(each.outage)}" if each.outage else ""
    return Finding(name, "problem", f"{progress}: no worker runs it{outage}", advice)


def _describe_start(each: SubscriptionOverview, redacted_url: str) -> str:
    """Return how a subscription gets a worker that can continue."""
    start = f"start a worker of the app {each.registration.app!r}: {command_hint('run --app MODULE:APP', redacted_url)}"
    # fault: same-code-advised-for-a-too-new-event
    if each.outage is None or each.outage.error_type.removeprefix("fait.") != "EventTooNew":
        return start
    return f"{start}. With the code of the last worker it waits again. {_next_step(each, each.outage, redacted_url)}"


def _find_long_call(each: SubscriptionOverview) -> list[Finding]:
    """Report a call that hangs, before its timeout, also that of a consumer, of whose messages the age is not known."""
    # fault: hung-call-is-no-problem
    if not (detail := each.describe_call(MAX_CALL_S)):
        return []
    advice = (
        "it hangs or is slow. Look at what it calls, and at the log of that process; restart the process if it hangs. "
        "The call is repeated"
    )
    return [Finding(f"calls of {each.name}", "problem", detail, advice)]


def _find_full(name: str, progress: str, each: SubscriptionOverview, redacted_url: str) -> Finding:
    detail = (
        f"{progress}: it receives no more messages, because {each.stored:,} of failed keys are stored, and "
        f"{MAX_STORED_MESSAGES:,} is the maximum"
    )
    listed, redrive, discard = (
        command_hint(f"parked {arguments}", redacted_url)
        for arguments in (
            f"list {each.name}",
            f"redrive {each.name} --all",
            f"discard {each.name} --all --all-events",
        )
    )
    advice = (
        f"see the causes with: {listed}. When they are removed, run: {redrive}. If they shall never be handled, "
        f"run: {discard}"
    )
    return Finding(name, "problem", detail, advice)


def _find_failed_keys(each: SubscriptionOverview, redacted_url: str) -> list[Finding]:
    from shlex import quote  # only for messages

    show = command_hint(f"parked show {each.name}", redacted_url)
    redrive = command_hint(f"parked redrive {each.name} --all", redacted_url)
    retried = f"their events are retried until they succeed or are parked. See the errors with: {show}"
    # fault: paused-keys-reported-as-retried
    if (failure := each.paused_at) is not None:
        resume = command_hint(f"resume {each.name}", redacted_url)
        skip = command_hint(f"skip {each.name} {quote(failure.key)}", redacted_url)
        retried = (
            f"see the errors with: {show}. Nothing is retried during the pause. When the cause is removed, "
            f"run: {resume}. To give up an event, as that of {failure.key!r}, run before that: {skip}"
        )
    advice: Mapping[FailureState, str] = {
        "retrying": retried,
        "parked": f"see the errors with: {show}. When the cause is removed, run: {redrive}",
    }
    findings = list[Finding]()
    for state, text in advice.items():
        failures = [failure for failure in each.failures if failure.state == state]
        if failures:
            word = "failed" if state == "retrying" and each.paused_at else state
            findings.append(Finding(f"{word} keys of {each.name}", "problem", _describe_failures(failures), text))
    return findings


def _describe_failures(failures: Sequence[KeyFailure]) -> str:
    """Return number, time and the most frequent cause of failures."""
    causes = Counter(error_with_place(each.error_type, each.location) for each in failures)
    since = min(each.first_failed_at for each in failures)
    cause, count = causes.most_common(1)[0]
    share = "" if len(causes) == 1 else f" ({count:,} of them)"
    return f"{len(failures):,}, the first since {since:%Y-%m-%d %H:%M:%S}Z: {cause}{share}"


def _restart_advice(registration: Registration, redacted_url: str) -> str:
    name = registration.subscription
    if registration.kind == "read_model":
        return f"run: {command_hint(f'rebuild {name} --app MODULE:APP', redacted_url)}"
    forget = command_hint(f"run --app MODULE:APP --forget {name}", redacted_url)
    return f"check which effects of the handler must be repeated or corrected, then forget its position once: {forget}"


def _find_jumps(consumer: str, jumps: Sequence[PositionJump]) -> Iterator[Finding]:
    """Report marks that hide later events of their keys, if the source is not what it says it is."""
    advice = (
        "if the log of this source has no such position, another program has published in its name, and later events "
        "of the key are passed over. Let the relay sign its messages, and verify them, or trust the log no more. Then "
        "stop the consumer, and set the position of the row in fait_inbox_marks to the last true one"
    )
    for each in jumps:
        detail = (
            f"the mark of the key {each.mark.key!r} of {each.mark.source} is at position {each.position:,}, all others "
            f"of this source are at or below {each.previous:,}"
        )
        # fault: jump-not-found
        yield Finding(f"marks of {consumer}", "problem", detail, advice)


async def _find_held_messages(
    log: Log, overview: SubscriptionOverview, each: Range, head: int, redacted_url: str
) -> list[Finding]:
    """Check for messages past their retention that are kept because a subscription has not passed them."""
    registration = overview.registration
    if registration.kind == "consumer":
        return []
    now = SystemClock().now()
    ages = [(now - oldest.recorded_at, oldest.type) for oldest in await log.oldest_messages(each.finished)]
    age, type = max(ages, default=(timedelta(), ""))
    if age <= MAX_HELD_AGE:
        return []
    progress = f"position {each.finished:,} of {head:,}"
    if each.finished < each.position:
        progress += f", where the key {each.failed_key!r} failed"
    detail = f"{progress}: the oldest message that it has not passed, a {type!r}, is {age.days} days old"
    run = command_hint("run --app MODULE:APP", redacted_url)
    name = f"messages for {registration.subscription}"
    # fault: forget-advised-for-a-failed-key
    if each.finished < each.position:
        show = command_hint(f"parked show {registration.subscription}", redacted_url)
        advice = (
            "no message after its position is dropped until the events of the key are handled or discarded: see the "
            f"keys that failed with {show}, then redrive or discard them"
        )
        return [Finding(name, "problem", detail, advice)]
    advice = (
        "no message after its position is dropped until the subscription has passed it: "
        f"{_describe_start(overview, redacted_url)}. If the subscription was removed from the app, forget its position "
        f"once: {run} --forget {registration.subscription}"
    )
    return [Finding(name, "problem", detail, advice)]
