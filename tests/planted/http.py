"""Faults in HTTP and in position tokens."""

from tests.planted.mutant import Mutant

COMMANDS = "tests/http/test_commands.py::test_"
READS = "tests/http/test_reads.py::test_"
TOKENS = "tests/subscriptions/test_position_token.py::test_"

FAULTS = [
    Mutant(
        "a read that depends on a parked key is to be repeated",
        "_http/problem.py",
        "parked-read-is-to-be-repeated",
        "return _STALE",
        READS + "read_that_depends_on_a_parked_key_is_answered_503_at_once_and_not_to_be_repeated",
    ),
    Mutant(
        "a write with an unknown outcome is answered as not written",
        "_http/problem.py",
        "unknown-outcome-answered-as-not-written",
        "return _UNAVAILABLE",
        "tests/http/test_problems.py::test_error_has_status_and_code",
    ),
    Mutant(
        "principals share their idempotency keys",
        "_http/commands.py",
        "key-shared-by-principals",
        "return msgspec.json.encode([method, route]).decode()",
        f"{COMMANDS}key_is_scoped_by_principal_method_and_route",
    ),
    Mutant(
        "a route has the keys of its twin under another prefix",
        "_http/route.py",
        "key-shared-by-prefixes",
        "return str(route.path_format)",
        f"{COMMANDS}key_is_scoped_by_the_whole_template_of_an_included_route",
    ),
    Mutant(
        "a failed If-Match is answered as a conflict that a retry can resolve",
        "_http/commands.py",
        "failed-precondition-answered-as-conflict",
        "raise",
        f"{COMMANDS}race_of_50_clients_with_one_etag_has_one_success[memory]",
    ),
    Mutant(
        "a precondition that a boundary cannot check is answered as an error of the server",
        "_http/commands.py",
        "precondition-of-boundary-is-server-error",
        "if False:",
        f"{COMMANDS}precondition_of_a_boundary_which_has_no_version_fails",
    ),
    Mutant(
        "a weak ETag matches in If-Match",
        "_http/preconditions.py",
        "weak-tag-matches",
        r"""tag = re.fullmatch(r'\s*(?:W/)?"([1-9][0-9]{0,18})"\s*', if_match)""",
        f"{COMMANDS}if_match_that_is_not_the_strong_etag_is_a_failed_precondition",
    ),
    Mutant(
        "two requests with one idempotency key run at the same time",
        "_http/runtime.py",
        "key-in-use-ignored",
        "if False:",
        f"{COMMANDS}second_request_while_the_first_runs_is_answered_409_with_retry_after",
    ),
    Mutant(
        "a route without a principal takes idempotency keys of all clients",
        "fastapi.py",
        "unscoped-key-accepted",
        "if False:",
        f"{COMMANDS}route_without_principal_refuses_a_key",
    ),
    Mutant(
        "any number of reads wait",
        "_http/runtime.py",
        "unbounded-waiting-reads",
        "if False:",
        f"{READS}reads_that_wait_are_bounded",
    ),
    Mutant(
        "a client gets again what it has",
        "_http/reads.py",
        "not-modified-ignored",
        "if False:",
        f"{READS}read_of_a_known_version_is_answered_304_without_body",
    ),
    Mutant(
        "a process opens any number of event feeds",
        "_http/feed.py",
        "unbounded-feeds",
        "if False:",
        "tests/http/test_feed.py::test_feeds_of_a_process_are_bounded",
    ),
    Mutant(
        "a token of an earlier epoch is taken for a position of this one",
        "_subscriptions/position_token.py",
        "token-of-another-log",
        "if False:",
        f"{TOKENS}token_of_another_epoch_is_refused",
    ),
    Mutant(
        "a read waits for a position that no event has",
        "_system.py",
        "wait-beyond-head",
        "if False:",
        f"{TOKENS}position_beyond_the_head_is_refused_without_waiting[memory]",
    ),
]
