"""Faults in locks of event types and in the settings of their check."""

from tests.planted.mutant import Mutant

FOLDER = "tests/evolution/test_locks_folder.py::test_"
CONTENT = "tests/evolution/test_locks_content.py::test_"

FAULTS = [
    Mutant(
        "a lock is overwritten by another one of the same version",
        "_evolution/locks/folder.py",
        "lock-overwritten",
        "_write_temporary(target, encode_lock(lock)).replace(target)",
        FOLDER + "lock_is_never_overwritten",
    ),
    Mutant(
        "only the members of the previous version are reserved",
        "_evolution/locks/history.py",
        "reserved-only-once",
        "known = {path for lock in [*earlier][-1:] for path in member_paths(lock.description)}",
        CONTENT + "every_member_that_an_earlier_version_had_is_reserved",
    ),
    Mutant(
        "a sample is locked that the class refuses",
        "_evolution/locks/locking.py",
        "sample-not-decoded",
        "if True:",
        CONTENT + "samples_are_events_that_the_class_accepts",
    ),
    Mutant(
        "an exemption is valid after its last day",
        "_evolution/locks/settings.py",
        "expired-exemption",
        "if False:",
        "tests/evolution/test_locks_settings.py::test_wrong_exemption_is_reported_and_accepts_nothing",
    ),
    Mutant(
        "an app that requires locks opens with a draft",
        "_evolution/locks/require_locks.py",
        "draft-in-production",
        "if False:",
        "tests/evolution/test_locks_required.py::test_draft_is_refused_and_nothing_is_opened",
    ),
    Mutant(
        "a lock is accepted whose JSON Schema or reserved names were edited",
        "_evolution/locks/folder.py",
        "edited-content-accepted",
        "if False:",
        "tests/evolution/test_locks_folder.py::test_file_that_is_no_lock_of_its_path_is_reported",
    ),
]
