"""A process of hostile load. Its last argument is a number that the parent adds.

worker FILE    runs the subscriptions of the current release, whose number the file contains; rebuilds what has changed
opener FILE    opens the app, asks for its state and closes it, again and again
"""

import sys
from pathlib import Path

import fait
from fait._tools.verify.plan import Plan
from fait._tools.verify.process import RETRY_DELAY_S, ParentMessages, main, send
from fait._tools.verify.report import Violation
from tests.hostile.app import current_release, hostile_app

LEASE_S = 1.0
PERMITTED = (fait.StoreUnavailable, fait.ReadModelChanged, fait.Stale)
"""Errors that an app may meet during deploys and outages."""


async def work(plan: Plan, file: Path, messages: ParentMessages) -> None:
    """Run the subscriptions until stopped. As in a deploy, only a changed read model is rebuilt."""
    rebuild: tuple[str, ...] = ()
    send("ready")
    while not messages.stopped:
        app = hostile_app(current_release(file))
        try:
            async with app.open(plan.url, create=False, lease_s=LEASE_S, rebuild=rebuild):
                await messages.wait()
        except fait.ReadModelChanged as error:
            rebuild = (error.model,)
        except fait.StoreUnavailable as error:
            send("error", type(error).__name__, str(error))
            await messages.wait(timeout_s=RETRY_DELAY_S)


async def open_again_and_again(plan: Plan, file: Path, messages: ParentMessages) -> None:
    """Open the app while others work: it must not fail because they are busy."""
    send("ready")
    while not messages.stopped:
        try:
            async with hostile_app(current_release(file)).open(plan.url, run="elsewhere", create=False) as system:
                await system.status()
        except PERMITTED as error:
            send("error", type(error).__name__, str(error))
        except Exception as error:
            send("violation", Violation.FAILED_PROCESS, f"an app could not be opened: {error!r}")
        await messages.wait(timeout_s=RETRY_DELAY_S)


if __name__ == "__main__":
    run = {"worker": work, "opener": open_again_and_again}[sys.argv[1]]
    main(lambda plan, messages: run(plan, Path(sys.argv[2]), messages))
