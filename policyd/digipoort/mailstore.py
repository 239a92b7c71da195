"""Looks into this host's mailboxes through doveadm, and purges them while no POP3 session has them open.

Dovecot owns the mailboxes: all that is counted or deleted, it counts and deletes. Only the lock of a POP3 session is
taken here, because doveadm does not: `pop3_lock_session` makes a session hold the file `dovecot-pop3-session.lock` in
the Maildir (Dovecot's src/pop3/pop3-client.c), and what doveadm expunges under a session is gone for that session.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

DOVEADM: Final = "/usr/bin/doveadm"
SESSION_LOCK: Final = "dovecot-pop3-session.lock"
_LOOK_SECONDS: Final = 3600.0
# Dovecot takes a lock for forgotten after 300 seconds: what is done under it, three commands, must end before.
_LOCKED_SECONDS: Final = 90.0
# A login waits ten seconds for the lock before it is told [IN-USE].
_LOCKED_AT_ONCE: Final = 20


class DoveadmError(Exception):
    """Doveadm did not do all that was asked; the message is a sentence for the admin. Trying again may help."""


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
class Purged:
    """A mailbox with expired messages: how many were deleted, or, when a session was open, were not (`busy`)."""

    mailbox: str
    messages: int
    busy: bool = False


def usage(store: MailStore, mailboxes: Sequence[str]) -> dict[str, Usage]:
    """Return what each mailbox holds; one that has got no mail yet holds nothing. Raises DoveadmError and OSError."""
    found = dict.fromkeys(mailboxes, Usage())
    values: dict[str, dict[str, tuple[str, str]]] = {}
    with _asked(store, ("quota", "get"), (), _with_mail(store, mailboxes), _LOOK_SECONDS) as rows:
        for user, _root, kind, value, limit, *_ in rows:
            values.setdefault(_mailbox_of(user), {})[kind] = (value, limit)
    for mailbox, kinds in values.items():
        kibibytes, limit = kinds["STORAGE"]
        # A hyphen stands for no limit.
        found[mailbox] = Usage(int(kinds["MESSAGE"][0]), int(kibibytes), int(limit) if limit.isdecimal() else 0)
    return found


def expired(store: MailStore, mailboxes: Sequence[str], before: int) -> dict[str, int]:
    """Return how many messages of each mailbox were stored before a moment (Unix time); mailboxes with none left out.

    What counts is when a message came into the mailbox on this host's disk: after a restore without Dovecot's indexes
    it is that moment. Raises DoveadmError and OSError.
    """
    return _expired(store, _with_mail(store, mailboxes), before, _LOOK_SECONDS)


def purge(store: MailStore, mailboxes: Sequence[str], before: int) -> Iterator[Purged]:
    """Delete every message of these mailboxes that was stored before a moment (Unix time); yield what became of each.

    A mailbox with an open POP3 session is left as it is. Raises DoveadmError and OSError, after it told what was
    deleted until then.
    """
    for start in range(0, len(mailboxes), _LOCKED_AT_ONCE):
        yield from _purge_together(store, mailboxes[start : start + _LOCKED_AT_ONCE], before)


def _purge_together(store: MailStore, mailboxes: Sequence[str], before: int) -> Iterator[Purged]:
    fault: DoveadmError | None = None
    with contextlib.ExitStack() as locks:
        held = [mailbox for mailbox in mailboxes if locks.enter_context(session_lock(store.folder(mailbox)))]
        there = _expired(store, held, before, _LOCKED_SECONDS)
        try:
            with _asked(store, ("expunge",), _query(before), list(there), _LOCKED_SECONDS):
                pass
        except DoveadmError as error:
            fault = error
        # Counted again, not believed: a command that failed has deleted some.
        left = _expired(store, list(there), before, _LOCKED_SECONDS)
    for mailbox, messages in there.items():
        yield Purged(mailbox, messages - left.get(mailbox, 0))
    busy = [mailbox for mailbox in mailboxes if mailbox not in held]
    for mailbox, messages in _expired(store, busy, before, _LOOK_SECONDS).items():
        yield Purged(mailbox, messages, busy=True)
    if fault is not None:
        raise fault


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


def _expired(store: MailStore, mailboxes: Sequence[str], before: int, seconds: float) -> dict[str, int]:
    with _asked(store, ("search",), _query(before), mailboxes, seconds) as rows:
        return dict(Counter(_mailbox_of(row[0]) for row in rows))


def _query(before: int) -> tuple[str, ...]:
    return ("mailbox", "INBOX", "savedbefore", str(before))


def _with_mail(store: MailStore, mailboxes: Sequence[str]) -> list[str]:
    """Return the mailboxes that have a folder: doveadm would make one for each that it is asked about."""
    return [mailbox for mailbox in mailboxes if store.folder(mailbox).is_dir()]


def _mailbox_of(user: str) -> str:
    return user.partition("@")[0]


@contextlib.contextmanager
def _asked(
    store: MailStore, command: Sequence[str], query: Sequence[str], mailboxes: Sequence[str], seconds: float
) -> Iterator[Iterator[list[str]]]:
    """Yield the rows that one doveadm command prints about all these mailboxes, read as they are needed.

    Raises DoveadmError: doveadm's exit status alone does not tell that a user could not be looked up.
    """
    if not mailboxes:
        yield iter(())
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
        if done.returncode or "Error: " in done.stderr or "Fatal: " in done.stderr:
            said = done.stderr.partition("\n")[0] or f"exit status {done.returncode}"
            raise DoveadmError(f"doveadm {' '.join(command)} failed: {said}")
        printed.seek(0)
        # The first line names the columns.
        next(printed, None)
        yield (line.rstrip("\n").split("\t") for line in printed)
