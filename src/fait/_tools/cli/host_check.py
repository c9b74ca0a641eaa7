"""An ASGI middleware that answers only requests for this machine, and only those of its own pages.

A page of another site in the developer's browser can send requests to 127.0.0.1 and, if its name resolves to that
address, read the answers (DNS rebinding). Such a request has that name as its `Host`. Without it the page cannot read
the answer, but a POST has its effect: such a request has the site as its `Origin`.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

__all__ = ["HostCheck", "is_loopback"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
WebApplication = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_FOREIGN_HOST: Final = b"This server answers requests for localhost. For another name, type: fait dev --host NAME\n"
_FOREIGN_ORIGIN: Final = b"This server answers no requests from pages of other hosts.\n"


class HostCheck:
    """Answers 400 if the `Host` of a request is neither localhost nor an address of this machine.

    It answers 403 if the `Origin` is neither localhost nor that host, with any port.

    Args:
        web: the application that answers other requests.
        host: the name or address on which the server listens. If others can reach it, any address is accepted as
            `Host`: a name is what a foreign page needs.
    """

    def __init__(self, web: WebApplication, host: str) -> None:
        self._web = web
        self._names = {"localhost", host.lower()}
        self._only_loopback = is_loopback(host)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request, or let the application do so."""
        status, refusal = (200, b"") if scope["type"] == "lifespan" else self._check(scope)
        # fault: foreign-host-accepted
        if status == 200:
            await self._web(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": refusal})

    def _check(self, scope: MutableMapping[str, Any]) -> tuple[int, bytes]:
        hosts = _header(scope, b"host")
        if len(hosts) != 1 or not self._accepts(host := _hostname(f"//{hosts[0]}")):
            return 400, _FOREIGN_HOST
        origins = [_hostname(each) for each in _header(scope, b"origin")]
        # fault: foreign-origin-accepted
        if not all(each == host or is_loopback(each) for each in origins):
            return 403, _FOREIGN_ORIGIN
        return 200, b""

    def _accepts(self, name: str) -> bool:
        return name in self._names or self._accepts_address(name)

    def _accepts_address(self, name: str) -> bool:
        return is_loopback(name) if self._only_loopback else _is_address(name)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host."""
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _header(scope: MutableMapping[str, Any], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _hostname(url: str) -> str:
    """Return the host of a URL, without its port; empty if it has none or is malformed."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
