"""A user's program that both type checkers accept: events in transactions of SQLAlchemy."""

from typing import assert_type

from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_scoped_session, async_sessionmaker
from sqlalchemy.orm import Session, scoped_session, sessionmaker

import fait
from fait._delivery.outbox.outbox import AsyncOutbox, Outbox


@fait.event("typed-outbox.placed")
class Placed:
    customer: str


app = fait.App("typed-outbox")


class MySession(Session):
    pass


def use(session: Session, mine: MySession, registry: scoped_session[Session], connection: Connection) -> None:
    assert_type(app.outbox(session), Outbox)
    assert_type(app.outbox(mine), Outbox)
    assert_type(app.outbox(registry), Outbox)
    assert_type(app.outbox(connection, schema="shop"), Outbox)
    assert_type(app.outbox(session).add(Placed("c"), stream="order-1", expected="no_stream", tags=["a:b"]), None)


def begin(sessions: sessionmaker[Session], engine: Engine) -> None:
    with sessions.begin() as session:
        app.outbox(session).add(Placed("c"), stream="order-1", key="k", occurred_at=fait.now())
    with engine.begin() as connection:
        app.outbox(connection).add(Placed("c"), stream="order-1", expected=1)
    with app.outbox(sessions()).transaction() as outbox:
        assert_type(outbox, Outbox)


async def use_async(
    session: AsyncSession, registry: async_scoped_session[AsyncSession], connection: AsyncConnection
) -> None:
    assert_type(app.outbox(session), AsyncOutbox)
    assert_type(app.outbox(registry), AsyncOutbox)
    assert_type(app.outbox(connection), AsyncOutbox)
    assert_type(await app.outbox(session).add(Placed("c"), stream="order-1"), None)


async def begin_async(sessions: async_sessionmaker[AsyncSession], engine: AsyncEngine) -> None:
    async with sessions.begin() as session:
        await app.outbox(session).add(Placed("c"), stream="order-1")
    async with engine.begin() as connection:
        await app.outbox(connection).add(Placed("c"), stream="order-1")
    async with app.outbox(sessions()).transaction() as outbox:
        assert_type(outbox, AsyncOutbox)
