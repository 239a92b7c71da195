"""`digipoort lint`: judges message files as the gateway would, without a gateway, a directory or settings."""

from __future__ import annotations

import json
import operator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from digipoort.cli import completion, frame, output
from digipoort.cli.failures import EXIT_REFUSED, Failure
from digipoort.directory.objects import DEFAULT_SIZE_LIMIT
from digipoort.interface import message_file
from digipoort.interface.profile import InterfaceProfile, ProfilesInvalidError
from digipoort.mapcontents import PROFILES
from digipoort.profiles import FlowProfile, parse_profiles
from digipoort.reasons import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from digipoort.interface.message_file import Note, Verdict

# Far above any flow's limit: a wrong file name must not fill the memory.
MAX_FILE_OCTETS: Final = 100_000_000
STANDARD_INPUT: Final = "-"
_DEFAULT_FLOW: Final = FlowProfile("default", DEFAULT_SIZE_LIMIT, InterfaceProfile())


@dataclass(frozen=True, slots=True)
class _Judged:
    """A file and the verdict on it."""

    name: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class _Words:
    """What a table says, in one language."""

    accepted: str
    refused: str
    note: str
    heading: tuple[str, str, str]
    finding: Callable[[Finding], str]
    sentence: Callable[[Note], str]


_LANGUAGES: Final = {
    "en": _Words(
        "accepted", "refused", "note", ("PART", "CODE", "FINDING"), Finding.english, operator.attrgetter("english")
    ),
    "nl": _Words(
        "aangenomen", "geweigerd", "let op", ("DEEL", "CODE", "BEVINDING"), Finding.dutch, operator.attrgetter("dutch")
    ),
}


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--flow",
    "code",
    metavar="CODE",
    shell_complete=completion.FLOWS,
    help="Judge by this flow of the published profiles.",
)
@click.option(
    "--profiles",
    "profiles_file",
    metavar="FILE",
    help="The profiles of --flow; otherwise those published on this host.",
)
@click.option("--sender", metavar="ADDRESS", help="The envelope sender (MAIL FROM); otherwise the address in From.")
@click.option(
    "--recipient", "recipients", multiple=True, metavar="ADDRESS", help="An envelope recipient, to be in To or Cc."
)
@click.option("--language", type=click.Choice(list(_LANGUAGES)), default="en", show_default=True, help="Of the table.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of tables.")
@click.pass_context
def lint(  # noqa: PLR0913 - click hands in each option
    context: click.Context,
    files: tuple[str, ...],
    code: str | None,
    profiles_file: str | None,
    sender: str | None,
    recipients: tuple[str, ...],
    language: str,
    *,
    as_json: bool,
) -> None:
    """Judge each message FILE (- is standard input) as the gateway's interface checks would.

    A file that has LF line ends only is taken as what a mail client makes of it. Without --flow the default profile
    counts, with a size limit of 10 MiB. The exit code is 0 when all would be accepted, 1 when one would not, 2 when a
    file cannot be read.

    \b
    Examples: digipoort lint message.eml --flow AGS
              digipoort lint outbox/*.eml --language nl
    """
    if profiles_file is not None and code is None:
        raise click.UsageError("--profiles needs --flow.")
    flow = _DEFAULT_FLOW if code is None else _published_flow(code, profiles_file)
    judged, faults = [], []
    for name in files:
        try:
            judged.append(_Judged(name, message_file.lint(_read(name), flow, sender, recipients)))
        except Failure as fault:
            faults.append(fault.message)
    _show(judged, language, as_json=as_json)
    if faults:
        raise Failure("\n".join(faults), click.UsageError.exit_code)
    if any(item.verdict.findings for item in judged):
        context.exit(EXIT_REFUSED)


def _published_flow(code: str, profiles_file: str | None) -> FlowProfile:
    path = str(frame.admin_settings().maps_directory / PROFILES) if profiles_file is None else profiles_file
    try:
        flows = parse_profiles(_read(path)).flows
    except ProfilesInvalidError as error:
        raise Failure(f"{path}: {error}", click.UsageError.exit_code) from error
    if code not in flows:
        raise click.BadParameter(f"{code} is not one of {', '.join(sorted(flows)) or '(none)'}.", param_hint="--flow")
    return flows[code]


def _read(name: str) -> bytes:
    """Return a file's octets. Raises Failure when it cannot be read, or has more than MAX_FILE_OCTETS."""
    try:
        if name == STANDARD_INPUT:
            content = click.get_binary_stream("stdin").read(MAX_FILE_OCTETS + 1)
        else:
            with Path(name).open("rb") as stream:
                content = stream.read(MAX_FILE_OCTETS + 1)
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL in it
        raise Failure(f"{name}: {getattr(error, 'strerror', None) or error}.", click.UsageError.exit_code) from error
    if len(content) > MAX_FILE_OCTETS:
        raise Failure(f"{name}: larger than {MAX_FILE_OCTETS} octets.", click.UsageError.exit_code)
    return content


def _show(judged: Sequence[_Judged], language: str, *, as_json: bool) -> None:
    if as_json:
        # ASCII: what a hostile message holds must not steer a terminal.
        click.echo(json.dumps([_as_json(item) for item in judged], indent=2))
        return
    for item in judged:
        for line in _lines(item, _LANGUAGES[language]):
            click.echo(line)


def _lines(item: _Judged, words: _Words) -> Iterator[str]:
    verdict = item.verdict
    said = (
        words.refused if verdict.findings else f"{words.accepted} ({verdict.measures.octets} octets, {verdict.digest})"
    )
    yield from output.table([[f"{item.name}: {said}"]])
    if verdict.findings:
        rows = [
            (finding.parameters.get("part", "-"), finding.reason.code, words.finding(finding))
            for finding in verdict.findings
        ]
        yield from (f"  {line}" for line in output.table([words.heading, *rows]))
    yield from (f"  {words.note}: {words.sentence(note)}" for note in verdict.notes)


def _as_json(item: _Judged) -> Mapping[str, Any]:
    verdict = item.verdict
    return {
        "file": item.name,
        "accepted": not verdict.findings,
        "octets": verdict.measures.octets,
        "digest": verdict.digest,
        "findings": [
            {
                "code": finding.reason.code,
                "smtp": finding.reason.smtp,
                "status": finding.reason.status,
                "parameters": finding.parameters,
                "english": finding.english(),
                "dutch": finding.dutch(),
            }
            for finding in verdict.findings
        ],
        "notes": [{"english": note.english, "dutch": note.dutch} for note in verdict.notes],
    }
