"""Relays and consumers under disturbances of processes, connections, brokers and databases. `make delivery` runs it.

Two processes with a relay publish the orders that producers append; two with a consumer handle them in a database of
their own. Every second one of them is killed, stopped past its lease or asked to end, a broker or a database restarts,
connections and answers are lost, or a message is too large. At the end, what is at the broker and in the database of
the consumer is compared with the log (`checker`).

The program works for the given time, in rounds; each starts with new servers and prints its seed:

    python -m tests.delivery.run --brokers nats,redis --minutes 10
"""

import argparse
import asyncio
import json
import logging
import random
import sys
import time
from itertools import cycle
from pathlib import Path
from typing import Any

from tests.delivery.naive import RELAYS
from tests.delivery.report import Plan
from tests.delivery.round import run_round
from tests.delivery.servers import BROKERS

DATABASES = ("postgresql,sqlite", "sqlite,postgresql", "postgresql,postgresql")
"""The databases of orders and stock, in turns."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Disturb relays and consumers; the exit code is 1 if a message is wrong."
    )
    parser.add_argument("--minutes", type=float, default=5.0, help="at least one round for each broker")
    parser.add_argument("--brokers", default=",".join(BROKERS), help=f"of {', '.join(BROKERS)}")
    parser.add_argument("--databases", help="of orders and stock, as in postgresql,sqlite; default: in turns")
    parser.add_argument("--seconds", type=float, default=45.0, help="seconds of a round, without its end")
    parser.add_argument("--seed", type=int, help="a number; random if it is not given")
    parser.add_argument("--naive", default="", choices=["", *RELAYS], help="run this naive relay instead")
    parser.add_argument("--logs", type=Path, help="directory for the logs of the processes")
    parser.add_argument("--json", action="store_true", help="print each round as a line of JSON")
    options = parser.parse_args()
    for name in ("asyncio", "fait", "nats"):  # cut connections and failed attempts are expected
        logging.getLogger(name).setLevel(logging.CRITICAL)
    sys.exit(not asyncio.run(run_rounds(options)))


async def run_rounds(options: Any) -> bool:
    """Run rounds until the time is up, in turns on each broker. Returns whether all passed."""
    brokers, databases = options.brokers.split(","), cycle([options.databases] if options.databases else DATABASES)
    seed = random.randrange(1 << 30) if options.seed is None else options.seed
    end, number, passed = time.monotonic() + 60 * options.minutes, 0, True
    while number < len(brokers) or time.monotonic() < end:
        orders, _, stock = next(databases).partition(",")
        broker = brokers[number % len(brokers)]
        plan = Plan(broker, (orders, stock), options.seconds, seed + number, options.naive)
        logs = options.logs and options.logs / f"{broker}-{plan.seed}"
        if logs:
            logs.mkdir(parents=True, exist_ok=True)
        report = await run_round(plan, logs)
        print(json.dumps(report.summary) if options.json else _line(report.summary), flush=True)
        if report.violations:
            print(report.failure, file=sys.stderr, flush=True)
        number, passed = number + 1, passed and not report.violations
    return passed


def _line(summary: dict[str, Any]) -> str:
    shown = {name: sum(each.values()) if isinstance(each, dict) else each for name, each in summary.items()}
    return "  ".join(f"{name} {each}" for name, each in shown.items())


if __name__ == "__main__":
    main()
