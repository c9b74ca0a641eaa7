"""The app that the crash tests kill: counters, a read model of them, and a reactor whose effects are counted.

Run as a program it is one of the processes: it works until it is killed, and prints what was acknowledged.
"""

import asyncio
import json
import random
import sys
import time
from typing import Self

import fait


@fait.event("counting.counted")
class Counted:
    by: int


class Counter(fait.Aggregate, category="counter"):
    total: int = 0

    def count(self, by: int) -> int:
        self.emit(Counted(by))
        return self.total

    def evolve(self, event: Counted) -> None:
        self.total += event.by


class Totals(fait.ReadModel, key="counter"):
    counter: str
    total: int
    events: int

    @classmethod
    def evolve(cls, row: Self | None, event: Counted, at: fait.Envelope) -> Self | None:
        row = row or cls(counter=at.stream_id, total=0, events=0)
        row.total += event.by
        row.events += 1
        return row


def counting_app() -> fait.App:
    app = fait.App("counting")
    app.include(Counter, Totals)
    return app


def reacting_app() -> fait.App:
    app = fait.App("reacting")

    @app.on(Counted, start="beginning")
    async def effect(event: Counted, ctx: fait.Context) -> None:
        await asyncio.sleep(0.003)
        ctx.execute("INSERT INTO effects (event_id, position) VALUES ($1, $2)", ctx.envelope.id, ctx.envelope.position)

    return app


async def append_until_killed(url: str, seed: int) -> None:
    """Eight callers append to shared and separate streams; prints key, position, stream and version of each append."""
    chance = random.Random(seed)
    async with counting_app().open(url, lease_s=0.5) as system:

        async def call(caller: int) -> None:
            number = 0
            while True:
                number += 1
                shared = chance.random() < 0.3
                counter = f"shared-{chance.randrange(5)}" if shared else f"own-{seed}-{caller}"
                key = f"{seed}/{caller}/{number}"
                result = await system.using(key=key, attempts=50).transact(
                    Counter.count, counter, chance.randrange(1, 9)
                )
                print(key, result.position, result.stream, result.version, flush=True)

        await asyncio.gather(*(call(caller) for caller in range(8)))


async def share(url: str, number: str) -> None:
    """Sixteen callers append for two seconds. All processes start at the same full second."""
    async with counting_app().open(url, run="elsewhere") as system:
        print("open", flush=True)
        begin = int(time.time()) + 3
        appended, errors = 0, 0
        await asyncio.sleep(begin - time.time())

        async def call(caller: int) -> None:
            nonlocal appended, errors
            while time.time() < begin + 2:
                try:
                    await system.publish(Counted(1), stream=f"counter-{number}-{caller}")
                    appended += 1
                except fait.FaitError:
                    errors += 1

        await asyncio.gather(*(call(caller) for caller in range(16)))
        print(json.dumps({"appended": appended, "errors": errors}), flush=True)
        await asyncio.Event().wait()


async def react_until_killed(url: str) -> None:
    async with reacting_app().open(url, lease_s=0.5):
        print("open", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["append", url, seed]:
            asyncio.run(append_until_killed(url, int(seed)))
        case ["share", url, number]:
            asyncio.run(share(url, number))
        case ["react", url]:
            asyncio.run(react_until_killed(url))
        case other:
            raise SystemExit(f"unknown command: {other}")
