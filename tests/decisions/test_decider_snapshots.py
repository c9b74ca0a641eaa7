"""Snapshots of deciders with the same `evolve`."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import fait


@fait.event("cask.filled")
class Filled:
    litres: Decimal


async def test_deciders_with_one_evolve_and_different_initial_states_have_their_own_snapshots(tmp_path: Path) -> None:
    def decide(command: int, state: int) -> list[Filled]:
        return [Filled(Decimal(command))]

    def evolve(state: int, event: Filled) -> int:
        return state + int(event.litres)

    def decider(category: str, initial: int) -> Any:
        return fait.Decider(category=category, initial=lambda: initial, decide=decide, evolve=evolve, snapshot_every=2)

    app = fait.App("two")
    app.include(Filled)
    low = decider("low", 0)
    for high, expected in ((decider("high", 100), 104), (decider("high", 1000), 1004)):
        async with app.open(f"sqlite:///{tmp_path}/two.db") as system:
            await system.load(low, "1")
            if expected == 104:
                for _ in range(4):
                    await system.decide(high, "1", 1)
            assert await system.load(high, "1") == expected
