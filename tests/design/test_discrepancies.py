"""A committed design document is compared with the code, both ways: what differs, where, and what to do."""

import re
import time
from pathlib import Path

import pytest

from fait._design.discrepancies import Discrepancy, compare_document
from tests.design.projects import SHOP, catalog_of
from tests.design.test_document import ADVICE, written

COMMAND = "fait design --out DESIGN.md"


def compared(folder: Path, code: str = SHOP, text: str | None = None) -> list[Discrepancy]:
    """Compare the document of the first version of the app, or another text, with a version of the code."""
    document = written(catalog_of(folder), advice=ADVICE) if text is None else text
    found = compare_document(document, "DESIGN.md", catalog_of(folder, code), COMMAND)
    for each in found:
        assert re.fullmatch(r"DESIGN\.md:\d+", each.where)
        assert each.fix
    return found


def kinds(found: list[Discrepancy]) -> set[tuple[str, str]]:
    return {(each.kind, each.subject) for each in found}


def test_written_document_agrees_with_its_code(tmp_path: Path) -> None:
    assert compared(tmp_path) == []


def test_renamed_event_is_one_discrepancy_with_both_names(tmp_path: Path) -> None:
    [found] = compared(tmp_path, SHOP.replace("shop.order-paid", "shop.invoice-paid"))

    assert (found.kind, found.subject) == ("event-renamed", "shop.invoice-paid")
    assert found.what == "the event shop.order-paid of the document is named shop.invoice-paid in the code"
    assert '@fait.event("shop.invoice-paid", was=("shop.order-paid",))' in found.fix
    assert COMMAND in found.fix


def test_declared_rename_needs_no_former_name(tmp_path: Path) -> None:
    code = SHOP.replace('"shop.order-paid"', '"shop.invoice-paid", was=("shop.order-paid",)')
    found = compared(tmp_path, code)

    assert kinds(found) == {("event-renamed", "shop.invoice-paid"), ("event-changed", "shop.invoice-paid")}
    assert "was=" not in found[0].fix


CONSUMER = '\nshop.on(OrderPaid, name="book")(lambda event: None)\n'


def test_consumer_that_the_document_misses_is_found(tmp_path: Path) -> None:
    [found] = compared(tmp_path, SHOP + CONSUMER)

    assert (found.kind, found.subject) == ("consumer-not-in-document", "book")
    assert found.what == "the consumer book is in the code and not in the document"


def test_consumer_that_the_code_misses_is_found(tmp_path: Path) -> None:
    text = written(catalog_of(tmp_path, SHOP + CONSUMER))
    [found] = compared(tmp_path, text=text)

    assert (found.kind, found.subject) == ("consumer-not-in-code", "book")
    assert text.splitlines()[int(found.where.partition(":")[2]) - 1] == '  - name: "book"'


def test_consumer_that_reads_another_event_is_found(tmp_path: Path) -> None:
    [found] = compared(tmp_path, SHOP.replace("shop.on(OrderPlaced)", "shop.on(OrderPlaced, OrderPaid)").replace(
        "event: OrderPlaced, ctx", "event: OrderPlaced | OrderPaid, ctx"))  # fmt: skip

    assert (found.kind, found.subject) == ("consumer-changed", "remind")
    assert (
        "events is shop.order-placed in the document and shop.order-paid, shop.order-placed in the code" in found.what
    )


def test_new_version_is_found(tmp_path: Path) -> None:
    code = SHOP.replace("version=2", "version=3").replace(
        "total: int\n\n\n@fait", "total: int\n    tip: int = 0\n\n\n@fait", 1
    )
    [found] = compared(tmp_path, code)  # fmt: skip

    assert (found.kind, found.subject) == ("version-changed", "shop.order-placed")
    assert found.what == "shop.order-placed has version 2 in the document and version 3 in the code"


def test_changed_schema_of_the_same_version_is_found(tmp_path: Path) -> None:
    [found] = compared(tmp_path, SHOP.replace("amount: int", "amount: float"))

    assert (found.kind, found.subject) == ("schema-changed", "shop.order-paid")
    assert "fait schema new-version shop.order-paid" in found.fix


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ('then="skip"', 'then="stop"', "retry is retry after 0.1 s to 30 s, 3 attempts, then the event is skipped"),
        ("shop.on(OrderPlaced)", "shop.on(OrderPlaced, batch=50)", "batch is 1 in the document and 50 in the code"),
        ("shop.on(OrderPlaced)", 'shop.on(OrderPlaced, start="beginning")', "start is now in the document and begin"),
        ("shop.on(OrderPlaced)", "shop.on(OrderPlaced, timeout_s=5)", "timeout is 60.0 in the document and 5 in"),
    ],
)  # fmt: skip
def test_changed_guarantee_is_found(tmp_path: Path, before: str, after: str, what: str) -> None:
    [found] = compared(tmp_path, SHOP.replace(before, after))

    assert found.kind == "guarantee-changed"
    assert what in found.what


def test_event_and_producer_of_one_side_only_are_found(tmp_path: Path) -> None:
    code = SHOP.replace("self.emit(OrderPaid(1))", "...").replace("shop.include(", "shop.include(Later, ")
    code = code.replace("class Order(", '@fait.event("shop.later")\nclass Later: ...\n\n\nclass Order(')

    assert kinds(compared(tmp_path, code)) == {
        ("event-not-in-document", "shop.later"),
        ("producer-changed", "Order.pay"),
    }


def test_removed_event_is_found(tmp_path: Path) -> None:
    text = written(catalog_of(tmp_path))
    code = SHOP.replace('await ctx.publish(Reminder("pay"))', "...").replace(
        "Reminder, OrderPaid, name", "OrderPaid, name"
    )

    assert kinds(compared(tmp_path, code, text)) == {("event-not-in-code", "shop.reminder")}


def test_removed_section_is_found(tmp_path: Path) -> None:
    text = written(catalog_of(tmp_path))
    removed = re.sub(r"## Versioning Strategy\n.*?(?=## Tradeoffs)", "", text, flags=re.DOTALL)

    assert kinds(compared(tmp_path, text=removed)) == {("section-missing", "Versioning Strategy")}


def test_sections_in_another_order_are_found(tmp_path: Path) -> None:
    head, tradeoffs = written(catalog_of(tmp_path)).split("## Tradeoffs")
    moved = head.replace("## Pattern Choice", f"## Tradeoffs{tradeoffs}\n## Pattern Choice")

    assert kinds(compared(tmp_path, text=moved)) == {("section-order", "sections")}


@pytest.mark.parametrize(
    ("before", "after", "part"),
    [
        ('"amount": 1\n', '"amount": 2\n', "schema:shop.order-paid"),
        ("`remind` (reactor), ", "", "events"),
        ("Handlers: at least once", "Handlers: once", "delivery"),
        ("**Module `catalog`**", "**Module `goods`**", "recommendation"),
    ],
)
def test_edit_by_hand_inside_a_generated_part_is_found(tmp_path: Path, before: str, after: str, part: str) -> None:
    text = written(catalog_of(tmp_path), advice=ADVICE)
    assert before in text
    [found] = compared(tmp_path, text=text.replace(before, after, 1))

    assert (found.kind, found.subject) == ("part-edited", part)
    assert "--force" in found.fix


def test_outdated_example_is_found_on_its_line(tmp_path: Path) -> None:
    text = written(catalog_of(tmp_path))
    part = re.search(r"<!-- fait:begin schema:shop\.order-paid .*?<!-- fait:end", text, re.DOTALL)
    assert part is not None
    older = written(catalog_of(tmp_path, SHOP.replace("The customer paid.", "An amount was paid.")))
    outdated = re.search(r"<!-- fait:begin schema:shop\.order-paid .*?<!-- fait:end", older, re.DOTALL)
    assert outdated is not None
    text = text.replace(part[0], outdated[0])
    [found] = compared(tmp_path, text=text)

    assert (found.kind, found.subject) == ("part-outdated", "schema:shop.order-paid")
    assert "Document: 'An amount was paid.'. Code: 'The customer paid.'" in found.what
    assert text.splitlines()[int(found.where.partition(":")[2]) - 1] == "An amount was paid."


def test_removed_part_is_found(tmp_path: Path) -> None:
    text = written(catalog_of(tmp_path))
    removed = re.sub(r"<!-- fait:begin flow .*?<!-- fait:end flow -->\n", "", text, flags=re.DOTALL)

    assert kinds(compared(tmp_path, text=removed)) == {("part-missing", "flow")}


def test_broken_marker_is_found(tmp_path: Path) -> None:
    text = written(catalog_of(tmp_path)).replace("<!-- fait:end delivery -->\n", "")

    assert ("marker-broken", "markers") in kinds(compared(tmp_path, text=text))


PLANNED = """
| Event Type | Producer | Consumers | Schema |
|---|---|---|---|
| `shop.order-placed` | `Order.place` (command) | `remind` (reactor), `totals` | version 2 |
| OrderPaid | Order.settle | mail, books | v2 |
| `shop.order-shipped` | | | |
"""


def test_planned_events_are_compared_with_the_code_both_ways(tmp_path: Path) -> None:
    plan = written(None, advice=ADVICE).replace("<!-- fait:end events -->", f"<!-- fait:end events -->\n{PLANNED}")

    assert kinds(compared(tmp_path, text=plan)) == {
        ("producer-not-in-code", "Order.settle"),
        ("consumer-not-in-code", "books"),
        ("version-changed", "shop.order-paid"),
        ("planned-event-not-in-code", "shop.order-shipped"),
        ("event-not-in-document", "shop.reminder"),
    }


def test_planned_event_next_to_the_code_is_found_until_it_is_there(tmp_path: Path) -> None:
    text = written(catalog_of(tmp_path)).replace("<!-- fait:end events -->", f"<!-- fait:end events -->\n{PLANNED}")

    assert ("planned-event-not-in-code", "shop.order-shipped") in kinds(compared(tmp_path, text=text))
    assert ("event-not-in-document", "shop.reminder") not in kinds(compared(tmp_path, text=text))


def test_comparison_of_hundreds_of_types_takes_seconds(tmp_path: Path) -> None:
    code = "import fait\n" + "".join(
        f'@fait.event("big.e{number}-done")\nclass E{number}:\n    text: str\n' for number in range(400)
    )
    code += 'shop = fait.App("shop")\nshop.include(*(each for each in globals().values() if isinstance(each, type)))\n'
    catalog = catalog_of(tmp_path, code)
    started_s = time.process_time()

    assert compare_document(written(catalog), "DESIGN.md", catalog, COMMAND) == []
    assert time.process_time() - started_s < 10
