"""What PostgreSQL's errors mean, in sentences for an admin.

The constraints of the schema are the rules of the gateway, so each constraint has its sentence here; a test reads the
constraints from a real directory and keeps the list complete.
"""

from __future__ import annotations

from typing import Final

from psycopg import errors

SENTENCES: Final[dict[str, str]] = {
    "code_check": "A code is 1 to 32 characters, A-Z, 0-9, '-' and '_', and starts with a letter or digit.",
    "mail_address_check": (
        "A logical address is in lower case, without quotes, at most 254 characters long (64 before the @), "
        "and has a domain with a dot."
    ),
    "party_code_key": "There is a party with this code already.",
    "party_name_check": "A party needs a name.",
    "party_kind_check": "A party is private or government.",
    "flow_code_key": "There is a flow with this code already.",
    "flow_name_check": "A flow needs a name.",
    "flow_owner_kind_check": "A flow is owned by a government party.",
    "flow_owner_id_owner_kind_fkey": "A flow is owned by a government party; this party is private.",
    "flow_size_limit_check": "A size limit is a number of octets above zero.",
    "flow_interface_check": "An interface profile is a JSON object.",
    "flow_resubmission_check": "A flow's policy for resubmissions is accept, refuse or tell.",
    "destination_domain_key": "There is a destination for this domain already.",
    "destination_domain_check": "A destination's domain is in lower case and has a dot.",
    "destination_nexthop_check": "A nexthop is host, [host], host:port or [host]:port.",
    "destination_tls_level_check": "A TLS level is encrypt, dane-only, fingerprint, verify or secure.",
    "destination_transport_check": "A transport is smtp, or agency-NAME with NAME in lower case.",
    "destination_tls_match_check": "A TLS match is a name, or a fingerprint in hexadecimal.",
    "destination_fingerprint_needs_match": "The TLS level fingerprint needs a match: the certificate's fingerprint.",
    "target_kind_check": "A target is a mailbox or a remote address.",
    "target_mailbox_key": "There is a mailbox with this id already.",
    "target_mailbox_check": "A mailbox id is 4 to 32 characters, a-z and 0-9.",
    "target_local_part_check": "The part before the @ is in lower case, without quotes, at most 64 characters long.",
    "target_destination_id_fkey": "The physical domain has no destination, or its destination is still in use.",
    "target_destination_id_local_part_key": "This physical address is registered already.",
    "target_party_id_party_kind_fkey": "The target's party is unknown, is of another kind, or is still in use.",
    "target_mailbox_has_id": "A mailbox has an id, and nothing else has one.",
    "target_remote_has_address": "A remote target has a local part and a destination, and nothing else has them.",
    "target_remote_is_government": "Only a government party has physical addresses; a private party has mailboxes.",
    "address_address_key": "This logical address exists already.",
    "address_party_id_party_kind_fkey": "The address's party is unknown, is of another kind, or is still in use.",
    "address_target_id_party_id_fkey": "The mailbox or physical address belongs to another party than the address.",
    "address_flow_id_party_id_fkey": "The flow belongs to another party: an address has a flow of its own party.",
    "address_flow_by_kind": "A government address has exactly one flow; a private address is connected to flows.",
    "connection_address_kind_check": "Only private addresses are connected to flows.",
    "connection_address_id_address_kind_fkey": (
        "Only private addresses are connected to flows; this is a government party's address."
    ),
    "connection_flow_id_fkey": "The flow is unknown, or still has connections.",
    "connection_period_check": "A connection ends on or after the day on which it starts.",
    "connection_no_overlap": "The address is connected to this flow already in (a part of) this period.",
    "credential_login_key": "This login exists already.",
    "credential_login_check": (
        "A login is 1 to 128 characters, a-z, 0-9, '.', '_', '@' and '-', and starts with a letter or digit."
    ),
    "credential_party_id_fkey": "The party is unknown, or still has credentials.",
    "credential_password_hash_check": "A password is stored as a hash, which starts with '$'.",
    "credential_services_check": "The services of a credential are pop3, submission or both.",
    "credential_mailbox_kind_check": "A credential opens a mailbox, not another target.",
    "credential_mailbox_id_party_id_mailbox_kind_fkey": "A credential opens a mailbox of its own party only.",
    "credential_certificate_fingerprint_check": "A certificate fingerprint is 32 pairs of 0-9 and A-F, colons between.",
    "credential_certificate_subject_check": "A certificate's subject is a common name: 1 to 256 printable characters.",
    "credential_certificate_suffices_check": (
        "A certificate suffices only for a credential that has a fingerprint or a subject, and the service submission."
    ),
    "credential_certificate": "This certificate suffices for another credential already.",
    "credential_period_check": "A credential ends on or after the day on which it starts.",
    "credential_networks_check": "A credential has at most 64 networks.",
    "credential_pop3_needs_mailbox": "A credential with the service pop3 needs a mailbox.",
    "submission_party_id_fkey": "A submission is remembered for a party that exists.",
    "submission_message_check": "A submission is remembered by a hash of 32 octets.",
    "submission_digest_check": "A digest has 32 octets.",
    "submission_reference_check": "A reference is DP-, eight digits, - and 16 characters.",
}

# The first that fits counts; errors of one constraint are not here.
_KINDS: Final[tuple[tuple[type[errors.Error], str], ...]] = (
    (errors.LockNotAvailable, "Another change of the directory is under way and does not end; try again later."),
    (errors.OperationalError, "The directory cannot be used now: {detail}."),
    (errors.NotNullViolation, "A value is missing: {column}."),
    (errors.UndefinedTable, "The directory has no tables of digipoort: run digipoort migrate."),
    (errors.InsufficientPrivilege, "The database role may not do this: {detail}."),
    (errors.ReadOnlySqlTransaction, "This server takes no changes: DIRECTORY_WRITE_DSN must name the primary."),
)


def is_temporary(error: errors.Error) -> bool:
    """Tell whether trying again later can help: the directory is down, restarting, overloaded or busy."""
    return isinstance(error, errors.OperationalError)


def sentence(error: errors.Error) -> str:
    """Return what an error of the directory means for the admin: one line, without SQL."""
    for kind, text in _KINDS:
        if isinstance(error, kind):
            return text.format(detail=_first_line(error), column=error.diag.column_name)
    name = error.diag.constraint_name
    if name is None:
        return f"The directory refuses: {_first_line(error)}."
    return SENTENCES.get(name, f"The directory refuses the change: constraint {name}.")


def _first_line(error: errors.Error) -> str:
    text = error.diag.message_primary or str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")
