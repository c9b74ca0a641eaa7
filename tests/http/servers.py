"""A web application on a real uvicorn in the event loop of the test, and clients of it."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn


@asynccontextmanager
async def served(web: Any) -> AsyncGenerator[httpx.AsyncClient]:
    """Serve an application on a free port of 127.0.0.1, and yield a client."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(web, log_level="critical", timeout_graceful_shutdown=1, lifespan="on"))
        serving = asyncio.create_task(server.serve([listener]))
        try:
            while not server.started:
                assert not serving.done(), "the server has not started"
                await asyncio.sleep(0.005)
            limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            await serving
