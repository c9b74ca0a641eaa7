from pathlib import Path
from typing import Any

import pytest

from fait._advice.facts import FACTS, Fact, Value, read_modules
from fait._advice.questions import QUESTIONS, open_questions
from fait._advice.reading.read import read
from fait._advice.recommend import Recommendation, recommend
from fait._advice.report import as_data, summary
from fait._advice.rules import INTEGRATION, READ, STORAGE, VETOES
from tests.advice.score import is_acceptable, load

LEDGER: dict[str, Value] = {"history_need": "temporal", "intent_matters": True, "events_natural": True}
RELIABLE: dict[str, Value] = {"consumers": "services", "loss": "must_not_lose", "dual_write": True}


def advice(**facts: Any) -> Recommendation:
    return recommend(read_modules(facts))


@pytest.mark.parametrize("case", load(Path(__file__).with_name("facts.jsonl")), ids=lambda each: each["id"])
def test_facts_give_the_expected_headline(case: dict[str, Any]) -> None:
    assert is_acceptable(case, recommend(read_modules(case["facts"])))


def test_rules_name_known_facts_values_and_sources() -> None:
    rules = (*STORAGE, *READ, *INTEGRATION, *VETOES)

    assert len({rule.id for rule in rules}) == len(rules)
    assert all(set(values) <= set(FACTS[name]) for rule in rules for name, values in rule.when.items())
    assert all(rule.source.startswith("https://") and rule.because.endswith(".") for rule in rules)


@pytest.mark.parametrize(
    ("name", "value", "headline"),
    [
        ("record_kind", "measurements", "streaming"),
        ("record_kind", "reference", "crud"),
        ("lifespan", "prototype", "crud"),
        ("write_path_changeable", False, "crud"),
    ],
)
def test_veto_outweighs_every_weight_for_event_sourcing(name: str, value: Value, headline: str) -> None:
    assert advice(**LEDGER).headline == "event_sourcing"
    assert advice(**LEDGER, **{name: value}).headline == headline


def test_writer_that_cannot_change_gets_change_data_capture() -> None:
    result = advice(**RELIABLE, write_path_changeable=False)

    assert (result.headline, result.modules[0].decision.axes.integration) == ("outbox", "cdc")


def test_history_of_changes_is_served_by_a_history_table() -> None:
    assert advice(history_need="change_log").modules[0].decision.axes.storage == "audit_table"


def test_no_facts_give_plain_tables_and_questions() -> None:
    result = advice()

    assert result.headline == "crud"
    assert result.confidence < 0.5
    assert result.modules[0].questions


def test_modules_that_differ_are_mixed_unless_one_carries_the_system() -> None:
    modules = [{"name": "ledger", **LEDGER}, {"name": "orders", **RELIABLE}]

    assert advice(modules=modules).headline == "mixed"
    assert advice(modules=[{**modules[0], "carries": True}, modules[1]]).headline == "event_sourcing"


def test_each_flip_leads_to_the_headline_that_it_names() -> None:
    module = advice(**LEDGER).modules[0]

    assert module.flips
    for flip in module.flips:
        assert recommend([module.module.knowing(flip.fact, flip.value)]).headline == flip.headline


def test_question_that_cannot_change_the_headline_is_not_asked() -> None:
    measured = {"record_kind": Fact("measurements"), "throughput": Fact("high")}

    assert open_questions(measured) == []
    assert "history_need" in open_questions({})


def test_each_fact_has_a_question_with_a_text_for_each_value() -> None:
    assert {name: len(question.answers) for name, question in QUESTIONS.items()} == {
        name: len(values) for name, values in FACTS.items()
    }


def test_report_has_the_documented_shape() -> None:
    data = as_data(advice(history_need={"value": "change_log", "quote": "who changed it", "confidence": 0.8}))
    module = data["modules"][0]

    assert list(data) == ["headline", "summary", "confidence", "per_module", "axes", "modules"]
    assert data["axes"] == {"integration": "none", "storage": "audit_table", "read": "same_model"}
    assert {"name", "axes", "score", "margin", "reasons", "questions", "facts"} <= set(module)
    assert module["reasons"] == [
        {
            "rule": "S1-log",
            "weight": 0,
            "because": "A history table answers who changed what and when.",
            "quote": "who changed it",
            "source": "https://udidahan.com/2011/04/22/when-to-avoid-cqrs/",
        }
    ]
    assert module["facts"] == {"history_need": {"value": "change_log", "quote": "who changed it", "confidence": 0.8}}


def test_axes_that_differ_are_reported_per_module() -> None:
    data = as_data(advice(modules=[{"name": "ledger", **LEDGER}, {"name": "list"}]))

    assert data["per_module"]
    assert data["axes"] == {"integration": "none", "storage": "per_module", "read": "per_module"}


@pytest.mark.parametrize(
    "facts",
    [
        {"history_need": "change_log"},
        {"history_need": "full_audit", "lifecycle": "crud"},
        {"history_need": "temporal", "lifecycle": "crud", "intent_matters": True, "events_natural": True},
        {"history_need": "temporal", "domain_complexity": "low", "intent_matters": True},
        {"history_need": "full_audit", "intent_matters": True, "lifecycle": "rich", "team_experience": "none"},
        {"history_need": "temporal", "record_kind": "reference", "intent_matters": True, "events_natural": True},
        {"history_need": "none", "intent_matters": True, "lifecycle": "rich", "domain_complexity": "high"},
    ],
)
def test_summary_of_contradictory_facts_agrees_with_the_axes(facts: dict[str, Any]) -> None:
    result = advice(**facts)
    decision = result.modules[0].decision

    assert result.headline == "crud"
    assert "You do not need this" not in summary(result)
    assert ("history table" in summary(result)) == (decision.axes.storage == "audit_table")
    assert ("candidate" in summary(result)) == decision.is_pilot


def test_team_new_to_the_pattern_weighs_against_event_sourcing() -> None:
    result = recommend(
        read(
            "Every entry is immutable, a mistake is corrected by a reversing entry, and each balance is derived from "
            "the entries as of any date. None of us has ever done event sourcing."
        )
    )

    assert [each.id for each in result.modules[0].decision.rules if each.id.startswith("S8")] == ["S8-learn"]
