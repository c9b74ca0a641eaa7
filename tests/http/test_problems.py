"""ProblemDetails details: which error gets which answer, and what an answer does not tell."""

import asyncio
import logging

import httpx
import pytest
from fastapi import APIRouter, FastAPI

import fait
import fait.fastapi
from fait._http.problem import problem_of
from fait.fastapi import PROBLEMS, ProblemDetails, ProblemRoute, lifespan, problems
from tests.http.bank import bank, bank_app
from tests.http.servers import served

DEFECTS = {
    fait.UsageError, fait.DeclarationError, fait.UnlockedEvents, fait.MissingExtra, fait.UndecodableEvent,
    fait.UnknownEventType, fait.EventTooNew, fait.SubscriptionsChanged, fait.DefinitionChanged, fait.ReadModelChanged,
    fait.CheckpointMismatch, fait.PositionExpired, fait.Unavailable, fait.BrokerUnavailable, fait.Fenced,
    fait.TopologyMismatch, fait.BrokerLostMessages, fait.OffsetLost, fait.BrokerAhead, fait.MalformedMessage,
    fait.MessageRefused,
}  # fmt: skip
"""Errors that no request causes: an answer other than 500 would hide a defect."""


def test_each_error_has_an_answer_or_is_a_defect() -> None:
    exported = [getattr(fait, name) for name in fait.__all__]
    errors = {each for each in exported if isinstance(each, type) and issubclass(each, fait.FaitError)}
    answered = {each for each in errors if any(cls in PROBLEMS for cls in each.__mro__)}

    assert errors - answered - {fait.FaitError} == DEFECTS
    assert answered & DEFECTS == set()


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (fait.Rejected("sold out"), 409, "rejected"),
        (fait.WrongExpectedVersion("a-1", 1, 2), 409, "conflict"),
        (fait.AppendConditionFailed(["a"], 1), 409, "conflict"),
        (fait.DuplicateEventId("x"), 409, "duplicate-id"),
        (fait.KeyReused("k", "a-1", "b"), 422, "key-reused"),
        (fait.InvalidValue("x", "$", "y"), 422, "invalid-value"),
        (fait.InvalidCursor("x"), 400, "invalid-cursor"),
        (fait.InvalidPosition("x"), 400, "invalid-position"),
        (fait.Stale("s", 1, 2, 1.0, ""), 503, "stale"),
        (fait.Stale("s", 1, 2, 1.0, "", "key"), 503, "parked"),
        (fait.StoreUnavailable("x"), 503, "unavailable"),
        (fait.StoreUnavailable("x", "unknown"), 503, "outcome-unknown"),
    ],
)
def test_error_has_status_and_code(error: Exception, status: int, code: str) -> None:
    problem = problem_of(error)

    assert problem is not None
    assert (problem.status, problem.code) == (status, code)
    assert (problem.retry_after_s is not None) == (status == 503 and code != "parked")
    assert str(error) not in problem.detail


async def test_answer_has_the_members_of_rfc_9457_and_the_log_has_the_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "fait")
    async with bank() as client:
        await client.put("/accounts/a?owner=ada")
        answer = await client.put("/accounts/a?owner=ada", headers={"X-Correlation-ID": "r-1"})

    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json() == {
        "type": "urn:problem-type:fait:rejected",
        "title": "Conflict",
        "status": 409,
        "detail": "The current state does not allow this request. Nothing was changed.",
        "code": "rejected",
        "correlation_id": "r-1",
    }
    [record] = [each for each in caplog.records if "request failed" in each.getMessage()]
    assert "secret: ada is known" in record.getMessage()
    assert "route=/accounts/{account_id}" in record.getMessage()
    assert "correlation_id=r-1" in record.getMessage()


async def test_application_changes_an_answer_by_the_class_of_the_error() -> None:
    table = {
        fait.Rejected: lambda error: ProblemDetails(422, "not-now", "Not now.", members={"hint": type(error).__name__})
    }
    async with bank(problems_table=table) as client:
        await client.put("/accounts/a?owner=ada")
        answer = await client.put("/accounts/a?owner=ada")

        assert (answer.status_code, answer.json()["code"], answer.json()["hint"]) == (422, "not-now", "Rejected")
        assert (await client.get("/accounts/b")).status_code == 404


async def test_defect_of_the_application_is_answered_500_without_its_message() -> None:
    async with bank() as client:
        answer = await client.get("/defect")

        assert (answer.status_code, "defect of" in answer.text) == (500, False)


async def test_problem_route_answers_errors_of_its_router_only() -> None:
    web = FastAPI(lifespan=lifespan(bank_app(), "memory:"))
    router = APIRouter(route_class=ProblemRoute)
    for routes in (web, router):

        @routes.get("/mine" if routes is router else "/other")
        async def reject() -> None:
            raise fait.Rejected("no")

    web.include_router(router)
    async with served(web) as client:
        assert [(await client.get(path)).status_code for path in ("/mine", "/other")] == [409, 500]


async def test_unavailable_store_makes_the_process_unready_but_alive(tmp_path: object) -> None:
    web = FastAPI(lifespan=lifespan(bank_app(), f"sqlite:///{tmp_path}/bank.db"))
    web.include_router(fait.fastapi.health())
    async with served(web) as client:
        assert (await client.get("/health/ready")).status_code == 200
        with open(f"{tmp_path}/bank.db", "r+b") as file:  # noqa: ASYNC230 - a test
            file.truncate(0)
        for _ in range(500):  # the store notices it within 10 ms, on an idle machine
            answer = await client.get("/health/ready")
            if answer.status_code != 200:
                break
            await asyncio.sleep(0.01)

        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["Retry-After"]
        assert (await client.get("/health/live")).status_code == 200


async def test_application_without_lifespan_is_told_to_add_it() -> None:
    web = FastAPI()

    @web.get("/")
    async def index(system: fait.fastapi.CurrentSystem) -> None: ...

    transport = httpx.ASGITransport(web)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        with pytest.raises(fait.UsageError, match="lifespan"):
            await client.get("/")


def test_documentation_of_problems_names_their_codes() -> None:
    documented = problems(409, 412)

    assert list(documented) == [409, 412, 503]
    assert documented[409]["description"] == "rejected, conflict, duplicate-id, key-in-use"
