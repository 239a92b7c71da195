"""Starts pymilter for one role: its socket, its callbacks, its end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

import Milter
import milter

from digipoort import readiness
from digipoort.activation import SOCKET_UMASK
from digipoort_milter import acceptance, liveness, receipt, submission

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from digipoort.settings import MilterSettings


class Role(NamedTuple):
    """What tells one role from another."""

    actions: int
    session_factory: Callable[[MilterSettings, FilteringBoundLogger], Callable[[], Milter.Base]]


ROLES: Final = {
    "submission": Role(submission.ACTIONS, submission.session_factory),
    "acceptance": Role(acceptance.ACTIONS, acceptance.session_factory),
    "receipt": Role(receipt.ACTIONS, receipt.session_factory),
}


def serve(role_name: str, settings: MilterSettings, log: FilteringBoundLogger) -> None:
    """Serve a role until SIGTERM or SIGINT, which libmilter answers by ending when its sessions end.

    The socket is `milter-ROLE.sock` in the milter directory; one that was left behind is replaced. Raises milter.error
    when it cannot be opened.
    """
    role = ROLES[role_name]
    socket = settings.milter_directory / f"milter-{role_name}.sock"
    os.umask(SOCKET_UMASK)
    milter.set_flags(role.actions)
    milter.set_exception_policy(Milter.TEMPFAIL)
    # pymilter has no other place for it.
    Milter.factory = role.session_factory(settings, log)
    log.info("milter_started", role=role_name, socket=str(socket))
    liveness.watch(socket, f"answers on {socket}")
    try:
        Milter.runmilter(f"digipoort-{role_name}", f"unix:{socket}")
    finally:
        readiness.stopping()
        socket.unlink(missing_ok=True)
        log.info("milter_stopped", role=role_name)
