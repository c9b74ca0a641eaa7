"""The shop: a table of orders that is updated in place, and an event for each change.

The shop is not event-sourced. It calls `shop.outbox(session).add(...)` next to `session.add(...)`, and the commit of
the session stores both.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import fait


class Model(DeclarativeBase):
    pass


class Order(Model):
    __tablename__ = "orders"

    id: Mapped[str] = mapped_column(primary_key=True)
    customer: Mapped[str]
    sku: Mapped[str]
    quantity: Mapped[int]
    status: Mapped[str] = mapped_column(default="placed")


class Stock(Model):
    """Pieces on hand, maintained by a handler."""

    __tablename__ = "stock"

    sku: Mapped[str] = mapped_column(primary_key=True)
    on_hand: Mapped[int]


class Mail(Model):
    """An e-mail to send, written by a handler."""

    __tablename__ = "outgoing_mail"

    event_id: Mapped[str] = mapped_column(primary_key=True)
    recipient: Mapped[str]
    subject: Mapped[str]


@fait.event("shop.order-placed")
@dataclass(frozen=True)
class OrderPlaced:
    """A customer ordered a quantity of a product."""

    customer: str
    sku: str
    quantity: int


@fait.event("shop.order-canceled")
@dataclass(frozen=True)
class OrderCanceled:
    """The order was canceled; its pieces are available again."""

    customer: str
    sku: str
    quantity: int


shop = fait.App("outbox-shop")
shop.include(OrderPlaced, OrderCanceled)


def place(session: Session, order_id: str, customer: str, sku: str, quantity: int) -> None:
    """Place an order; the commit of the session stores the row and the event."""
    session.add(Order(id=order_id, customer=customer, sku=sku, quantity=quantity))
    shop.outbox(session).add(OrderPlaced(customer, sku, quantity), stream=f"order-{order_id}")


def cancel(session: Session, order_id: str) -> None:
    """Cancel an order; does nothing if it is already canceled."""
    order = session.get_one(Order, order_id, with_for_update=True)
    if order.status != "canceled":
        order.status = "canceled"
        event = OrderCanceled(order.customer, order.sku, order.quantity)
        shop.outbox(session).add(event, stream=f"order-{order_id}")


DRIVERS: Final = {"postgresql": "postgresql+psycopg", "sqlite": "sqlite+pysqlite"}


def connect(url: str) -> Engine:
    """Create a SQLAlchemy engine for a store URL of fait."""
    store_url = make_url(url)
    engine = create_engine(store_url.set(drivername=DRIVERS[store_url.drivername]))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _leave_begin_to_sqlalchemy)
        event.listen(engine, "begin", _begin_immediate)
    return engine


def _leave_begin_to_sqlalchemy(connection: Any, _record: Any) -> None:
    connection.isolation_level = None


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def create_tables(url: str) -> None:
    """Create the log, as `fait db init` does, and the shop's tables in the same database."""
    asyncio.run(_create_log(url))
    engine = connect(url)
    Model.metadata.create_all(engine)
    engine.dispose()


async def _create_log(url: str) -> None:
    async with shop.open(url, run="elsewhere"):
        pass
