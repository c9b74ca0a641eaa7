"""The `fait` command with short leases; the variable DELIVERY_STEP says at which step it kills itself (-9).

    DELIVERY_STEP=7 python -m tests.delivery.process run --app tests.delivery.apps:orders --store URL

A step is the time before or after a call of the store or the broker, as in `tests.relay.stepping`.
"""

import logging
import os
from functools import partialmethod
from threading import Thread

import fait
from fait._tools.cli.main import run
from tests.relay.stepping import Steps, install

LEASE_S = 0.5


def end_with_parent() -> None:
    """End this process when its standard input is closed: the tests have ended, perhaps by SIGKILL."""

    def wait() -> None:
        os.read(0, 1)  # not sys.stdin, whose lock would keep Python from ending
        os._exit(1)

    Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    end_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s %(message)s")
    fait.App.open = partialmethod(fait.App.open, lease_s=LEASE_S)  # type: ignore[assignment]
    if step := int(os.environ.get("DELIVERY_STEP", "0")):
        install(Steps(step))
    run()
