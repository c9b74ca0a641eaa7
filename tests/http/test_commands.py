"""Commands over HTTP: preconditions, idempotency keys, and the trace of a request in the metadata of its events."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Annotated

import pytest
from fastapi import APIRouter, FastAPI

from fait.fastapi import Commands, commands, install, lifespan
from tests.http.bank import Account, Gate, bank, bank_app, user
from tests.http.servers import served

KEY = {"Idempotency-Key": "k-1"}


@pytest.mark.parametrize("backend", ["memory", "sqlite", "postgres"])
async def test_race_of_50_clients_with_one_etag_has_one_success(backend: str, store_url: Callable[[str], str]) -> None:
    async with bank(store_url(backend)) as client:
        location = (await client.post("/accounts?owner=ada")).headers["Location"]

        answers = await asyncio.gather(
            *(client.post(f"{location}/payments?amount=1", headers={"If-Match": '"1"'}) for _ in range(50))
        )

        assert Counter(each.status_code for each in answers) == {200: 1, 412: 49}
        assert {each.headers.get("ETag") for each in answers if each.status_code == 200} == {'"2"'}
        assert {each.json()["code"] for each in answers if each.status_code == 412} == {"precondition-failed"}


async def test_create_with_if_none_match_fails_if_the_stream_exists() -> None:
    async with bank() as client:
        first = await client.put("/accounts/a?owner=ada", headers={"If-None-Match": "*"})
        second = await client.put("/accounts/a?owner=ada", headers={"If-None-Match": "*"})
        missing = await client.post("/accounts/b/payments?amount=1", headers={"If-Match": "*"})

        assert [first.status_code, second.status_code, missing.status_code] == [201, 412, 412]


@pytest.mark.parametrize("tag", ['W/"1"', '"01"', '"0"', '"1", "2"', "1", '"x"', f'"{10**19}"', ""])
async def test_if_match_that_is_not_the_strong_etag_is_a_failed_precondition(tag: str) -> None:
    async with bank() as client:
        await client.put("/accounts/a?owner=ada")

        assert (await client.post("/accounts/a/payments?amount=1", headers={"If-Match": tag})).status_code == 412
        assert (await client.get("/accounts/a", headers={})).json()["version"] == 1


async def test_route_that_requires_if_match_answers_428_without_it() -> None:
    async with bank() as client:
        await client.put("/accounts/a?owner=ada")

        without = await client.post("/accounts/a/fees")
        accepted = await client.post("/accounts/a/fees", headers={"If-Match": '"1"'})

        assert (without.status_code, without.json()["code"]) == (428, "precondition-required")
        assert (accepted.status_code, accepted.headers["ETag"]) == (204, '"2"')


@pytest.mark.parametrize("precondition", [{"If-Match": '"1"'}, {"If-None-Match": "*"}])
async def test_precondition_of_a_boundary_which_has_no_version_fails(precondition: dict[str, str]) -> None:
    async with bank() as client:
        answers = [await client.post("/interest", headers=each) for each in (precondition, {})]

        assert [each.status_code for each in answers] == [412, 204]
        assert len((await client.get("/metadata/bank")).json()) == 1


async def test_rejected_command_is_answered_409_without_its_reason() -> None:
    async with bank() as client:
        await client.put("/accounts/a?owner=ada")
        answer = await client.put("/accounts/a?owner=ada")

        assert (answer.status_code, answer.json()["code"]) == (409, "rejected")
        assert "secret" not in answer.text


@pytest.mark.parametrize("backend", ["memory", "sqlite", "postgres"])
async def test_repeated_request_gets_the_same_answer_and_writes_nothing(
    backend: str, store_url: Callable[[str], str]
) -> None:
    async with bank(store_url(backend)) as client:
        first = await client.post("/accounts?owner=ada", headers=KEY)
        await client.post(f"{first.headers['Location']}/payments?amount=1")
        second = await client.post("/accounts?owner=ada", headers=KEY)

        assert (second.status_code, second.content) == (first.status_code, first.content)
        for name in ("ETag", "Location", "Fait-Position"):
            assert second.headers[name] == first.headers[name]
        assert (first.headers.get("Idempotency-Replayed"), second.headers["Idempotency-Replayed"]) == (None, "true")
        assert second.headers["Set-Cookie"] != first.headers["Set-Cookie"]
        events = (await client.get(f"/metadata/{first.json()['account_id']}")).json()
        assert len(events) == 2


async def test_value_of_a_repeated_command_is_that_of_the_first_call() -> None:
    async with bank() as client:
        await client.put("/accounts/a?owner=ada")
        first = await client.post("/accounts/a/payments?amount=5", headers=KEY)
        await client.post("/accounts/a/payments?amount=7")
        second = await client.post("/accounts/a/payments?amount=5", headers=KEY)

        assert (first.json(), second.json()) == (5, 5)
        assert (first.headers["ETag"], second.headers["ETag"]) == ('"2"', '"2"')


async def test_repeated_request_with_its_old_precondition_gets_the_same_answer() -> None:
    async with bank() as client:
        await client.put("/accounts/a?owner=ada")
        headers = KEY | {"If-Match": '"1"'}

        answers = [await client.post("/accounts/a/payments?amount=5", headers=headers) for _ in range(2)]

        assert [(each.status_code, each.headers["ETag"]) for each in answers] == [(200, '"2"')] * 2


async def test_key_of_another_request_is_answered_422() -> None:
    async with bank() as client:
        await client.post("/accounts?owner=ada", headers=KEY)
        other_body = await client.post("/accounts?owner=bob", headers=KEY)

        assert (other_body.status_code, other_body.json()["code"]) == (422, "key-reused")


async def test_key_is_scoped_by_principal_method_and_route() -> None:
    async with bank() as client:
        answers = [
            await client.post("/accounts?owner=ada", headers=KEY | {"X-User": "ada"}),
            await client.post("/accounts?owner=bob", headers=KEY | {"X-User": "bob"}),
            await client.put("/accounts/x?owner=bob", headers=KEY | {"X-User": "bob"}),
        ]

        assert [each.status_code for each in answers] == [201, 201, 201]
        assert not any("Idempotency-Replayed" in each.headers for each in answers)
        assert answers[0].json() != answers[1].json()


async def test_key_is_scoped_by_the_whole_template_of_an_included_route() -> None:
    web, router = FastAPI(lifespan=lifespan(bank_app(), "memory:")), APIRouter(prefix="/accounts")

    @router.post("/{account_id}")
    async def pay(account_id: str, cmd: Annotated[Commands, commands(principal=user)]) -> int:
        return (await cmd.transact(Account.pay, account_id, 1)).value

    for prefix in ("/v1", "/v2"):
        web.include_router(router, prefix=prefix)
    install(web)
    async with served(web) as client:
        answers = [await client.post(f"{path}", headers=KEY) for path in ("/v1/accounts/a", "/v2/accounts/a")]
        other = await client.post("/v1/accounts/b", headers=KEY)

        assert [each.json() for each in answers] == [1, 2]
        assert other.status_code == 422


async def test_second_request_while_the_first_runs_is_answered_409_with_retry_after() -> None:
    gate = Gate()
    async with bank(gate=gate) as client:
        await client.put("/accounts/a?owner=ada")
        first = asyncio.create_task(client.post("/accounts/a/payments?amount=1", headers=KEY))
        await gate.entered.wait()
        second = await client.post("/accounts/a/payments?amount=1", headers=KEY)
        gate.opened.set()

        assert (second.status_code, second.json()["code"]) == (409, "key-in-use")
        assert int(second.headers["Retry-After"]) > 0
        assert (await first).status_code == 200
        assert (await client.post("/accounts/a/payments?amount=1", headers=KEY)).headers["ETag"] == '"2"'


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "é"])
async def test_key_that_is_not_short_ascii_is_refused(key: str) -> None:
    async with bank() as client:
        answer = await client.post("/accounts?owner=ada", headers={"Idempotency-Key": key.encode("latin-1")})  # type: ignore[dict-item]

        assert answer.status_code == 422


async def test_route_without_principal_refuses_a_key() -> None:
    async with bank() as client:
        await client.put("/accounts/a?owner=ada")
        answer = await client.post("/accounts/a/fees", headers=KEY | {"If-Match": '"1"'})

        assert (answer.status_code, answer.json()["code"]) == (400, "key-not-accepted")


async def test_each_command_of_a_repeated_request_is_recognized() -> None:
    async with bank() as client:
        await client.put("/accounts/a?owner=ada")
        for _ in range(2):
            assert (await client.post("/accounts/a/transfers?to=b", headers=KEY)).status_code == 200

        assert len((await client.get("/metadata/a")).json()) == 2
        assert len((await client.get("/metadata/b")).json()) == 1


async def test_events_have_correlation_id_actor_and_trace_context_of_the_request() -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with bank() as client:
        headers = {"X-Correlation-ID": "request-7", "traceparent": traceparent, "X-User": "bob"}
        answer = await client.put("/accounts/a?owner=ada", headers=headers)
        replaced = await client.post(
            "/accounts/a/payments?amount=1", headers={"X-Correlation-ID": "a b", "traceparent": "00-x"}
        )

        assert (answer.headers["X-Correlation-ID"], answer.headers["traceparent"]) == ("request-7", traceparent)
        new_id = replaced.headers["X-Correlation-ID"]
        assert new_id != "a b"
        assert (await client.get("/metadata/a")).json() == [
            {"correlation_id": "request-7", "actor": "bob", "traceparent": traceparent},
            {"correlation_id": new_id, "actor": "ada", "traceparent": None},
        ]
