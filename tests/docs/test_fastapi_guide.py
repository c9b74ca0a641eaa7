"""The code of the guide to FastAPI runs on a real server, at each level of adoption."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.http.documented import compare_answers
from tests.http.servers import served

GUIDE = (Path(__file__).parents[2] / "docs" / "fastapi.md").read_text("utf-8")
USER = {"X-User": "ada"}


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that imports a module of the guide."""
    names = list[str]()
    for code in re.findall(r"^```python\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE):
        names.append(re.match(r"# (\w+)\.py\n", code)[1])  # type: ignore[index]
        (tmp_path / f"{names[-1]}.py").write_text(code, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FAIT_STORE", f"sqlite:///{tmp_path}/tasks.db")
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)


async def test_whole_application(modules: Any) -> None:
    async with served(modules("tasks").web) as client:
        added = await client.post("/tasks?title=tea&owner=ada", headers=USER | {"Idempotency-Key": "1"})
        again = await client.post("/tasks?title=tea&owner=ada", headers=USER | {"Idempotency-Key": "1"})
        position = {"Fait-Position": added.headers["Fait-Position"]}
        read = await client.get(added.headers["Location"], headers=position)
        url = f"{added.headers['Location']}/completion"
        finished = await client.post(url, headers=USER | {"If-Match": read.headers["ETag"]})
        position = {"Fait-Position": finished.headers["Fait-Position"]}
        [row] = (await client.get("/tasks?owner=ada", headers=position)).json()

        assert (added.status_code, again.json()) == (201, added.json())
        assert row == read.json() | {"done": True, "version": 2}
        assert (await client.get("/health/ready")).status_code == 200
        assert (await client.post(url, headers=USER)).status_code == 428


async def test_existing_application(modules: Any) -> None:
    async with served(modules("existing").web) as client:
        answers = [await client.put("/tasks/1") for _ in range(2)]

        assert (await client.get("/greeting")).json() == "hello"
        assert [each.status_code for each in answers] == [200, 422]
        assert answers[1].json()["code"] == "refused"


async def test_a_few_routes(modules: Any) -> None:
    async with served(modules("routes").web) as client:
        assert [(await client.put("/tasks/1")).status_code for _ in range(2)] == [200, 409]


async def test_event_feeds(modules: Any) -> None:
    async with served(modules("feeds_of_tasks").web) as client:
        added = await client.post("/tasks?title=tea&owner=ada", headers=USER)
        url = f"{added.headers['Location']}/events"
        async with client.stream("GET", url, headers=USER) as answer:
            lines = answer.aiter_lines()
            first = [await anext(lines) for _ in range(4)]

        assert first[2:] == ["event: tasks.added", 'data: {"title":"tea","owner":"ada"}']
        for path in (url, "/changes"):
            assert (await client.get(path, headers={"X-User": "eve"})).status_code == 403


async def test_every_answer_and_header_is_in_the_openapi_document(modules: Any) -> None:
    web = modules("feeds_of_tasks").web
    async with served(web) as client:
        received = compare_answers(client, web.openapi())
        new, wrong = "/tasks?title=tea&owner=ada", {"Fait-Position": "x"}
        key = USER | {"Idempotency-Key": "1", "traceparent": f"00-{'1' * 32}-{'1' * 16}-00"}
        added = await client.post(new, headers=key)
        await client.post(new, headers=key)
        await client.post("/tasks?title=coffee&owner=ada", headers=key)
        await client.post(new, headers=USER | {"If-Match": '"7"'})
        await client.post(new, headers=USER)
        url, position = added.headers["Location"], {"Fait-Position": added.headers["Fait-Position"]}
        await client.get("/tasks?owner=ada&limit=1", headers=position)
        await client.get("/tasks?owner=ada&cursor=x")
        await client.get("/tasks?owner=ada", headers=wrong)
        for headers in (position, {"If-None-Match": '"1"'}, wrong):
            await client.get(url, headers=headers)
        await client.get("/tasks/none")
        for if_match in ({}, {"If-Match": '"1"'}, {"If-Match": '"1"'}, {"If-Match": '"2"'}):
            await client.post(f"{url}/completion", headers=USER | if_match)
        for path in (f"{url}/events", "/changes"):
            for headers in ({}, USER, {"X-User": "eve"}, USER | {"Last-Event-ID": "x"}):
                async with client.stream("GET", path, headers=headers):
                    pass

    assert received == {
        *(("POST", "/tasks", status) for status in (201, 412, 422)),
        *(("POST", "/tasks/{task_id}/completion", status) for status in (204, 409, 412, 428)),
        *(("GET", "/tasks", status) for status in (200, 400)),
        *(("GET", "/tasks/{task_id}", status) for status in (200, 304, 400, 404)),
        *(("GET", path, status) for path in ("/changes", "/tasks/{task_id}/events") for status in (200, 400, 403, 422)),
    }


def test_links_of_guide_exist() -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", GUIDE):
        assert (Path(__file__).parents[2] / "docs" / link).exists(), link
