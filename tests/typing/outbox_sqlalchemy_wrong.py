"""A user's mistakes with SQLAlchemy: each marked line must be rejected by both type checkers."""

from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session, sessionmaker

import fait


@fait.event("wrong-outbox.placed")
class Placed:
    customer: str


app = fait.App("wrong-outbox")


def use(engine: Engine, sessions: sessionmaker[Session], session: Session, connection: Connection) -> None:
    app.outbox(engine)  # E: an engine has no transaction
    app.outbox(sessions)  # E: a sessionmaker is not a session
    app.outbox(session).add(Placed("c"))  # E: no stream
    app.outbox(session).add(Placed("c"), stream="order-1", expected="maybe")  # E: no such expectation
    app.outbox(connection).add(Placed("c"), stream=1)  # E: a stream is a str
    app.outbox(connection).add(Placed("c"), stream="order-1", tags=[1])  # E: tags are strings


async def use_async(engine: AsyncEngine, session: AsyncSession, other: Session) -> None:
    app.outbox(engine)  # E: an engine has no transaction
    await app.outbox(other).add(Placed("c"), stream="order-1")  # E: the outbox of a Session is not async
    with app.outbox(session).transaction():  # E: the outbox of an AsyncSession is async
        pass
