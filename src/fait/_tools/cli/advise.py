"""`fait advise`: which patterns a system needs, or none, with reasons. It reads a text or facts, or asks."""

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from fait._advice.facts import Module, read_modules
from fait._advice.questions import QUESTIONS, open_questions
from fait._advice.reading.read import MAX_TEXT_BYTES, read
from fait._advice.recommend import ModuleRecommendation, Recommendation, recommend
from fait._advice.report import AXIS_WORDS, as_data, summary
from fait._advice.rules import Rule
from fait._design.advice import read_advice
from fait._design.render import render_document
from fait._errors import MissingExtra, UsageError
from fait._tools.cli.design import project_catalog
from fait._tools.cli.design_file import ForceOption, existing_document, write_text
from fait._tools.cli.interview import STATE_FILE, interview
from fait._tools.cli.options import JsonOption
from fait._tools.cli.output import command, count_of, print_json, print_line, print_message
from fait._tools.cli.standard_input import read_bytes

__all__ = ["advise"]

_MAX_FLIPS: Final = 4
"""Maximum number of changes that are listed without --explain."""

_Text = Annotated[str | None, typer.Argument(metavar="DESCRIPTION", help="The system, in your own words, in English.")]
_TextFile = Annotated[
    Path | None, typer.Option("--text", metavar="FILE", allow_dash=True, help="Read the description; - is stdin.")
]
_FactsFile = Annotated[
    Path | None,
    typer.Option("--facts", metavar="FILE", allow_dash=True, help="Read facts as JSON or YAML; - is stdin."),
]
_State = Annotated[
    Path, typer.Option("--state", metavar="FILE", help="Answers of an interview that was quit, to resume it.")
]
_Explain = Annotated[
    bool, typer.Option("--explain", help="Print each rule that applied, its weight, and what would change the result.")
]
_Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", metavar="FILE", help="Also write the design document. Text outside of its markers is kept."
    ),
]
_System = Annotated[
    str | None,
    typer.Option("--system", metavar="NAME", help="Name of the system, for --out. Default: that in the file."),
]


@command
async def advise(
    description: _Text = None,
    text: _TextFile = None,
    facts: _FactsFile = None,
    state: _State = Path(STATE_FILE),
    explain: _Explain = False,
    out: _Out = None,
    system: _System = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Recommend events, an outbox, read models, or plain tables, with reasons.

    Without a description and without facts, the command asks in the terminal. It needs no network and no model.
    """
    if (modules := _modules(description, text, facts, state)) is None:
        return None
    result = recommend(modules)
    if out is not None:
        _write_design(out, result, system, force=force)
    if as_json:
        return print_json(as_data(result))
    return _print(result, explain=explain)


def _write_design(out: Path, result: Recommendation, system: str | None, *, force: bool) -> None:
    """Write the design document of the recommendation, and of the app of the project, if there is one."""
    answer = read_advice(msgspec.json.encode(as_data(result)), "the recommendation")
    catalog = project_catalog(None, None, required=False)
    write_text(out, render_document(catalog, answer, existing_document(out, force=force), system=system))
    print_message(f"{out} written: {count_of(len(answer.modules), 'module')}")


def _modules(description: str | None, text: Path | None, facts: Path | None, state: Path) -> tuple[Module, ...] | None:
    given = [each for each in (description, text, facts) if each is not None]
    if len(given) > 1:
        raise UsageError("pass one of: a description, --text FILE, --facts FILE.")
    if facts is not None:
        return read_modules(_decoded(facts))
    if text is not None:
        return read(_content(text).decode("utf-8", "replace"))
    if description is not None:
        return read(description)
    if not sys.stdin.isatty():
        raise UsageError('describe the system: fait advise "…", or --text FILE, or --facts FILE.')
    return interview(state)


def _content(path: Path) -> bytes:
    """Read a file or standard input, up to one byte more than a description may have."""
    if str(path) == "-":
        return read_bytes(MAX_TEXT_BYTES + 1)
    try:
        with path.open("rb") as file:
            return file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}.") from None


def _decoded(path: Path) -> Any:
    content = _content(path)
    try:
        if path.suffix in {".yaml", ".yml"}:
            return msgspec.yaml.decode(content)
        return msgspec.json.decode(content)
    except ImportError:
        raise MissingExtra("reading facts from YAML", "yaml") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from None


def _print(result: Recommendation, *, explain: bool) -> None:
    print_line(f"{result.headline}: {summary(result)}")
    print_line(f"confidence {result.confidence:.2f}")
    if result.is_unfounded:
        _print_questions()
    for each in () if result.is_unfounded else result.modules:
        _print_module(each, explain=explain)


def _print_questions() -> None:
    for name in open_questions({}):
        question = QUESTIONS[name]
        print_line(f"  {question.text} {' / '.join(question.answers)}")
    print_line("Describe the system in English, or answer the questions with: fait advise")


def _print_module(each: ModuleRecommendation, *, explain: bool) -> None:
    axes = each.decision.axes
    print_line("")
    print_line(f"{each.module.name}: {each.decision.headline}")
    for axis, value in (("leaves by", axes.integration), ("truth in", axes.storage), ("read from", axes.read)):
        print_line(f"  {axis:10}{AXIS_WORDS[value]}")
    if each.decision.is_pilot and each.decision.headline != "crud":
        print_line("  Event sourcing is a candidate: try it in one small module first.")
    for rule in each.decision.rules:
        if rule.weight or rule.gives != "none" or explain:
            _print_rule(each, rule, explain=explain)
    for rule in each.decision.vetoed:
        print_line(f"  veto {rule.because} {rule.source}")
    _print_changes(each, explain=explain)


def _print_rule(each: ModuleRecommendation, rule: Rule, *, explain: bool) -> None:
    sign = "against" if rule.weight < 0 else "because"
    print_line(f"  {sign} {rule.because}{f' ({rule.id}, {rule.weight:+d})' if explain else ''} {rule.source}")
    if quote := each.quote_of(rule):
        print_line(f"    “{' '.join(quote.split())}”")


def _print_changes(each: ModuleRecommendation, *, explain: bool) -> None:
    if explain:
        scores = f"storage {each.decision.storage_score}, read {each.decision.read_score}"
        print_line(f"  scores: {scores}; margin {each.decision.margin}")
    for flip in each.flips if explain else each.flips[:_MAX_FLIPS]:
        question = QUESTIONS[flip.fact]
        answer = dict(question.choices(flip.fact))[flip.value]
        print_line(f"  would change this: {question.text} {answer} → {flip.headline}")
