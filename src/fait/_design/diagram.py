"""A Mermaid diagram of an app: which producer makes which event, and which consumer reads it."""

from collections.abc import Iterator
from typing import Final

from fait._design.catalog import Catalog

__all__ = ["flow_diagram"]

MAX_ARROWS: Final = 40
"""Maximum number of arrows; a larger diagram cannot be read."""


def flow_diagram(catalog: Catalog) -> str:
    """Return a flowchart from commands to events, consumers and further commands; empty if it is too large or empty."""
    arrows = list(dict.fromkeys(_arrows(catalog)))
    if not arrows or len(arrows) > MAX_ARROWS:
        return ""
    nodes = {name: f"n{number}" for number, name in enumerate(dict.fromkeys(end for arrow in arrows for end in arrow))}
    shapes = [f"    {id}{_shape(*name)}" for name, id in nodes.items()]
    return "\n".join(["flowchart LR", *shapes, *(f"    {nodes[one]} --> {nodes[other]}" for one, other in arrows)])


Node = tuple[str, str]
"""What a node is, `event` or `code`, and its name."""


def _arrows(catalog: Catalog) -> Iterator[tuple[Node, Node]]:
    for producer in catalog.producers:
        yield from ((("code", producer.name), ("event", each)) for each in producer.events)
        yield from ((("code", producer.name), ("code", each)) for each in producer.issues)
    for consumer in catalog.consumers:
        if consumer.kind != "boundary":
            yield from ((("event", each), ("code", consumer.name)) for each in consumer.events)


def _shape(kind: str, name: str) -> str:
    text = "".join(each if each.isalnum() or each in " .-_:/" else f"#{ord(each)};" for each in name)
    return f'(["{text}"])' if kind == "event" else f'["{text}"]'
