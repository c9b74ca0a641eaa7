"""The app of the crash tests whose handler appends: two events for each event, in an order that changes.

Run as a program it is one of the processes: it runs the handler until it is killed.
"""

import asyncio
import random
import sys

import fait
from tests.crash.counting import Counted, Counter


@fait.event("appending.echoed")
class Echoed:
    id: str


def appending_app() -> fait.App:
    app = fait.App("appending")
    app.include(Counter, Echoed)

    @app.on(Counted, start="beginning")
    async def echo(event: Counted, ctx: fait.Context) -> None:
        if ctx.envelope.category != "source":
            return
        calls = [
            ctx.publish(Echoed(ctx.envelope.id), stream=f"echo-{ctx.envelope.version % 3}"),
            ctx.transact(Counter.count, "total", random.randrange(1, 9)),
        ]
        for call in random.sample(calls, 2):
            await call
            await asyncio.sleep(0.001)

    return app


async def run_until_killed(url: str) -> None:
    async with appending_app().open(url, lease_s=0.3):
        print("open", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run_until_killed(sys.argv[1]))
