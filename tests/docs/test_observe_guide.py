"""The guide to metrics and traces: its tables are those of the code, and its programs run."""

import asyncio
import re
from pathlib import Path
from typing import Any

import fait
from fait._telemetry import METRICS
from tests.conftest import missing

GUIDE = (Path(__file__).parents[2] / "docs" / "observe.md").read_text("utf-8")


def test_table_has_each_metric_with_kind_unit_and_attributes() -> None:
    rows = re.findall(r"^\| `(fait\.[\w.]+)` \| (\w+) \| `(.+?)` \| (.*?) ?\| `\w+` \|$", GUIDE, re.MULTILINE)

    shown = [(name, kind, unit, tuple(re.findall(r"`(\w+)`", attributes))) for name, kind, unit, attributes in rows]
    assert shown == [(each.name, each.kind, each.unit, each.attributes) for each in METRICS]


def test_programs_of_the_guide_run() -> None:
    with_sdk, own = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    namespace: dict[str, Any] = {"__name__": "guide"}
    try:
        exec(with_sdk, namespace)
    except ModuleNotFoundError:
        without = re.sub(r"^from opentelemetry.*\n|^from fait\.opentelemetry.*\n", "", with_sdk, flags=re.MULTILINE)
        exec(without.partition("reader = ")[0], namespace)
    else:
        asyncio.run(namespace["main"]())
        assert "fait.events.appended" in str(namespace["reader"].get_metrics_data())

    exec(own, namespace)
    assert asyncio.run(namespace["counted"]()) == {"fait.events.appended": 1}
    if "main" not in namespace:
        missing("the SDK of OpenTelemetry")


def test_names_of_the_guide_are_public() -> None:
    assert set(re.findall(r"fait\.([A-Z]\w+)", GUIDE)) <= set(fait.__all__)
