"""What `fait broker check` reports of a stream: settings with which confirmed messages can be lost."""

from collections.abc import Mapping
from typing import Any, Final

from fait._delivery.brokers.port import Finding

__all__ = ["find_problems", "stream_settings"]

_LIMITS: Final = ("max_msgs", "max_bytes", "max_age", "max_msgs_per_subject")
"""Settings that make the server delete messages."""


def stream_settings(name: str, lanes: int) -> dict[str, Any]:
    """Return the settings of a new stream."""
    return {
        "name": name,
        "subjects": [f"{name}.>"],
        "storage": "file",
        "retention": "limits",
        "num_replicas": 1,
        "allow_atomic": True,
        "allow_rollup_hdrs": True,
        "metadata": {"fait.lanes": str(lanes)},
    }


def find_problems(name: str, settings: Mapping[str, Any]) -> list[Finding]:
    """Return a finding for each setting of a stream that matters."""
    return [_publishing(name, settings), _deletion(name, settings), _persistence(name, settings)]


def _publishing(name: str, settings: Mapping[str, Any]) -> Finding:
    missing = [each for each in ("allow_atomic", "allow_rollup_hdrs") if not settings.get(each)]
    if missing:
        advice = "set it: nats stream edit; it needs NATS 2.12"
        return Finding(f"publishing {name}", "problem", f"{' and '.join(missing)} is off: nothing can be sent", advice)
    return Finding(f"publishing {name}", "ok", "atomic batches are allowed")


def _deletion(name: str, settings: Mapping[str, Any]) -> Finding:
    limits = {each: settings[each] for each in _LIMITS if settings.get(each, 0) > 0}
    if "max_age" in limits:
        limits["max_age"] = f"{limits['max_age'] / 1e9:g} s"
    if settings.get("retention", "limits") != "limits":
        detail = f"retention is {settings['retention']}: the server deletes what another consumer has acknowledged"
        return Finding(f"deletion {name}", "problem", detail, "use retention limits")
    if limits:
        shown = ", ".join(f"{limit} {value}" for limit, value in limits.items())
        return Finding(
            f"deletion {name}", "problem", f"{shown}: the server deletes older messages", "remove the limits"
        )
    return Finding(f"deletion {name}", "ok", "no limit")


def _persistence(name: str, settings: Mapping[str, Any]) -> Finding:
    replicas = settings.get("num_replicas", 1)
    if settings.get("storage") == "memory":
        return Finding(f"persistence {name}", "problem", "storage is memory: a restart loses all", "use storage file")
    if replicas >= 3:
        return Finding(f"persistence {name}", "ok", f"{replicas} replicas")
    detail = (
        f"{replicas} replica: a power failure loses confirmed messages unless sync_interval is always, which clients "
        "cannot read; by default it is 2m"
    )
    return Finding(f"persistence {name}", "unknown", detail, "set sync_interval: always, or use 3 replicas")
