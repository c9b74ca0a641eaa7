"""`fait broker check`: compares topics with a broker, and reports settings with which it can lose messages."""

from typing import Annotated

import msgspec
import typer

from fait._broker_errors import broker_needed_to
from fait._delivery.brokers.open import open_broker
from fait._delivery.brokers.port import BrokerFeatures, Topology
from fait._delivery.brokers.topics import TOPIC_RULE, is_topic
from fait._errors import UsageError
from fait._store.ports.store import Finding
from fait._tools.cli.options import JsonOption
from fait._tools.cli.output import command, print_fields, print_json, print_message, print_table

__all__ = ["broker"]

broker = typer.Typer(help="Inspect and prepare a message broker.", no_args_is_help=True)


@broker.callback()
def _group() -> None:
    """Make Typer treat `check` as a subcommand: without a callback, a group with one command becomes that command."""


@broker.command("check")
@command
async def check(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            help="Broker URL, as 'nats://shop:${PASSWORD}@broker', quoted for the shell: fait reads the variable.",
        ),
    ],
    topics: Annotated[
        list[str] | None,
        typer.Option("--topic", metavar="NAME=LANES", help="A topic with its number of lanes. May be repeated."),
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="Create missing topics. Existing ones are unchanged.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the topics and the settings of a broker.

    Reports settings with which the broker can lose messages that it has confirmed. The exit code is 1 if a check found
    a problem. A check that could not be made is reported as unknown.
    """
    topology = topology_of(topics or [], create=create)
    with broker_needed_to("check"):
        findings, features = await _check(url, topology, create=create)
    problems = [each for each in findings if each.status == "problem"]
    if as_json:
        print_json({"healthy": not problems, "checks": findings, "features": features})
    else:
        _print_findings(findings, features)
    if problems:
        raise typer.Exit(1)


async def _check(url: str, topology: Topology, *, create: bool) -> tuple[list[Finding], BrokerFeatures]:
    opened = await open_broker(url)
    try:
        return await opened.check(topology, create=create), opened.features
    finally:
        await opened.close()


def topology_of(topics: list[str], *, create: bool) -> Topology:
    """Return the topics that options name.

    Args:
        topics: the options.
        create: whether the topics are created. Those of other programs, which exist already, can have other names.

    Raises:
        UsageError: an option is malformed, or no relay could publish to a topic that it creates.
    """
    lanes: dict[str, int] = {}
    for each in topics:
        name, _, number = each.partition("=")
        if not name or not number.isdecimal() or int(number) < 1:
            raise UsageError(f"--topic {each}: write the name and the number of lanes, as in --topic orders=16")
        if create and not is_topic(name):
            raise UsageError(f"--topic {each}: {TOPIC_RULE}. Nothing was created.")
        lanes[name] = int(number)
    return Topology(lanes)


def _print_findings(findings: list[Finding], features: BrokerFeatures) -> None:
    print_table(("status", "check", "detail"), [(each.status, each.name, each.detail) for each in findings])
    print_fields({name: str(value) for name, value in msgspec.structs.asdict(features).items()})
    for each in findings:
        if each.advice:
            print_message(f"{each.name}: {each.advice}")
