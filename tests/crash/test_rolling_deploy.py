"""Processes with the code before and after a change of events work on one store at the same time."""

from collections.abc import Callable

import pytest

from tests.crash.deploying import shop_of
from tests.crash.processes import Child, program, until

ORDERS = 20


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
async def test_rolling_deploy_loses_and_repeats_nothing(backend: str, store_url: Callable[[str], str]) -> None:
    url = store_url(backend)
    children = list[Child]()
    for side in ("old", "new"):
        children.append(Child(program("deploying.py"), url, side, str(ORDERS)))
        until(children[-1].has_printed)
    for child in children:
        child.send_line()
    for child in children:
        until(lambda child=child: child.has_printed(2))
    codes = [child.finish() for child in children]  # the new process takes over the subscriptions of the old one

    app, order, orders, _ = shop_of("new")
    # The old code reads the table of the read model, but it does not write to it any more: its `evolve` is another one.
    errors = [line for child in children for line in child.errors if "subscription=deployed_orders" not in line]
    assert (codes, errors) == ([0, 0], [])
    expected = {str(number): [f"c{number}", f"p{number}"] for number in range(ORDERS)}
    async with app.open(url, run="elsewhere") as s:
        states = await s.load_many(order, expected)
        rows = {row.id: row.events.split() for row in await s.find(orders, limit=ORDERS)}
        handled = {number: [each.event.what for each in await s.read(f"handled-{number}")] for number in expected}
        notes = [len(await s.read(f"note-{number}")) for number in range(ORDERS)]
        [status] = [each for each in await s.status() if each.name == "handle"]

    assert {id: state.events for id, state in states.items()} == expected
    assert notes == [1] * ORDERS
    for seen in (handled, rows):  # streams are independent, so the note may be handled before the order or after it
        assert {id: sorted(texts) for id, texts in seen.items()} == {
            id: sorted([*texts, f"n{id}"]) for id, texts in expected.items()
        }
    assert status.lag == 0
