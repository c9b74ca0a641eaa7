"""Splits the URL of a store into fait's own options and those of the driver, and refuses what the driver would not."""

from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlencode, urlunsplit

from msgspec import Struct

from fait._errors import UsageError
from fait._store.postgres.identifiers import check_schema
from fait._store.store_url import refuse_url, split_url

__all__ = ["ConnectionOptions", "invalid_url", "parse_url", "rejected_option"]

_DEFAULT_POOL_SIZE: Final = 10
"""Default maximum number of connections of a store, in addition to the one for LISTEN."""

OWN_OPTIONS: Final = ("schema", "pool", "prepare")

_CHOICES: Final = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "target_session_attrs": ("any", "primary", "read-write"),  # the others select a standby
    "gsslib": ("gssapi", "sspi"),
}
"""The values of options of the driver that have few."""

_FILES: Final = ("sslcert", "sslkey", "sslrootcert", "sslcrl")
"""Options of the driver that name a file."""

DRIVER_OPTIONS: Final = (
    "host", "port", "user", "password", "dbname", "passfile", *_CHOICES, *_FILES, "sslpassword",
    "ssl_min_protocol_version", "ssl_max_protocol_version", "krbsrvname", "service",
)  # fmt: skip


class ConnectionOptions(Struct, frozen=True):
    """How to connect to a store.

    Attributes:
        dsn: the URL for the driver.
        schema: the schema of the store's tables and functions.
        pool_size: maximum number of connections, in addition to the one for LISTEN.
        use_prepared_statements: whether statements may be prepared; some poolers in transaction mode lose them.
        redacted_url: the URL without a password, for messages.
    """

    dsn: str
    schema: str
    pool_size: int
    use_prepared_statements: bool
    redacted_url: str


def parse_url(url: str, redacted_url: str) -> ConnectionOptions:
    """Split a URL into fait's own options (`schema`, `pool`, `prepare`) and a URL for the driver.

    Raises:
        UsageError: the URL or one of these options is invalid.
    """
    parts, options = split_url(url)
    if not url.partition(":")[2].startswith("//"):
        raise invalid_url(redacted_url)
    if given := options.keys() & _options_in(parts):
        refuse_url(url, f"{min(given)} is given twice, before the ? and as an option. Keep one of its values")
    schema, pool, prepare = options.pop("schema", "public"), options.pop("pool", ""), options.pop("prepare", "yes")
    check_schema(schema)
    if pool and not (pool.isdecimal() and 3 <= int(pool) <= 1000):
        raise UsageError(f"invalid URL option pool={pool!r}: expected the maximum number of connections, 3 to 1000")
    if prepare not in ("yes", "no"):
        raise UsageError(
            f"invalid URL option prepare={prepare!r}: expected yes, or no for a pooler that does not support prepared "
            "statements"
        )
    _check_driver_options(url, options)
    dsn = urlunsplit(parts._replace(query=urlencode(options)))
    return ConnectionOptions(dsn, schema, int(pool or _DEFAULT_POOL_SIZE), prepare == "yes", redacted_url)


def _check_driver_options(url: str, options: dict[str, str]) -> None:
    for name, choices in _CHOICES.items():
        if (value := options.get(name)) is not None and value not in choices:
            refuse_url(url, f"{name} must be one of {', '.join(choices)}")
    for name in _FILES:
        if (file := options.get(name)) is not None and not Path(file).is_file():
            refuse_url(url, f"{name} names no file: {file!r}")


def rejected_option(redacted_url: str, message: str) -> UsageError:
    """Return the error for an option that the server, or the driver, has rejected.

    Args:
        redacted_url: the URL without a password.
        message: the message of the server, which names the option.
    """
    return UsageError(
        f"an option of {redacted_url} was rejected: {message}. Nothing was opened. Correct or remove it. Options are "
        f"{', '.join(OWN_OPTIONS)} of fait, {', '.join(DRIVER_OPTIONS)} of the driver, and settings of the server that "
        "a session may change, such as application_name and statement_timeout."
    )


def _options_in(parts: SplitResult) -> set[str]:
    """Return the options of the driver that it would ignore, because the URL has them before the question mark."""
    user, _, hosts = parts.netloc.rpartition("@")
    host, colon, port = hosts.rpartition(":") if not hosts.endswith("]") else (hosts, "", "")
    given = {
        "user": user.partition(":")[0],
        "password": user.partition(":")[2],
        "host": host if colon else hosts,
        "port": port,
        "dbname": parts.path.strip("/"),
        "database": parts.path.strip("/"),
    }
    return {name for name, value in given.items() if value}


def invalid_url(redacted_url: str) -> UsageError:
    """Return the error for a URL that the driver cannot split; the driver's may contain a part of the password."""
    return UsageError(
        f"{redacted_url} is not a valid database URL; expected postgresql://user@host:5432/database, with "
        "a port up to 65535. Nothing was opened. In names and passwords, encode / ? # @ : % as %2F %3F %23 %40 %3A %25."
    )
