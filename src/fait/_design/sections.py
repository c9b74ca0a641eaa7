"""The generated parts of a design document, section by section."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import quote

from fait._design.advice import Advice, AdvisedModule, AdvisedReason, named_events
from fait._design.catalog import Catalog, EventConsumer, EventEntry, VersionStep
from fait._design.diagram import flow_diagram
from fait._design.document import GeneratedPart
from fait._design.front_matter import DesignFacts, ModuleFacts
from fait._design.markdown import anchor, bullets, code, codes, json_block, prose, table
from fait._design.patterns import AXES, HEADLINES, PATTERNS

__all__ = ["CATALOG_COLUMNS", "generated_parts", "planned_table"]

CATALOG_COLUMNS: Final = ("Event Type", "Producer", "Consumers", "Schema")
"""The columns of the event catalog."""

_MAX_CHANGES: Final = 5
"""Maximum number of facts that are listed as changing a recommendation."""

Parts = dict[str, Sequence[GeneratedPart]]


def generated_parts(facts: DesignFacts, catalog: Catalog | None, advice: Advice | None) -> Parts:
    """Return the generated parts of each section.

    Args:
        facts: the facts of the document.
        catalog: the catalog of the app; None for a plan.
        advice: the advisor's answer; None if there is none, or the document keeps an earlier one.
    """
    used = _patterns_in_use(facts, catalog)
    return {
        "Pattern Choice": list(_pattern_choice(facts, catalog, advice)),
        "Event Catalog": list(_event_catalog(catalog)),
        "Event Schema": list(_event_schema(catalog)),
        "Delivery Guarantee": [GeneratedPart("delivery", _delivery(used, catalog))],
        "Versioning Strategy": [GeneratedPart("versioning", _versioning(catalog))],
        "Tradeoffs": [GeneratedPart("tradeoffs", _tradeoffs(used))],
    }


def _patterns_in_use(facts: DesignFacts, catalog: Catalog | None) -> list[str]:
    """Return the keys of the recommended patterns and of those in the code, without duplicates."""
    advised = [key for each in facts.modules for key in each.patterns.values()]
    return list(dict.fromkeys([*advised, *(key for key, _ in (_patterns_in_code(catalog) if catalog else ()))]))


# Pattern Choice


def _pattern_choice(facts: DesignFacts, catalog: Catalog | None, advice: Advice | None) -> Iterator[GeneratedPart]:
    if advice is not None or facts.modules:
        yield GeneratedPart("recommendation", None if advice is None else _recommendation(advice))
    if catalog is not None:
        yield GeneratedPart("patterns", _patterns(facts, catalog))


def _recommendation(advice: Advice) -> str:
    share = f"{advice.confidence:.0%}"
    said = prose(advice.summary.removesuffix(".")) or HEADLINES[advice.headline]
    head = f"Recommended by `fait advise`: **{said}** (confidence {share})."
    columns = ("Module", "Headline", *AXES.values(), "Score", "Margin")
    rows = [
        (code(each.name), _headline(each), *_axis_titles(each), _number(each.score), _number(each.margin))
        for each in advice.modules
    ]
    return "\n\n".join([head, table(columns, rows), *(text for each in advice.modules for text in _module(each))])


def _headline(module: AdvisedModule) -> str:
    return "–" if module.headline is None else HEADLINES[module.headline]


def _axis_titles(module: AdvisedModule) -> list[str]:
    return [PATTERNS[module.axes.patterns[axis]].title for axis in AXES]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _module(module: AdvisedModule) -> Iterator[str]:
    yield f"**Module {code(module.name)}**"
    chosen = [PATTERNS[key] for key in module.axes.patterns.values()]
    against = [each for each in (*module.vetoes, *module.reasons) if each in module.vetoes or each.weight < 0]
    reasons = [_reason(each) for each in module.reasons if each not in against]
    yield "Rationale:\n\n" + bullets(reasons or [f"{each.title}: {each.rationale}" for each in chosen])
    if against:
        yield "Against event sourcing:\n\n" + bullets(map(_reason, against))
    yield "Rejected alternatives:\n\n" + bullets(each.rejected for each in chosen)
    yield "What would change the verdict:\n\n" + bullets(_changes(module) or [each.change for each in chosen])


def _lower(title: str) -> str:
    return title if title[:4].isupper() else title[:1].lower() + title[1:]


def _reason(reason: AdvisedReason) -> str:
    words = f'The description says: "{prose(reason.quote)}" ' if reason.quote else ""
    source = f"([source](<{quote(reason.source, safe=':/?#=&%~+,;@')}>))" if reason.source else ""
    because = f"{prose(reason.because)} " if reason.because else ""
    return f"{code(reason.rule)}: {because}{words}{source}".rstrip()


def _changes(module: AdvisedModule) -> list[str]:
    named = [
        f"{code(each.fact)} is {code(str(each.value).lower())}: {HEADLINES.get(each.headline, prose(each.headline))}"
        for each in module.would_change[:_MAX_CHANGES]
    ]
    open_questions = [code(each) for each in module.questions]
    return [*named, *([f"Not known yet: {', '.join(open_questions)}."] if open_questions else [])]


def _patterns_in_code(catalog: Catalog) -> Iterator[tuple[str, str]]:
    """Yield the keys of the patterns that the code has, each with the names of its parts as Markdown."""
    names: dict[str, list[str]] = {}
    for each in (*catalog.producers, *catalog.consumers):
        names.setdefault(each.kind, []).append(each.name)
    boundaries = names.get("boundary", [])
    parts = {
        "event_sourcing": [f"streams {codes(catalog.categories)}"] if catalog.categories else [],
        "boundary": [f"decisions {codes(dict.fromkeys(boundaries))}"] if boundaries else [],
        "outbox": [f"functions {codes(names['outbox'])}"] if "outbox" in names else [],
        "projections": [f"read models {codes(names['read model'])}"] if "read model" in names else [],
        "reactors": [f"handlers {codes(names['reactor'])}"] if "reactor" in names else [],
        "published": [f"consumers {codes(names.pop('external'))}"] if _has_external_consumer(catalog) else [],
    }
    yield from ((key, ", ".join(found)) for key, found in parts.items() if found)


def _has_external_consumer(catalog: Catalog) -> bool:
    return any(each.kind == "external" for each in catalog.consumers)


def _patterns(facts: DesignFacts, catalog: Catalog) -> str:
    found = list(_patterns_in_code(catalog))
    if not found:
        return "The app declares event types only: nothing in the code makes a decision or reads an event."
    rows = [
        (PATTERNS[key].title, where, PATTERNS[key].rationale, PATTERNS[key].rejected, PATTERNS[key].change)
        for key, where in found
    ]
    columns = ("Pattern in the code", "Where", "Rationale", "Rejected alternative", "What would change the verdict")
    texts = [table(columns, rows), *_contradictions(facts.modules, {key for key, _ in found})]
    return "\n\n".join(texts)


def _contradictions(modules: Iterable[ModuleFacts], found: set[str]) -> Iterator[str]:
    """Yield where the code has less or more than was recommended for any module."""
    modules = list(modules)
    if not modules:
        return
    advised = {key for each in modules for key in each.patterns.values()}
    for key in ("event_sourcing", "outbox", "projections"):
        title = _lower(PATTERNS[key].title)
        if key in advised - found:
            yield f"Recommended and not in the code: {title}."
        elif key in found - advised:
            yield f"In the code and not recommended: {title}.\nWrite the reason below, or remove it."


# Event Catalog


def _event_catalog(catalog: Catalog | None) -> Iterator[GeneratedPart]:
    if catalog is None:
        yield GeneratedPart("events", _PLAN)
        return
    anchors = _anchors(catalog)
    rows = [_catalog_row(each, anchors[each.type], catalog) for each in catalog.events]
    texts = [table(CATALOG_COLUMNS, rows), *_evidence(catalog)]
    if not catalog.events:
        texts.append("The app declares no event types.")
    if untyped := [each.name for each in catalog.consumers if each.undeclared]:
        texts.append(f"These read the events of all types that the app does not declare: {codes(untyped)}.")
    yield GeneratedPart("events", "\n\n".join(texts))
    if diagram := flow_diagram(catalog):
        yield GeneratedPart("flow", f"```mermaid\n{diagram}\n```")


_PLAN: Final = """There is no code yet. Fill in the table below, one event type a line:
its stored name, which command makes it, which code and which programs read it, and the schema version.
As soon as there is code, `fait design check` compares the lines with it."""


def planned_table(advice: Advice | None) -> str:
    """Return the table of planned events for a new plan: those that the description names, else a line to fill in."""
    named = [(code(name), "", "", "") for name in (named_events(advice) if advice else ())]
    return table(CATALOG_COLUMNS, named or [("", "", "", "")])


def _catalog_row(event: EventEntry, link: str, catalog: Catalog) -> tuple[str, ...]:
    consumers = [f"{code(each.name)} ({each.kind})" for each in catalog.consumers_of(event.type)]
    producers = [f"{code(each.name)} ({each.kind})" for each in catalog.producers_of(event.type)]
    schema = f"[version {event.version}](#{link}), {event.lock}"
    return (
        code(event.type),
        ", ".join(producers) or "not found in the code",
        ", ".join(consumers) or "none",
        schema,
    )


def _anchors(catalog: Catalog) -> dict[str, str]:
    """Return the anchor of each type's heading; a second heading with the same one gets a number."""
    found: dict[str, str] = {}
    counts = Counter[str]()
    for each in catalog.events:
        name = anchor(each.type)
        found[each.type] = f"{name}-{counts[name]}" if counts[name] else name
        counts[name] += 1
    return found


def _evidence(catalog: Catalog) -> Iterator[str]:
    """Yield how the producers are known, and where the source does not show what is made."""
    how = {
        "code": "Found in the source, where they call the event's class",
        "annotation": "Declared by the annotation of their result",
        "declared": "Declared in pyproject.toml",
    }
    for evidence, words in how.items():
        if names := [each.name for each in catalog.producers if each.evidence == evidence]:
            yield f"{words}: {codes(names)}."
    if unknown := [each.name for each in catalog.producers if each.evidence == "none"]:
        yield f"The source does not show which events these make: {codes(unknown)}."
    if missing := [each.type for each in catalog.events if not catalog.producers_of(each.type)]:
        yield (
            f"No producer was found for {codes(missing)}.\nIf another program makes them, or code that the source does "
            "not show, declare it in `[[tool.fait.producers]]` of pyproject.toml."
        )
    for each in (each for each in catalog.producers if each.issues):
        yield f"The handler {code(each.name)} issues {codes(each.issues)}."


# Event Schema


def _event_schema(catalog: Catalog | None) -> Iterator[GeneratedPart]:
    if catalog is None or not catalog.events:
        yield GeneratedPart("schemas", "There are no event types." if catalog else _PLANNED_SCHEMA)
    for each in catalog.events if catalog else ():
        yield GeneratedPart(f"schema:{quote(each.type, safe='.')}", _schema(each))


_PLANNED_SCHEMA: Final = """Write the JSON of each planned event below, with an example.
Once its class exists, `fait design` writes its JSON Schema and an example here."""


def _schema(event: EventEntry) -> str:
    facts = [f"Version {event.version}, {event.lock}", f"class {code(event.place)}"]
    if event.former_names:
        facts.append(f"formerly {codes(event.former_names)}")
    texts = [f"### {code(event.type)}", prose(event.meaning), f"{', '.join(facts)}."]
    texts += ["JSON Schema of its data:", json_block(event.schema), "Example, generated:"]
    texts.append(json_block(event.example) if event.example is not None else "No example could be generated.")
    return "\n\n".join(filter(None, texts))


# Delivery Guarantee

_DELIVERIES: Final = {
    "with_checkpoint": "each event changes its rows once: rows and checkpoint are one transaction",
    "at_least_once": "at least once; `ctx.execute` and events of the context take effect once",
    "on_decision": "read when a command decides; the append fails if another matching event was recorded",
    "not_declared": "not declared; treat as at least once",
}
_ORDERS: Final = {"log": "the events of each key, in the order of the log", "not_declared": "not declared"}

_GUARANTEES: Final = {
    "event_sourcing": (
        "Decisions: a decision and its events are one append, so all of them are stored, or none.",
        "An expected version rejects the append if the stream has changed, and the command decides again.",
    ),
    "boundary": (
        "Boundaries: the append is rejected if another event that matches the query was recorded in the meantime.",
    ),
    "outbox": (
        "Outbox: an event is stored if, and only if, the application's transaction commits.",
        "Consumers receive it at least once, so they must be idempotent.",
    ),
    "log_as_outbox": (
        "Delivery from the log: subscriptions read events that are stored, at least once.",
        "Consumers must be idempotent.",
    ),
    "cdc": ("Change data capture: at least once, in the order that the tool which reads the database promises.",),
    "async_messaging": (
        "Simple messages: sent after the commit, without an outbox, so a crash in between loses them.",
        "Consumers may also receive one twice, so they must be idempotent.",
    ),
    "in_process": ("Calls in the same process: in the caller's transaction, or not at all.",),
    "projections": (
        "Read models: rows and checkpoint are written in one transaction, so each event changes its rows once.",
    ),
    "reactors": (
        "Handlers: at least once, with idempotent effects.",
        "Statements of `ctx.execute` and events of the context are stored with the checkpoint: they take effect once.",
        "Other effects may be repeated after a crash: use the event's id as an idempotency key.",
    ),
}


def _delivery(used: Iterable[str], catalog: Catalog | None) -> str:
    promises = [_item(_GUARANTEES[key]) for key in used if key in _GUARANTEES]
    texts = [bullets(promises) if promises else "No event leaves a transaction, so there is nothing to deliver."]
    if promises:
        texts.append("Order, failures and recovery of subscriptions:\n\n" + bullets(map(_item, _FAILURES)))
    if catalog is not None and catalog.consumers:
        texts.append(table(_CONSUMER_COLUMNS, map(_consumer_row, catalog.consumers)))
    if catalog is not None and (expiring := [each for each in catalog.events if each.retention_s is not None]):
        rows = [(code(each.type), _duration(each.retention_s or 0)) for each in expiring]
        texts.append(table(("Expiring event", "Kept at least"), rows))
    return "\n\n".join(texts)


def _item(sentences: Iterable[str]) -> str:
    """Return a list item with one sentence a line."""
    return "\n  ".join(sentences)


_FAILURES: Final = (
    (
        "Order: a subscription handles the events of each order key, such as a stream, in the order of the log.",
        "Two subscriptions are independent of each other.",
    ),
    ("Retry: with exponential back-off and jitter.", "Later events of the same key wait; all others are handled."),
    (
        "Parking: after the last attempt, the event and the later ones of its key are set aside.",
        "As the policy says, the event is skipped instead, or the subscription is paused.",
    ),
    (
        "Redrive: deploy corrected code, then redrive the parked keys; `fait rebuild` builds a read model again.",
        "A skipped event is not handled again, except by a rebuild of a read model.",
    ),
)

_CONSUMER_COLUMNS: Final = ("Consumer", "Kind", "Delivery", "Order", "Start", "After a failure", "Batch and timeout")


def _consumer_row(consumer: EventConsumer) -> tuple[str, ...]:
    limits = f"{consumer.batch}, {consumer.timeout_s:g} s" if consumer.batch else "–"
    versions = f", reads {codes(consumer.versions)}" if consumer.versions else ""
    return (
        code(consumer.name),
        consumer.kind + versions,
        _DELIVERIES[consumer.delivery],
        _ORDERS[consumer.order],
        consumer.start or "–",
        consumer.retry or "–",
        limits,
    )


def _duration(seconds: float) -> str:
    days = seconds / 86_400
    return f"{days:g} days" if days == int(days) else f"{seconds:g} s"


# Versioning Strategy

_RULES: Final = (
    ("A stored event never changes.", "A change of a published type is a new schema version."),
    (
        "A field with a default may be added without an upcaster.",
        "Any other change gets an upcaster, which converts older events when they are read.",
    ),
    (
        "A published version is locked in a file.",
        "`fait schema check` proves in continuous integration that every locked version can still be read.",
    ),
    (
        "A type that is renamed keeps its former name in `was=`.",
        "For a rolling deployment, a downcaster lets older programs read the new version.",
    ),
    ("After a change of its events, a read model is built again: `fait rebuild`.",),
)


def _versioning(catalog: Catalog | None) -> str:
    texts = [bullets(map(_item, _RULES))]
    if catalog is not None and catalog.events:
        columns = ("Event Type", "Version", "Lock", "Locked versions", "Former names", "How earlier versions are read")
        texts.append(table(columns, map(_version_row, catalog.events)))
    if catalog is not None and catalog.retired:
        steps = [f"{code(each.source)}: {_step(each)}" for each in catalog.retired]
        texts.append("Types without a class:\n\n" + bullets(steps))
    return "\n\n".join(texts)


def _version_row(event: EventEntry) -> tuple[str, ...]:
    steps = "; ".join(f"{code(each.source)} {_step(each)}" for each in event.steps)
    locked = ", ".join(map(str, event.locked_versions)) or "–"
    others = "as they are" if event.version > 1 else "–"
    return code(event.type), str(event.version), event.lock, locked, codes(event.former_names), steps or others


def _step(step: VersionStep) -> str:
    target = f"becomes {code(step.target)}" if step.target else "is dropped"
    backward = " for older programs" if step.backward else ""
    return f"{target}{backward} ({prose(step.change)})"


# Tradeoffs


def _tradeoffs(used: Iterable[str]) -> str:
    rows = [
        (PATTERNS[key].title, each.complexity, each.benefit, each.mitigation)
        for key in used
        for each in PATTERNS[key].tradeoffs
    ]
    if not rows:
        return "No pattern is in use, so no complexity is added and no benefit is gained."
    return table(("Pattern", "Complexity added", "Benefit gained", "Mitigation"), rows)
