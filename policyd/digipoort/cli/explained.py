"""How `digipoort check` tells its verdicts: the rule that decided, the submitter's texts, and the objects involved."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

import click

from digipoort.cli import output
from digipoort.directory import lookup
from digipoort.directory.objects import Address, Credential, FlowConnection, Party

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from psycopg import Connection
    from psycopg.rows import TupleRow

    from digipoort import decision
    from digipoort.directory.objects import DirectoryObject
    from digipoort.reasons import Finding

_MAX_PERIODS: Final = 20
_ALLOWED: Final = "allowed"
# What an object is to the message, and its values.
Involved: TypeAlias = "tuple[str, Mapping[str, Any]]"
Row_co = TypeVar("Row_co", bound="decision.SubmissionRow | decision.AcceptanceRow", covariant=True)


@dataclass(frozen=True, slots=True)
class Verdict(Generic[Row_co]):
    """One stage's answer, None for allowed, and the row of the directory that it follows from."""

    finding: Finding | None
    row: Row_co

    def code(self) -> str:
        """Return the code of the rule that refuses, or that none does."""
        return _ALLOWED if self.finding is None else self.finding.reason.code


@dataclass(frozen=True, slots=True)
class Judged:
    """A message's envelope as each stage knows it, and both verdicts."""

    asked_submission: decision.Submission
    asked_acceptance: decision.Acceptance
    submission: Verdict[decision.SubmissionRow]
    acceptance: Verdict[decision.AcceptanceRow]

    def is_refused(self) -> bool:
        """Tell whether a stage refuses."""
        return bool(self.submission.finding or self.acceptance.finding)


def involved(connection: Connection[TupleRow], judged: Judged) -> list[Involved]:
    """Return the objects that the message's names stand for: login, addresses, their parties, and connections."""
    login = judged.asked_submission.parameters("")["login"]
    names = judged.asked_acceptance.parameters("")
    found: list[Involved] = [
        *(("login", row) for row in _named(connection, Credential, "login", login)),
        *(("sender", row) for row in _named(connection, Address, "address", names["sender"])),
        *(("recipient", row) for row in _named(connection, Address, "address", names["recipient"])),
    ]
    parties = dict.fromkeys(str(row["party"]) for _, row in found)
    found += [("party", row) for code in parties for row in _named(connection, Party, "party", code)]
    row = judged.acceptance.row
    private = names["sender" if row.sender_kind == "private" else "recipient"]
    if private is not None and row.flow is not None:
        wanted = {"address": private, "flow": row.flow}
        found += [("connection", one) for one in lookup.rows(connection, FlowConnection, wanted, _MAX_PERIODS)]
    return found


def _named(
    connection: Connection[TupleRow], kind: type[DirectoryObject], parameter: str, name: object
) -> list[dict[str, Any]]:
    """Return the object with a name, if there is one; the directory holds nothing that has None for its name."""
    return [] if name is None else lookup.rows(connection, kind, {parameter: name}, 1)


def show(judged: Judged, objects: Sequence[Involved], *, as_json: bool) -> None:
    """Write both verdicts and what they rest on to standard output."""
    stages: dict[str, Verdict[Any]] = {"submission": judged.submission, "acceptance": judged.acceptance}
    if as_json:
        item: dict[str, object] = {stage: _as_json(verdict) for stage, verdict in stages.items()}
        item["involved"] = [{"is": what, **values} for what, values in objects]
        click.echo(json.dumps(item, default=str, ensure_ascii=False, indent=2))
        return
    for stage, verdict in stages.items():
        click.echo(f"{stage}: {_ALLOWED if verdict.finding is None else verdict.finding.reply()}")
        _show_rows([*_told(verdict.finding), *_grounds(verdict)])
    click.echo("involved:")
    _show_rows([(what, _words(values)) for what, values in objects] or [("-", "nothing that the directory knows")])


def _show_rows(rows: Sequence[Sequence[object]]) -> None:
    for line in output.table(rows):
        click.echo(f"  {line}")


def _told(finding: Finding | None) -> Iterator[tuple[str, str]]:
    """Yield the rule that refuses and what the catalogue has on it."""
    if finding is not None:
        yield "rule", finding.reason.code
        yield "english", finding.english()
        yield "dutch", finding.dutch()
        yield "remedy", finding.reason.remedy


def _grounds(verdict: Verdict[Any]) -> Iterator[tuple[str, object]]:
    """Yield what the directory knows, name and value; several values are joined, none is None."""
    for name, value in dataclasses.asdict(verdict.row).items():
        yield name, " ".join(value) or None if isinstance(value, list) else value


def _as_json(verdict: Verdict[Any]) -> dict[str, object]:
    finding = verdict.finding
    reply = None if finding is None else finding.reply()
    return {
        "allowed": finding is None,
        "reply": reply,
        **dict(_told(finding)),
        "decided_by": dataclasses.asdict(verdict.row),
    }


def _words(values: Mapping[str, Any]) -> str:
    """Return an object's values in one line, those that are empty left out; the first one is its name."""
    name, *rest = values
    told = (f"{key}={output.cell(values[key])}" for key in rest if values[key] not in (None, ""))
    return " ".join((str(values[name]), *told))
