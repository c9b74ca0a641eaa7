"""Read models, events and Structs are JSON bodies without glue, and OpenAPI describes them."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import httpx
import msgspec
from fastapi import FastAPI

import fait
from fait.fastapi import AsJson
from tests.http.bank import Balance, bank_api


class Line(msgspec.Struct, rename="camel"):
    unit_price: Decimal
    comment: str | None = None


class Receipt(msgspec.Struct):
    lines: list[Line]
    by_name: dict[str, Line] = {}
    last: Line | None = None


@fait.event("openapi.billed")
class Billed:
    number: int
    at: datetime
    lines: tuple[Line, ...] = ()


def api() -> FastAPI:
    web = FastAPI()

    @web.post("/receipts")
    async def receipt(body: AsJson[Receipt]) -> AsJson[Receipt]:
        assert isinstance(body, Receipt)
        assert isinstance(body.lines[0], Line)
        return body

    @web.get("/billed")
    async def billed() -> Billed:
        return Billed(1, datetime.fromisoformat("2024-01-15T12:00:00+00:00"), (Line(Decimal("1.50")),))

    return web


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(api()), base_url="http://test")


async def test_struct_is_read_and_written_with_its_nested_structs() -> None:
    line = {"unitPrice": "1.50", "comment": None}
    async with client() as http:
        answer = await http.post("/receipts", json={"lines": [line], "by_name": {"a": line}, "last": line})
        wrong = await http.post("/receipts", json={"lines": [{"unitPrice": "secret"}]})

    assert answer.json() == {"lines": [line], "by_name": {"a": line}, "last": line}
    assert wrong.status_code == 422


async def test_event_that_fait_rebuilt_is_an_answer() -> None:
    async with client() as http:
        answer = await http.get("/billed")

    lines = [{"unitPrice": "1.50", "comment": None}]
    assert answer.json() == {"number": 1, "at": "2024-01-15T12:00:00Z", "lines": lines}


def test_openapi_describes_structs_events_and_read_models_by_their_fields() -> None:
    document = api().openapi()

    assert described(document, "/receipts", "post")["properties"].keys() == {"lines", "by_name", "last"}
    assert described(document, "/billed", "get")["required"] == ["number", "at"]
    assert described(document, "/billed", "get")["properties"]["at"]["format"] == "date-time"
    schemas = document["components"]["schemas"]
    lines = [each for name, each in schemas.items() if name.startswith("Line")]
    assert [each["properties"].keys() for each in lines] == [{"unitPrice", "comment"}] * len(lines)
    row = described(bank_api("memory:").openapi(), "/accounts/{account_id}", "get")
    assert (row["title"], row["properties"].keys()) == ("Balance", {*Balance.__annotations__})


def answers(document: dict[str, Any], path: str, method: str) -> dict[str, Any]:
    """Return the answers of a route."""
    return document["paths"][path][method]["responses"]


def test_openapi_documents_answers_and_headers_from_the_dependencies_of_a_route() -> None:
    web = bank_api("memory:")
    document = web.openapi()

    written, unkeyed = answers(document, "/accounts", "post"), answers(document, "/accounts/{account_id}/fees", "post")
    read, listed = answers(document, "/accounts/{account_id}", "get"), answers(document, "/accounts", "get")
    assert written.keys() == {"201", "409", "412", "422", "503"}
    assert {"ETag", "Fait-Position", "Idempotency-Replayed", "Location"} <= written["201"]["headers"].keys()
    assert "Retry-After" in written["503"]["headers"]
    assert unkeyed.keys() == {"204", "400", "409", "412", "422", "428", "503"}
    assert read.keys() == {"200", "304", "400", "404", "422", "503"}
    assert "ETag" in read["304"]["headers"]
    assert ("Link" in listed["200"]["headers"], "304" in listed) == (True, False)
    assert answers(document, "/changes", "get").keys() == {"200", "400", "403", "422", "503"}
    assert [*answers(document, "/defect", "get")] == ["200"]
    assert web.openapi() == document


def described(document: dict[str, Any], path: str, method: str) -> dict[str, Any]:
    """Return the schema of the answer of a route."""
    content = document["paths"][path][method]["responses"]["200"]["content"]["application/json"]
    return document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
