"""Liveness and readiness of a web process, for a supervisor and a load balancer."""

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fait._errors import FaitError, StoreUnavailable
from fait._http.problem import problem_response
from fait._http.runtime import runtime_of

__all__ = ["READY_TIMEOUT_S", "alive", "ready"]

READY_TIMEOUT_S: Final = 2.0
"""Timeout for the store to answer a readiness check."""


async def alive(request: Request) -> Response:
    """Answer 200: the process serves requests."""
    return JSONResponse({"status": "alive"})


async def ready(request: Request) -> Response:
    """Answer 200 if the store answers, and 503 otherwise."""
    runtime = runtime_of(request)
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            await runtime.system.store.log.last_position()
    except (FaitError, TimeoutError) as error:
        failure = error if isinstance(error, StoreUnavailable) else StoreUnavailable(f"no answer: {error!r}")
        return problem_response(request, failure, runtime.problems)
    return JSONResponse({"status": "ready"})
