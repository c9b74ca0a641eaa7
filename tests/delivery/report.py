"""What a round of the services does, and what happened in it."""

import shlex
from collections import Counter
from typing import Any

from msgspec import Struct, field


class Plan(Struct, frozen=True):
    """One round.

    Attributes:
        broker: name of the broker.
        databases: the databases of orders and stock: "sqlite" or "postgresql".
        seconds: how long orders are placed, and processes and servers disturbed.
        seed: seed of all random choices of the parent.
        naive: name of the naive relay that runs instead of that of fait; "" for none.
    """

    broker: str
    databases: tuple[str, str]
    seconds: float
    seed: int
    naive: str = ""

    @property
    def command(self) -> str:
        """The command that repeats the round. Its choices are the same, but not the moments at which they happen."""
        options = [f"--brokers={self.broker}", f"--databases={','.join(self.databases)}", f"--seconds={self.seconds:g}"]
        options += [f"--seed={self.seed}", "--minutes=0", *([f"--naive={self.naive}"] if self.naive else [])]
        return shlex.join(["python", "-m", "tests.delivery.run", *options])


class Report(Struct):
    """What happened in a round.

    Attributes:
        plan: the round.
        violations: what is wrong, in words, by key; "" for what concerns no key.
        history: what became of the events of the first wrong key.
        timeline: each disturbance, with the seconds since the begin.
        disturbances: how often each one took place.
        exits: how often a process ended, by exit code.
        events: number of events of the log.
        messages: number of messages at the broker; None: it keeps no message that is consumed.
        repeated: number of those that were there already.
        refused: number of keys with a message that was too large.
        left_parked: number of keys that were left parked.
        published_early: share of the log that the relay had passed when the disturbances ended.
        catch_up_s: time from the last disturbance until everything was handled.
    """

    plan: Plan
    violations: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    history: list[str] = field(default_factory=list[str])
    timeline: list[str] = field(default_factory=list[str])
    disturbances: Counter[str] = field(default_factory=Counter[str])
    exits: Counter[str] = field(default_factory=Counter[str])
    events: int = 0
    messages: int | None = None
    repeated: int = 0
    refused: int = 0
    left_parked: int = 0
    published_early: float = 0.0
    catch_up_s: float = 0.0

    def note(self, violation: str) -> None:
        """Add a violation that concerns no key."""
        self.violations.setdefault("", []).append(violation)

    @property
    def summary(self) -> dict[str, Any]:
        """The round in a line."""
        plan, shown = self.plan, ("events", "messages", "repeated", "refused", "left_parked")
        return {
            "broker": plan.broker,
            "databases": ",".join(plan.databases),
            "seed": plan.seed,
            **{each: getattr(self, each) for each in shown},
            "published_early": self.published_early,
            "disturbances": self.disturbances,
            "exits": self.exits,
            "catch_up_s": round(self.catch_up_s, 1),
            "wrong": len(self.violations),
        }

    @property
    def failure(self) -> str:
        """How to repeat the round, and what is wrong with the first wrong key, with its history."""
        key, problems = next(iter(self.violations.items()))
        lines = [f"seed {self.plan.seed}: wrong keys: {len(self.violations)}; repeat with: {self.plan.command}"]
        lines += [f"{key or 'no key'}: {each}" for each in problems[:20]]
        return "\n".join([*lines, *self.history[:200], "disturbances:", *self.timeline])
