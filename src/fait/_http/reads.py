"""Reads of one request: rows that contain the client's own write, with an ETag, and pages with a `Link`."""

from typing import Any, Final, TypeVar
from urllib.parse import quote

from msgspec import Struct
from starlette.datastructures import MutableHeaders
from starlette.requests import Request

from fait._http.preconditions import etag_of, is_known_to_client
from fait._http.problem import NotFound, NotModified
from fait._http.runtime import Runtime
from fait._subscriptions.find import Rows
from fait._subscriptions.read_model import ReadModel

__all__ = ["DEFAULT_PAGE_ROWS", "MAX_PAGE_ROWS", "READ_TIMEOUT_S", "Paging", "Reads"]

M = TypeVar("M", bound=ReadModel)

READ_TIMEOUT_S: Final = 2.0
"""Timeout for a read model to reach the position that a client sends."""

DEFAULT_PAGE_ROWS: Final = 20
"""Default number of rows of a page."""

MAX_PAGE_ROWS: Final = 100
"""Maximum number of rows of a page."""


class Paging(Struct, frozen=True):
    """The page that a request asks for.

    Attributes:
        limit: maximum number of rows.
        cursor: where the page continues; None: the first page.
    """

    limit: int = DEFAULT_PAGE_ROWS
    cursor: str | None = None


class Reads:
    """Executes the queries of one request, and sets the headers of its answer.

    If the request has `Fait-Position`, each query waits until its read model has reached it.

    Args:
        runtime: the open system, which counts the reads that wait.
        request: the request.
        headers: headers of the answer.
        after: position token of the request.
        timeout_s: timeout for the read model to reach it, in seconds.
    """

    def __init__(
        self,
        runtime: Runtime,
        request: Request,
        headers: MutableHeaders,
        after: str | None,
        *,
        timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        self._runtime = runtime
        self._request = request
        self._headers = headers
        self._after = after
        self._timeout_s = timeout_s

    async def find(
        self,
        model: type[M],
        /,
        *,
        order_by: object = None,
        limit: int = MAX_PAGE_ROWS,
        cursor: str | None = None,
        **where: Any,
    ) -> Rows[M]:
        """Return rows, 100 by default; arguments, result and exceptions are otherwise those of `System.find`.

        Raises:
            TooManyReaders: too many reads of this process are waiting.
        """
        find, options = self._runtime.system.find, {"order_by": order_by, "limit": limit, "cursor": cursor}
        if self._after is None:
            return await find(model, **options, **where)
        with self._runtime.waiting_read():
            return await find(model, after=self._after, timeout_s=self._timeout_s, **options, **where)

    async def one(self, model: type[M], /, **key: Any) -> M:
        """Return the row that conditions select, such as `order_id="7"`.

        Args:
            model: the read model's class.
            **key: conditions, as for `System.find`.

        Raises:
            NotFound: there is no such row.
            Stale: the read model did not reach the position of the request within the timeout, or a key is parked.
        """
        rows = await self.find(model, limit=1, **key)
        if not rows:
            raise NotFound(model.__name__)
        return rows[0]

    async def page(self, model: type[M], paging: Paging, /, *, order_by: object = None, **where: Any) -> list[M]:
        """Return a page of rows, and set the `Link` header to the next page, if there is one.

        Args:
            model: the read model's class.
            paging: limit and cursor of the request.
            order_by: sort order, as for `System.find`.
            **where: conditions, as for `System.find`.

        Raises:
            InvalidCursor: the cursor is not one of this list.
            Stale: the read model did not reach the position of the request within the timeout, or a key is parked.
        """
        rows = await self.find(model, order_by=order_by, limit=paging.limit, cursor=paging.cursor, **where)
        if rows.cursor is not None:
            url = self._request.url.include_query_params(cursor=rows.cursor)
            # A reference without scheme and host stays correct behind a proxy.
            self._headers["Link"] = f'<{quote(url.path, safe="/%")}?{url.query}>; rel="next"'
        return rows

    def etag(self, version: int) -> None:
        """Set the ETag of the answer to the version that is folded into what it shows.

        Args:
            version: version of the stream, from a column of the row or from the loaded aggregate. It must not be read
                separately: the stream may have changed since.

        Raises:
            NotModified: the client has this version already; it is answered with 304.
        """
        etag = etag_of(version)
        # fault: not-modified-ignored
        if is_known_to_client(etag, self._request.headers.get("If-None-Match")):
            raise NotModified(etag)
        self._headers["ETag"] = etag
