"""Signatures of events: a consumer with the key knows that a program with the key has published an event as it is.

The attribute `faitsignature` is the HMAC-SHA256 of the topic, all other attributes and the data, each with its length
before it, so that no two events have the same input. Keys are values of variables, and no error or text form has one.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec.structs import replace

from fait._delivery.wire.cloud_event import CloudEvent, as_text
from fait._errors import DeclarationError, UsageError

__all__ = ["MIN_KEY_BYTES", "SigningKey", "check_key_variables", "is_signed", "sign", "signing_keys"]

MIN_KEY_BYTES: Final = 32
"""Minimum length of a key, in UTF-8."""

_ATTRIBUTE: Final = "faitsignature"
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class SigningKey:
    """A key that signs events and verifies signatures. Its text form does not show it.

    Args:
        key: the key.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def signature_of(self, event: CloudEvent, topic: str) -> str:
        """Return the signature of an event in a topic, as hexadecimal text."""
        import hmac  # slow to import, and only signed topics need it

        return hmac.digest(self._key, _signed_bytes(event, topic), "sha256").hex()

    def verifies(self, event: CloudEvent, topic: str) -> bool:
        """Whether an event has the signature of this key. The time it takes tells nothing about the right one."""
        from hmac import compare_digest  # slow to import, and only signed topics need it

        # fault: signature-not-compared
        return compare_digest((event.text(_ATTRIBUTE) or "").encode(), self.signature_of(event, topic).encode())


def _signed_bytes(event: CloudEvent, topic: str) -> bytes:
    # fault: attribute-not-signed
    signed = sorted((name, as_text(value)) for name, value in event.attributes.items() if name != _ATTRIBUTE)
    texts = ["fait 1", topic, *(text for pair in signed for text in pair)]
    parts = [*(text.encode(errors="surrogatepass") for text in texts), event.data or b""]
    # fault: signed-parts-without-length
    return b"".join(b"%d:%b" % (len(part), part) for part in parts)


def sign(event: CloudEvent, topic: str, key: SigningKey) -> CloudEvent:
    """Return an event with its signature.

    Args:
        event: the event.
        topic: name of the topic to which it is published.
        key: the key.
    """
    return replace(event, attributes={**event.attributes, _ATTRIBUTE: key.signature_of(event, topic)})


def is_signed(event: CloudEvent, topic: str, keys: Iterable[SigningKey]) -> bool:
    """Return whether an event has the signature of one of the keys.

    Args:
        event: the event.
        topic: name of the topic from which it was received.
        keys: the keys.
    """
    return any(each.verifies(event, topic) for each in keys)


def check_key_variables(subject: str, names: Iterable[object]) -> None:
    """Check that keys are declared as `${NAME}`: a key itself would be in source code.

    Args:
        subject: whose keys they are, for the message: "relay 'orders': sign=".
        names: what is declared.

    Raises:
        DeclarationError: one is anything else. The message does not show it.
    """
    if not all(isinstance(each, str) and _VARIABLE.fullmatch(each) for each in names):
        raise DeclarationError(
            f"{subject} takes the name of an environment variable that has the key, as '${{NAME}}', and not the key"
        )


def signing_keys(names: Iterable[str], variables: Mapping[str, str]) -> tuple[SigningKey, ...]:
    """Return the keys that variables have.

    Args:
        names: names of the variables, as `${NAME}`.
        variables: values of variables.

    Raises:
        UsageError: a variable is missing, or its value is too short. The message does not show it.
    """
    return tuple(_key(each[2:-1], variables) for each in names)


def _key(name: str, variables: Mapping[str, str]) -> SigningKey:
    key = variables.get(name, "").encode(errors="surrogateescape")
    # fault: short-key-accepted
    if len(key) < MIN_KEY_BYTES:
        raise UsageError(
            f"the variable {name} has no key: a key of signatures has at least {MIN_KEY_BYTES} bytes, such as the "
            "output of `openssl rand -hex 32`. Set it. No message was published or handled."
        )
    return SigningKey(key)
