"""A bank and its HTTP API, with one route for each thing that the tests check."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Annotated, Any, Self

import httpx
from fastapi import FastAPI, Header, HTTPException, Response

import fait
from fait.fastapi import (
    Commands,
    CurrentPage,
    CurrentReads,
    CurrentSystem,
    EventStream,
    Feeds,
    ProblemTable,
    commands,
    feeds,
    health,
    install,
    lifespan,
    problems,
)
from tests.http.servers import served


@fait.event("bank.opened")
class Opened:
    owner: str


@fait.event("bank.paid")
class Paid:
    amount: int


class Account(fait.Aggregate, category="account"):
    is_open: bool = False
    balance: int = 0

    def open(self, owner: str) -> None:
        if self.is_open:
            raise fait.Rejected(f"secret: {owner} is known")
        self.emit(Opened(owner))

    def pay(self, amount: int) -> int:
        self.emit(Paid(amount))
        return self.balance

    def evolve(self, event: Opened | Paid) -> None:
        if isinstance(event, Opened):
            self.is_open = True
        else:
            self.balance += event.amount


def _count(total: int, event: Opened) -> int:
    return total + 1


PAY_INTEREST: fait.Boundary[str, int, Opened] = fait.Boundary(
    name="pay-interest",
    depends_on=lambda _: fait.Query(),
    initial=int,
    decide=lambda _, opened: [fait.NewEvents("account-bank", [Paid(-opened)])],
    evolve=_count,
)


class Balance(fait.ReadModel, key="account_id", indexes=[("owner", "account_id")]):
    account_id: str
    owner: str
    balance: Decimal = Decimal(0)
    version: int

    @classmethod
    def evolve(cls, row: Self | None, event: Opened | Paid, envelope: fait.Envelope) -> Self | None:
        if isinstance(event, Opened):
            return cls(account_id=envelope.stream_id, owner=event.owner, version=envelope.version)
        if row is not None:
            row.balance += event.amount
            row.version = envelope.version
        return row


def user(x_user: Annotated[str, Header()] = "ada") -> str:
    if x_user == "eve":
        raise HTTPException(403, "eve may not")
    return x_user


Write = Annotated[Commands, commands(principal=user)]


class Gate:
    """Holds requests until a test opens it."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()


def bank_app() -> fait.App:
    app = fait.App("bank")
    app.include(Account, Balance, PAY_INTEREST)
    return app


def bank_api(url: str, gate: Gate | None = None, problems_table: ProblemTable | None = None, **options: Any) -> FastAPI:
    web = FastAPI(lifespan=lifespan(bank_app(), url, problems=problems_table, **options))
    install(web)
    web.include_router(health())

    @web.post("/accounts", status_code=201, responses=problems(409, 422))
    async def open_account(owner: str, cmd: Write, reply: Response) -> dict[str, str]:
        account_id = cmd.new_id()
        await cmd.transact(Account.open, account_id, owner)
        reply.headers["Location"] = f"/accounts/{account_id}"
        reply.set_cookie("seen", fait.new_id())
        return {"account_id": account_id}

    @web.put("/accounts/{account_id}", status_code=201)
    async def open_named(account_id: str, owner: str, cmd: Write) -> None:
        await cmd.transact(Account.open, account_id, owner)

    @web.post("/accounts/{account_id}/payments")
    async def pay(account_id: str, amount: int, cmd: Write) -> int:
        if gate is not None:
            gate.entered.set()
            await gate.opened.wait()
        return (await cmd.transact(Account.pay, account_id, amount)).value

    @web.post("/accounts/{account_id}/transfers")
    async def transfer(account_id: str, to: str, cmd: Write) -> None:
        await cmd.transact(Account.pay, account_id, -1)
        await cmd.publish(Paid(1), stream=f"account-{to}")

    @web.post("/accounts/{account_id}/fees", status_code=204)
    async def fee(account_id: str, cmd: Annotated[Commands, commands(principal=None, if_match="required")]) -> None:
        await cmd.transact(Account.pay, account_id, -1)

    @web.get("/accounts", responses=problems(400))
    async def accounts(owner: str, reads: CurrentReads, page: CurrentPage) -> list[Balance]:
        return await reads.page(Balance, page, owner=owner)

    @web.get("/accounts/{account_id}", responses=problems(404))
    async def account(account_id: str, reads: CurrentReads) -> Balance:
        row = await reads.one(Balance, account_id=account_id)
        reads.etag(row.version)
        return row

    @web.get("/accounts/{account_id}/events", response_class=EventStream)
    async def events(account_id: str, feed: Annotated[Feeds, feeds(authorize=user)]) -> EventStream:
        return feed.stream(f"account-{account_id}")

    @web.get("/changes", response_class=EventStream)
    async def changes(feed: Annotated[Feeds, feeds(authorize=user, lifetime_s=0.5)]) -> EventStream:
        return feed.changes(Balance)

    @web.get("/metadata/{account_id}")
    async def metadata(account_id: str, system: CurrentSystem) -> list[dict[str, str | None]]:
        envelopes = await system.read(f"account-{account_id}")
        names = ("correlation_id", "actor", "traceparent")
        return [{name: getattr(each.metadata, name) for name in names} for each in envelopes]

    web.add_api_route("/defect", defect)
    web.add_api_route("/interest", interest, methods=["POST"], status_code=204)
    return web


async def interest(cmd: Write) -> None:
    await cmd.decide(PAY_INTEREST, "all")


async def defect(system: CurrentSystem) -> None:
    raise fait.UsageError("a defect of the application")


@asynccontextmanager
async def bank(url: str = "memory:", **options: Any) -> AsyncGenerator[httpx.AsyncClient]:
    """Serve the bank, and yield a client."""
    async with served(bank_api(url, **options)) as client:
        yield client
