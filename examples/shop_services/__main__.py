"""Run the demo: `python -m examples.shop_services --broker URL`, for one or more brokers, and print what became of it.

The exit code is 1 if an order was lost by the services, or handled twice.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence

import fait

from .demo import Result, run

COLUMNS = ("broker", "placed", "confirmed", "canceled", "lost by naive", "lost by fait", "handled twice")


def main(brokers: Sequence[str]) -> int:
    """Run the demo over each broker; print a line for each, and return the exit code."""
    print("  ".join(COLUMNS))
    results = [run_and_print(each) for each in brokers]
    return 0 if all(each.passed for each in results) else 1


def run_and_print(broker: str) -> Result:
    result = asyncio.run(run(broker))
    values = (result.broker, result.placed, result.confirmed, result.canceled)
    values += (result.lost_by_naive, result.lost_by_fait, result.repeated)
    cells = [f"{value:<{len(column)}}" for column, value in zip(COLUMNS, values, strict=True)]
    print("  ".join(cells).rstrip(), flush=True)
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.shop_services", description="A shop as two services.")
    parser.add_argument("--broker", action="append", required=True, metavar="URL", help="repeatable")
    try:
        sys.exit(main(parser.parse_args().broker))
    except fait.FaitError as error:
        sys.exit(f"error: {error}")
