"""The shop: a table of orders that is changed in place, and events that tell others of each change.

There is nothing of event sourcing here. `shop.outbox(session).add(...)` stands beside `session.add(...)`, and the
session's commit stores both.
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
    """Pieces on hand; kept by a handler."""

    __tablename__ = "stock"

    sku: Mapped[str] = mapped_column(primary_key=True)
    on_hand: Mapped[int]


class Mail(Model):
    """What the mail server sends; written by a handler."""

    __tablename__ = "outgoing_mail"

    event_id: Mapped[str] = mapped_column(primary_key=True)
    recipient: Mapped[str]
    subject: Mapped[str]


@fait.event("shop.order-placed")
@dataclass(frozen=True)
class OrderPlaced:
    """A customer ordered so many pieces of a product."""

    customer: str
    sku: str
    quantity: int


@fait.event("shop.order-cancelled")
@dataclass(frozen=True)
class OrderCancelled:
    """There will be no parcel: the pieces are free again."""

    customer: str
    sku: str
    quantity: int


shop = fait.App("outbox-shop")
shop.include(OrderPlaced, OrderCancelled)


def place(session: Session, order_id: str, customer: str, sku: str, quantity: int) -> None:
    """Place an order: it is there, and its handlers will hear of it, once the session is committed."""
    session.add(Order(id=order_id, customer=customer, sku=sku, quantity=quantity))
    shop.outbox(session).add(OrderPlaced(customer, sku, quantity), stream=f"order-{order_id}")


def cancel(session: Session, order_id: str) -> None:
    """Cancel an order; a second time is nothing."""
    order = session.get_one(Order, order_id, with_for_update=True)
    if order.status != "cancelled":
        order.status = "cancelled"
        event = OrderCancelled(order.customer, order.sku, order.quantity)
        shop.outbox(session).add(event, stream=f"order-{order_id}")


DRIVERS: Final = {"postgresql": "postgresql+psycopg", "sqlite": "sqlite+pysqlite"}


def connect(url: str) -> Engine:
    """SQLAlchemy's way to the database that fait knows by this URL."""
    address = make_url(url)
    engine = create_engine(address.set(drivername=DRIVERS[address.drivername]))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _leave_begin_to_sqlalchemy)
        event.listen(engine, "begin", _begin_immediate)
    return engine


def _leave_begin_to_sqlalchemy(connection: Any, _record: Any) -> None:
    connection.isolation_level = None


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def create(url: str) -> None:
    """Create the log, as `fait db init` does, and beside it the shop's tables."""
    asyncio.run(_create_log(url))
    engine = connect(url)
    Model.metadata.create_all(engine)
    engine.dispose()


async def _create_log(url: str) -> None:
    async with shop.open(url, run="elsewhere"):
        pass
