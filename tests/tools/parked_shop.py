"""An app whose handler fails, for tests of the commands for operators: parks keys, and runs as a worker."""

import asyncio
import os
from collections.abc import Callable

import fait
from fait._store.ports.failures import KeyFailure

PASSWORD = "hunter2"
QUICK = fait.FailurePolicy(initial_s=0.01, max_s=0.02, attempts=2)
STOP = fait.FailurePolicy(initial_s=0.01, max_s=0.02, attempts=2, then="stop")


@fait.event("shop.paid")
class Paid:
    amount: int


class Unreachable(Exception):
    pass


def shop_of(handle: Callable[[Paid], None], policy: fait.FailurePolicy = QUICK) -> fait.App:
    app = fait.App("shop")
    app.on(Paid, name="invoice", start="beginning", on_failure=policy)(handle)
    return app


def fail_if_negative(event: Paid) -> None:
    if event.amount < 0:
        raise ValueError(f"an amount is negative, password={PASSWORD}")
    if event.amount == 0:
        raise Unreachable("nothing to pay")


def fail_unless_repaired(event: Paid) -> None:
    if not os.path.exists("repaired"):
        fail_if_negative(event)


shop = shop_of(fail_unless_repaired)


async def failures(s: fait.System) -> list[KeyFailure]:
    return await s.store.failures.failures()


async def publish(url: str, **amounts: list[int]) -> None:
    async with shop.open(url, run="elsewhere") as s:
        for stream, values in amounts.items():
            for each in values:
                await s.publish(Paid(each), stream=f"order-{stream}")


async def work_until(url: str, app: fait.App, state: Callable[[list[KeyFailure]], bool]) -> list[KeyFailure]:
    """Run the app until the failures are as wanted, and all else is handled."""
    async with app.open(url, lease_s=0.4) as s, asyncio.timeout(30):
        while not (state(await failures(s)) and all(each.lag == 0 for each in await s.status())):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return await failures(s)


def park(url: str, parked: int, **amounts: list[int]) -> list[KeyFailure]:
    """Publish payments, and run the shop until as many keys are parked."""

    async def main() -> list[KeyFailure]:
        await publish(url, **amounts)
        return await work_until(
            url, shop_of(fail_if_negative), lambda failed: [each.state for each in failed] == ["parked"] * parked
        )

    return asyncio.run(main())


def stop(url: str, **amounts: list[int]) -> None:
    """Publish payments, and run the shop until its policy has paused it."""

    async def main() -> None:
        await publish(url, **amounts)
        async with shop_of(fail_if_negative, STOP).open(url, lease_s=0.4) as s, asyncio.timeout(30):
            while [each.state for each in await s.status()] != ["paused"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    asyncio.run(main())
