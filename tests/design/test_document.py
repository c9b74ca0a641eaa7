"""The text of a design document: sections, front matter, and what is kept when it is written again."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

import fait
from fait._design.advice import read_advice
from fait._design.catalog import Catalog
from fait._design.document import SECTIONS, parse_document
from fait._design.front_matter import (
    DesignFacts,
    design_facts,
    front_matter,
    front_matter_values,
    read_front_matter,
)
from fait._design.render import render_document
from fait._design.sections import CATALOG_COLUMNS
from fait._schema.acceptance import accepts
from fait._schema.read_json_schema import read_json_schema
from tests.design.projects import SHOP, catalog_of

ROOT = Path(__file__).parents[2]
SCHEMA = msgspec.json.decode((ROOT / "docs" / "design.schema.json").read_bytes())
ADVICE = {
    "headline": "mixed",
    "confidence": 0.8,
    "modules": [
        {
            "name": "orders | <i>",
            "axes": {"integration": "outbox", "storage": "event_sourcing", "read": "projections"},
            "score": 7,
            "margin": 1,
            "reasons": [{"rule": "S1", "quote": "every OrderPlaced is *kept*", "source": "https://example.org/a(b)"}],
            "questions": ["lifespan"],
        },
        {
            "name": "catalog",
            "axes": {"integration": "none", "storage": "crud", "read": "same_model"},
            "score": -3,
            "margin": 6,
            "reasons": [{"rule": "S3", "weight": -3, "because": "Records are edited.", "source": ""}],
            "questions": [],
        },
    ],
    "per_module": True,
    "facts": {},
}


def written(catalog: Catalog | None, existing: str = "", advice: dict[str, object] | None = None) -> str:
    answer = None if advice is None else read_advice(msgspec.json.encode(advice), "advice.json")
    document = parse_document(existing, "DESIGN.md") if existing else None
    return render_document(catalog, answer, document, system="shop")


def headings(text: str) -> list[str]:
    without_code = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^##? .*$", without_code, re.MULTILINE)


TITLES = ["# Event-Driven Design: shop", *(f"## {each}" for each in SECTIONS)]


def test_document_of_an_app_has_all_sections_and_columns(tmp_path: Path) -> None:
    text = written(catalog_of(tmp_path))

    assert headings(text) == TITLES
    assert f"| {' | '.join(CATALOG_COLUMNS)} |" in text
    assert "| `shop.order-placed` | `Order.place` (command) | `remind` (reactor), `totals` (read model) |" in text
    assert text.count("Example, generated:") == 3


def test_document_never_promises_exactly_once_delivery(tmp_path: Path) -> None:
    text = written(catalog_of(tmp_path), advice=ADVICE)

    assert not re.search(r"exactly[ -]once", text, re.IGNORECASE)
    assert "at least once" in text


def test_document_is_the_same_every_time(tmp_path: Path) -> None:
    text = written(catalog_of(tmp_path), advice=ADVICE)

    assert written(catalog_of(tmp_path), advice=ADVICE) == text
    assert written(catalog_of(tmp_path), existing=text) == text


def test_plan_has_all_sections_and_no_events() -> None:
    text = written(None, advice=ADVICE)

    assert headings(text) == TITLES
    assert read_front_matter(parse_document(text, "x").front_matter).plan
    assert "There is no code yet." in text
    assert 'The description says: "every OrderPlaced is \\*kept\\*" ([source](<https://example.org/a%28b%29>))' in text
    assert "| `orders | <i>` |".replace(" | <", " \\| <") in text


def test_recommendation_is_kept_when_the_code_is_written(tmp_path: Path) -> None:
    plan = written(None, advice=ADVICE)
    text = written(catalog_of(tmp_path), existing=plan)

    assert "<!-- fait:begin recommendation" in text
    assert "Recommended and not in the code" not in text
    assert "There is no code yet." not in text


def test_contradiction_of_recommendation_and_code_is_named(tmp_path: Path) -> None:
    tables = {**ADVICE, "headline": "crud", "modules": ADVICE["modules"][1:]}  # pyright: ignore[reportIndexIssue]
    text = written(catalog_of(tmp_path), advice=tables)

    assert "In the code and not recommended: event sourcing." in text


def test_text_of_users_is_kept_in_its_place(tmp_path: Path) -> None:
    text = written(catalog_of(tmp_path))
    text = text.replace("## Delivery Guarantee", "## Our own section\n\n## Delivery Guarantee\n\nbefore it", 1)
    text = text.replace("### `shop.order-paid`", "### `shop.order-paid`", 1)
    text = re.sub(
        r"(<!-- fait:end schema:shop.order-paid -->)", r"\1\n\nabout payments\n\n```\n## Tradeoffs\n```", text
    )
    text = text.replace("---\n\n#", 'owner: "Ada"\ntags:\n  - shop\n---\n\nbefore the title\n\n#', 1)

    again = written(catalog_of(tmp_path, SHOP.replace("amount: int", "amount: int\n    note: str = ''")), text)

    assert '"note"' in again
    assert 'owner: "Ada"\ntags:\n  - shop\n---\n\n# Event-Driven Design: shop\n\nbefore the title\n' in again
    assert "<!-- fait:end schema:shop.order-paid -->\n\nabout payments\n\n```\n## Tradeoffs\n```\n" in again
    assert "## Our own section\n\n## Delivery Guarantee\n\nbefore it\n\n<!-- fait:begin delivery" in again
    assert written(catalog_of(tmp_path, SHOP.replace("amount: int", "amount: int\n    note: str = ''")), again) == again


def test_missing_and_misplaced_sections_are_repaired(tmp_path: Path) -> None:
    text = written(catalog_of(tmp_path))
    head, tradeoffs = text.split("## Tradeoffs")
    removed = re.sub(r"## Versioning Strategy.*", "", head, flags=re.DOTALL)
    moved = removed.replace("## Pattern Choice", f"## Tradeoffs{tradeoffs}\n## Pattern Choice", 1)

    assert written(catalog_of(tmp_path), moved) == text


def test_text_with_other_ends_of_lines_is_the_same_document(tmp_path: Path) -> None:
    text = written(catalog_of(tmp_path))

    assert written(catalog_of(tmp_path), "\ufeff" + text.replace("\n", "\r\n")) == text


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("<!-- fait:end delivery -->\n", ""), "the part delivery has no end"),
        (("<!-- fait:begin delivery", "<!-- begin delivery"), "the part delivery ends, and does not begin"),
    ],
)
def test_broken_marker_is_a_problem_with_its_line(tmp_path: Path, change: tuple[str, str], problem: str) -> None:
    document = parse_document(written(catalog_of(tmp_path)).replace(*change), "DESIGN.md")

    assert [text for _, text in document.problems] == [problem]


def test_file_without_front_matter_is_no_design_document() -> None:
    with pytest.raises(fait.UsageError, match=r"README\.md has no front matter"):
        parse_document("# A page\n\n---\n", "README.md")


@pytest.mark.parametrize("line", ["events: [", "  - type: x", "fait_design: 2", "system: 1", "plan: maybe"])
def test_front_matter_in_another_form_is_refused(tmp_path: Path, line: str) -> None:
    document = parse_document(written(catalog_of(tmp_path)), "DESIGN.md")

    with pytest.raises(fait.UsageError, match="Restore it from version control"):
        read_front_matter(f"{document.front_matter}\n{line}")


def test_facts_survive_the_front_matter(tmp_path: Path) -> None:
    answer = read_advice(msgspec.json.encode(ADVICE), "advice.json")
    facts = design_facts('a "b": # \x85 \u2028 {é}', catalog_of(tmp_path), answer)

    assert read_front_matter("\n".join(front_matter(facts, "title: x").splitlines()[1:-1])) == facts


def schema_without_texts(value: Any) -> Any:
    """Return a JSON Schema without docstrings, whose indentation depends on the version of Python."""
    if isinstance(value, dict):
        return {
            name: schema_without_texts(each) for name, each in value.items() if name not in ("title", "description")
        }
    return [schema_without_texts(each) for each in value] if isinstance(value, list | tuple) else value


def test_published_json_schema_is_that_of_the_front_matter() -> None:
    assert schema_without_texts(msgspec.json.schema(DesignFacts)) == SCHEMA


@pytest.mark.parametrize("example", ["shop", "outbox"])
def test_json_schema_accepts_the_front_matter_of_the_examples(example: str) -> None:
    document = parse_document((ROOT / "examples" / example / "DESIGN.md").read_text("utf-8"), "DESIGN.md")
    values = front_matter_values(document.front_matter)
    description = read_json_schema(SCHEMA)

    assert accepts(description.records, description.root, values)
    assert not accepts(description.records, description.root, {**values, "events": [{"type": 1}]})


@pytest.mark.parametrize("change", [{"headline": "magic"}, {"modules": [{"name": "x"}]}, {"confidence": "high"}])
def test_advice_in_another_form_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(fait.UsageError, match=r"a\.json is not an answer of the advisor"):
        read_advice(msgspec.json.encode({**ADVICE, **change}), "a.json")


HOSTILE = '''
import fait


@fait.event('a|b `c` "d" <script> --> ]')
class Odd:
    """<b>x</b> | `a|b` <!-- fait:end events --> [l](javascript:x)

    ## Tradeoffs"""

    text: str = "```"


shop = fait.App("shop")
shop.include(Odd)
'''


def test_names_and_docstrings_cannot_add_markup_or_markers(tmp_path: Path) -> None:
    text = written(catalog_of(tmp_path, HOSTILE))
    document = parse_document(text, "DESIGN.md")

    assert document.problems == ()
    assert headings(text) == TITLES
    assert "&lt;b>x&lt;/b> \\| `a|b` &lt;!-- fait:end events --> \\[l\\](javascript:x)" in text
    assert '| `` a\\|b `c` "d" <script> --> ] `` |' in text
    assert written(catalog_of(tmp_path, HOSTILE), text) == text
