"""The demo: `python -m examples.outbox.demo URL` sells in this process while a second process runs the handlers."""

import subprocess
import sys
import time

from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from .shop import Mail, Order, Stock, cancel, connect, create_tables, place

TIMEOUT_S = 30.0
"""Timeout for the handlers to process all events."""


def sell(sessions: sessionmaker[Session]) -> None:
    """Place twenty orders; one is rolled back and two are canceled."""
    for number in range(20):
        with sessions() as session:
            place(session, str(number), "ada", "sencha", 2)
            if number == 13:
                session.rollback()  # the customer left before the order was confirmed
            session.commit()
    for order_id in ("3", "5"):
        with sessions.begin() as session:
            cancel(session, order_id)


def wait_for_handlers(sessions: sessionmaker[Session]) -> tuple[int, int, int]:
    """Wait until the handlers have processed all events; return the orders, e-mails and pieces on hand."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        with sessions() as session:
            orders = session.scalars(select(func.count()).select_from(Order)).one()
            emails = session.scalars(select(func.count()).select_from(Mail)).one()
            on_hand = session.get_one(Stock, "sencha").on_hand
        if (emails == orders + 2 and on_hand == 100 - 2 * (orders - 2)) or time.monotonic() > deadline:
            return orders, emails, on_hand
        time.sleep(0.1)


def main(url: str) -> bool:
    """Run the demo; return whether the result is as expected."""
    create_tables(url)
    engine = connect(url)
    sessions = sessionmaker(engine)
    with sessions.begin() as session:
        session.add(Stock(sku="sencha", on_hand=100))
    with subprocess.Popen([sys.executable, "-m", "examples.outbox.worker", url]) as worker:  # noqa: S603
        try:
            sell(sessions)
            orders, emails, on_hand = wait_for_handlers(sessions)
        finally:
            worker.terminate()
    engine.dispose()
    print(f"{orders} orders, 2 of them canceled: {emails} e-mails, {on_hand} of 100 pieces on hand")
    return (orders, emails, on_hand) == (19, 21, 66)


if __name__ == "__main__":
    sys.exit(not main(sys.argv[1]))
