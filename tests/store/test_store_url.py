"""Store URLs: parts that would be ignored are refused, and messages never show a password."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fait
from fait._store.open import backend_of, open_admin, open_store
from fait._store.store_url import redacted_url
from fait._tools.cli.commands import fait as cli

ENTRANCES: dict[str, Callable[[str], object]] = {
    "open": lambda url: asyncio.run(open_store(url)),
    "open existing": lambda url: asyncio.run(open_store(url, create=False)),
    "admin": open_admin,
    "sibling_url": lambda url: backend_of(url).sibling_url(url, "other"),
}
COMMANDS = (
    ["db", "init"],
    ["db", "migrate"],
    ["db", "status"],
    ["db", "sql"],
    ["log", "adopt"],
    ["streams"],
    ["stream", "a"],
    ["events"],
    ["state", "a"],
    ["tail"],
    ["doctor"],
    ["export"],
    ["import", "events.jsonl"],
)
STORES = ("memory:", "sqlite:///a.db", "postgresql://u:se-cret@127.0.0.1:1/db", "mystore:here")
PARTS = {
    "#1": "# begins a fragment",
    "#": "# begins a fragment",
    "#x?schema=shop": "# begins a fragment",
    "?schema=": "an option has no value",
    "?schema": "an option has no value",
    "?synchronous=NORMAL&pool=": "an option has no value",
    "?": "an option has no value",
    "?=NORMAL": "an option has no value",
    "?a=1&a=2": "an option is given twice",
    "%ff": "it is malformed",
    "?schema=%ff": "it is malformed",
    "%00": "%00 cannot be part",
    "\n": "control character",
    "\tb": "control character",
}
OF_BACKENDS = {
    "memory:shop": "no name and no options",
    "memory:?a=b": "no name and no options",
    "sqlite:///a.db?cache=shared": r"accepts \?synchronous=FULL",
    "sqlite:///a.db?synchronous=OFF": r"accepts \?synchronous=FULL",
    "sqlite:///a.db/": "names no file",
    "sqlite:///:memory:": "names no file",
    "sqlite:a.db": "names no file",
    "sqlite:/a.db": "names no file",
    "sqlite://a.db": "names no file",
    "sqlite://[a/a.db": "malformed",
    "postgresql:u:se-cret@h/db": "not a valid database URL",
    "postgresql:/u:se-cret@h/db": "not a valid database URL",
    "postgresql://h/db?host=other": "host is given twice",
    "postgresql://h:5/db?port=6": "port is given twice",
    "postgresql://u:se-cret@h/db?user=v": "user is given twice",
    "postgresql://u:se-cret@h/db?password=se-cret": "password is given twice",
    "postgresql://h/db?dbname=other": "dbname is given twice",
    "postgresql://h/db?database=other": "database is given twice",
    "postgresql://u:se-cret@h/db?sslmode=requir": "sslmode must be one of disable, allow, prefer, require,",
    "postgresql://u:se-cret@h/db?sslnegotiation=on": "sslnegotiation must be one of postgres, direct",
    "postgresql://u:se-cret@h/db?target_session_attrs=standby": "target_session_attrs must be one of any, primary",
    "postgresql://u:se-cret@h/db?gsslib=x": "gsslib must be one of",
    "postgresql://u:se-cret@h/db?sslrootcert=/no-file&sslmode=verify-ca": "sslrootcert names no file: '/no-file'",
}
IN_MEMORY = """
import fait.store

class MyBackend(fait.store.Backend):
    async def open(self, url, clock, *, create):
        return await fait.store.open_store("memory:", clock=clock)

backend = MyBackend()
"""


@pytest.fixture(autouse=True)
def folder(install_backend: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install_backend("mystore", IN_MEMORY)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize(("part", "message"), PARTS.items())
def test_part_that_would_be_ignored_is_refused_at_every_entrance(
    folder: Path, entrance: str, store: str, part: str, message: str
) -> None:
    with pytest.raises(fait.UsageError, match=message) as refused:
        ENTRANCES[entrance](store + part)

    assert "se-cret" not in str(refused.value)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("entrance", ["open", "open existing", "admin", "sibling_url"])
@pytest.mark.parametrize(("url", "message"), OF_BACKENDS.items())
def test_part_that_a_backend_does_not_understand_is_refused(
    folder: Path, entrance: str, url: str, message: str
) -> None:
    message = message if not url.startswith("memory:") or entrance.startswith("open") else "no database|be verified"

    with pytest.raises(fait.UsageError, match=message) as refused:
        ENTRANCES[entrance](url)

    assert "se-cret" not in str(refused.value)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("way", ["--store", "FAIT_STORE"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("url", ["sqlite:///a.db#1", "sqlite:///a.db?x=1", "sqlite:///a.db?synchronous="])
def test_command_refuses_a_url_with_a_part_that_it_would_ignore(
    folder: Path, way: str, command: list[str], url: str
) -> None:
    (folder / "events.jsonl").touch()
    option, variables = (["--store", url], {}) if way == "--store" else ([], {"FAIT_STORE": url})

    result = CliRunner().invoke(cli, [*command, *option], env=variables)

    assert result.exit_code == 2, result.output
    assert "invalid store URL" in result.output
    assert [each.name for each in folder.iterdir()] == ["events.jsonl"]


def test_verify_store_refuses_a_url_with_a_part_that_it_would_ignore() -> None:
    result = CliRunner().invoke(cli, ["verify-store", "sqlite:///a.db?synchronous="])

    assert (result.exit_code, "invalid store URL" in result.output) == (2, True)


def test_encoded_characters_are_parts_of_the_name(folder: Path) -> None:
    async def opened() -> None:
        for url in ("sqlite:///a%231.db", "sqlite:///a%232.db", "sqlite:///a%3Fb.db?synchronous=normal"):
            await (await open_store(url)).close()

    asyncio.run(opened())

    assert {each.name for each in folder.iterdir()} >= {"a#1.db", "a#2.db", "a?b.db"}


@pytest.mark.parametrize("schema", ["", "s" * 64, "a$$b"])
def test_schema_that_postgresql_would_cut_off_is_refused_by_the_command(schema: str) -> None:
    assert CliRunner().invoke(cli, ["db", "sql", "--schema", schema]).exit_code == 2


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:se-cret@127.0.0.1:99999/db",
        "postgresql://u:se-cret@127.0.0.1:-1/db",
        "postgresql://u:se-cret@/db?host=127.0.0.1&port=99999",
        "postgresql://u:se-cret@/db?host=127.0.0.1&port=no",
        "postgresql://u:se-cret@127.0.0.1:port/db",
        "postgresql://u:se-cret@127.0.0.1:1,127.0.0.1:70000/db",
    ],
)
@pytest.mark.parametrize("connect", [open_store, lambda url: open_admin(url).migrations()], ids=["open", "admin"])
async def test_port_out_of_range_is_a_usage_error(url: str, connect: Callable[[str], Awaitable[object]]) -> None:
    with pytest.raises((fait.UsageError, fait.StoreUnavailable)) as refused:
        await connect(url)

    assert isinstance(refused.value, fait.UsageError) or "70000" in url
    assert "se-cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "message"),
    {
        "foo=1": 'unrecognized configuration parameter "foo".*schema, pool, prepare of fait',
        "connect_timeout=5": 'unrecognized configuration parameter "connect_timeout"',
        "statement_timeout=abc": 'invalid value for parameter "statement_timeout"',
        "shared_buffers=1GB": 'parameter "shared_buffers" cannot be changed',
        "options=bad": "invalid command-line argument",
        "sslmode=verify-full": "root certificate file .* does not exist",
    }.items(),
)
async def test_option_that_the_server_rejects_is_a_usage_error(
    postgres_url: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: str, message: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    url = postgres_url().replace("postgres@", "postgres:se-cret@")

    for connect in (open_store, lambda url: open_admin(url).migrations()):
        with pytest.raises(fait.UsageError, match=f"an option of .* was rejected: .*{message}") as refused:
            await connect(f"{url}&{options}")
        assert "se-cret" not in str(refused.value)


async def test_errors_of_a_new_session_name_what_the_server_lacks(postgres_url: Callable[..., str]) -> None:
    url = postgres_url().partition("?")[0]
    for wrong, message in {
        f"{url}?sslmode=require": "does not accept TLS",
        f"{url.rpartition('/')[0]}/missing": 'database "missing" does not exist',
        url.replace("postgres@", "stranger:se-cret@"): 'role "stranger" does not exist',
    }.items():
        with pytest.raises(fait.StoreUnavailable, match=message) as refused:
            await open_store(wrong)
        assert "se-cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:se-cret@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:se-cr@et@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u@h/db", "postgresql://u@h/db"),
        ("postgresql:u:se-cret@h/db", "postgresql:***@h/db"),
        ("postgresql:/u:se-cret@h/db", "postgresql:***@h/db"),
        ("u:se-cret@h/db", "u:***@h/db"),
        ("u:se-cr://et@h/db", "u:***@h/db"),
        ("postgres:se-cret@h/db", "postgres:***@h/db"),
        ("host=h password=se-cret dbname=d", "host=h password=***"),
        ("postgresql://h/db?password=se-cret&pool=5", "postgresql://h/db?password=***&pool=5"),
        ("postgresql://h/db?password=se&cret&pool=5", "postgresql://h/db?password=***&pool=5"),
        ("sqlite:///a.db", "sqlite:///a.db"),
    ],
)
def test_redacted_url_has_no_password(url: str, shown: str) -> None:
    assert redacted_url(url) == shown
