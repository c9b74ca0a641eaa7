"""Faults in the advisor."""

from tests.planted.mutant import Mutant

READING = "tests/advice/test_reading.py::test_"
RECOMMEND = "tests/advice/test_recommend.py::test_"

FAULTS = [
    Mutant(
        "wishes and hearsay are evidence",
        "_advice/reading/matching.py",
        "advice-of-no-evidence",
        "if False:",
        READING + "hearsay_is_no_evidence",
    ),
    Mutant(
        "weights outweigh a veto",
        "_advice/recommend.py",
        "advice-without-veto",
        "if score >= EVENT_SOURCING_SCORE:",
        RECOMMEND + "veto_outweighs_every_weight_for_event_sourcing",
    ),
    Mutant(
        "one of several different modules gives the headline",
        "_advice/recommend.py",
        "advice-never-mixed",
        "if False:",
        RECOMMEND + "modules_that_differ_are_mixed_unless_one_carries_the_system",
    ),
    Mutant(
        "one passage is evidence for an outbox",
        "_advice/reading/weigh.py",
        "advice-of-one-passage",
        "return True",
        READING + "one_passage_is_no_evidence_for_an_outbox",
    ),
]
