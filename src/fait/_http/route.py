"""The template of a request's route, such as `/v1/orders/{order_id}`, as far as all versions of the frameworks tell it.

A route that was included by a router with a prefix knows its own part only. The rest is the beginning of the path.
"""

from typing import Any

from starlette.requests import Request

__all__ = ["route_template"]


def route_template(request: Request) -> str:
    """Return the template; parameters of a prefix are replaced by their values. Without a route, return the path."""
    path: str = request.scope["path"]
    route: Any = request.scope.get("route")
    if not hasattr(route, "path_format"):
        return path
    own_part = route.path_format
    for name, value in request.path_params.items():
        own_part = own_part.replace(f"{{{name}}}", str(value))
    # fault: key-shared-by-prefixes
    return path.removesuffix(own_part) + route.path_format if path.endswith(own_part) else path
