"""What `fait broker check` reports of a cluster: settings with which confirmed messages can be lost."""

from collections.abc import Mapping
from typing import Final

from fait._store.ports.store import Finding

__all__ = ["TOPIC_SETTINGS", "find_problems", "find_topic_problems"]

TOPIC_SETTINGS: Final = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
"""Settings of a new topic, which deletes nothing."""

SMALL_BYTES: Final = 100_000
"""Limit of messages below which events of usual size are refused."""


def find_problems(settings: Mapping[str, str]) -> list[Finding]:
    """Return a finding for each setting of a node that matters.

    Args:
        settings: the settings; empty if they cannot be read.
    """
    if not settings:
        detail = "the user may not read the settings of the cluster"
        return [Finding("settings", "unknown", detail, "check auto.create.topics.enable by hand")]
    if settings.get("auto.create.topics.enable") == "true":
        detail = "auto.create.topics.enable is true: a wrong name creates a topic with other lanes and a retention"
        return [Finding("creation", "problem", detail, "set auto.create.topics.enable=false")]
    return [Finding("creation", "ok", "topics are not created by use")]


def find_topic_problems(topic: str, settings: Mapping[str, str], replicas: int) -> list[Finding]:
    """Return a finding for each setting of a topic that matters.

    Args:
        topic: its name.
        settings: its settings; empty if they cannot be read.
        replicas: its number of replicas.
    """
    if not settings:
        detail = "the user may not read the settings of the topic"
        advice = "check min.insync.replicas, cleanup.policy and retention.ms by hand"
        return [Finding(f"settings {topic}", "unknown", detail, advice)]
    return [_persistence(topic, settings, replicas), _deletion(topic, settings), _size(topic, settings)]


def _persistence(topic: str, settings: Mapping[str, str], replicas: int) -> Finding:
    name, insync = f"persistence {topic}", int(settings.get("min.insync.replicas", "1"))
    if settings.get("unclean.leader.election.enable") == "true":
        detail = "unclean.leader.election.enable is true: a failover to a replica that lags behind loses messages"
        return Finding(name, "problem", detail, "set unclean.leader.election.enable=false")
    if replicas == 1 and settings.get("flush.messages") != "1":
        detail = "1 replica, and flush.messages is not 1: a power failure loses messages that were confirmed"
        return Finding(name, "problem", detail, "use 3 replicas and min.insync.replicas=2; for one, flush.messages=1")
    if replicas > 1 and insync == 1:
        detail = f"{replicas} replicas, and min.insync.replicas is 1: a failover loses messages that only one has"
        return Finding(name, "problem", detail, "set min.insync.replicas=2")
    return Finding(name, "ok", f"{replicas} replicas, min.insync.replicas {insync}")


def _deletion(topic: str, settings: Mapping[str, str]) -> Finding:
    name, policy = f"deletion {topic}", settings.get("cleanup.policy", "delete")
    if "compact" in policy:
        detail = f"cleanup.policy is {policy}: the server deletes all events of a key but the last one"
        return Finding(name, "problem", detail, "set cleanup.policy=delete, with retention.ms=-1")
    limits = {each: settings.get(each, "-1") for each in ("retention.ms", "retention.bytes")}
    shown = ", ".join(f"{each} {value}" for each, value in limits.items() if value != "-1")
    if shown:
        detail = f"{shown}: the server deletes older messages, also those that a consumer has not read"
        return Finding(name, "problem", detail, "set retention.ms=-1 and retention.bytes=-1")
    return Finding(name, "ok", "no limit")


def _size(topic: str, settings: Mapping[str, str]) -> Finding:
    name, limit = f"size {topic}", int(settings.get("max.message.bytes", "0"))
    if limit < SMALL_BYTES:
        detail = f"max.message.bytes is {limit:,}: larger events are refused, and their keys are parked"
        return Finding(name, "problem", detail, "set max.message.bytes to 1 MB or more")
    return Finding(name, "ok", f"max.message.bytes {limit:,}")
