"""The directory's primary is killed in the middle of mail, and its standby promoted; Postfix and Dovecot are real."""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import make_conninfo

from tests.integration.test_faults import disturb, outcome_of
from tests.postgres import create_standby, promote, start_cluster, stop_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.gateway import Gateway

MESSAGES = 100
READERS = ("policyd", "authd")


@pytest.fixture
def standby(gateway: Gateway) -> Iterator[Path]:
    """Give the sandbox's directory a standby that the daemons know of; afterwards all is as it was."""
    gateway.settle("TRADER")
    directory = gateway.layout.root / "pg-standby"
    texts = {path: path.read_text(encoding="utf-8") for path in gateway.layout.settings.glob("*.env")}
    primary = make_conninfo(gateway.env["DIRECTORY_DSN"], dbname="postgres")
    try:
        create_standby(directory, primary)
        start_cluster(directory)
        for path, text in texts.items():
            path.write_text(_with_both(text, gateway.layout.postgresql, directory), encoding="utf-8")
        _restart(gateway)
        yield directory
    finally:
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
        stop_cluster(directory, "immediate")
        gateway.control("start", "postgresql")
        _restart(gateway)
        shutil.rmtree(directory, ignore_errors=True)


def _with_both(text: str, primary: Path, standby: Path) -> str:
    """Return settings in which the directory is on either server, and changes go to the one that takes them."""
    both = text.replace(f"host={primary}/run", f"host={primary}/run,{standby}/run")
    return re.sub('^(DIRECTORY_WRITE_DSN="[^"]*)', r"\1 target_session_attrs=read-write", both, flags=re.MULTILINE)


def _restart(gateway: Gateway) -> None:
    gateway.control("stop", *READERS)
    gateway.control("start", *READERS)


@pytest.mark.timeout(240)
def test_the_primary_is_killed_and_its_standby_promoted(gateway: Gateway, standby: Path) -> None:
    def kill() -> None:
        stop_cluster(gateway.layout.postgresql, "immediate")
        # Not before mail has been told to wait: what is claimed needs the primary.
        gateway.wait_for(lambda: "DGP-9008" in gateway.log()[logged:], "a message that waits")
        promote(standby)

    logged = len(gateway.log())
    run = f"F{time.time_ns()}"
    marks = [f"{run}-{number:03}" for number in range(MESSAGES)]
    told = disturb(gateway, marks, [kill])
    assert [code for code in told.codes if not 400 <= code < 500] == []
    outcome = outcome_of(gateway, run)
    assert outcome.receipts == Counter(marks)
    assert outcome.deliveries == Counter(marks)
    # Nobody restarted them.
    assert gateway.log()[logged:].count("event=policyd_started") == 0
