"""Many types are described and compared fast enough for every commit. Processor time is independent of other load."""

import time
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec

import fait
from fait.schema import compare, describe

TYPES, VERSIONS = 500, 4
MAX_SECONDS = 2.0
"""Maximum processor time for all types. Measured: 0.4 s; the rest is for slow machines."""


class Money(msgspec.Struct, frozen=True):
    amount: Decimal
    currency: str = "EUR"


class Line(msgspec.Struct, frozen=True):
    sku: str
    price: Money
    count: int = 1


KINDS: list[Any] = [int, str, datetime, Decimal, Money, list[Line], str | None, dict[str, int]]


def versions_of(number: int) -> list[type]:
    fields = [(f"field_{n}", KINDS[(number + n) % len(KINDS)]) for n in range(len(KINDS))]
    return [
        fait.event(f"speed.{number}", version=version + 1)(
            msgspec.defstruct(
                "Event", [*fields, *((f"added_{n}", str | None, None) for n in range(version))], frozen=True
            )
        )
        for version in range(VERSIONS)
    ]


def test_many_types_are_compared_in_less_than_the_maximum_time() -> None:
    described = [[describe(cls) for cls in versions_of(number)] for number in range(TYPES)]

    started = time.process_time()
    fingerprints = {each.fingerprint for versions in described for each in versions}
    differences = [compare(old, new) for versions in described for old, new in pairwise(versions)]
    elapsed = time.process_time() - started

    assert (len(fingerprints), len(differences)) == (len(KINDS) * VERSIONS, TYPES * (VERSIONS - 1))
    assert elapsed < MAX_SECONDS
