"""A change and its event in one transaction of the application, as users of each library write it.

There is a class for each library and a method for each way: the change alone; with a row in a plain outbox table; with
fait's `add`; in fait's `transaction()`; with a peer. SQLAlchemy's outbox always stores at the commit, so `add` covers
both.
"""

import sqlite3
from collections.abc import Awaitable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
from subjects.fait_system import OrderPlaced

import fait

__all__ = ["LIBRARIES", "POSTGRES", "SQLITE", "WAYS", "ChangeAndEvent", "Ways"]

POSTGRES = """
CREATE TABLE orders (id text PRIMARY KEY, customer text NOT NULL, total float8 NOT NULL);
CREATE TABLE outbox (id bigserial PRIMARY KEY, payload json NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
"""
SQLITE = """
CREATE TABLE orders (id TEXT PRIMARY KEY, customer TEXT NOT NULL, total REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE outbox (id INTEGER PRIMARY KEY, payload TEXT NOT NULL, created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP);
"""
WAYS = {
    "alone": "the change alone",
    "table": "a plain outbox table",
    "add": "fait, add",
    "block": "fait, transaction()",
    "peer": "faststream-outbox",
}
"""What is written in addition to the change, by method."""

ORDER = "INSERT INTO orders (id, customer, total) VALUES ({}, {}, {})"
OUTBOX = "INSERT INTO outbox (payload) VALUES ({})"
_NUMBERED = (ORDER.format("$1", "$2", "$3"), OUTBOX.format("$1"))
_PERCENT = (ORDER.format("%s", "%s", "%s"), OUTBOX.format("%s"))
_QUESTION = (ORDER.format("?", "?", "?"), OUTBOX.format("?"))
_NAMED = (ORDER.format(":id", ":customer", ":total"), OUTBOX.format("CAST(:payload AS json)"))

shop = fait.App("bench")
shop.include(OrderPlaced)


class ChangeAndEvent(NamedTuple):
    """A change and its event, created before the measurement. Encoding the event is part of the measured cost."""

    order: str
    event: OrderPlaced

    @property
    def row(self) -> tuple[str, str, float]:
        return self.order, self.event.customer_id, self.event.total

    @property
    def fields(self) -> dict[str, Any]:
        return {"id": self.order, "customer": self.event.customer_id, "total": self.event.total}

    @property
    def payload(self) -> str:
        return encoded(self.event)


def encoded(event: OrderPlaced) -> str:
    """Encode an event as all ways store it."""
    return msgspec.json.encode(event).decode()


class Ways:
    """A connection or pool of a library. Awaitables are awaited; each library has some of the methods.

    Attributes:
        waits: Whether the library needs an event loop.
    """

    waits = True

    def open(self, url: str) -> Awaitable[None] | None:
        raise NotImplementedError

    def close(self) -> Awaitable[None] | None:
        raise NotImplementedError

    def prepare(self, way: str) -> Awaitable[None] | None:
        """Create what a way needs in addition to the tables."""


class Asyncpg(Ways):
    async def open(self, url: str) -> None:
        import asyncpg

        self.connection: Any = await asyncpg.connect(url)

    async def close(self) -> None:
        await self.connection.close()

    async def alone(self, made: ChangeAndEvent) -> None:
        async with self.connection.transaction():
            await self.connection.execute(_NUMBERED[0], *made.row)

    async def table(self, made: ChangeAndEvent) -> None:
        async with self.connection.transaction():
            await self.connection.execute(_NUMBERED[0], *made.row)
            await self.connection.execute(_NUMBERED[1], made.payload)

    async def add(self, made: ChangeAndEvent) -> None:
        async with self.connection.transaction():
            await self.connection.execute(_NUMBERED[0], *made.row)
            await shop.outbox(self.connection).add(made.event, stream=made.order)

    async def block(self, made: ChangeAndEvent) -> None:
        async with shop.outbox(self.connection).transaction() as outbox:
            await self.connection.execute(_NUMBERED[0], *made.row)
            await outbox.add(made.event, stream=made.order)


class Psycopg(Ways):
    waits = False

    def open(self, url: str) -> None:
        import psycopg

        self.connection: Any = psycopg.connect(url, autocommit=True)

    def close(self) -> None:
        self.connection.close()

    def alone(self, made: ChangeAndEvent) -> None:
        with self.connection.transaction():
            self.connection.execute(_PERCENT[0], made.row)

    def table(self, made: ChangeAndEvent) -> None:
        with self.connection.transaction():
            self.connection.execute(_PERCENT[0], made.row)
            self.connection.execute(_PERCENT[1], (made.payload,))

    def add(self, made: ChangeAndEvent) -> None:
        with self.connection.transaction():
            self.connection.execute(_PERCENT[0], made.row)
            shop.outbox(self.connection).add(made.event, stream=made.order)

    def block(self, made: ChangeAndEvent) -> None:
        with shop.outbox(self.connection).transaction() as outbox:
            self.connection.execute(_PERCENT[0], made.row)
            outbox.add(made.event, stream=made.order)


class SqlalchemySession(Ways):
    """SQLAlchemy's ORM: a session per transaction, on psycopg."""

    waits = False

    def open(self, url: str) -> None:
        from sqlalchemy import JSON, create_engine
        from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

        class Model(DeclarativeBase):
            pass

        class Order(Model):
            __tablename__ = "orders"
            id: Mapped[str] = mapped_column(primary_key=True)
            customer: Mapped[str]
            total: Mapped[float]

        class Outbox(Model):
            __tablename__ = "outbox"
            id: Mapped[int] = mapped_column(primary_key=True)
            payload: Mapped[OrderPlaced] = mapped_column(JSON)

        self.Order, self.Outbox, self.Session = Order, Outbox, Session
        self.engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"), json_serializer=encoded)

    def close(self) -> None:
        self.engine.dispose()

    def alone(self, made: ChangeAndEvent) -> None:
        with self.Session(self.engine) as session, session.begin():
            session.add(self.Order(**made.fields))

    def table(self, made: ChangeAndEvent) -> None:
        with self.Session(self.engine) as session, session.begin():
            session.add(self.Order(**made.fields))
            session.add(self.Outbox(payload=made.event))

    def add(self, made: ChangeAndEvent) -> None:
        with self.Session(self.engine) as session, session.begin():
            session.add(self.Order(**made.fields))
            shop.outbox(session).add(made.event, stream=made.order)


class SqlalchemyAsyncConnection(Ways):
    """SQLAlchemy without its ORM, on asyncpg. The peer uses this connection, too."""

    async def open(self, url: str) -> None:
        from sqlalchemy import text
        from sqlalchemy.ext.asyncio import create_async_engine

        self.order, self.outbox = (text(statement) for statement in _NAMED)
        self.engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))

    async def close(self) -> None:
        await self.engine.dispose()

    async def alone(self, made: ChangeAndEvent) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(self.order, made.fields)

    async def table(self, made: ChangeAndEvent) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(self.order, made.fields)
            await connection.execute(self.outbox, {"payload": made.payload})

    async def add(self, made: ChangeAndEvent) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(self.order, made.fields)
            await shop.outbox(connection).add(made.event, stream=made.order)

    async def peer(self, made: ChangeAndEvent) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(self.order, made.fields)
            await self.broker.publish(made.payload, queue="orders", session=connection)

    async def prepare(self, way: str) -> None:
        if way != "peer":
            return
        from faststream_outbox import OutboxBroker, make_outbox_table
        from sqlalchemy import MetaData

        metadata = MetaData()
        self.broker: Any = OutboxBroker(self.engine, outbox_table=make_outbox_table(metadata, "peer_outbox"))
        async with self.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)


class Django(Ways):
    """Django's ORM, on psycopg."""

    waits = False

    def open(self, url: str) -> None:
        import django
        from django.conf import settings
        from django.db import connection, models, transaction

        address = urlsplit(url)
        if not settings.configured:
            database = {"ENGINE": "django.db.backends.postgresql", "NAME": address.path[1:]}
            place = {"HOST": address.hostname, "PORT": address.port, "USER": address.username}
            settings.configure(USE_TZ=True, DATABASES={"default": database | place})
            django.setup()

            class Order(models.Model):
                id = models.TextField(primary_key=True)
                customer = models.TextField()
                total = models.FloatField()

                class Meta:
                    app_label, db_table = "bench", "orders"

            class Outbox(models.Model):
                id = models.BigAutoField(primary_key=True)
                payload = models.TextField()

                class Meta:
                    app_label, db_table = "bench", "outbox"

            Django.models = (Order, Outbox)
        self.Order, self.Outbox = Django.models
        self.atomic, self.connection = transaction.atomic, connection

    def close(self) -> None:
        self.connection.close()

    def alone(self, made: ChangeAndEvent) -> None:
        with self.atomic():
            self.Order.objects.create(**made.fields)

    def table(self, made: ChangeAndEvent) -> None:
        with self.atomic():
            self.Order.objects.create(**made.fields)
            self.Outbox.objects.create(payload=made.payload)

    def add(self, made: ChangeAndEvent) -> None:
        with self.atomic():
            self.Order.objects.create(**made.fields)
            shop.outbox(self.connection).add(made.event, stream=made.order)

    def block(self, made: ChangeAndEvent) -> None:
        with shop.outbox(self.connection).transaction() as outbox:
            self.Order.objects.create(**made.fields)
            outbox.add(made.event, stream=made.order)


class Sqlite3(Ways):
    """The sqlite3 module, durable and without WAL checkpoints, so that no commit pays for the WAL of others."""

    waits = False

    def open(self, url: str) -> None:
        self.connection: Any = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        self.connection.executescript("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0")

    def close(self) -> None:
        self.connection.close()

    def alone(self, made: ChangeAndEvent) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.execute(_QUESTION[0], made.row)
        self.connection.execute("COMMIT")

    def table(self, made: ChangeAndEvent) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.execute(_QUESTION[0], made.row)
        self.connection.execute(_QUESTION[1], (made.payload,))
        self.connection.execute("COMMIT")

    def add(self, made: ChangeAndEvent) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.execute(_QUESTION[0], made.row)
        shop.outbox(self.connection).add(made.event, stream=made.order)
        self.connection.execute("COMMIT")

    def block(self, made: ChangeAndEvent) -> None:
        with shop.outbox(self.connection).transaction() as outbox:
            self.connection.execute(_QUESTION[0], made.row)
            outbox.add(made.event, stream=made.order)


LIBRARIES: dict[str, type[Ways]] = {
    "asyncpg": Asyncpg,
    "psycopg": Psycopg,
    "SQLAlchemy Session": SqlalchemySession,
    "SQLAlchemy AsyncConnection": SqlalchemyAsyncConnection,
    "Django": Django,
    "sqlite3": Sqlite3,
}
