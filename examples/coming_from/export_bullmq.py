"""Prints the jobs of a BullMQ queue as lines for `fait import`. It only reads.

    python export_bullmq.py redis://localhost:6379 invoices > jobs.jsonl
    python export_bullmq.py redis://localhost:6379 invoices failed delayed > later.jsonl

Pause the queue before, so that no job changes: the same queue gives the same lines. A job with a field or an option
that is not listed here ends the export, because it may mean something that an event does not do.
"""

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import msgspec
import redis


class SendInvoice(msgspec.Struct, forbid_unknown_fields=True):
    """The fields of the event, as its class declares them."""

    order: str


JOBS = {"send-invoice": ("shop.invoice-requested", "order", SendInvoice)}
"""For each name of jobs: the type of the event, the field of the data that names its stream, and all fields."""

PREFIX = "bull"
IDS = UUID("6f0d9a3e-58c5-4d0c-8d43-6d2f2a1c7be1")

PENDING = ("wait", "paused", "prioritized")  # in the order in which BullMQ takes them
LATER = ("failed", "delayed")
LISTS = ("wait", "paused", "active")


class Job(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    data: str
    opts: str
    timestamp: int
    # What follows is not part of the event.
    delay: Any = None
    priority: Any = None
    atm: Any = None  # attempts made
    ats: Any = None  # attempts started
    stc: Any = None  # how often it stalled
    pb: Any = None  # processed by
    deid: Any = None  # id of deduplication
    processedOn: Any = None
    finishedOn: Any = None
    failedReason: Any = None
    stacktrace: Any = None
    progress: Any = None


class Options(msgspec.Struct, forbid_unknown_fields=True):
    attempts: Any = None
    backoff: Any = None
    delay: Any = None
    priority: Any = None
    lifo: Any = None
    jobId: Any = None
    timestamp: Any = None
    removeOnComplete: Any = None
    removeOnFail: Any = None
    keepLogs: Any = None
    kl: Any = None
    stackTraceLimit: Any = None
    sizeLimit: Any = None
    deduplication: Any = None
    de: Any = None


class NotExported(Exception):
    """A job cannot be an event. The text contains nothing of its data."""


def export(client: Any, queue: str, states: Sequence[str] = PENDING) -> list[bytes]:
    for state in ("active", "waiting-children"):
        if ids := job_ids(client, queue, state):
            raise NotExported(f"{len(ids)} jobs are {state}: let the workers finish them, then run this again")
    return [line_of(client, queue, state, id) for state in states for id in job_ids(client, queue, state)]


def job_ids(client: Any, queue: str, state: str) -> list[str]:
    """Return the ids of the jobs in the order in which they would run."""
    key = f"{PREFIX}:{queue}:{state}"
    ids = client.lrange(key, 0, -1)[::-1] if state in LISTS else client.zrange(key, 0, -1)
    return [id.decode() for id in ids]


def line_of(client: Any, queue: str, state: str, id: str) -> bytes:
    fields = {name.decode(): value.decode() for name, value in client.hgetall(f"{PREFIX}:{queue}:{id}").items()}
    if (scheduler := fields.get("rjk")) is not None:
        raise NotExported(f"job {id}: the scheduler {scheduler!r} has added it, and fait has none: see its guide")
    try:
        job = msgspec.convert(fields, Job, strict=False)
        msgspec.json.decode(job.opts, type=Options)
        data = msgspec.json.decode(job.data, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise NotExported(f"job {id}: {error}") from None
    if job.name not in JOBS:
        raise NotExported(f"job {id}: its name {job.name!r} is not in JOBS")
    type, field, record = JOBS[job.name]
    try:
        name = getattr(msgspec.convert(data, record), field)
    except msgspec.ValidationError as error:
        raise NotExported(f"job {id}: its data is not that of the event: {error}") from None
    line: dict[str, Any] = {"id": uuid5(IDS, f"{PREFIX}:{queue}:{id}"), "stream": f"{field}-{name}"}
    line |= {"type": type, "time": moment(job.timestamp), "bullmq": f"{queue} {id} {state}"}
    if state == "delayed":
        line["due"] = moment(int(client.zscore(f"{PREFIX}:{queue}:delayed", id)) // 4096)
    return msgspec.json.encode({**line, "data": data})


def moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def remaining(client: Any, queue: str, states: Sequence[str]) -> Iterator[str]:
    for state in (*PENDING, *LATER):
        if state not in states and (ids := job_ids(client, queue, state)):
            yield f"not exported: {len(ids)} {state}\n"


def main(url: str, queue: str, *states: str) -> None:
    if not {*states} <= {*PENDING, *LATER}:
        sys.exit(f"the states are {', '.join((*PENDING, *LATER))}")
    with redis.Redis.from_url(url) as client:  # pyright: ignore[reportUnknownMemberType]
        try:
            lines = export(client, queue, states or PENDING)
        except NotExported as error:
            sys.exit(f"nothing was exported. {error}")
        sys.stderr.writelines(remaining(client, queue, states or PENDING))
    sys.stdout.buffer.writelines(line + b"\n" for line in lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
