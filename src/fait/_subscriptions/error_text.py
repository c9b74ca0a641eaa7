"""The part of an error that is stored, logged and shown: type, text, place and traceback, bounded and without secrets.

The text of an error can contain anything, such as a header of a request or a row of a customer. What looks like a
secret is masked. A policy with `messages="hide"` keeps no text at all.
"""

import re
import traceback
from itertools import pairwise
from typing import Final, Literal

from msgspec import Struct

from fait._errors import FaitError

__all__ = ["ErrorText", "Messages", "describe_error", "name_of_type", "without_secrets"]

Messages = Literal["mask", "hide"]
"""Which part of the text of an error is kept: all but what looks like a secret, or nothing."""

MAX_ERROR_TYPE_CHARS: Final = 200
MAX_ERROR_CHARS: Final = 1 << 10
MAX_LOCATION_CHARS: Final = 400
MAX_TRACEBACK_CHARS: Final = 16 << 10

MAX_MASKED_CHARS: Final = 4 * MAX_ERROR_CHARS
"""Maximum length of a text that is searched for secrets; the rest is not stored."""

MAX_CHAIN: Final = 10
"""Maximum number of causes of an error that are described."""

HIDDEN: Final = "(hidden by messages='hide')"

_QUOTED: Final = r"""[bru]{0,2}(?:"(?:\\.|[^"\\])*(?:"|\Z)|'(?:\\.|[^'\\])*(?:'|\Z)|\\+["'].*?(?:\\+["']|\Z))"""
_SEPARATOR: Final = r"""(?:\\*["']\]?)?(?:\s*[:=]>?|(?:%22)?%3[ad]|(?<=["'])\s*,|\s+(?=\\*["']))\s*"""
_PEM: Final = r"-----BEGIN.*?(?:-----END[^\r\n]*|\Z)"
_KEY: Final = (
    "(?:(?:secret|token|passwor[dt]|passwd|pwd|passphrase|api[-_]?key|private[-_]?key|access[-_]?key|credential"
    r"|x-(?:amz|goog)-signature)[\w.-]{0,40}"
    r"|(?:(?<![a-z])(?:pass|pin)|(?-i:(?<=[a-z])Pass))(?![\w.-])"
    r"|(?:(?<=[?&])sig(?:nature)?|(?-i:AccountKey))(?==))"
)
_HEADER: Final = r"(?:authorization|cookie)[\w.-]{0,40}"

_FORMS: Final = r"""(-----BEGIN[ A-Z]{0,30}[ ]PRIVATE[ ]KEY(?:[ ]BLOCK)?-----).*?(?=-----END|\Z)
    |(https://hooks\.slack\.com/\w+/|api\.telegram\.org/(?:file/)?bot)[^\s"'<>/][^\s"'<>]*
    |(?<![\w-])(?-i:
        eyJ[\w-]{5,}\.[\w-]+\.[\w-]*(?:\.[\w-]+){0,2}
        |sk-(?=[\w-]*\d)[\w-]{20,}|[rs]k_(?:live|test)_\w{10,}|AIza[\w-]{35}
        |gh[opsru]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|xox[a-z]-[\w-]{10,}
    )"""
"""Secrets known by their form: private keys, URLs of webhooks and bots, JWTs, and keys of common services."""

_SECRET: Final = re.compile(
    rf"""(://[^/\s:@]{{0,200}}:)\S{{1,1000}}(?=@)
    |({_HEADER}{_SEPARATOR})(?:{_QUOTED}|[^\r\n]+)
    |((?<![\w-])--[\w-]{{0,30}}?{_KEY}\s+)[^\s-]\S*
    |((?<!\S)(?:-u|--user)[\s=]+["']?[^\s:"']{{1,100}}:)[^\s"']+
    |({_KEY}(?:\s[^<>]{{0,200}})?>(?:<!\[CDATA\[)?)[^<>]+(?=]]>|</)
    |({_KEY}{_SEPARATOR})(?:{_QUOTED}|{_PEM}|\{{[^{{}}]*(?:\}}|\Z)|(?:(?:bearer|basic)\s+)?[^\s&;]*[^\s&;,])
    |(\bbearer\s+|\bbasic\s+(?=\S*(?-i:[A-Z0-9=])))[^\s,;"']+
    |{_FORMS}""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)

_ASSIGNED: Final = re.compile(rf"""({_KEY}(?:["']\]?)?(?:\s*:\s*[\w.]{{1,40}})?\s*[:=,]\s*){_QUOTED}""", re.IGNORECASE)
"""A literal in a line of code that is the value of such a name. Other values are expressions."""

_LITERAL: Final = re.compile(r"""(["'])((?:\\.|(?!\1).)*)""")

_PACKAGE: Final = __file__.rpartition("_subscriptions")[0]
_LIBRARY: Final = traceback.__file__.removesuffix("traceback.py")
"""Folders of fait and of Python's own modules. `pathlib` and `sysconfig` are slow to import."""


class ErrorText(Struct, frozen=True):
    """The part of an error that is kept.

    Attributes:
        type: name of its type, with the module.
        text: its text, without what looks like a secret; hidden if the policy says so.
        location: file, line and function: the innermost line outside of fait and of Python's own modules, if any; ""
            for an error of fait that has passed no such line.
        traceback: the code that raised it and its causes, without the value of any variable.
    """

    type: str
    text: str
    location: str
    traceback: str

    def __str__(self) -> str:
        """Return type and text, for a line of a log."""
        return f"{self.type.rpartition('.')[2]}: {self.text}"

    def with_traceback(self) -> str:
        """Return type and text with the traceback, for a log: that of `logging` contains the whole text."""
        return f"{self}\nTraceback, innermost line last:\n{self.traceback}".rstrip()


def describe_error(error: BaseException, messages: Messages = "mask") -> ErrorText:
    """Return what is kept of an error."""
    return ErrorText(
        name_of_type(type(error)),
        _text(error, messages),
        _storable(_location(error))[:MAX_LOCATION_CHARS],
        _storable(_traceback(error, messages))[-MAX_TRACEBACK_CHARS:],
    )


def name_of_type(error: type[BaseException]) -> str:
    """Return the name by which the type of an error is stored."""
    return f"{error.__module__}.{error.__qualname__}"[:MAX_ERROR_TYPE_CHARS]


def without_secrets(text: str) -> str:
    """Return a text without values of names such as `password`, and without what has the form of a secret."""
    return _SECRET.sub(lambda match: f"{match[match.lastindex] if match.lastindex else ''}***", text)


def _without_literals(line: str) -> str:
    """Return a line of code without the secrets in its literals."""
    line = _ASSIGNED.sub(r"\1***", line)
    return _LITERAL.sub(lambda match: f"{match[1]}{without_secrets(match[2])}", line)


def _text(error: BaseException, messages: Messages) -> str:
    # fault: hidden-message-stored
    if messages == "hide":
        return HIDDEN
    try:
        text = str(error)
    except Exception as failed:  # the code of the user's class
        text = f"(its text cannot be read: {type(failed).__name__})"
    return _storable(without_secrets(text[:MAX_MASKED_CHARS]))[:MAX_ERROR_CHARS]


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and its causes."""
    chain, ids = [error], {id(error)}
    while len(chain) <= MAX_CHAIN:
        last = chain[-1]
        cause = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
        if cause is None or id(cause) in ids:
            break
        chain.append(cause)
        ids.add(id(cause))
    return chain


def _location(error: BaseException) -> str:
    """Return the innermost line of the user's code that the error, or else one of its causes, has passed.

    If there is none, its own innermost line; nothing for an error of fait, whose text says all.
    """
    frames = [each for link in _chain(error) for each in reversed(traceback.extract_tb(link.__traceback__))]
    innermost = frames[0] if frames and not isinstance(error, FaitError) else None
    # fault: error-located-in-a-library
    last = next((each for each in frames if _is_users(each.filename)), innermost)
    return f"{last.filename}:{last.lineno} {last.name}" if last else ""


def _is_users(filename: str) -> bool:
    if filename.startswith((_PACKAGE, "<")):
        return False
    return "-packages" in filename or not filename.startswith(_LIBRARY)


def _traceback(error: BaseException, messages: Messages) -> str:
    """Return the code that raised an error, after its causes with their types and texts."""
    parts = [_frames(error)]
    # fault: cause-not-stored
    for outer, inner in pairwise(_chain(error)):
        link = "The direct cause of the following:" if outer.__cause__ is inner else "While it was handled:"
        parts.append(f"{_frames(inner)}{name_of_type(type(inner))}: {_text(inner, messages)}\n\n{link}\n\n")
    return "".join(reversed(parts))


def _frames(error: BaseException) -> str:
    lines = "".join(traceback.format_tb(error.__traceback__)).splitlines(keepends=True)
    # fault: secrets-in-code-stored
    return "".join(each if each.startswith('  File "') else _without_literals(each) for each in lines)


def _storable(text: str) -> str:
    """Return a text that every database stores: without NUL and lone surrogates."""
    return text.replace("\0", "").encode(errors="replace").decode()
