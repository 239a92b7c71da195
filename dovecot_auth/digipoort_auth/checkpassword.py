#!/usr/bin/python3 -IS
"""Carry one login from Dovecot 2.3 to authd and the verdict back, by the checkpassword interface.

Dovecot starts one process per login, so that start-up is most of the cost: only modules that are compiled into the
interpreter are imported. It stands alone, is installed without the suffix, and is run as::

    checkpassword AUTHD_SOCKET MAIL_ROOT UID GID SECONDS REPLY [ARGUMENT ...]

Dovecot itself appends REPLY, its checkpassword-reply. Descriptor 3 holds `login NUL password NUL ...`, at most 512
octets. An accepted login executes REPLY with HOME=MAIL_ROOT/mailbox, userdb_uid and userdb_gid in the environment.
Otherwise the exit status tells: 1 refused, 111 no verdict. No verdict within SECONDS is 111 too, because Dovecot waits
150 seconds for a client that hangs.

With AUTHORIZED=1 in the environment Dovecot, as userdb, only asks where a mailbox is, for doveadm, and gives no
password. REPLY is then executed with AUTHORIZED=2; a login that authd does not know is status 3. The protocol is
described in docs/authd-protocol.md.
"""

import _signal
import _socket
import posix
import sys

CREDENTIALS_DESCRIPTOR = 3
MAX_CREDENTIALS_OCTETS = 512
CREDENTIALS_PARTS = 3
MAX_REPLY_OCTETS = 4096
MAX_SECONDS = 60.0
OWN_ARGUMENTS = 6
EXIT_REFUSED = 1
EXIT_UNKNOWN = 3
EXIT_NO_VERDICT = 111
NO_HOME = b"/nonexistent"
MAILBOX_CHARACTERS = b"abcdefghijklmnopqrstuvwxyz0123456789"
MAILBOX_LENGTHS = range(4, 33)
LOGIN_CHARACTERS = MAILBOX_CHARACTERS + b"._@-"
LOGIN_LENGTHS = range(1, 129)


class NoVerdictError(Exception):
    """The login can be neither accepted nor refused; the message tells the admin why."""


def main(arguments: list[str], environment: dict[bytes, bytes]) -> None:
    """Answer one login; never returns: REPLY takes over, or the process ends.

    Raises NoVerdictError, OSError when a system call fails, and ValueError when SECONDS is not a number.
    """
    if len(arguments) <= OWN_ARGUMENTS:
        raise NoVerdictError("usage: checkpassword AUTHD_SOCKET MAIL_ROOT UID GID SECONDS REPLY [ARGUMENT ...]")
    _, socket, root, uid, gid, seconds, *reply = arguments
    account = {b"userdb_uid": _number(uid), b"userdb_gid": _number(gid), b"EXTRA": b"userdb_uid userdb_gid"}
    _start_timer(seconds)
    if b"CREDENTIALS_LOOKUP" in environment:
        # What it asks for is a password: answering would vouch for a login that nobody proved.
        raise NoVerdictError("lookups of a password are not supported")
    lookup = environment.get(b"AUTHORIZED") == b"1"
    service = environment.get(b"SERVICE", b"")
    login, password = read_credentials()
    if lookup:
        line = ask(socket, lookup_request(service, login))
    else:
        client = environment.get(b"TCPREMOTEIP") or environment.get(b"AUTH_RIP", b"")
        secured = bool(environment.get(b"AUTH_SECURED"))
        line = ask(socket, request(service, login, password, client, secured=secured))
    if line == b"fail\n":
        leave(EXIT_UNKNOWN if lookup else EXIT_REFUSED)
    mailbox = accepted_mailbox(line, login.lower())
    home = root.encode(errors="surrogateescape") + b"/" + mailbox if mailbox else NO_HOME
    if lookup:
        account[b"AUTHORIZED"] = b"2"
    _signal.setitimer(_signal.ITIMER_REAL, 0)
    posix.execve(reply[0], reply, environment | account | {b"USER": login.lower(), b"HOME": home})


def read_credentials() -> tuple[bytes, bytes]:
    """Return login and password from descriptor 3, and close it.

    Raises NoVerdictError when they are cut off or too long.
    """
    octets = b""
    # Not to the end: a client that Dovecot started at the same time holds the other side open as long as it lives.
    while len(octets) <= MAX_CREDENTIALS_OCTETS and octets.count(b"\0") < CREDENTIALS_PARTS:
        chunk = posix.read(CREDENTIALS_DESCRIPTOR, MAX_CREDENTIALS_OCTETS + 1 - len(octets))
        if not chunk:
            break
        octets += chunk
    posix.close(CREDENTIALS_DESCRIPTOR)
    if len(octets) > MAX_CREDENTIALS_OCTETS:
        raise NoVerdictError("the credentials are longer than 512 octets")
    login, *rest = octets.split(b"\0")
    if len(rest) < 2:  # noqa: PLR2004 - a NUL after the login and one after the password
        raise NoVerdictError("the credentials are cut off")
    return login, rest[0]


def request(service: bytes, login: bytes, password: bytes, client: bytes, *, secured: bool) -> bytes:
    """Return the request line for the verdict on a login, LF included; `secured`: Dovecot says so of the connection."""
    fields = [(b"service", service), (b"login", login), (b"password", password)]
    fields += [(b"ip", client)] if client else []
    fields += [(b"secured", b"yes")] if secured else []
    return _line(b"verify", fields)


def lookup_request(service: bytes, login: bytes) -> bytes:
    """Return the request line for where a mailbox is, LF included."""
    return _line(b"lookup", [(b"service", service), (b"login", login)])


def ask(path: str, line: bytes) -> bytes:
    """Return authd's reply line, LF included.

    Raises NoVerdictError when authd is not there or its reply is not exactly one bounded line, OSError when it leaves.
    """
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except OSError as error:
        raise NoVerdictError(f"authd cannot be reached at {path}: {error.strerror}") from error
    while line:
        line = line[connection.send(line) :]
    reply = b""
    while b"\n" not in reply and len(reply) <= MAX_REPLY_OCTETS:
        chunk = connection.recv(MAX_REPLY_OCTETS)
        if not chunk:
            break
        reply += chunk
    connection.close()
    if len(reply) > MAX_REPLY_OCTETS or reply.find(b"\n") != len(reply) - 1:
        raise NoVerdictError("authd's reply is not one line")
    return reply


def accepted_mailbox(line: bytes, login: bytes) -> bytes:
    """Return the mailbox of the accepted login, empty when it has none.

    The mailbox becomes part of a path, and the login Dovecot's user name: nothing in them is taken on trust. Raises
    NoVerdictError for a reply that is not `ok` for this very login, `temp` included.
    """
    if line == b"temp\n":
        raise NoVerdictError("authd has no verdict now; its own log line tells why")
    verdict, *fields = line.removesuffix(b"\n").split(b"\t")
    values = dict(field.partition(b"=")[::2] for field in fields)
    well_formed = len(values) == len(fields) and all(b"=" in field for field in fields)
    if verdict != b"ok" or not well_formed or values.get(b"login") != login:
        raise NoVerdictError("authd's reply does not answer the request")
    if len(login) not in LOGIN_LENGTHS or login.translate(None, LOGIN_CHARACTERS):
        raise NoVerdictError("authd accepted a login that cannot exist")
    mailbox = values.get(b"mailbox")
    if mailbox is None:
        return b""
    if len(mailbox) not in MAILBOX_LENGTHS or mailbox.translate(None, MAILBOX_CHARACTERS):
        raise NoVerdictError("authd named a mailbox that cannot exist")
    return mailbox


def _line(verb: bytes, fields: list[tuple[bytes, bytes]]) -> bytes:
    named = [name + b"=" + _escaped(value) for name, value in fields]
    return b"\t".join([b"DIGIPOORT-AUTH/1", verb, *named]) + b"\n"


def _escaped(value: bytes) -> bytes:
    # 0x01 first: the others bring it in.
    for octet, letter in ((b"\1", b"1"), (b"\0", b"0"), (b"\t", b"t"), (b"\r", b"r"), (b"\n", b"n")):
        value = value.replace(octet, b"\1" + letter)
    return value


def _number(text: str) -> bytes:
    """Return a user or group id as it goes into the environment: never root's."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise NoVerdictError("UID and GID must be numbers over 0")
    return text.encode()


def _start_timer(seconds: str) -> None:
    """Let SIGALRM end everything from here on: one limit, however slowly the other side drips."""

    def expire(_number: int, _frame: object) -> None:
        # Ends here and raises nothing: an exception could come too late for any handler to catch it.
        leave(EXIT_NO_VERDICT, "no verdict in time")

    limit = float(seconds)
    if not 0 < limit <= MAX_SECONDS:
        raise NoVerdictError("SECONDS must be over 0 and at most 60")
    _signal.signal(_signal.SIGALRM, expire)
    _signal.setitimer(_signal.ITIMER_REAL, limit)


def leave(status: int, sentence: str = "") -> None:
    """End the process, with a sentence for the admin: Dovecot logs what its children write to standard error."""
    try:
        if sentence:
            posix.write(2, f"checkpassword: {sentence}\n".encode(errors="replace"))
    finally:
        posix._exit(status)  # noqa: SLF001 - the public name is in a module that takes milliseconds to import


if __name__ == "__main__":
    try:
        main(sys.argv, posix.environ)
    except (NoVerdictError, OSError) as error:
        leave(EXIT_NO_VERDICT, str(error))
    except BaseException as error:  # noqa: BLE001 - left to the interpreter it ends in status 1: a wrong password
        leave(EXIT_NO_VERDICT, f"internal fault: {type(error).__name__}")
