"""A relay as an app declares it: which events it publishes, to which topic of which broker, under which key."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, cast

from fait._arguments import check_functions, described
from fait._delivery.brokers.topics import TOPIC_RULE, is_topic
from fait._delivery.wire.signature import check_key_variables
from fait._errors import DeclarationError, UsageError
from fait._events.event import is_schema_version
from fait._events.stream import check_category
from fait._subscriptions.failure import PARK_AT_ONCE, FailurePolicy, check_policy
from fait._subscriptions.subscription import Start

__all__ = ["RelayDefinition"]

_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")

Topic = str | Callable[[Any], str | None]
Key = Callable[[Any], str]
PublishedVersion = int | Mapping[type, int]


class RelayDefinition:
    """A relay as declared with `app.relay`.

    Attributes:
        name: name of the subscription.
        events: the event classes; none: all of the app.
        to: URL of the broker, with variables in place of secrets.
        topic: name of the topic, or a function of the event that returns it.
        key: function of the event that returns its key; None: the key is the stream.
        category: category of the streams whose events are published; None: of all.
        start: where it starts when it is registered.
        versions: the schema version in which events are published, by class; of other classes, as they are stored.
        sign: the variable that has the key of signatures, as `${NAME}`; None: messages are not signed.
        policy: what follows an event that cannot be published.
    """

    def __init__(
        self,
        name: str | None,
        events: tuple[type, ...],
        to: str,
        topic: Topic,
        key: Key | None,
        category: str | None,
        start: Start,
        as_version: PublishedVersion = MappingProxyType({}),
        sign: str | None = None,
        policy: FailurePolicy = PARK_AT_ONCE,
    ) -> None:
        self.name = _name(name, topic)
        self.events = events
        self.to = to
        self.topic = topic
        self.key = key
        self.category = category
        self.start: Start = start
        self.versions = _versions(self.name, events, as_version)
        self.sign = sign
        self.policy = policy
        self._check()

    @property
    def fixed_topic(self) -> str | None:
        """The topic, if it is the same for all events."""
        return self.topic if isinstance(self.topic, str) else None

    def _check(self) -> None:
        """Raise `DeclarationError` for a wrong argument of `App.relay`."""
        name = f"relay {self.name!r}"
        if not self.events and self.category is None:
            raise DeclarationError(f"{name} needs the events to publish, or category= for all events of a category")
        if self.category is not None:
            check_category(self.category)
        if self.start not in ("beginning", "now"):
            raise DeclarationError(f"{name}: start must be 'beginning' or 'now'; got {self.start!r}")
        functions = {"topic": self.topic, "key": self.key}
        check_functions(name, **{n: each for n, each in functions.items() if each is not None and each != self.topic})
        if not callable(self.topic) and not is_topic(self.topic):
            raise DeclarationError(f"{name}: {TOPIC_RULE}; got {self.topic!r}")
        check_policy(name, self.policy)
        _check_destination(name, self.to)
        if self.sign is not None:
            check_key_variables(f"{name}: sign=", [self.sign])


def _name(name: str | None, topic: Topic) -> str:
    if name is None and isinstance(topic, str):
        return f"relay-{topic}"
    if not (isinstance(name, str) and name):
        raise DeclarationError(f"a relay whose topic= is a function needs a name: relay(..., name='...'); got {name!r}")
    return name


def _versions(relay: str, events: tuple[type, ...], as_version: object) -> Mapping[type, int]:
    """Return the schema versions of `as_version=` by event class."""
    if isinstance(as_version, Mapping):
        versions = cast("Mapping[Any, Any]", as_version)
    elif not events:
        raise DeclarationError(f"relay {relay!r}: as_version= as a number needs the event classes")
    else:  # what is no class is refused later
        versions = dict.fromkeys((each for each in events if isinstance(cast("Any", each), type)), as_version)
    for cls, version in versions.items():
        if not isinstance(cls, type) or (events and cls not in events):
            raise DeclarationError(f"relay {relay!r}: as_version= names {described(cls)}, which it does not publish")
        if not is_schema_version(version):
            raise DeclarationError(
                f"relay {relay!r}: as_version= is a schema version from 1, or a dict from event classes to versions; "
                f"got {version!r}"
            )
    return versions


def _check_destination(relay: str, to: object) -> None:
    """Raise if no broker can have this URL, or if it contains a password. Variables may have any value."""
    from fait._delivery.brokers.destination import destination_of  # slow to import
    from fait._delivery.brokers.open import broker_schemes

    if not isinstance(to, str):
        raise DeclarationError(f"{relay}: to= is the URL of a broker, not {described(to)}")
    try:
        scheme = destination_of(to, dict.fromkeys(_VARIABLE.findall(to), "x:")).scheme
    except UsageError as error:
        raise DeclarationError(f"{relay}: {error}") from None
    if scheme not in ("x", *broker_schemes()):
        raise DeclarationError(f"{relay}: to= must start with one of {', '.join(map('{}:'.format, broker_schemes()))}")
