"""Reads over HTTP: the client's own write, ETags, pages, and the JSON of rows."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

import fait._http.runtime as runtime
from fait._http.reads import READ_TIMEOUT_S
from tests.http.bank import Balance, bank, bank_api, bank_app


async def test_read_with_the_position_of_a_write_contains_it() -> None:
    async with bank() as client:
        for number in range(1, 21):
            written = await client.put(f"/accounts/{number}?owner=ada")
            read = await client.get(f"/accounts/{number}", headers={"Fait-Position": written.headers["Fait-Position"]})
            assert (read.status_code, read.headers["ETag"]) == (200, '"1"')


async def test_row_has_etag_of_its_version_and_a_list_has_none() -> None:
    async with bank() as client:
        await client.put("/accounts/a?owner=ada")
        paid = await client.post("/accounts/a/payments?amount=1")
        position = {"Fait-Position": paid.headers["Fait-Position"]}

        row = await client.get("/accounts/a", headers=position)
        rows = await client.get("/accounts?owner=ada")

        assert row.headers["ETag"] == paid.headers["ETag"] == '"2"'
        assert row.json() == {"account_id": "a", "owner": "ada", "balance": "1", "version": 2}
        assert (rows.json(), "ETag" in rows.headers) == ([row.json()], False)


@pytest.mark.parametrize("known", ['"1"', 'W/"1"', '"7", "1"', "*"])
async def test_read_of_a_known_version_is_answered_304_without_body(known: str) -> None:
    async with bank() as client:
        written = await client.put("/accounts/a?owner=ada")
        headers = {"Fait-Position": written.headers["Fait-Position"], "If-None-Match": known}
        answer = await client.get("/accounts/a", headers=headers)

        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", '"1"')
        assert (await client.get("/accounts/a", headers={"If-None-Match": '"2"'})).status_code == 200


async def test_missing_row_is_answered_404() -> None:
    async with bank() as client:
        answer = await client.get("/accounts/a")

        assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


@pytest.mark.parametrize("backend", ["memory", "sqlite", "postgres"])
async def test_position_of_another_log_or_beyond_the_head_is_answered_400_at_once(
    backend: str, store_url: Callable[[str], str]
) -> None:
    async with bank_app().open("memory:") as other:
        foreign = other.token(1)
    async with bank(store_url(backend)) as client:
        written = await client.put("/accounts/a?owner=ada")
        token = written.headers["Fait-Position"]
        start = time.monotonic()
        for wrong in (foreign, f"{token[:-8]}__8=", f"{token[:-4]}AAQA", "x", "", "é" * 32, "~" * 32):
            answer = await client.get("/accounts/a", headers={"Fait-Position": wrong.encode("latin-1")})  # type: ignore[dict-item]
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid-position"), wrong

        assert time.monotonic() - start < 2


async def test_read_model_that_does_not_reach_the_position_is_answered_503_with_retry_after() -> None:
    async with bank(run="elsewhere") as client:
        written = await client.put("/accounts/a?owner=ada")
        answer = await client.get("/accounts/a", headers={"Fait-Position": written.headers["Fait-Position"]})

        assert (answer.status_code, answer.json()["code"]) == (503, "stale")
        assert int(answer.headers["Retry-After"]) > 0


async def test_read_that_depends_on_a_parked_key_is_answered_503_at_once_and_not_to_be_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("secret")

    async with bank() as client:
        await client.put("/accounts/b?owner=bob")
        monkeypatch.setattr(Balance, "evolve", fail)
        written = await client.put("/accounts/a?owner=ada")
        position, start = {"Fait-Position": written.headers["Fait-Position"]}, time.monotonic()
        for path in ("/accounts/a", "/accounts?owner=ada"):
            answer = await client.get(path, headers=position)
            assert (answer.status_code, answer.json()["code"]) == (503, "parked")
            assert "Retry-After" not in answer.headers
            assert "secret" not in answer.text
        other = await client.get("/accounts/b", headers=position)

        assert time.monotonic() - start < READ_TIMEOUT_S
        assert (await client.get("/accounts/a")).status_code == 404
        assert other.status_code == 200


async def test_reads_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "MAX_WAITING_READS", 5)
    async with bank(run="elsewhere") as client:
        headers = {"Fait-Position": (await client.put("/accounts/a?owner=ada")).headers["Fait-Position"]}
        answers = await asyncio.gather(*(client.get("/accounts/a", headers=headers) for _ in range(20)))

        codes = [each.json()["code"] for each in answers]
        assert (codes.count("stale"), codes.count("busy")) == (5, 15)
        assert (await client.get("/accounts/b")).status_code == 404


async def test_pages_linked_by_next_contain_each_row_once() -> None:
    async with bank() as client:
        for number in range(25):
            written = await client.put(f"/accounts/{number:02}?owner=ada")
        headers = {"Fait-Position": written.headers["Fait-Position"]}
        url, pages = "/accounts?owner=ada&limit=10", list[list[str]]()
        while url:
            answer = await client.get(url, headers=headers)
            pages.append([row["account_id"] for row in answer.json()])
            url = answer.links["next"]["url"] if "Link" in answer.headers else ""

        assert [len(page) for page in pages] == [10, 10, 5]
        assert [row for page in pages for row in page] == [f"{number:02}" for number in range(25)]


@pytest.mark.parametrize("query", ["cursor=x", "cursor=", "cursor=W1tdLFtdXQ=="])
async def test_cursor_of_another_list_is_answered_400(query: str) -> None:
    async with bank() as client:
        answer = await client.get(f"/accounts?owner=ada&{query}")

        assert (answer.status_code, answer.json()["code"]) == (400, "invalid-cursor")


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x"])
async def test_limit_of_a_page_is_bounded(limit: str) -> None:
    async with bank() as client:
        assert (await client.get(f"/accounts?owner=ada&limit={limit}")).status_code == 422


def test_rows_are_described_in_openapi() -> None:
    document: dict[str, Any] = bank_api("memory:").openapi()

    assert document["components"]["schemas"]["Balance"] == {
        "title": "Balance",
        "type": "object",
        "properties": {
            "account_id": {"type": "string", "title": "Account Id"},
            "owner": {"type": "string", "title": "Owner"},
            "balance": {"type": "string", "title": "Balance"},
            "version": {"type": "integer", "title": "Version"},
        },
        "required": ["account_id", "owner", "version"],
    }
    account = document["paths"]["/accounts/{account_id}"]["get"]
    assert {each["name"] for each in account["parameters"]} == {"account_id", "Fait-Position", "If-None-Match"}
    assert account["responses"].keys() >= {"200", "404", "503"}
    assert "application/problem+json" in account["responses"]["404"]["content"]
