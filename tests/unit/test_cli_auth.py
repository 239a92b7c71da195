"""`digipoort auth` against a real authd: who has to wait, and who is let in again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from digipoort.passwords import hash_password
from tests.unit.authd_process import running_authd
from tests.unit.directory_samples import HASH, SAMPLE, digipoort, fill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.authd_process import Authd


@pytest.fixture
def authd(directory_dsn: str, tmp_path: Path) -> Iterator[Authd]:
    """Run authd on a directory whose login `aal` has the password `secret`."""
    fill(directory_dsn, SAMPLE.replace(HASH, hash_password(b"secret")))
    with running_authd(tmp_path, DIRECTORY_DSN=directory_dsn, AUTH_FREE_FAILURES_PAIR="2") as running:
        yield running


def auth(authd: Authd, *arguments: str) -> str:
    result = digipoort("dbname=unused", "auth", *arguments, AUTHD_SOCKET=str(authd.path))
    assert result.exit_code == 0, result.stderr
    return str(result.stdout)


def test_who_waits_is_listed_and_let_in_again(authd: Authd) -> None:
    assert auth(authd, "status", "--json") == "[]\n"
    assert [authd.verify("AAL", password) for password in ("a", "b", "secret")] == [b"fail\n", b"fail\n", b"temp\n"]
    (limited,) = json.loads(auth(authd, "status", "--json"))
    assert limited.pop("wait_seconds") in {0, 1}
    assert limited == {"scope": "pair", "failures": 2, "key": "aal 192.0.2.1"}
    assert auth(authd, "status").splitlines()[0].split() == ["SCOPE", "FAILURES", "WAIT_SECONDS", "KEY"]
    assert auth(authd, "reset", "--login", "aal", "--network", "192.0.2.1") == "forgot the failures of 1 entry\n"
    assert authd.verify("aal", "secret") == b"ok\tlogin=aal\tmailbox=b0b0\n"
    assert "event=limits_reset scope=pair" in authd.log()


@pytest.mark.parametrize("option", ["--login aal", "--network 192.0.2.1"])
def test_a_login_or_a_network_is_forgotten_with_its_pairs(authd: Authd, option: str) -> None:
    assert [authd.verify("aal", password) for password in ("a", "b")] == [b"fail\n"] * 2
    assert auth(authd, "reset", *option.split()) == "forgot the failures of 2 entries\n"
    assert authd.verify("aal", "secret").startswith(b"ok")


def test_authd_away_or_unwilling_is_told(tmp_path: Path) -> None:
    result = digipoort("dbname=unused", "auth", "status", AUTHD_SOCKET=str(tmp_path / "absent"))
    assert result.exit_code == 75
    assert "authd does not answer" in result.stderr
    with running_authd(tmp_path, DIRECTORY_DSN="dbname=unused", AUTHD_PEERS="daemon") as unwilling:
        result = digipoort("dbname=unused", "auth", "status", AUTHD_SOCKET=str(unwilling.path))
        assert result.exit_code == 75
        assert "AUTHD_PEERS" in result.stderr or "does not answer" in result.stderr
        assert "event=peer_refused uid=0" in unwilling.log()


def test_something_must_be_named(authd: Authd) -> None:
    result = digipoort("dbname=unused", "auth", "reset", AUTHD_SOCKET=str(authd.path))
    assert result.exit_code == 2
