"""Calls of a system under keys that an outbox also uses. On SQLite in another process, as the drivers differ."""

import asyncio
import subprocess
import sys

import pytest

import fait
from tests.outbox.clients import Changed, Place, Placed, shop


async def before_outbox(url: str, order: str) -> None:
    """Use three keys: for the event that the outbox adds, for more events, and for another event."""
    placed = fait.NewEvents(order, [Placed(1)])
    async with shop.open(url, run="elsewhere") as system:
        await system.using(key=f"{order} same").append(placed)
        await system.using(key=f"{order} more").append(placed, fait.NewEvents(f"{order}-2", [Placed(1)]))
        await system.using(key=f"{order} other").publish(Changed(1), stream=order)


async def after_outbox(url: str, order: str) -> None:
    """Use the key under which the outbox has stored one event: for the same event, and for more."""
    async with shop.open(url, run="elsewhere") as system:
        client = system.using(key=f"{order} same", scope="outbox")
        assert (await client.append(fait.NewEvents(order, [Placed(1)]))).repeated
        with pytest.raises(fait.KeyReused):
            await client.append(fait.NewEvents(order, [Placed(1), Placed(1)]))


CALLS = {"before": before_outbox, "after": after_outbox}


async def run_calls(place: Place, calls: str, order: str) -> None:
    """Run one of `CALLS`."""
    if place.dialect == "postgresql":
        await CALLS[calls](place.url, order)
        return
    program = [sys.executable, "-m", "tests.outbox.system_calls", calls, place.url, order]
    done = await asyncio.to_thread(subprocess.run, program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    asyncio.run(CALLS[sys.argv[1]](*sys.argv[2:]))
