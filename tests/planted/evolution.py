"""Faults in the check of event types."""

from tests.planted.mutant import Mutant

CHECK = "tests/evolution/test_check.py::test_"
PROOF = "tests/evolution/test_proof_adversarial.py::test_"

FAULTS = [
    Mutant(
        "a field that the next version does not have counts as readable",
        "_evolution/automatic.py",
        "removed-optional-member",
        "differences, removed = [], []",
        CHECK + "violation_of_rule_is_the_only_one_with_its_text[FAIT107]",
    ),
    Mutant(
        "types whose names differ only in case are accepted",
        "_evolution/check.py",
        "names-by-case",
        "if one == other:",
        CHECK + "violation_of_rule_is_the_only_one_with_its_text[FAIT109]",
    ),
    Mutant(
        "a member that the next version does not know is no error in the result of an upcaster",
        "_evolution/path.py",
        "unknown-member-in-result",
        "return",
        PROOF + "wrong_upcaster_is_found_under_its_rule[leaves_the_old_name]",
    ),
    Mutant(
        "a member that an upcaster never passes on is not reported",
        "_evolution/coverage.py",
        "lost-member",
        "pass",
        PROOF + "wrong_upcaster_is_found_under_its_rule[swallows_nested_field]",
    ),
    Mutant(
        "an upcaster may change its input",
        "_evolution/running.py",
        "changed-input",
        "if False:",
        PROOF + "wrong_upcaster_is_found_under_its_rule[changes_nested_list]",
    ),
    Mutant(
        "two different results of one upcaster are accepted",
        "_evolution/running.py",
        "unrepeatable",
        "if len(first) != len(second):",
        CHECK + "violation_of_rule_is_the_only_one_with_its_text[FAIT111]",
    ),
    Mutant(
        "the class of today may refuse a sample of a lock",
        "_evolution/proof.py",
        "class-refuses-locked-sample",
        "if not problem or not self._is_faithful(name):",
        CHECK + "class_that_refuses_a_locked_sample_is_found",
    ),
    Mutant(
        "an exemption that accepts nothing stays unnoticed",
        "_evolution/report.py",
        "unused-exemption",
        "if False:",
        "tests/evolution/test_report.py::test_exemption_that_accepts_nothing_is_a_violation",
    ),
]
