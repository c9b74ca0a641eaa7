"""The app whose workers are killed and stopped: subscriptions of every kind, whose effects are compared with the log.

Rows have a digest that depends on the order of the events. Handlers fail at random, after their effects.
"""

import asyncio
import os
import random
from pathlib import Path
from typing import Self

import fait

STREAMS = 500
GROUPS = 60
ECHO_STREAMS = 20
FAILURE_RATIO = 0.01
POLICY = fait.FailurePolicy(initial_s=0.02, max_s=0.2, attempts=None)

CREATE_NOTES = "CREATE TABLE fleet_notes (id {identity}, stream TEXT NOT NULL, version BIGINT NOT NULL)"


@fait.event("fleet.counted")
class Counted:
    group: str


@fait.event("fleet.marked")
class Marked:
    group: str


@fait.event("fleet.echoed")
class Echoed:
    of: str


class Counters(fait.ReadModel, key="counter"):
    counter: str
    events: int = 0
    digest: int = 0

    @classmethod
    def evolve(cls, row: Self | None, event: Counted | Marked, at: fait.Envelope) -> Self | None:
        row = row or cls(counter=at.stream_id)
        row.events += 1
        row.digest = next_digest(row.digest, at.version)
        return row


class Groups(fait.ReadModel, key="group"):
    group: str
    events: int = 0
    digest: int = 0

    @classmethod
    def key_of(cls, event: Counted | Marked, at: fait.Envelope) -> str:
        return event.group

    @classmethod
    def evolve(cls, row: Self | None, event: Counted | Marked, at: fait.Envelope) -> Self | None:
        row = row or cls(group=event.group)
        row.events += 1
        row.digest = next_digest(row.digest, at.position)
        return row


def next_digest(digest: int, number: int) -> int:
    """Return the digest of a sequence of numbers and one more; another order gives another digest."""
    return (digest * 31 + number) % ((1 << 31) - 1)


def fleet_app(calls: Path | None = None) -> fait.App:
    """Return the app.

    Args:
        calls: file to which the handler with an effect outside of the database appends a line; None: it does nothing.
    """
    app = fait.App("fleet")
    app.include(Counters, Groups, Echoed)

    @app.on(Counted, Marked, start="beginning", batch=20, on_failure=POLICY)
    async def note(event: Counted | Marked, ctx: fait.Context) -> None:
        sql = "INSERT INTO fleet_notes (stream, version) VALUES ($1, $2)"
        ctx.execute(sql, ctx.envelope.stream, ctx.envelope.version)
        await pause()  # so that a worker is often killed or stopped between an effect and its record
        fail_at_random()

    @app.on(Marked, start="beginning", on_failure=POLICY)
    async def echo(event: Marked, ctx: fait.Context) -> None:
        await ctx.publish(Echoed(ctx.envelope.id), stream=f"echo-{int(ctx.envelope.stream_id) % ECHO_STREAMS}")
        fail_at_random()

    @app.on(Counted, Marked, start="beginning", concurrency=8, on_failure=POLICY)
    async def call(event: Counted | Marked, ctx: fait.Context) -> None:
        await pause()
        if calls is not None:
            append_line(calls, f"{ctx.envelope.stream} {ctx.envelope.version}")
        fail_at_random()

    return app


async def pause() -> None:
    """Be slow now and then."""
    if random.random() < 0.1:
        await asyncio.sleep(0.02 * random.random())


def append_line(file: Path, line: str) -> None:
    """Append a line in one write, so that those of several processes do not mix."""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def fail_at_random() -> None:
    if random.random() < FAILURE_RATIO:
        raise RuntimeError("fails at random")
