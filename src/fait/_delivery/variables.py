"""Checks the variables of relays and consumers before an app opens its store to run them.

A missing variable is an error of the configuration, which no retry removes. All of them are named at once.
"""

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from fait._delivery.brokers.destination import variables_in
from fait._delivery.brokers.open import find_broker
from fait._delivery.inbox.consumer import ConsumerDefinition
from fait._delivery.relay.definition import RelayDefinition
from fait._delivery.wire.signature import signing_keys
from fait._errors import UsageError

__all__ = ["check_variables"]


class _BrokerSettings(Struct, frozen=True):
    """What a relay or a consumer takes from variables.

    Attributes:
        subject: the relay or consumer, for messages.
        url: URL of its broker.
        keys: variables that have its keys of signatures.
        texts: all texts that can have variables, with the argument that each is given by.
    """

    subject: str
    url: str
    keys: tuple[str, ...]
    texts: tuple[tuple[str, str], ...]


def check_variables(
    relays: Iterable[RelayDefinition], consumers: Iterable[ConsumerDefinition], variables: Mapping[str, str]
) -> None:
    """Check that relays and consumers can be run with these variables.

    Args:
        relays: the relays.
        consumers: the consumers.
        variables: values of variables.

    Raises:
        UsageError: variables are missing or empty, or the value of one is no URL of a broker or no key of signatures.
    """
    declared = [*map(_settings_of_relay, relays), *map(_settings_of_consumer, consumers)]
    uses = dict[str, list[str]]()
    for variable, use in (pair for each in declared for pair in _uses(each)):
        if not variables.get(variable):
            uses.setdefault(variable, []).append(use)
    # fault: missing-variable-found-late
    if uses:
        missing = ", ".join(f"{variable} ({', '.join(of)})" for variable, of in uses.items())
        raise UsageError(
            f"environment variables are missing or empty: {missing}. Set them. A process that opens the app with "
            "run='elsewhere' does not need them. Nothing was opened."
        )
    for each in declared:
        _check_values(each, variables)


def _settings_of_relay(relay: RelayDefinition) -> _BrokerSettings:
    keys = (relay.sign,) if relay.sign else ()
    texts = (("to=", relay.to), *(("sign=", key) for key in keys))
    return _BrokerSettings(f"relay {relay.name!r}", relay.to, keys, texts)


def _settings_of_consumer(consumer: ConsumerDefinition) -> _BrokerSettings:
    texts = [("from_=", consumer.destination), *(("verify=", each) for each in consumer.verify)]
    texts += [("trusts=", each) for each in consumer.trusts]
    return _BrokerSettings(f"consumer {consumer.name!r}", consumer.destination, consumer.verify, tuple(texts))


def _uses(settings: _BrokerSettings) -> Iterator[tuple[str, str]]:
    """Yield each variable, with what it is used for."""
    for argument, text in settings.texts:
        for variable in variables_in(text):
            yield variable, f"{argument} of {settings.subject}"


def _check_values(settings: _BrokerSettings, variables: Mapping[str, str]) -> None:
    try:
        find_broker(settings.url, variables)
        signing_keys(settings.keys, variables)
    except UsageError as error:
        raise UsageError(f"{settings.subject}: {error}") from None
