"""The dual-write problem and the outbox: `python -m examples.outbox.dual_write URL` crashes four programs.

Two of the programs write to a database and to a broker. No transaction covers both writes, so a program can crash
between them, whichever comes first. The other two use the outbox: the event is a row in the same database.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from .shop import Order, connect, create_tables, place

BROKER: Final = Path("broker.jsonl")
"""A stand-in for a broker: a message in this file is published, whether or not the database commits."""


def publish(message: dict[str, Any]) -> None:
    with BROKER.open("a", encoding="utf-8") as broker:
        broker.write(json.dumps(message) + "\n")


def crash() -> None:
    """End the process at once, like a power failure or kill -9."""
    os._exit(1)


def commit_then_publish(session: Session) -> None:
    session.add(Order(id="1", customer="ada", sku="sencha", quantity=2))
    session.commit()
    crash()
    publish({"order": "1"})


def publish_then_commit(session: Session) -> None:
    session.add(Order(id="2", customer="ada", sku="sencha", quantity=2))
    session.flush()
    publish({"order": "2"})
    crash()
    session.commit()


def outbox_crash_before_commit(session: Session) -> None:
    place(session, "3", "ada", "sencha", 2)
    session.flush()
    crash()
    session.commit()


def outbox_crash_after_commit(session: Session) -> None:
    place(session, "4", "ada", "sencha", 2)
    session.commit()
    crash()


PROGRAMS: Final[dict[str, tuple[str, Callable[[Session], None]]]] = {
    "1": ("commit, crash, publish", commit_then_publish),
    "2": ("publish, crash, commit", publish_then_commit),
    "3": ("outbox, crash, commit ", outbox_crash_before_commit),
    "4": ("outbox, commit, crash ", outbox_crash_after_commit),
}


def run_programs(url: str) -> None:
    """Run each program in its own process and print whether its order and its message exist afterwards."""
    create_tables(url)
    BROKER.unlink(missing_ok=True)
    for order_id in PROGRAMS:
        subprocess.run([sys.executable, "-m", "examples.outbox.dual_write", url, order_id], check=False)  # noqa: S603
    published = [json.loads(line)["order"] for line in BROKER.read_text("utf-8").splitlines()]
    with Session(connect(url)) as session:
        stored = session.scalars(text("SELECT id FROM orders")).all()
        streams = session.scalars(text("SELECT stream FROM fait_events")).all()
    for order_id, (name, _) in PROGRAMS.items():
        order = order_id in stored
        message = order_id in published or f"order-{order_id}" in streams
        result = "consistent" if order == message else "INCONSISTENT"
        print(f"{name}   order: {order!s:5}   message: {message!s:5}   {result}")


if __name__ == "__main__":
    if sys.argv[2:]:
        with Session(connect(sys.argv[1])) as session:
            PROGRAMS[sys.argv[2]][1](session)
    else:
        run_programs(sys.argv[1])
