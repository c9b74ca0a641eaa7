"""Test clients for SQLAlchemy: synchronous and asynchronous sessions and connections, for each driver."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, String, create_engine, event, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.outbox.clients import AsyncClient, Place, ThreadClient


def address(place: Place, driver: str) -> str:
    """The database URL for SQLAlchemy."""
    return (
        f"sqlite+{driver}:///{place.address}"
        if place.dialect == "sqlite"
        else f"postgresql+{driver}:" + (place.address.partition(":")[2])
    )


def engine(place: Place, driver: str, **options: Any) -> Engine:
    """An engine; for SQLite with the listeners that the guide recommends."""
    return begins_immediately(create_engine(address(place, driver), **options))


def begins_immediately(engine: Engine) -> Engine:
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def leave_it(connection: Any, record: Any) -> None:
            connection.isolation_level = None

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


class Model(DeclarativeBase):
    pass


class Order(Model):
    __tablename__ = "orders"
    name: Mapped[str] = mapped_column(String, primary_key=True)
    count: Mapped[int]


class Other(Model):
    __tablename__ = "others"
    name: Mapped[str] = mapped_column(String, primary_key=True)


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """Record the first word of each statement."""
    sent: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        sent.append("fait" if "fait_" in statement else statement.split()[0])

    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


class SqlClient(ThreadClient):
    """A session or connection with a separate engine."""

    def __init__(self, place: Place, driver: str, kind: type[Session] | type[Connection]) -> None:
        super().__init__()
        self.place = place
        self.engine = engine(place, driver)
        self.connection = kind(self.engine)
        self._savepoints: list[Any] = []

    async def begin(self, isolation: str | None = None) -> None:
        def begin() -> None:
            options = {"isolation_level": isolation} if isolation else {}
            if isinstance(self.connection, Connection):
                self.connection.execution_options(**options).begin()
            else:
                self.connection.begin()
                self.connection.connection(execution_options=options)

        await self.do(begin)

    async def commit(self) -> None:
        await self.do(self.connection.commit)

    async def rollback(self) -> None:
        await self.do(self.connection.rollback)

    async def savepoint(self) -> None:
        self._savepoints.append(await self.do(self.connection.begin_nested))

    async def rollback_savepoint(self) -> None:
        await self.do(self._savepoints.pop().rollback)

    async def execute(self, sql: str) -> None:
        await self.do(self.connection.execute, text(sql))

    async def close(self) -> None:
        closed = self._closed
        await super().close()
        if not closed:
            self.engine.dispose()


class AsyncSqlClient(AsyncClient):
    """An asynchronous session or connection with a separate engine."""

    def __init__(self, place: Place, driver: str, kind: str) -> None:
        self.place = place
        self.engine = create_async_engine(address(place, driver))
        begins_immediately(self.engine.sync_engine)
        self.connection = AsyncSession(self.engine) if kind == "session" else self.engine.connect()
        self._savepoints: list[Any] = []

    async def begin(self, isolation: str | None = None) -> None:
        options = {"isolation_level": isolation} if isolation else {}
        if isinstance(self.connection, AsyncSession):
            await self.connection.begin()
            await self.connection.connection(execution_options=options)
        else:
            await self.connection.execution_options(**options)
            await self.connection.begin()

    async def commit(self) -> None:
        await self.connection.commit()

    async def rollback(self) -> None:
        await self.connection.rollback()

    async def savepoint(self) -> None:
        self._savepoints.append(await self.connection.begin_nested())

    async def rollback_savepoint(self) -> None:
        await self._savepoints.pop().rollback()

    async def execute(self, sql: str) -> None:
        await self.connection.execute(text(sql))

    async def close(self) -> None:
        await self.connection.close()
        await self.engine.dispose()
