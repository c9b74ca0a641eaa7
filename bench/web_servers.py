"""The web applications that `make bench-http` measures: `POST /orders` with fait, with SQLAlchemy, and without a store.

    uvicorn web_servers:fait_api | sqlalchemy_api | empty_api

All three check the same body and answer the same JSON. The store is durable in both: on SQLite WAL with
`synchronous=FULL`, on PostgreSQL the server's `synchronous_commit=on`.
"""

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import FastAPI, Request, Response
from sqlalchemy import ForeignKey, event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

import fait
from fait.fastapi import Commands, commands, install, lifespan

__all__ = ["empty_api", "fait_api", "sqlalchemy_api"]


@dataclass(frozen=True)
class Line:
    sku: str
    quantity: int
    price: Decimal


@fait.event("bench.order-placed")
class OrderPlaced:
    customer: str
    lines: list[Line]
    total: Decimal
    placed_at: datetime


class Order(fait.Aggregate, category="order"):
    placed: bool = False

    def place(self, customer: str, lines: list[Line]) -> None:
        if self.placed:
            raise fait.Rejected("placed")
        self.emit(OrderPlaced(customer, lines, total(lines), fait.now()))

    def evolve(self, event: OrderPlaced) -> None:
        self.placed = True


def total(lines: Sequence[Line]) -> Decimal:
    return sum((line.price * line.quantity for line in lines), Decimal(0))


app = fait.App("bench")
app.include(Order)

empty_api = FastAPI()


@empty_api.post("/orders", status_code=201)
async def nothing(customer: str, lines: list[Line], reply: Response) -> dict[str, str]:
    return answer(fait.new_id(), reply)


def answer(order_id: str, reply: Response) -> dict[str, str]:
    reply.headers["Location"] = f"/orders/{order_id}"
    return {"order_id": order_id}


fait_api = FastAPI(lifespan=lifespan(app, os.environ.get("FAIT_STORE", "memory:")))
install(fait_api)


@fait_api.post("/orders", status_code=201)
async def place(
    customer: str, lines: list[Line], cmd: Annotated[Commands, commands(principal=None)], reply: Response
) -> dict[str, str]:
    order_id = cmd.new_id()
    await cmd.transact(Order.place, order_id, customer, lines)
    return answer(order_id, reply)


class Model(DeclarativeBase):
    pass


class OrderRow(Model):
    __tablename__ = "orders"
    id: Mapped[str] = mapped_column(primary_key=True)
    customer: Mapped[str]
    total: Mapped[str]
    placed_at: Mapped[str]
    lines: Mapped[list["LineRow"]] = relationship()


class LineRow(Model):
    __tablename__ = "order_lines"
    order_id: Mapped[str] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    sku: Mapped[str]
    quantity: Mapped[int]
    price: Mapped[str]


def engine_of(url: str) -> AsyncEngine:
    """Return an engine; for SQLite with one connection, which is faster than several that wait for its lock."""
    if not url.startswith("sqlite"):
        return create_async_engine(url, pool_size=10)
    engine = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=60)

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    return engine


@asynccontextmanager
async def tables(web: FastAPI) -> AsyncGenerator[dict[str, Any]]:
    engine = engine_of(os.environ["SQLALCHEMY_URL"])
    async with engine.begin() as connection:
        await connection.run_sync(Model.metadata.create_all)
    yield {"sessions": async_sessionmaker(engine, expire_on_commit=False)}
    await engine.dispose()


sqlalchemy_api = FastAPI(lifespan=tables)


@sqlalchemy_api.post("/orders", status_code=201)
async def insert(customer: str, lines: list[Line], request: Request, reply: Response) -> dict[str, str]:
    order_id, sessions = fait.new_id(), request.state.sessions
    session: AsyncSession
    async with sessions.begin() as session:
        if await session.get(OrderRow, order_id) is not None:  # as the aggregate checks it
            raise ValueError("placed")
        rows = [LineRow(number=n, sku=e.sku, quantity=e.quantity, price=str(e.price)) for n, e in enumerate(lines)]
        now = datetime.now(UTC).isoformat()
        session.add(OrderRow(id=order_id, customer=customer, total=str(total(lines)), placed_at=now, lines=rows))
    return answer(order_id, reply)
