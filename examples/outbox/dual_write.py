"""The dual write, and its cure: `python -m examples.outbox.dual_write URL` lets four programs die, and counts.

Two of them write to a database and to a broker. Nothing holds the two writes together: whichever comes first, the
program can die before the other. Two use the outbox, which is a table of the same database.
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

from .shop import Order, connect, create, place

BROKER: Final = Path("broker.jsonl")
"""Stands for a broker: what is written here is published, whatever becomes of the database."""


def publish(message: dict[str, Any]) -> None:
    with BROKER.open("a", encoding="utf-8") as broker:
        broker.write(json.dumps(message) + "\n")


def die() -> None:
    """As of a power failure, a kill -9, or a deploy at the wrong moment."""
    os._exit(1)


def commit_then_publish(session: Session) -> None:
    session.add(Order(id="1", customer="ada", sku="sencha", quantity=2))
    session.commit()
    die()
    publish({"order": "1"})


def publish_then_commit(session: Session) -> None:
    session.add(Order(id="2", customer="ada", sku="sencha", quantity=2))
    session.flush()
    publish({"order": "2"})
    die()
    session.commit()


def outbox_before_the_commit(session: Session) -> None:
    place(session, "3", "ada", "sencha", 2)
    session.flush()
    die()
    session.commit()


def outbox_after_the_commit(session: Session) -> None:
    place(session, "4", "ada", "sencha", 2)
    session.commit()
    die()


PROGRAMS: Final[dict[str, tuple[str, Callable[[Session], None]]]] = {
    "1": ("commit, die, publish", commit_then_publish),
    "2": ("publish, die, commit", publish_then_commit),
    "3": ("outbox, die, commit ", outbox_before_the_commit),
    "4": ("outbox, commit, die ", outbox_after_the_commit),
}


def show(url: str) -> None:
    """Run each program in a process of its own, and see what is left of it."""
    create(url)
    BROKER.unlink(missing_ok=True)
    for order_id in PROGRAMS:
        subprocess.run([sys.executable, "-m", "examples.outbox.dual_write", url, order_id], check=False)  # noqa: S603
    published = [json.loads(line)["order"] for line in BROKER.read_text("utf-8").splitlines()]
    with Session(connect(url)) as session:
        stored = session.scalars(text("SELECT id FROM orders")).all()
        in_log = session.scalars(text("SELECT stream FROM fait_events")).all()
    for order_id, (name, _) in PROGRAMS.items():
        order = order_id in stored
        message = order_id in published or f"order-{order_id}" in in_log
        verdict = "right" if order == message else "WRONG"
        print(f"{name}   order: {order!s:5}   message: {message!s:5}   {verdict}")


if __name__ == "__main__":
    if sys.argv[2:]:
        with Session(connect(sys.argv[1])) as session:
            PROGRAMS[sys.argv[2]][1](session)
    else:
        show(sys.argv[1])
