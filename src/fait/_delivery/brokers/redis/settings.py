"""What `fait broker check` reports of a Redis server: settings with which confirmed entries can be lost."""

from collections.abc import Mapping

from fait._store.ports.store import Finding

__all__ = ["find_problems"]


def find_problems(settings: Mapping[str, str], info: Mapping[str, str], kinds: Mapping[str, bytes]) -> list[Finding]:
    """Return a finding for each setting that matters.

    Args:
        settings: the server's configuration; empty if it cannot be read.
        info: the fields of INFO; empty if it cannot be read.
        kinds: kind of value of each stream's key.
    """
    if not settings:
        detail = "the user may not run CONFIG GET"
        return [Finding("settings", "unknown", detail, "check appendonly, appendfsync and maxmemory-policy by hand")]
    return [_persistence(settings), _eviction(settings), _replication(info), *_wrong_kinds(kinds)]


def _persistence(settings: Mapping[str, str]) -> Finding:
    if settings.get("appendonly") != "yes":
        detail = "appendonly is no: a restart loses all entries since the last snapshot"
        return Finding("persistence", "problem", detail, "set appendonly yes, and appendfsync always")
    if (sync := settings.get("appendfsync")) != "always":
        detail = f"appendfsync is {sync}: a power failure loses entries that were confirmed"
        return Finding("persistence", "problem", detail, "set appendfsync always; publishing stays fast in batches")
    return Finding("persistence", "ok", "appendonly yes, appendfsync always")


def _eviction(settings: Mapping[str, str]) -> Finding:
    policy, limit = settings.get("maxmemory-policy", "?"), settings.get("maxmemory", "0")
    if policy.startswith("allkeys") and limit != "0":
        detail = f"maxmemory-policy is {policy}: the server deletes streams when its memory is full"
        return Finding("eviction", "problem", detail, "set maxmemory-policy noeviction")
    return Finding("eviction", "ok", f"maxmemory {limit}, maxmemory-policy {policy}")


def _replication(info: Mapping[str, str]) -> Finding:
    if info.get("cluster_enabled") == "1":
        detail = "the server is part of a Redis Cluster, which is not supported: keys would be on other servers"
        return Finding("replication", "problem", detail, "use a server without cluster-enabled")
    if info.get("role") == "slave":
        return Finding("replication", "problem", "the server is a replica", "use the URL of the primary")
    replicas = info.get("connected_slaves", "0")
    if replicas != "0":
        detail = f"{replicas} replicas: a failover loses entries that were confirmed and not replicated yet"
        return Finding("replication", "problem", detail, "after a failover, the relay stops if entries are missing")
    return Finding("replication", "ok", "no replica to fail over to")


def _wrong_kinds(kinds: Mapping[str, bytes]) -> list[Finding]:
    wrong = {key: kind.decode() for key, kind in kinds.items() if kind not in (b"stream", b"none")}
    advice = "rename or delete that key"
    return [Finding(f"key {key}", "problem", f"it is a {kind}, not a stream", advice) for key, kind in wrong.items()]
