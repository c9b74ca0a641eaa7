"""Server-sent events: complete, resumable, authorized, bounded, and without metadata."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import httpx
import msgspec
import pytest

import fait._http.feed as feed_module
from fait._http.feed import Feed
from fait.testing.contract.turns import turns
from tests.http.bank import Paid, bank, bank_app

Message = dict[str, str]


async def messages(client: httpx.AsyncClient, url: str, last_event_id: str | None = None) -> AsyncGenerator[Message]:
    """Yield the messages of a feed, as a browser reads them, until it ends."""
    headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
    async with client.stream("GET", url, headers=headers) as answer:
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
        message: Message = {}
        async for line in answer.aiter_lines():
            if line:
                name, _, value = line.partition(": ")
                message[name] = value
            else:
                yield message
                message = {}


async def resumed(client: httpx.AsyncClient, url: str, last_event_id: str | None = None) -> AsyncGenerator[Message]:
    """Yield the messages of a feed; connect again when it ends, as a browser does."""
    while True:
        async for message in messages(client, url, last_event_id):
            last_event_id = message.get("id", last_event_id)
            yield message


async def take(client: httpx.AsyncClient, url: str, count: int, last_event_id: str | None = None) -> list[Message]:
    """Return the first messages with data."""
    taken = list[Message]()
    async with aclosing(resumed(client, url, last_event_id)) as received:
        async for message in received:
            taken += [message] if "data" in message else []
            if len(taken) == count:
                break
    return taken


@pytest.mark.parametrize("backend", ["memory", "sqlite", "postgres"])
async def test_feed_of_a_stream_has_past_and_new_events_without_metadata(
    backend: str, store_url: Callable[[str], str]
) -> None:
    async with bank(store_url(backend)) as client:
        await client.put("/accounts/a?owner=ada")
        receiving = asyncio.create_task(take(client, "/accounts/a/events", 3))
        for amount in (1, 2):
            await turns()
            await client.put(f"/accounts/other-{amount}?owner=ada")
            await client.post(f"/accounts/a/payments?amount={amount}")
        received = await receiving

        assert [(each["event"], each["data"]) for each in received] == [
            ("bank.opened", '{"owner":"ada"}'),
            ("bank.paid", '{"amount":1}'),
            ("bank.paid", '{"amount":2}'),
        ]
        assert all(each.keys() == {"event", "data", "id"} for each in received)


@pytest.mark.parametrize("backend", ["memory", "sqlite", "postgres"])
async def test_client_that_reconnects_with_its_last_id_misses_and_repeats_nothing(
    backend: str, store_url: Callable[[str], str]
) -> None:
    async with bank(store_url(backend)) as client:
        await client.put("/accounts/a?owner=ada")

        async def write() -> None:
            for amount in range(60):
                await client.post(f"/accounts/a/payments?amount={amount}")

        writing, received, last = asyncio.create_task(write()), list[Message](), None
        while len(received) < 61:
            received += await take(client, "/accounts/a/events", min(7, 61 - len(received)), last)
            last = received[-1]["id"]
        await writing

        assert [each["data"] for each in received[1:]] == [f'{{"amount":{amount}}}' for amount in range(60)]


@pytest.mark.parametrize("backend", ["memory", "sqlite", "postgres"])
async def test_change_of_a_read_model_is_a_key_with_which_the_client_reads_the_row(
    backend: str, store_url: Callable[[str], str]
) -> None:
    async with bank(store_url(backend)) as client:
        await client.put("/accounts/a?owner=ada")
        async with aclosing(resumed(client, "/changes")) as received:
            await anext(message async for message in received if "id" in message)  # where the feed has begun
            await client.put("/accounts/b?owner=bob")
            change = await anext(message async for message in received if "data" in message)
        data: Any = msgspec.json.decode(change["data"])
        row = await client.get(f"/accounts/{data['key']}", headers={"Fait-Position": data["position"]})

        assert (change["event"], data["key"], row.json()["owner"]) == ("changed", "b", "bob")


async def test_feed_of_changes_ends_after_its_lifetime_and_is_continued_without_gaps() -> None:
    async with bank() as client:
        first = [message async for message in messages(client, "/changes")]
        [last] = [message["id"] for message in first if "id" in message]
        for number in range(3):
            await client.put(f"/accounts/{number}?owner=ada")
        received = await take(client, "/changes", 3, last)

        assert [msgspec.json.decode(each["data"])["key"] for each in received] == ["0", "1", "2"]


async def test_each_connection_of_a_feed_is_authorized() -> None:
    async with bank() as client:
        for url in ("/changes", "/accounts/a/events"):
            for _ in range(2):
                assert (await client.get(url, headers={"X-User": "eve"})).status_code == 403


@pytest.mark.parametrize("url", ["/changes", "/accounts/a/events"])
async def test_last_event_id_of_another_log_is_answered_400(url: str) -> None:
    async with bank_app().open("memory:") as other:
        foreign = other.token(1)
    async with bank() as client:
        for wrong in (foreign, "7"):
            answer = await client.get(url, headers={"Last-Event-ID": wrong})
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid-position")


async def test_feeds_of_a_process_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "MAX_FEEDS", 2)
    async with bank() as client:
        await client.put("/accounts/a?owner=ada")
        async with client.stream("GET", "/accounts/a/events"), client.stream("GET", "/accounts/a/events"):
            refused = await client.get("/accounts/a/events")
        for _ in range(100):
            if await accepts(client):
                break
            await asyncio.sleep(0.02)

        assert (refused.status_code, refused.json()["code"]) == (503, "busy")
        assert await accepts(client)


async def accepts(client: httpx.AsyncClient) -> bool:
    async with client.stream("GET", "/accounts/a/events") as answer:
        return answer.status_code == 200


async def test_log_is_read_by_one_task_while_there_are_feeds() -> None:
    async with bank_app().open("memory:") as system:
        feed = Feed(system.store.log)
        with feed.watch(["account-a"]) as first, feed.watch(["account-b"]) as second:
            readers = [task for task in asyncio.all_tasks() if task.get_name() == "fait-feed"]
            assert len(readers) == 1
            await turns()
            first.clear()
            second.clear()
            await system.publish(Paid(1), stream="account-a")
            await asyncio.wait_for(first.wait(), 5)
            assert not second.is_set()
        await asyncio.wait(readers)
        assert readers[0].cancelled()
