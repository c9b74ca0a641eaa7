"""Store URLs in messages."""

import re

__all__ = ["redacted_url"]


def redacted_url(url: str) -> str:
    """Return the URL without passwords and other secrets, for messages."""
    url = re.sub(r"(?i)([?&][^=&]*(?:pass|secret|token|key)[^=&]*=)[^&]*", r"\1***", url)
    scheme, separator, remainder = url.partition("://")
    credentials, at, location = remainder.rpartition("@")
    if not at:
        return url
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{separator}{user}{':***' if colon else ''}@{location}"
