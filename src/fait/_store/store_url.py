"""Splits store URLs and shortens them for messages. A part that no backend would understand is an error.

A part that is ignored would make two different URLs name one store, or open a store with other options than the URL's.
"""

import re
from typing import TYPE_CHECKING, NoReturn

from fait._errors import UsageError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

__all__ = ["redacted_url", "refuse_url", "split_url"]

_SECRET = re.compile(r"(?i)((?:^|[?&\s])[^=&\s]*(?:pass|secret|token|key)[^=&]*=)[^&]*(?:&[^=&]*(?=&|$))*")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def redacted_url(url: str) -> str:
    """Return the URL without passwords and other secrets, for messages.

    Without `scheme://`, everything between the first colon and the last @ may be a password.
    """
    url = _SECRET.sub(r"\1***", url)
    scheme = match[0] if (match := _SCHEME.match(url)) else ""
    credentials, at, location = url.removeprefix(scheme).rpartition("@")
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{user}{':***' if colon else ''}{at}{location}"


def split_url(url: str) -> "tuple[SplitResult, dict[str, str]]":
    """Return the parts of a store's URL, and its decoded options.

    Raises:
        UsageError: the URL is malformed, or has a part that would be ignored: a fragment, control characters, or an
            option without a value or with several ones.
    """
    from urllib.parse import parse_qsl, unquote, urlsplit  # slow to import

    # fault: url-fragment-dropped
    if "#" in url:
        refuse_url(url, "# begins a fragment, and a store has none. Write # in a name or a password as %23")
    if re.search(r"[\x00-\x1f\x7f]", url):
        refuse_url(url, "it contains a control character, such as a line break. Remove it")
    try:
        parts = urlsplit(url)
        texts = [unquote(each, errors="strict") for each in parts]
        given = parse_qsl(parts.query, keep_blank_values=True, errors="strict")
    except ValueError:  # its message may contain a part of the password
        refuse_url(url, "it is malformed. Write / ? # @ : % in names and passwords as %2F %3F %23 %40 %3A %25")
    if "\0" in "".join(texts):
        refuse_url(url, "%00 cannot be part of a name. Remove it")
    # fault: url-options-ignored
    if not all(name and value for name, value in given) or ("?" in url and not given):
        refuse_url(url, "an option has no value. Write options as ?name=value&name=value")
    if len(options := dict(given)) < len(given):
        refuse_url(url, "an option is given twice. Keep one of its values")
    return parts, options


def refuse_url(url: str, reason: str) -> NoReturn:
    """Raise a `UsageError` that shows the URL without its secrets.

    Args:
        url: the URL.
        reason: what is wrong with it, and how to write it, without a period.
    """
    raise UsageError(f"invalid store URL {redacted_url(url)!r}: {reason}. Nothing was opened.")
