"""How a login gets a successor: both work for a while, and a party's programs change over without an outage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from digipoort.cli import output
from digipoort.cli.failures import Failure

if TYPE_CHECKING:
    from datetime import date

    from digipoort.directory.objects import Credential

# Long enough for a party's next working week, short enough that nobody forgets it.
OVERLAP: Final = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Rotation:
    """The login that ends, and the one that is added."""

    ending: Credential
    successor: Credential

    def sentences(self) -> list[str]:
        """Return what happens, a line each."""
        old, new = self.ending, self.successor
        until = "until further notice" if new.valid_until is None else f"until {new.valid_until}"
        told = [
            f"added credential {new.login}, as {old.login} is, from {new.valid_from} {until}",
            f"credential {old.login} ends on {old.valid_until}; until then both are accepted",
        ]
        if new.certificate_suffices:
            told.append(f"the certificate without a password is {new.login} from now on")
        return [output.printable(line) for line in told]


def rotation(before: Credential, login: str, password_hash: str, today: date, last: date | None) -> Rotation:
    """Return how `before` is succeeded by `login` from today, and ends on `last`: in OVERLAP when that is None.

    The successor may do what `before` may, no longer than that, and with the same certificate: where it suffices it can
    stand for one login only, which is the successor then. Raises Failure when there is nothing to overlap with.
    """
    _require_in_force(before, today)
    ends = before.valid_until
    if last is None:
        last = today + OVERLAP if ends is None else min(ends, today + OVERLAP)
    if last < today:
        raise Failure(f"{last} is over. To refuse {before.login} from now on: digipoort credential disable.")
    if ends is not None and last > ends:
        raise Failure(f"The credential {before.login} ends on {ends} already, before {last}.")
    successor = replace(before, login=login, password=password_hash, valid_from=today)
    return Rotation(replace(before, valid_until=last, certificate_suffices=False), successor)


def _require_in_force(credential: Credential, today: date) -> None:
    login = credential.login
    advice = "change it first, or rotate it without --successor"
    if not credential.active:
        raise Failure(f"The credential {login} is disabled: {advice}.")
    if credential.valid_from is not None and credential.valid_from > today:
        raise Failure(f"The credential {login} starts on {credential.valid_from}: {advice}.")
    if credential.valid_until is not None and credential.valid_until < today:
        raise Failure(f"The credential {login} ended on {credential.valid_until}: {advice}.")
