"""A clock that tests of leases advance: no lease expires on a slow machine, and no test waits for the end of one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import fait
from fait._clock import ManualClock
from fait.testing.contract.processors import until


class SteppedClock(ManualClock):
    """A clock whose monotonic time stands still between advances."""

    def monotonic(self) -> float:
        return self._passed_s


async def pass_time_until(
    clock: SteppedClock, systems: Sequence[fait.System], condition: Callable[[], Awaitable[bool]]
) -> None:
    """Advance the clock by parts of a lease, each time with a heartbeat of all workers, until a condition holds."""
    runners = [each._subscription_runner for each in systems]
    async with asyncio.timeout(30):
        while not await condition():
            clock.advance(seconds=runners[0]._lease_s / 4)
            await until(lambda: all(each.alive_until == clock.monotonic() + each._lease_s for each in runners))
