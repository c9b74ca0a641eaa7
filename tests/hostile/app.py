"""The app that works during hostile load: a read model whose definition changes in deploys, and a reactor.

Both handle the events of the writers of `fait verify-store`. The reactor has an effect of each kind for an event: a row
and an appended event. It fails at random, after its effects, and is killed and paused like every other process.
"""

import random
from pathlib import Path
from typing import Self

import fait
from fait._tools.verify.plan import BOOKED, PLAIN, SOLD

REACTED = "hostile.reacted"
FAILURE_RATIO = 0.05


@fait.event(PLAIN)
class Happened:
    amount: int


@fait.event(SOLD)
class Sold:
    amount: int


@fait.event(BOOKED)
class Booked:
    amount: int


@fait.event(REACTED)
class Reacted:
    of: str
    number: int


def current_release(file: Path) -> int:
    return int(file.read_text())


def hostile_app(release: int) -> fait.App:
    """Return the app of a release. Each release folds in its own way, so its read model must be rebuilt."""
    app = fait.App("hostile")

    class Sums(fait.ReadModel, key="stream", version=release):
        stream: str
        amount: int = 0
        events: int = 0

        @classmethod
        def key_of(cls, event: Happened | Sold | Booked, at: fait.Envelope) -> str:
            return at.stream

        @classmethod
        def evolve(cls, row: Self | None, event: Happened | Sold | Booked, at: fait.Envelope) -> Self | None:
            row = row or cls(stream=at.stream)
            row.amount += event.amount * release
            row.events += 1
            return row

    app.include(Sums, Reacted)

    @app.on(Sold, Booked, start="beginning", batch=20, on_failure=fait.FailurePolicy(initial_s=0.02, max_s=0.2))
    async def react(event: Sold | Booked, ctx: fait.Context) -> None:
        numbers = [0, 1]
        random.shuffle(numbers)  # each attempt has another order
        for number in numbers:
            await ctx.publish(Reacted(ctx.envelope.id, number), stream=f"reaction-{number}")
        ctx.execute("INSERT INTO hostile_effects (event_id) VALUES ($1)", ctx.envelope.id)
        if random.random() < FAILURE_RATIO:
            raise RuntimeError("fails at random")

    return app
