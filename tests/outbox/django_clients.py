"""Test clients for Django: without a project, and with a separate alias for each connection."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from unittest import TestCase, TestResult, TestSuite, defaultTestLoader
from urllib.parse import urlsplit
from uuid import uuid4

import django
from django.conf import settings
from django.db import connections, transaction

from tests.outbox.clients import Place, ThreadClient, shop

if not settings.configured:
    settings.configure(USE_TZ=True)
    django.setup()


def database(place: Place, **options: Any) -> dict[str, Any]:
    """The settings of a database in DATABASES."""
    if place.dialect == "sqlite":
        options = {"transaction_mode": "IMMEDIATE", **options}
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": place.address, "OPTIONS": options}
    address = urlsplit(place.address)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": address.path[1:],
        "HOST": address.hostname,
        "PORT": address.port,
        "USER": address.username,
        "OPTIONS": options,
    }


@contextmanager
def configured(place: Place, **options: Any) -> Generator[str]:
    """Configure a database for the block, and return its alias; at the end its connections are closed."""
    alias = f"db{uuid4().hex}"
    databases = {"default": {}, alias: database(place, **options)}
    connections.settings[alias] = connections.configure_settings(databases)[alias]
    try:
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]


class DjangoClient(ThreadClient):
    """A Django connection in a thread; its transactions are `atomic()` blocks."""

    def __init__(self, place: Place, **options: Any) -> None:
        super().__init__()
        self.place = place
        self._configured = configured(place, **options)
        self._begun: list[Any] = []
        self.alias = ""

    async def connect(self) -> None:
        self.alias = await self.do(self._configured.__enter__)
        self.connection = await self.do(connections.__getitem__, self.alias)
        await self.do(self.connection.ensure_connection)

    async def begin(self, isolation: str | None = None) -> None:
        await self.savepoint()
        if isolation:
            await self.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}")

    async def commit(self) -> None:
        await self.do(self._begun.pop().__exit__, None, None, None)

    async def rollback(self) -> None:
        await self.do(self._begun.pop().__exit__, LookupError, LookupError(), None)

    async def savepoint(self) -> None:
        block = transaction.atomic(using=self.alias)
        await self.do(block.__enter__)
        self._begun.append(block)

    async def rollback_savepoint(self) -> None:
        await self.rollback()

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[None]:
        block = await self.do(lambda: shop.outbox(self.connection, schema=self.place.schema).transaction())
        self._open = await self.do(block.__enter__)
        try:
            yield
        except BaseException as problem:
            self._open = None
            await self.do(block.__exit__, type(problem), problem, problem.__traceback__)
            raise
        self._open = None
        await self.do(block.__exit__, None, None, None)

    async def execute(self, sql: str) -> None:
        if sql.startswith("BEGIN"):
            self.connection.transaction_mode = sql.partition(" ")[2]
            return await self.begin()

        def execute() -> None:
            with self.connection.cursor() as cursor:
                cursor.execute(sql)
                if cursor.description:
                    cursor.fetchall()

        return await self.do(execute)

    async def close(self) -> None:
        if not self._closed:
            await self.do(self._configured.__exit__, None, None, None)
        await super().close()


def run_tests(*cases: type[TestCase]) -> None:
    """Run Django test cases on existing databases."""
    suite = TestSuite(defaultTestLoader.loadTestsFromTestCase(case) for case in cases)
    result = TestResult()
    suite.run(result)
    problems = [text for _, text in (*result.errors, *result.failures)]
    assert result.testsRun
    assert not problems, "\n".join(problems)
