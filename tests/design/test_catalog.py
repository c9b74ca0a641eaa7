"""The catalog of an app: what makes events, what reads them, and where each of these is known from."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fait
from fait._design.catalog import Catalog
from fait._design.emitted import emitted_by
from fait._design.example import example
from fait._evolution.locks.settings import DeclaredConsumer, Producer, Settings
from fait._schema.acceptance import accepts
from fait.schema import describe
from tests.design.projects import SHOP, catalog_of
from tests.schema.event_types import KINDS, event_class, fields


def producers(catalog: Catalog) -> dict[str, tuple[str, tuple[str, ...], str]]:
    return {each.name: (each.kind, each.events, each.evidence) for each in catalog.producers}


def test_producers_are_found_in_commands_and_the_methods_they_call(tmp_path: Path) -> None:
    assert producers(catalog_of(tmp_path)) == {
        "Order.place": ("command", ("shop.order-placed",), "code"),
        "Order.pay": ("command", ("shop.order-paid",), "code"),
        "remind": ("handler", ("shop.reminder",), "code"),
    }


def test_handler_lists_the_commands_that_it_issues(tmp_path: Path) -> None:
    handler = next(each for each in catalog_of(tmp_path).producers if each.kind == "handler")

    assert handler.issues == ("Order.pay",)


def test_consumers_have_what_the_app_declares(tmp_path: Path) -> None:
    found = {each.name: each for each in catalog_of(tmp_path).consumers}

    assert list(found) == ["mail", "remind", "totals"]
    assert (found["totals"].kind, found["totals"].delivery) == ("read model", "with_checkpoint")
    assert (found["remind"].start, found["remind"].batch, found["remind"].timeout_s) == ("now", 1, 60)
    assert found["mail"].events == ("shop.order-paid", "shop.reminder")
    assert found["mail"].retry == "retry after 0.1 s to 30 s, 3 attempts, then the event is skipped and logged"


def test_event_has_schema_example_retention_and_steps(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path)
    placed, reminder = catalog.event("shop.order-placed"), catalog.event("shop.reminder")

    assert placed is not None
    assert reminder is not None
    assert (placed.version, placed.lock, placed.meaning) == (2, "not locked", "A customer ordered something.")
    assert placed.example == {"customer": "customer", "total": 1}
    assert [each.change for each in placed.steps] == ["client is renamed to customer"]
    assert reminder.retention_s == 3 * 86_400
    msgspec.json.encode(catalog)


DECIDERS = """
def decide(command: "Place | Pay", state: None) -> list[OrderPlaced | OrderPaid]:
    return CLASSES[type(command)]()


def evolve(state: None, event: OrderPlaced | OrderPaid) -> None: ...


class Place: ...


class Pay: ...


def decide_blindly(command: Place, state: None) -> Any:
    return CLASSES[type(command)]()


CLASSES: dict[Any, Any] = {}
shop.include(fait.Decider(category="annotated", initial=lambda: None, decide=decide, evolve=evolve))
shop.include(fait.Decider(category="blind", initial=lambda: None, decide=decide_blindly, evolve=evolve))
"""


def test_decider_is_known_by_its_annotation_or_not_at_all(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, SHOP + DECIDERS)

    assert producers(catalog)["annotated"] == ("decider", ("shop.order-paid", "shop.order-placed"), "annotation")
    assert producers(catalog)["blind"] == ("decider", (), "none")
    assert next(each.commands for each in catalog.producers if each.name == "annotated") == ("Place", "Pay")


def test_functions_of_other_files_publish_through_an_outbox(tmp_path: Path) -> None:
    (tmp_path / "views.py").write_text(
        "import shop\n"
        "def buy(session):\n"
        "    event = shop.OrderPlaced('ada', 1)\n"
        "    shop.shop.outbox(session).add(event, stream='order-1')\n"
        "def show(event):\n"
        "    return isinstance(event, shop.OrderPlaced)\n"
        "class Service:\n"
        "    async def refund(self):\n"
        "        await self.system.publish(shop.OrderPaid(-1))\n"
    )
    (tmp_path / "test_views.py").write_text("from shop import *\ndef test(s): s.publish(OrderPaid(1))\n")
    (tmp_path / "broken.py").write_text("OrderPlaced = (")

    found = producers(catalog_of(tmp_path))

    assert found["views.buy"] == ("outbox", ("shop.order-placed",), "code")
    assert found["views.Service.refund"] == ("function", ("shop.order-paid",), "code")
    assert "views.show" not in found
    assert not [name for name in found if "test" in name]


def test_declared_producers_and_consumers_are_external(tmp_path: Path) -> None:
    declared = Settings(
        folder=tmp_path,
        locks=tmp_path,
        consumers=(DeclaredConsumer(name="billing", event="shop.order-placed", version=1),),
        producers=(Producer(name="till", event="shop.order-paid"),),
    )
    catalog = catalog_of(tmp_path, settings=declared)

    assert producers(catalog)["till"] == ("external", ("shop.order-paid",), "declared")
    assert [each.versions for each in catalog.consumers if each.kind == "external"] == [("shop.order-placed 1",)]


def test_declared_consumer_of_an_unknown_event_is_refused(tmp_path: Path) -> None:
    unknown = DeclaredConsumer(name="billing", event="shop.order-plcd", version=1)
    declared = Settings(folder=tmp_path, locks=tmp_path, consumers=(unknown,))

    with pytest.raises(fait.UsageError, match=r"consumers\]\] billing .* 'shop.order-plcd', which the app 'shop'"):
        catalog_of(tmp_path, settings=declared)


def test_function_without_source_makes_nothing() -> None:
    assert not emitted_by(eval("lambda: None")).events
    assert not emitted_by(len).events


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_example_is_an_event_of_its_description(kind: str, data: st.DataObject) -> None:
    description = describe(event_class(kind, data.draw(fields(kind))))

    assert accepts(description.records, description.root, example(description))
    assert example(description) == example(description)


LOCAL = """
@shop.on(OrderPlaced)
async def settle(event: OrderPlaced, ctx: fait.Context) -> None:
    from shop import OrderPaid as Paid

    await ctx.publish(Paid(1))


shop.on(OrderPlaced, name="lambda")(lambda event, ctx: print(Reminder("x")))
"""


def test_imports_within_a_function_and_lambdas_are_read(tmp_path: Path) -> None:
    found = producers(catalog_of(tmp_path, SHOP + LOCAL))

    assert found["settle"] == ("handler", ("shop.order-paid",), "code")
    assert found["lambda"] == ("handler", ("shop.reminder",), "code")


UNTYPED = """
@shop.on(fait.Untyped)
async def index(event: fait.Untyped) -> None: ...
"""


def test_consumer_of_undeclared_types_reads_no_declared_one(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, SHOP + UNTYPED)
    consumer = next(each for each in catalog.consumers if each.name == "index")

    assert (consumer.events, consumer.undeclared) == ((), True)
    assert consumer not in catalog.consumers_of("shop.order-paid")
