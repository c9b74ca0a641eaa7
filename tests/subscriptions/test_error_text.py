"""What is kept of the text, the place and the causes of an error."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

import fait
from fait._store.ports.failures import KeyFailure
from fait._subscriptions import subscription_run
from fait._subscriptions.error_text import (
    MAX_ERROR_CHARS,
    MAX_TRACEBACK_CHARS,
    _without_literals,
    describe_error,
    without_secrets,
)

MASKED = {
    "Authorization: Bearer s3cret": "Authorization: ***",
    "authorization: Basic dXNlcjpwYXNz\nHost: x": "authorization: ***\nHost: x",
    "Proxy-Authorization: Digest a=1, b=2": "Proxy-Authorization: ***",
    "{'Authorization': 'Bearer s3cret', 'Accept': 'json'}": "{'Authorization': ***, 'Accept': 'json'}",
    "[(b'authorization', b'Bearer s3cret'), (b'host', b'x')]": "[(b'authorization', ***), (b'host', b'x')]",
    "sent Bearer s3cret, refused": "sent Bearer ***, refused",
    "sent Basic dXNlcjpwYXNz": "sent Basic ***",
    "a basic question": "a basic question",
    "Cookie: session=1; theme=dark": "Cookie: ***",
    "Set-Cookie: session=1; Path=/": "Set-Cookie: ***",
    "AWS_SECRET_ACCESS_KEY=abc/def+g AWS_REGION=eu": "AWS_SECRET_ACCESS_KEY=*** AWS_REGION=eu",
    "private_key=abc": "private_key=***",
    "private_key=-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\nnext": "private_key=***\nnext",
    "passphrase: abc": "passphrase: ***",
    "credential=abc": "credential=***",
    "client_credentials=abc": "client_credentials=***",
    "X-Api-Key: abc": "X-Api-Key: ***",
    "apikey=abc": "apikey=***",
    "access_token=abc&user=ada": "access_token=***&user=ada",
    "token: Bearer s3cret": "token: ***",
    '"password": "a b", "user": "ada"': '"password": ***, "user": "ada"',
    '"password": "a\\"b c", "user": "ada"': '"password": ***, "user": "ada"',
    '"{\\"password\\": \\"a b\\", \\"user\\": 1}"': '"{\\"password\\": ***, \\"user\\": 1}"',
    '"password": "a b': '"password": ***',
    "host=x password='a b' user=ada": "host=x password=*** user=ada",
    "Server=x;Pwd=abc;User=ada": "Server=x;Pwd=***;User=ada",
    "Config(password='a, b', user='ada')": "Config(password=***, user='ada')",
    'invalid token "a b"': "invalid token ***",
    "postgres://u:p@ss@h/x": "postgres://u:***@h/x",
    "postgres://me:hunter2@db/x": "postgres://me:***@db/x",
    'password authentication failed for user "ada"': 'password authentication failed for user "ada"',
    "'token'": "'token'",
    "the order 7 is not paid": "the order 7 is not paid",
    '{"user": "u", "pass": "abc"}': '{"user": "u", "pass": ***}',
    "smtpPass=abc pin=123": "smtpPass=*** pin=***",
    "Passwort: abc": "Passwort: ***",
    "Pwd={a;b};Y=1": "Pwd=***;Y=1",
    "password%3Dabc": "password%3D***",
    "%22password%22%3A%22abc%22": "%22password%22%3A***",
    "<password>a b</password>": "<password>***</password>",
    '<wsse:Password Type="Text">abc</wsse:Password>': '<wsse:Password Type="Text">***</wsse:Password>',
    "mysql --db-password abc -h x": "mysql --db-password *** -h x",
    "curl -u user:abc https://h": "curl -u user:*** https://h",
    "x?X-Amz-Signature=abc&y=1": "x?X-Amz-Signature=***&y=1",
    "x?sv=1&sig=abc&se=2": "x?sv=1&sig=***&se=2",
    "AccountName=x;AccountKey=abc==;Suffix=y": "AccountName=x;AccountKey=***;Suffix=y",
    "x -----BEGIN RSA PRIVATE KEY-----MII-----END": "x -----BEGIN RSA PRIVATE KEY-----***-----END",
    "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOjF9.c2ln is old": "token *** is old",
    f"key sk-{'a1' * 12}": "key ***",
    f"at ghp_{'a1' * 18} and github_pat_{'a1' * 18}": "at *** and ***",
    "xoxb-12345-67890-abc": "***",
    "https://hooks.slack.com/services/T0/B0/abc failed": "https://hooks.slack.com/services/*** failed",
    "https://api.telegram.org/bot12:abc/sendMessage": "https://api.telegram.org/bot***",
    "account_key=acc-7 passport=A1 bypass=1 sig=9": "account_key=acc-7 passport=A1 bypass=1 sig=9",
    "signature: mismatch of sk-learn": "signature: mismatch of sk-learn",
}


@pytest.mark.parametrize("text", MASKED)
def test_secret_in_a_text_is_masked_whole(text: str) -> None:
    assert without_secrets(text) == MASKED[text]


def test_error_whose_text_cannot_be_read_is_described() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    assert describe_error(Broken()).text == "(its text cannot be read: ZeroDivisionError)"


def test_chain_of_causes_is_part_of_the_traceback_without_secrets() -> None:
    described = describe_error(_raised())

    first, _, last = described.traceback.partition("The direct cause of the following:")
    assert 'raise KeyError("password=***")' in first
    assert "builtins.KeyError: 'password=***" in first
    assert last.rstrip().endswith('raise ValueError("wrong") from error')
    assert len(described.traceback) < MAX_TRACEBACK_CHARS


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("connect(password='hunter2', user=name)", "connect(password=***, user=name)"),
        ('SETTINGS["password"] = "hunter2"', 'SETTINGS["password"] = ***'),
        ('API_TOKEN: str = "hunter2"', "API_TOKEN: str = ***"),
        ('connect("postgres://ada:hunter2@db/x")', 'connect("postgres://ada:***@db/x")'),
        ("token = token_of(request, password)", "token = token_of(request, password)"),
    ],
)
def test_literals_in_lines_of_code_are_masked_and_expressions_are_not(line: str, masked: str) -> None:
    assert _without_literals(line) == masked


def test_hostile_text_is_searched_in_bounded_time() -> None:
    started_at = time.process_time()
    for part in ("://a:", "-", "eyJ-", "password", "<password a", " -u a", '\\"', "sk-a", "-----BEGIN PRIVATE KEY"):
        without_secrets(part * (100_000 // len(part)))

    assert time.process_time() - started_at < 20


def test_hidden_message_is_in_no_part_of_what_is_kept() -> None:
    described = describe_error(_raised(), "hide")

    assert (described.type, described.text) == ("builtins.ValueError", "(hidden by messages='hide')")
    assert "builtins.KeyError: (hidden" in described.traceback
    assert described.location.endswith(" _raised")


def test_causes_that_refer_to_each_other_are_described_once() -> None:
    error, other = ValueError("a"), ValueError("b")
    error.__cause__, other.__cause__ = other, error

    assert describe_error(error).traceback.count("direct cause") == 1


def _raised() -> Exception:
    try:
        try:
            raise KeyError("password=hunter2")
        except KeyError as error:
            raise ValueError("wrong") from error
    except ValueError as error:
        return error


# What a worker stores, logs and shows


@fait.event("text.sent")
class Sent:
    number: int


TEXT = "password=hunter2 of Ada " + "x" * 5_000


class Down(Exception):
    pass


class Gone(Exception):
    pass


async def failures_of(
    handle: Callable[[Sent], Any], policy: fait.FailurePolicy, **options: Any
) -> tuple[list[KeyFailure], fait.SubscriptionStatus, fait.Stale]:
    """Return what is stored after a failure, the status, and the error of a caller that waits."""
    app = fait.App("text")
    app.on(Sent, name="send", on_failure=policy, **options)(handle)
    async with app.open("memory:") as s:
        result = await s.publish(Sent(1), stream="text-1")
        async with asyncio.timeout(20):
            while not (failures := await s.store.failures.failures()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        with pytest.raises(fait.Stale) as stale:
            await s.wait(result, timeout_s=0.1)
        [status] = await s.status()
        return failures, status, stale.value


def refuse(event: Sent) -> None:
    raise ValueError(TEXT)


async def test_worker_logs_and_shows_what_is_stored(caplog: pytest.LogCaptureFixture) -> None:
    [failure], status, stale = await failures_of(refuse, fait.FailurePolicy(attempts=1))

    [line] = [each.getMessage() for each in caplog.records if "event failed" in each.getMessage()]
    assert len(failure.error) == MAX_ERROR_CHARS
    assert status.error_text == f"ValueError: {failure.error}"
    assert f"error={status.error_text}\nTraceback" in line
    assert failure.traceback.rstrip() in line
    assert "hunter2" not in caplog.text + str(stale) + status.error_text


async def test_policy_hides_the_text_of_errors_everywhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "fait")
    [failure], status, stale = await failures_of(refuse, fait.FailurePolicy(attempts=1, messages="hide"))

    texts = [caplog.text, str(failure), str(stale), str(stale.__cause__), status.error_text]
    assert not any("Ada xxx" in each for each in texts)
    assert (failure.error_type, failure.location.endswith(" refuse")) == ("builtins.ValueError", True)
    assert "builtins.ValueError" in str(stale)


async def test_policy_hides_the_text_of_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    app = fait.App("text")

    @app.on(Sent, name="send", on_failure=fait.FailurePolicy(outages=(Down,), messages="hide"))
    async def send(event: Sent) -> None:
        raise Down(TEXT)

    async with app.open("memory:") as s:
        await s.publish(Sent(1), stream="text-1")
        async with asyncio.timeout(20):
            while not (outages := [each.health for each in await s.store.leases.ranges() if each.health]):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    assert ' send"' in outages[0]
    assert "Down: (hidden" in caplog.text
    assert "of Ada" not in f"{outages} {caplog.text}"


async def test_timeout_is_located_where_the_handler_waited() -> None:
    async def wait(event: Sent) -> None:
        await asyncio.Event().wait()

    [failure], _, _ = await failures_of(wait, fait.FailurePolicy(attempts=1), timeout_s=0.05)

    assert failure.error_type == "builtins.TimeoutError"
    assert failure.location.endswith(" wait")
    assert __file__ in failure.location
    assert "await asyncio.Event().wait()" in failure.traceback


def test_error_of_fait_is_located_in_no_line_of_fait() -> None:
    with pytest.raises(fait.UsageError) as raised:
        fait.ManualClock("now")  # type: ignore[arg-type]
    error = raised.value
    own = describe_error(error).location
    while error.__traceback__ and __file__ in error.__traceback__.tb_frame.f_code.co_filename:
        error.__traceback__ = error.__traceback__.tb_next

    assert own.startswith(__file__)
    assert (describe_error(error).location, describe_error(error).text) == ("", str(error))


async def test_error_of_a_library_is_located_in_the_handler() -> None:
    async def parse(event: Sent) -> None:
        logging.getLogger("x").setLevel("no such level")

    [failure], _, _ = await failures_of(parse, fait.FailurePolicy(attempts=1))

    assert failure.location.endswith(" parse")


async def test_alternating_errors_that_the_policy_names_are_one_outage_in_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription_run, "OUTAGE_POLICY", fait.FailurePolicy(initial_s=0.001, max_s=0.002))
    app, calls = fait.App("text"), list[int]()

    @app.on(Sent, name="send", on_failure=fait.FailurePolicy(outages=(Down, Gone)))
    async def send(event: Sent) -> None:
        calls.append(event.number)
        if len(calls) < 8:
            raise (Down, Gone, fait.Unavailable)[len(calls) % 3]("the service is down")

    async with app.open("memory:") as s:
        await s.wait(await s.publish(Sent(1), stream="text-1"), timeout_s=20)

    lines = [(each.levelname, each.getMessage().partition(":")[0]) for each in caplog.records]
    assert [(level, text.partition(" ")[2].partition(" ")[0].strip(",")) for level, text in lines] == [
        ("WARNING", "waits"), ("WARNING", "continues")
    ]  # fmt: skip
    assert "Traceback" not in caplog.text
