"""`fait.opentelemetry` with the SDK of OpenTelemetry: names in Prometheus, parents, links and outcomes of spans."""

import re
from typing import Any

import pytest

import fait
from tests.conftest import missing
from tests.test_telemetry import TRACEPARENT, Account, Paid

pytestmark = pytest.mark.anyio

try:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from fait.opentelemetry import OpenTelemetry
except ImportError:
    is_installed = False
else:
    is_installed = True


@pytest.fixture(autouse=True)
def sdk() -> None:
    if not is_installed:
        missing("the SDK of OpenTelemetry")


class Exported:
    """Providers that keep what they get, and an adapter for them."""

    def __init__(self) -> None:
        self._spans, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        meters = MeterProvider(metric_readers=[self._reader])
        self.telemetry = OpenTelemetry(tracer_provider=self.tracers, meter_provider=meters)

    def spans(self, name: str) -> list[Any]:
        return [each for each in self._spans.get_finished_spans() if each.name == name]

    def metrics(self) -> dict[str, Any]:
        data = self._reader.get_metrics_data()
        assert data is not None
        return {m.name: m for r in data.resource_metrics for scope in r.scope_metrics for m in scope.metrics}


def bank() -> fait.App:
    app = fait.App("bank")
    app.include(Account)

    @app.on(Paid, start="beginning", on_failure=fait.FailurePolicy(0, 0))
    async def notify(event: Paid, ctx: fait.Context) -> None:
        if ctx.attempt == 1:
            raise ValueError("secret")

    return app


async def test_span_of_a_command_is_child_of_the_request_and_linked_by_the_handler() -> None:
    exported = Exported()
    async with bank().open("memory:", telemetry=exported.telemetry) as s:
        with fait.caused_by(traceparent=TRACEPARENT):
            await s.transact(Account.pay, "1", "secret-ada")
        with pytest.raises(fait.Rejected):
            await s.transact(Account.pay, "1", "secret-stranger")
        await s.settle()
        [envelope] = await s.read("account-1")

    command, rejected = exported.spans("fait.command account.pay")
    failed, handled = exported.spans("process notify")
    assert f"{command.parent.trace_id:032x}-{command.parent.span_id:016x}" in TRACEPARENT
    assert envelope.metadata.traceparent == f"00-{command.context.trace_id:032x}-{command.context.span_id:016x}-01"
    assert [each.context.span_id for each in handled.links] == [command.context.span_id]
    assert (handled.parent, handled.kind.name, command.kind.name) == (None, "CONSUMER", "INTERNAL")
    spans = (command, rejected, failed, handled)
    outcomes = [(each.attributes["fait.outcome"], each.status.status_code.name) for each in spans]
    assert outcomes == [("ok", "UNSET"), ("rejected", "UNSET"), ("error", "ERROR"), ("ok", "UNSET")]
    assert failed.attributes["error.type"] == "ValueError"
    assert failed.attributes["fait.subscription"] == "notify"
    assert "secret" not in "".join(each.to_json() for each in spans)


async def test_span_of_a_command_is_child_of_the_current_span() -> None:
    exported = Exported()
    async with bank().open("memory:", run="elsewhere", telemetry=exported.telemetry) as s:
        span = exported.tracers.get_tracer("test").start_as_current_span("request")
        with span as request, fait.caused_by(traceparent=TRACEPARENT):
            await s.transact(Account.pay, "1", "ada")

    [command] = exported.spans("fait.command account.pay")
    assert command.parent.span_id == request.get_span_context().span_id


async def test_metrics_have_the_declared_kinds_and_the_names_of_prometheus() -> None:
    exported = Exported()
    async with bank().open("memory:", telemetry=exported.telemetry) as s:
        await s.transact(Account.pay, "1", "ada")
        with pytest.raises(fait.WrongExpectedVersion):
            await s.using(expected="no_stream").publish(Paid("ada"), stream="account-1")
        await s.settle()
        metrics = exported.metrics()

    assert {prometheus(each) for each in metrics.values()} == {
        "fait_events_appended_total", "fait_append_duration_seconds", "fait_append_conflicts_total",
        "fait_command_duration_seconds", "fait_store_head_position", "fait_subscription_position",
        "fait_subscription_lag_events", "fait_subscription_lag_seconds", "fait_subscription_errors_total",
        "fait_subscription_outage_seconds", "fait_subscription_failed_keys", "fait_handle_duration_seconds",
    }  # fmt: skip
    [appended] = metrics["fait.events.appended"].data.data_points
    assert (appended.value, dict(appended.attributes)) == (1, {"category": "account", "type": "bank.paid"})


def prometheus(metric: Any) -> str:
    """Return the name of a metric in Prometheus, by the rules of the specification of OpenTelemetry."""
    name = re.sub(r"[^a-z0-9]", "_", metric.name)
    name += "_seconds" if metric.unit == "s" else ""  # a unit in braces is an annotation, and left out
    return f"{name}_total" if type(metric.data).__name__ == "Sum" else name


async def test_without_an_sdk_nothing_is_recorded_and_events_keep_their_trace() -> None:
    async with bank().open("memory:", run="elsewhere", telemetry=OpenTelemetry()) as s:
        with fait.caused_by(traceparent=TRACEPARENT):
            await s.transact(Account.pay, "1", "ada")

        [envelope] = await s.read("account-1")
        assert envelope.metadata.traceparent is not None
        assert envelope.metadata.traceparent[3:35] == TRACEPARENT[3:35]
