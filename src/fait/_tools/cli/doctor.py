"""`fait doctor`: is the store well? Each check says ok, a finding, or that it could not be checked."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import typer

from fait._errors import FaitError, UsageError
from fait._store.health import Finding, examine_subscriptions
from fait._store.open import Store, redacted_url
from fait._subscriptions.processor import LEASE_DURATION_S
from fait._tools.cli.opening import JsonOption, StoreOption, open_readonly
from fait._tools.cli.output import command, print_json, print_message, print_table

__all__ = ["doctor"]

_POLL_INTERVAL_S = 0.1


@command
async def doctor(store: StoreOption, as_json: JsonOption = False) -> None:
    """Check a store; the exit code is 1 if anything was found."""
    found = await _findings(store)
    wrong = [each for each in found if each.status == "finding"]
    if as_json:
        print_json({"store": redacted_url(store), "well": not wrong, "findings": found})
    else:
        print_table(("verdict", "check", "detail"), [(each.status, each.name, each.detail) for each in found])
        for each in wrong:
            print_message(f"{each.name}: {each.advice}")
    if wrong:
        raise typer.Exit(1)


async def _findings(url: str) -> list[Finding]:
    try:
        async with open_readonly(url) as store:
            return [
                *await _check_backend(store),
                *await examine_subscriptions(store.log, store.ledger),
                *await _check_owners(store),
            ]
    except UsageError:
        raise
    except FaitError as problem:
        return [Finding("open", "finding", str(problem), "nothing else could be checked")]


async def _check_backend(store: Store) -> list[Finding]:
    """What the backend can check about itself."""
    examine = cast("Callable[[], Awaitable[list[Finding]]] | None", getattr(store, "examine", None))
    return [Finding("backend", "unknown", "it has no checks of its own")] if examine is None else await examine()


async def _check_owners(store: Store) -> list[Finding]:
    """Whether those who hold leases show signs of life; no clock is compared, so one has to watch."""
    leases = [await store.ledger.lease(each.subscription) for each in await store.ledger.checkpoints()]
    silent = {lease.name: lease for lease in leases if lease.owner}
    for _ in range(round(LEASE_DURATION_S / _POLL_INTERVAL_S)):
        if not silent:
            break
        await asyncio.sleep(_POLL_INTERVAL_S)
        silent = {name: lease for name, lease in silent.items() if await store.ledger.lease(name) == lease}
    detail = (
        f"its owner has shown no sign of life for {LEASE_DURATION_S:g} s: it hangs, has died, or has a longer lease_s"
    )
    return [Finding(f"lease of {name}", "unknown", detail) for name in sorted(silent)]
