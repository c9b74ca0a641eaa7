"""A destination: the URL of a broker, whose secrets are in variables and are never shown.

    nats://shop:${NATS_PASSWORD}@broker:4222      the password is the variable's value
    ${ORDERS_BROKER}                              the variable is the whole URL, with its password

Variables are those of the environment, or entries of the application's configuration. They replace user names,
passwords, host names and values of options. A password in the text itself is refused, because that text is in source
code, logs and version control.
"""

import re
import ssl
from collections.abc import Mapping
from typing import Final, NoReturn
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from msgspec import Struct

from fait._errors import UsageError
from fait._store.store_url import redacted_url

__all__ = ["Destination", "destination_of", "shown_destination", "variables_in", "with_variables"]

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_TOKEN: Final = re.compile(r"(nats://)([^:@/?]+)(?=@)", re.IGNORECASE)
"""A token: NATS takes what is before the @ as one, if there is no colon."""

_TLS: Final = ("verified", "unverified", "off")
_PORTS: Final = range(1, 65_536)


class Destination(Struct, frozen=True):
    """The URL of a broker. Its text form shows no password.

    Attributes:
        url: the URL with its secrets.
        options: the options of the URL, decoded.
    """

    url: str
    options: Mapping[str, str]

    @property
    def name(self) -> str:
        """The URL without passwords and tokens, for messages."""
        return _redacted(self.url)

    @property
    def scheme(self) -> str:
        """The scheme of the URL, in lower case."""
        return self.url.partition(":")[0].lower()

    @property
    def parts(self) -> SplitResult:
        """The parts of the URL; user and password are still encoded."""
        return urlsplit(self.url)

    @property
    def credentials(self) -> tuple[str | None, str | None]:
        """User and password, decoded."""
        parts = self.parts
        user, password = parts.username, parts.password
        return (None if user is None else unquote(user), None if password is None else unquote(password))

    def tls(self, *, default: bool) -> ssl.SSLContext | None:
        """Return the TLS settings; None for a connection without TLS.

        The certificate of the server and its host name are verified, unless the URL has `?tls=unverified`. `?tls=off`
        and `?tls=verified` replace the default; `?ca=FILE` has the certificates to trust instead of the system's.

        Args:
            default: whether the scheme of the URL means TLS.

        Raises:
            UsageError: an option is invalid, or the file cannot be read.
        """
        mode = self.options.get("tls", "verified" if default else "off")
        if mode not in _TLS:
            self.refuse(f"tls= must be one of {', '.join(_TLS)}")
        # fault: authorities-without-tls-ignored
        if mode != "verified" and "ca" in self.options:
            self.refuse("ca= has no effect without verified TLS. Add tls=verified, or remove it")
        if mode == "off":
            return None
        try:
            context = ssl.create_default_context(cafile=self.options.get("ca"))
        except OSError as error:
            self.refuse(f"the file of ca= cannot be read: {error.strerror or type(error).__name__}")
        # fault: tls-unverified
        if mode == "unverified":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def refuse_options(self, known: tuple[str, ...]) -> None:
        """Raise `UsageError` if the URL has an option that would be ignored.

        Args:
            known: names of the options that the adapter uses.
        """
        if unknown := [name for name in self.options if name not in known]:
            self.refuse(f"unknown option {unknown[0]!r}; known: {', '.join(known) or 'none'}")

    def refuse(self, reason: str) -> NoReturn:
        """Raise a `UsageError` that shows the URL without its secrets.

        Args:
            reason: what is wrong with it, without a period.
        """
        _refuse(self.url, reason)

    def __repr__(self) -> str:
        return f"Destination({self.name!r})"

    __str__ = __repr__


def destination_of(text: str, variables: Mapping[str, str]) -> Destination:
    """Return the destination that a text describes.

    Args:
        text: a URL, with `${NAME}` for a variable in it or for all of it.
        variables: values of variables.

    Raises:
        UsageError: a variable is missing, the text itself has a password, or the URL is malformed.
    """
    if whole := _VARIABLE.fullmatch(text):
        return _parsed(_value(whole[1], variables))
    # fault: password-in-text
    _refuse_password(text)
    return _parsed(_VARIABLE.sub(lambda name: quote(_value(name[1], variables), safe=""), text))


def variables_in(text: str) -> list[str]:
    """Return the names of the variables `${NAME}` in a text."""
    return _VARIABLE.findall(text)


def with_variables(text: str, variables: Mapping[str, str]) -> str:
    """Return a text with the values of the variables `${NAME}` in it.

    Raises:
        UsageError: a variable is missing.
    """
    return _VARIABLE.sub(lambda name: _value(name[1], variables), text)


def _value(name: str, variables: Mapping[str, str]) -> str:
    if value := variables.get(name):
        return value
    raise UsageError(f"a destination names the variable {name}, which is missing or empty. Set it. Nothing was opened.")


def shown_destination(text: str) -> str:
    """Return the text of a destination with its variables, and without a password that it has although it must not."""
    return _redacted(text) if _has_password(text) else text


def _has_password(text: str) -> bool:
    """Whether a text has a secret even without its variables."""
    bare = re.sub(f"[:=]{_VARIABLE.pattern}(?=[@&]|$)|{_VARIABLE.pattern}", "", text)
    token = _TOKEN.search(text)
    return redacted_url(bare) != bare or (token is not None and not _VARIABLE.fullmatch(token[2]))


def _refuse_password(text: str) -> None:
    if _has_password(text):
        _refuse(text, "it contains a password or token. Write ${NAME} in its place, and let the variable NAME have it")


def _redacted(url: str) -> str:
    # fault: token-shown
    return _TOKEN.sub(r"\1***", redacted_url(url))


def _parsed(url: str) -> Destination:
    if "#" in url or re.search(r"[\x00-\x20\x7f]", url):
        _refuse(url, "it contains #, a space or a control character. Write it as %23, %20 and so on")
    try:
        parts = urlsplit(url)
        given = parse_qsl(parts.query, keep_blank_values=True, errors="strict", strict_parsing=bool(parts.query))
        hosts = parts.netloc.rpartition("@")[2].split(",")
        # fault: rest-of-password-is-a-path
        is_malformed = "@" in parts.path
    except ValueError:  # its message may contain a part of the password
        is_malformed, given, hosts = True, [], []
    if is_malformed:
        _refuse(url, "it is malformed. Write / ? # @ : % in names and passwords as %2F %3F %23 %40 %3A %25")
    if not all(map(_has_valid_port, hosts)):
        _refuse(url, f"a port is a number from {_PORTS[0]} to {_PORTS[-1]}")
    options = dict(given)
    if len(options) < len(given) or not all(options.values()):
        _refuse(url, "an option has no value or several ones. Write options as ?name=value&name=value")
    return Destination(url, options)


def _has_valid_port(host: str) -> bool:
    _, colon, port = host.rpartition("]")[2].partition(":")
    return not colon or (port.isdecimal() and int(port) in _PORTS)


def _refuse(url: str, reason: str) -> NoReturn:
    raise UsageError(f"invalid broker URL {_redacted(url)!r}: {reason}. Nothing was opened.")
