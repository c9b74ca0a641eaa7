"""Compares the answers of a web application with its OpenAPI document."""

from typing import Any

import httpx

UNDOCUMENTED = {"connection", "content-length", "content-type", "date", "server", "set-cookie", "transfer-encoding"}


def compare_answers(client: httpx.AsyncClient, document: dict[str, Any]) -> set[tuple[str, str, int]]:
    """Let each answer to a client be one of the document, with only its headers; return the set of those received."""
    received = set[tuple[str, str, int]]()

    async def compare(answer: httpx.Response) -> None:
        method, status = answer.request.method, answer.status_code
        template = template_of(document, answer.request.url.path)
        received.add((method, template, status))
        responses = document["paths"][template][method.lower()]["responses"]
        assert str(status) in responses, (method, template, status)
        documented = {name.lower() for name in responses[str(status)].get("headers", {})}
        assert {*answer.headers} - UNDOCUMENTED <= documented, (method, template, status)

    client.event_hooks = {"response": [compare]}
    return received


def template_of(document: dict[str, Any], path: str) -> str:
    """Return the path of the document that a path of a request matches."""
    return next(each for each in document["paths"] if matches(each.split("/"), path.split("/")))


def matches(template: list[str], path: list[str]) -> bool:
    """Return whether the parts of a path are those of a template."""
    return len(template) == len(path) and all(
        part.startswith("{") or part == given for part, given in zip(template, path, strict=True)
    )
