"""The shop at work: `python -m examples.outbox.demo URL` sells in this process, while another runs the handlers."""

import subprocess
import sys
import time

from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from .shop import Mail, Order, Stock, cancel, connect, create, place

WAIT_S = 30.0


def sell(sessions: sessionmaker[Session]) -> None:
    """Twenty orders: one is rolled back, two are cancelled."""
    for number in range(20):
        with sessions() as session:
            place(session, str(number), "ada", "sencha", 2)
            if number == 13:
                session.rollback()  # the customer closed the window
            session.commit()
    for order_id in ("3", "5"):
        with sessions.begin() as session:
            cancel(session, order_id)


def settled(sessions: sessionmaker[Session]) -> tuple[int, int, int]:
    """Orders, mails and pieces on hand, once the handlers have seen everything."""
    deadline = time.monotonic() + WAIT_S
    while True:
        with sessions() as session:
            orders = session.scalars(select(func.count()).select_from(Order)).one()
            mails = session.scalars(select(func.count()).select_from(Mail)).one()
            on_hand = session.get_one(Stock, "sencha").on_hand
        if (mails == orders + 2 and on_hand == 100 - 2 * (orders - 2)) or time.monotonic() > deadline:
            return orders, mails, on_hand
        time.sleep(0.1)


def main(url: str) -> bool:
    create(url)
    engine = connect(url)
    sessions = sessionmaker(engine)
    with sessions.begin() as session:
        session.add(Stock(sku="sencha", on_hand=100))
    with subprocess.Popen([sys.executable, "-m", "examples.outbox.worker", url]) as worker:  # noqa: S603
        try:
            sell(sessions)
            orders, mails, on_hand = settled(sessions)
        finally:
            worker.terminate()
    engine.dispose()
    print(f"{orders} orders, 2 of them cancelled: {mails} mails, {on_hand} of 100 pieces on hand")
    return (orders, mails, on_hand) == (19, 21, 66)


if __name__ == "__main__":
    sys.exit(not main(sys.argv[1]))
