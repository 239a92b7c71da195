"""The MIME header of one entity, judged: what the part is, and what is wrong with how it says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from digipoort import reasons
from digipoort.interface.fields import unfolded
from digipoort.interface.file_names import NameInvalidError, file_name, name_findings
from digipoort.interface.mime_fields import (
    ContentType,
    Disposition,
    is_mime_version,
    parse_content_type,
    parse_disposition,
    parse_transfer_encoding,
)
from digipoort.reasons import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from digipoort.interface.fields import HeaderField
    from digipoort.interface.profile import InterfaceProfile

# In the spelling of findings.
_NAMES: Final = ("MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition")
MIME_FIELDS: Final = frozenset(name.lower() for name in _NAMES)
_TOP: Final = "0"
_ENCODINGS: Final = frozenset({"7bit", "8bit", "base64", "quoted-printable"})
_COMPOSITE_ENCODINGS: Final = frozenset({"7bit", "8bit"})
_REPORTS: Final = frozenset({"message/delivery-status", "message/disposition-notification"})
_REPORT_TYPES: Final = frozenset({b"", b"delivery-status", b"disposition-notification"})


@dataclass(frozen=True, slots=True)
class PartHeader:
    """What a part's header says, as far as it could be read, and the findings about it."""

    content_type: ContentType
    encoding: str
    is_attachment: bool
    findings: tuple[Finding, ...]


def judge_part_header(
    fields: Sequence[HeaderField], part: str, default_type: ContentType, profile: InterfaceProfile
) -> PartHeader:
    """Judge the fields, all of MIME_FIELDS, of the entity numbered `part`, of `default_type` without Content-Type.

    Of a repeated field the first counts for what follows.
    """
    values: dict[str, list[bytes]] = {}
    for name, value in fields:
        values.setdefault(name.lower(), []).append(value)
    findings = [
        Finding(reasons.MIME_FIELD_REPEATED, {"header": name, "part": part})
        for name in (_NAMES if len(values) < len(fields) else ())
        if len(values.get(name.lower(), ())) > 1
    ]
    versions = values.get("mime-version", ())
    if part == _TOP and fields and not (versions and all(map(is_mime_version, versions))):
        findings.append(Finding(reasons.MIME_VERSION_INVALID))
    types = values.get("content-type", ())
    given = _read_content_type(types, part, findings)
    content_type = given or default_type
    encoding = _read_encoding(values.get("content-transfer-encoding", ()), content_type, part, findings)
    disposition = _read_disposition(values.get("content-disposition", ()), part, findings)
    is_named = _read_name(given, disposition, part, findings, profile)
    if given is not None:
        findings += _type_findings(given, part, profile)
    elif not content_type.is_composite and not types:
        findings += _allowed_findings(content_type, part, profile)
    attachment = is_named or (disposition is not None and disposition.kind == "attachment")
    return PartHeader(content_type, encoding, attachment and not content_type.is_composite, tuple(findings))


def _read_content_type(values: Sequence[bytes], part: str, findings: list[Finding]) -> ContentType | None:
    if not values:
        return None
    content_type = parse_content_type(values[0])
    if content_type is None:
        findings.append(Finding(reasons.CONTENT_TYPE_INVALID, {"part": part}))
    return content_type


def _read_encoding(values: Sequence[bytes], content_type: ContentType, part: str, findings: list[Finding]) -> str:
    """Return the transfer encoding, 8bit when it cannot be read: its contents are then not judged by another."""
    if not values:
        return "7bit"
    encoding = parse_transfer_encoding(values[0])
    if encoding not in (_COMPOSITE_ENCODINGS if content_type.is_composite else _ENCODINGS):
        findings.append(Finding(reasons.TRANSFER_ENCODING_INVALID, {"part": part}))
        return "8bit"
    return encoding or "8bit"


def _read_disposition(values: Sequence[bytes], part: str, findings: list[Finding]) -> Disposition | None:
    if not values:
        return None
    disposition = parse_disposition(values[0])
    if disposition is None:
        findings.append(Finding(reasons.DISPOSITION_INVALID, {"part": part}))
    return disposition


def _read_name(
    content_type: ContentType | None,
    disposition: Disposition | None,
    part: str,
    findings: list[Finding],
    profile: InterfaceProfile,
) -> bool:
    """Judge the part's file name; tell whether it has one."""
    try:
        name = file_name(content_type, disposition)
    except NameInvalidError as error:
        findings.append(Finding(reasons.FILE_NAME_INVALID, {"cause": str(error), "part": part}))
        return True
    if name is None:
        return False
    findings += name_findings(name, part, profile)
    return True


def _type_findings(content_type: ContentType, part: str, profile: InterfaceProfile) -> list[Finding]:
    media_type = content_type.media_type
    parameters = {"type": media_type, "part": part}
    findings = []
    if _is_listed(media_type, profile.forbidden_media_types):
        findings.append(Finding(reasons.TYPE_FORBIDDEN, parameters))
    elif not content_type.is_composite:
        findings += _allowed_findings(content_type, part, profile)
    if content_type.is_text and b"charset" not in content_type.parameters:
        findings.append(Finding(reasons.CHARSET_MISSING, {"part": part}))
    report_type = unfolded(content_type.parameters.get(b"report-type", b"")).lower()
    report = media_type == "multipart/report" and report_type in _REPORT_TYPES
    if part == _TOP and (report or media_type in _REPORTS):
        findings.append(Finding(reasons.REPORT_SUBMITTED))
    return findings


def _allowed_findings(content_type: ContentType, part: str, profile: InterfaceProfile) -> list[Finding]:
    media_type = content_type.media_type
    if not profile.allowed_media_types or _is_listed(media_type, profile.allowed_media_types):
        return []
    return [Finding(reasons.TYPE_NOT_ALLOWED, {"type": media_type, "part": part})]


def _is_listed(media_type: str, listed: Sequence[str]) -> bool:
    return media_type in listed or f"{media_type.partition('/')[0]}/*" in listed
