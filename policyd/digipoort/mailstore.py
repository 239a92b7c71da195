"""Looks into this host's mailboxes through doveadm, and purges them while no POP3 session has them open.

Dovecot owns the mailboxes: all that is counted or deleted, it counts and deletes. Only the lock of a POP3 session is
taken here, because doveadm does not: `pop3_lock_session` makes a session hold the file `dovecot-pop3-session.lock` in
the Maildir (Dovecot's src/pop3/pop3-client.c), and what doveadm expunges under a session is gone for that session.
"""

from __future__ import annotations

import contextlib
import enum
import os
import re
import socket
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

DOVEADM: Final = "/usr/bin/doveadm"
SESSION_LOCK: Final = "dovecot-pop3-session.lock"
_LOOK_SECONDS: Final = 3600.0
# Dovecot takes a lock for forgotten after 300 seconds: what is done under it, three commands, must end before.
_LOCKED_SECONDS: Final = 90.0
# A login waits ten seconds for the lock before it is told [IN-USE].
_LOCKED_AT_ONCE: Final = 20
# What doveadm says of one mailbox of a list, which then goes on. It crashes with Fatal or Panic.
_MAILBOX_ERROR: Final = re.compile(r"doveadm\(([^@)]+)@[^)]*\)(?:<[^>]*>)*: Error: (.*)")
_OTHER_ERROR: Final = re.compile(r"(?:Error|Fatal|Panic): ")

FoundT = TypeVar("FoundT")


class DoveadmError(Exception):
    """Doveadm did not do what was asked, of any mailbox; the message is a sentence for the admin, who may try again."""


@dataclass(frozen=True, slots=True)
class MailStore:
    """Where Dovecot's configuration is, where its mailboxes are, and the domain that makes a user of a mailbox."""

    config: Path
    directory: Path
    domain: str

    def folder(self, mailbox: str) -> Path:
        """Return the Maildir of a mailbox."""
        return self.directory / mailbox / "Maildir"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a mailbox holds, in messages and KiB (1024 octets of CRLF form), and how much mail it takes."""

    messages: int = 0
    kibibytes: int = 0
    limit: int = 0

    @property
    def share(self) -> int:
        """How full it is, in per cent; 0 when there is no limit."""
        return 100 * self.kibibytes // self.limit if self.limit else 0


@dataclass(frozen=True, slots=True)
class Looked(Generic[FoundT]):
    """What was found in each mailbox; `failing`: those that doveadm could not look into, and what it said of each."""

    found: Mapping[str, FoundT]
    failing: Mapping[str, str]


class Outcome(enum.Enum):
    """What became of the expired messages of a mailbox, and so what their number means."""

    DELETED = enum.auto()
    # Counted before, but not after: so many were deleted at most.
    UNCOUNTED = enum.auto()
    # A POP3 session was open: all were left.
    BUSY = enum.auto()


@dataclass(frozen=True, slots=True)
class Purged:
    """A mailbox with expired messages, their number, and what became of them."""

    mailbox: str
    messages: int
    outcome: Outcome = Outcome.DELETED


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of a few mailboxes; `failing` as in Looked: those in which not all was deleted that should be."""

    purged: Sequence[Purged]
    failing: Mapping[str, str]


def usage(store: MailStore, mailboxes: Sequence[str]) -> Looked[Usage]:
    """Return what each mailbox holds; one that has got no mail yet holds nothing. Raises DoveadmError and OSError."""
    with_mail = _with_mail(store, mailboxes)
    values: dict[str, dict[str, tuple[str, str]]] = {}
    with _asked(store, ("quota", "get"), (), with_mail, _LOOK_SECONDS) as answer:
        for user, _root, kind, value, limit, *_ in answer.rows:
            values.setdefault(_mailbox_of(user), {})[kind] = (value, limit)
    found = {mailbox: _usage(kinds) for mailbox, kinds in values.items() if {"STORAGE", "MESSAGE"} <= kinds.keys()}
    # A login that was removed meanwhile: doveadm passes over it without an error.
    untold = dict.fromkeys((one for one in with_mail if one not in found), "doveadm quota get told nothing.")
    empty = dict.fromkeys((one for one in mailboxes if one not in untold), Usage())
    return Looked(empty | found, untold | dict(answer.failing))


def _usage(kinds: Mapping[str, tuple[str, str]]) -> Usage:
    kibibytes, limit = kinds["STORAGE"]
    # A hyphen stands for no limit.
    return Usage(int(kinds["MESSAGE"][0]), int(kibibytes), int(limit) if limit.isdecimal() else 0)


def expired(store: MailStore, mailboxes: Sequence[str], before: int) -> Looked[int]:
    """Return how many messages of each mailbox were stored before a moment (Unix time); mailboxes with none left out.

    What counts is when a message came into the mailbox on this host's disk: after a restore without Dovecot's indexes
    it is that moment. Raises DoveadmError and OSError.
    """
    return _expired(store, _with_mail(store, mailboxes), before, _LOOK_SECONDS)


def holds_mail(folder: Path) -> bool:
    """Tell whether a Maildir has messages, as far as this process may look into it."""
    for name in ("new", "cur"):
        with contextlib.suppress(OSError):
            if any((folder / name).iterdir()):
                return True
    return False


def purge(store: MailStore, mailboxes: Sequence[str], before: int) -> Iterator[Batch]:
    """Delete every message of these mailboxes that was stored before a moment (Unix time); yield what became of each.

    A mailbox with an open POP3 session is left as it is, and one that fails does not hold up the others. Raises
    DoveadmError when no other can be purged either, after it told what was, or may have been, deleted until then.
    """
    for start in range(0, len(mailboxes), _LOCKED_AT_ONCE):
        yield from _purge_together(store, mailboxes[start : start + _LOCKED_AT_ONCE], before)


def _purge_together(store: MailStore, mailboxes: Sequence[str], before: int) -> Iterator[Batch]:
    there: Mapping[str, int] = {}
    left: Looked[int] | None = None
    failing: dict[str, str] = {}
    busy: list[str] = []
    fault: BaseException | None = None
    try:
        with contextlib.ExitStack() as locks:
            held, busy, failing = _locked(locks, store, mailboxes)
            looked = _expired(store, held, before, _LOCKED_SECONDS)
            failing.update(looked.failing)
            there = looked.found
            try:
                with _asked(store, ("expunge",), _query(before), list(there), _LOCKED_SECONDS) as answer:
                    failing.update(answer.failing)
            except DoveadmError as error:
                fault = error
            # Counted again, not believed: a command that failed has deleted some.
            left = _expired(store, list(there), before, _LOCKED_SECONDS)
            failing.update(left.failing)
    except (DoveadmError, KeyboardInterrupt) as error:
        # Kept until all is told: mail may be gone.
        fault = fault or error
    except OSError as error:
        fault = fault or DoveadmError(f"{error.filename or 'The system'}: {error.strerror or error}.")
    yield Batch(_outcomes(there, left, failing), failing)
    if fault is not None:
        raise fault
    if busy:
        waiting = _expired(store, busy, before, _LOOK_SECONDS)
        yield Batch([Purged(*one, Outcome.BUSY) for one in waiting.found.items()], waiting.failing)


def _locked(
    locks: contextlib.ExitStack, store: MailStore, mailboxes: Sequence[str]
) -> tuple[list[str], list[str], dict[str, str]]:
    """Return the mailboxes that were locked, those that a session has locked, and why the others cannot be."""
    held: list[str] = []
    busy: list[str] = []
    failing: dict[str, str] = {}
    for mailbox in mailboxes:
        try:
            (held if locks.enter_context(session_lock(store.folder(mailbox))) else busy).append(mailbox)
        except OSError as error:
            failing[mailbox] = f"cannot be locked: {error.strerror or error}"
    return held, busy, failing


def _outcomes(there: Mapping[str, int], left: Looked[int] | None, failing: Mapping[str, str]) -> list[Purged]:
    """Return what became of the messages that were there; a mailbox that failed and lost none is not among them."""
    if left is None:
        return [Purged(mailbox, messages, Outcome.UNCOUNTED) for mailbox, messages in there.items()]
    purged = []
    for mailbox, messages in there.items():
        if mailbox in left.failing:
            purged.append(Purged(mailbox, messages, Outcome.UNCOUNTED))
            continue
        deleted = messages - left.found.get(mailbox, 0)
        if deleted or mailbox not in failing:
            purged.append(Purged(mailbox, deleted))
    return purged


@contextlib.contextmanager
def session_lock(folder: Path) -> Iterator[bool]:
    """Hold the lock of a POP3 session on a Maildir, as Dovecot's dotlocks do; yield False when another has it.

    A lock that a killed session left is not broken here: the next login does that. Raises OSError.
    """
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            lock = os.open(SESSION_LOCK, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)
        except FileExistsError:
            yield False
            return
        try:
            # So that Dovecot can read who holds it, and break it as soon as that process is gone.
            owner = os.fstat(directory)
            os.fchown(lock, owner.st_uid, owner.st_gid)
            os.write(lock, f"{os.getpid()}:{socket.gethostname()}".encode())
            yield True
        finally:
            _release(lock, directory)
    finally:
        os.close(directory)


def _release(lock: int, directory: int) -> None:
    """Remove the lock, unless a session took it over because it was held for too long."""
    own = os.fstat(lock)
    os.close(lock)
    with contextlib.suppress(FileNotFoundError):
        # In the folder that was opened, wherever its path leads by now: pathlib knows no dir_fd.
        found = os.stat(SESSION_LOCK, dir_fd=directory, follow_symlinks=False)  # noqa: PTH116
        if os.path.samestat(own, found):
            os.unlink(SESSION_LOCK, dir_fd=directory)  # noqa: PTH108


def _expired(store: MailStore, mailboxes: Sequence[str], before: int, seconds: float) -> Looked[int]:
    with _asked(store, ("search",), _query(before), mailboxes, seconds) as answer:
        return Looked(Counter(_mailbox_of(row[0]) for row in answer.rows), answer.failing)


def _query(before: int) -> tuple[str, ...]:
    return ("mailbox", "INBOX", "savedbefore", str(before))


def _with_mail(store: MailStore, mailboxes: Sequence[str]) -> list[str]:
    """Return the mailboxes that have a folder: doveadm would make one for each that it is asked about."""
    return [mailbox for mailbox in mailboxes if store.folder(mailbox).is_dir()]


def _mailbox_of(user: str) -> str:
    return user.partition("@")[0]


@dataclass(frozen=True, slots=True)
class _Answer:
    """The rows about the mailboxes that doveadm could look into, to be read once, and what it said of the others."""

    rows: Iterator[list[str]]
    failing: Mapping[str, str]


@contextlib.contextmanager
def _asked(
    store: MailStore, command: Sequence[str], query: Sequence[str], mailboxes: Sequence[str], seconds: float
) -> Iterator[_Answer]:
    """Yield what one doveadm command prints about all these mailboxes, its rows read as they are needed.

    Raises DoveadmError when something was at fault that is not a single mailbox's.
    """
    if not mailboxes:
        yield _Answer(iter(()), {})
        return
    with (
        tempfile.NamedTemporaryFile("w", prefix="digipoort-mailboxes-", encoding="ascii") as users,
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as printed,
    ):
        users.writelines(f"{mailbox}@{store.domain}\n" for mailbox in mailboxes)
        users.flush()
        arguments = [DOVEADM, "-c", str(store.config), "-f", "tab", *command, "-F", users.name, *query]
        try:
            done = subprocess.run(  # noqa: S603 - a list, no shell; the arguments are settings and our own ids
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DoveadmError(f"doveadm {' '.join(command)} took longer than {seconds:g} seconds.") from error
        failing = _failing(" ".join(command), frozenset(mailboxes), done.returncode, done.stderr)
        printed.seek(0)
        # The first line names the columns.
        next(printed, None)
        rows = (line.rstrip("\n").split("\t") for line in printed)
        # A mailbox that failed has no rows, half of them, or zeros.
        yield _Answer((row for row in rows if _mailbox_of(row[0]) not in failing), failing)


def _failing(command: str, mailboxes: frozenset[str], status: int, said: str) -> dict[str, str]:
    """Return what doveadm said of each mailbox that failed: it goes on with the others then, and may even exit with 0.

    Raises DoveadmError for all else that went wrong.
    """
    failing: dict[str, str] = {}
    for line in said.splitlines():
        of_mailbox = _MAILBOX_ERROR.match(line)
        if of_mailbox and of_mailbox[1] in mailboxes:
            failing.setdefault(of_mailbox[1], f"doveadm {command} failed: {of_mailbox[2]}")
        elif _OTHER_ERROR.search(line):
            raise DoveadmError(f"doveadm {command} failed: {line}")
    # A command that a signal ended has not got to the end of its list.
    if status < 0 or (status and not failing):
        raise DoveadmError(f"doveadm {command} failed: {said.partition(chr(10))[0] or f'exit status {status}'}")
    return failing
