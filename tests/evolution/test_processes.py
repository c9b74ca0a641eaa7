"""Upcasters whose results depend on the hash seed of the process."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

import fait
from fait._events.registry import Registry, build_registry
from fait._evolution.check.processes import compare_processes, result_digests, upcaster_inputs
from tests.evolution.event_locks import locks_of, rules
from tests.evolution.orders import NAME, OrderPlaced1, OrderPlaced2
from tests.evolution.test_proof_adversarial import depends_on_hash_seed, right


def registry_with(function: Any) -> Registry:
    return build_registry([OrderPlaced2], [fait.upcast(NAME, 1)(function)])


FUNCTIONS = {"depends_on_hash_seed": depends_on_hash_seed, "right": right}


def digests(function: str) -> dict[str, str]:
    registry = registry_with(FUNCTIONS[function])
    return result_digests(registry, upcaster_inputs(registry, locks_of(OrderPlaced1)))


def digests_in_another_process(function: str, hash_seed: str) -> dict[str, str]:
    """Return the digests that a process with this hash seed computes."""
    command = [sys.executable, "-m", "tests.evolution.test_processes", function]
    run = subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, check=True)
    return json.loads(run.stdout)


@pytest.mark.slow
def test_upcaster_that_depends_on_hash_seed_is_found_by_comparing_processes() -> None:
    one, other = (digests_in_another_process("depends_on_hash_seed", seed) for seed in ("1", "2"))

    found = compare_processes(registry_with(depends_on_hash_seed), one, other)

    assert rules(found) == ["FAIT111 1 -> 2"]


@pytest.mark.slow
def test_repeatable_upcaster_has_the_same_results_in_each_process() -> None:
    one, other = (digests_in_another_process("right", seed) for seed in ("1", "2"))

    assert [*one] == [f"{NAME} 1"]
    assert one == other == digests("right")


if __name__ == "__main__":
    print(json.dumps(digests(sys.argv[1])))
