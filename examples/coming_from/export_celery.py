"""Prints the tasks of a Celery queue in Redis as lines for `fait import`. It only reads.

    python export_celery.py redis://localhost:6379/0 celery 2026-11-30T12:00:00Z > tasks.jsonl
    python export_celery.py redis://localhost:6379/0 celery 2026-11-30T12:00:00Z --eta > later.jsonl

Messages do not contain the time at which they were sent, so all events get the time of the argument. Stop the workers
before, so that no task changes: the same queue gives the same lines. A message that has more than what is listed here
ends the export, because it may mean something that an event does not do. A pickled body is never opened.
"""

import sys
from base64 import b64decode
from collections.abc import Iterator
from typing import Any, Literal
from uuid import UUID

import msgspec
import redis


class SendInvoice(msgspec.Struct, forbid_unknown_fields=True):
    """The arguments of the task in order, with the types of the event's fields."""

    order: str


TASKS = {"send_invoice": ("shop.invoice-requested", "order", SendInvoice)}
"""For each name of tasks: the type of the event, the argument that names its stream, and all arguments."""

PRIORITY_STEPS = (0, 3, 6, 9)  # priority_steps in the setting broker_transport_options


class Headers(msgspec.Struct, forbid_unknown_fields=True):
    id: UUID
    task: str
    eta: str | None = None
    expires: None = None  # events do not expire before they are handled
    group: None = None  # no workflows
    group_index: None = None
    # What follows is not part of the event.
    lang: Any = None
    shadow: Any = None
    retries: Any = None
    timelimit: Any = None
    root_id: Any = None
    parent_id: Any = None
    argsrepr: Any = None
    kwargsrepr: Any = None
    origin: Any = None
    ignore_result: Any = None
    replaced_task_nesting: Any = None
    stamped_headers: Any = None
    stamps: Any = None
    redelivered: Any = None


class Properties(msgspec.Struct):
    body_encoding: Literal["base64"]


class Message(msgspec.Struct, rename="kebab", forbid_unknown_fields=True):
    body: str
    content_type: str
    content_encoding: str
    headers: Headers
    properties: Properties


class Embedded(msgspec.Struct, forbid_unknown_fields=True):
    callbacks: None = None
    errbacks: None = None
    chain: None = None
    chord: None = None


class NotExported(Exception):
    """A task cannot be an event. The text contains nothing of its arguments."""


def export(client: Any, queue: str, time: str, *, eta: bool = False) -> list[bytes]:
    if reserved := client.hlen("unacked"):
        raise NotExported(f"{reserved} tasks are reserved by workers: stop the workers, which gives the tasks back")
    lines = [line_of(number, each, time) for number, each in enumerate(messages(client, queue), 1)]
    return [msgspec.json.encode(line) for line in lines if ("due" in line) == eta]


def messages(client: Any, queue: str) -> Iterator[bytes]:
    """Yield the messages in the order in which a worker would take them."""
    for priority in PRIORITY_STEPS:
        key = f"{queue}\x06\x16{priority}" if priority else queue
        yield from reversed(client.lrange(key, 0, -1))


def line_of(number: int, encoded: bytes, time: str) -> dict[str, Any]:
    try:
        message = msgspec.json.decode(encoded, type=Message)
        if message.content_type != "application/json":
            raise NotExported(f"message {number}: its body is {message.content_type}; only JSON is opened")
        body = b64decode(message.body, validate=True)
        args, kwargs, _ = msgspec.json.decode(body, type=tuple[list[Any], dict[str, Any], Embedded])
    except (msgspec.MsgspecError, ValueError) as error:
        raise NotExported(f"message {number}: {error}") from None
    task = f"message {number}, task {message.headers.id}"
    if message.headers.task not in TASKS:
        raise NotExported(f"{task}: its name {message.headers.task!r} is not in TASKS")
    type, field, record = TASKS[message.headers.task]
    data = dict(zip(record.__struct_fields__, args, strict=False)) | kwargs
    if len(data) != len(args) + len(kwargs):
        raise NotExported(f"{task}: its arguments are not those in TASKS")
    try:
        name = getattr(msgspec.convert(data, record), field)
    except msgspec.ValidationError as error:
        raise NotExported(f"{task}: its arguments are not those of the event: {error}") from None
    line = {"id": message.headers.id, "stream": f"{field}-{name}", "type": type, "time": time, "data": data}
    return line | ({"due": message.headers.eta} if message.headers.eta else {})


def main(url: str, queue: str, time: str, *options: str) -> None:
    eta = options == ("--eta",)
    if options and not eta:
        sys.exit("the only option is --eta: tasks with an ETA, instead of those without one")
    with redis.Redis.from_url(url) as client:  # pyright: ignore[reportUnknownMemberType]
        try:
            lines, others = (export(client, queue, time, eta=each) for each in (eta, not eta))
        except NotExported as error:
            sys.exit(f"nothing was exported. {error}")
    if others:
        sys.stderr.write(f"not exported: {len(others)} {'without' if eta else 'with'} an ETA\n")
    sys.stdout.buffer.writelines(line + b"\n" for line in lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
