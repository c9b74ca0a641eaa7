"""Writes the text of a design document: from an app, from an answer of the advisor, or from both."""

from fait._design.advice import Advice
from fait._design.catalog import Catalog
from fait._design.document import DesignDocument, merged
from fait._design.front_matter import design_facts, front_matter, read_front_matter, user_lines
from fait._design.markdown import prose
from fait._design.sections import generated_parts, planned_table
from fait._errors import UsageError

__all__ = ["render_document"]


def render_document(
    catalog: Catalog | None, advice: Advice | None, existing: DesignDocument | None = None, *, system: str | None = None
) -> str:
    """Return the text of a document.

    Args:
        catalog: the catalog of the app; None for a plan.
        advice: the advisor's answer; None to keep that of the existing document, if it has one.
        existing: the document that is written again: text outside of its generated parts is kept.
        system: name of the system; None: that of the existing document, or the name of the app.

    Raises:
        UsageError: the front matter of the existing document cannot be read, or it describes code and there is no
            catalog, so that its events would be lost.
    """
    earlier = None if existing is None else read_front_matter(existing.front_matter)
    if catalog is None and earlier is not None and not earlier.plan:
        raise UsageError("the document describes code. Give its app: --app of fait design. Nothing was written.")
    name = system or (earlier.system if earlier else "") or (catalog.system if catalog else "the system")
    facts = design_facts(name, catalog, advice, earlier)
    kept = user_lines(existing.front_matter) if existing else ""
    text = merged(front_matter(facts, kept), prose(name), generated_parts(facts, catalog, advice), existing)
    return text if existing or catalog else _with_planned_table(text, advice)


def _with_planned_table(text: str, advice: Advice | None) -> str:
    """Return a new plan with a table to fill in, which belongs to the user from then on."""
    end = "<!-- fait:end events -->\n"
    return text.replace(end, f"{end}\n{planned_table(advice)}\n", 1)
