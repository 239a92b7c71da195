"""A party that came with another system's password hash has one of ours after its first login."""

from __future__ import annotations

import poplib
import ssl
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.gateway import Gateway

import pytest

# Of the password `migrated`, by openssl-passwd(1).
FOREIGN = "$6$saltsalt$1ocGKCvAzaJNnci0oc1pozXIvniPJQHG2ZZ7zYPllDmmKTwuxkfk6OHKt66CDlOhi.jiVZJE1YdMR8x/jjGgm/"


@pytest.fixture
def login(gateway: Gateway) -> Iterator[str]:
    """Give the trader's credential a hash of another system, and its own back."""
    name = gateway.env["TRADER2_LOGIN"]
    with psycopg.connect(gateway.env["DIRECTORY_DSN"], autocommit=True) as owner:
        row = owner.execute("SELECT password_hash FROM credential WHERE login = %s", [name]).fetchone()
        assert row is not None
        change = "UPDATE credential SET password_hash = %s WHERE login = %s"
        owner.execute(change, [FOREIGN, name])
        yield name
        owner.execute(change, [row[0], name])


def _pop3(gateway: Gateway, user: str, password: str) -> str:
    session = poplib.POP3(gateway.env["GATEWAY_HOST"], int(gateway.env["POP3_PORT"]), timeout=60)
    session.stls(ssl.create_default_context(cafile=gateway.env["CA_FILE"]))
    session.user(user)
    try:
        return session.pass_(password).decode()
    finally:
        session.close()


def test_a_foreign_hash_is_replaced_at_the_first_login(gateway: Gateway, login: str) -> None:
    with psycopg.connect(gateway.env["DIRECTORY_DSN"], autocommit=True) as owner:

        def replaced() -> str | None:
            row = owner.execute("SELECT password_hash FROM credential WHERE login = %s", [login]).fetchone()
            assert row is not None
            return row[0] if row[0].startswith("$argon2id$") else None

        assert _pop3(gateway, login, "migrated").startswith("+OK")
        gateway.wait_for(replaced, "a hash of ours")
        assert _pop3(gateway, login, "migrated").startswith("+OK")
        log = owner.execute("SELECT actor, object FROM change_log ORDER BY id DESC LIMIT 1").fetchone()
    assert log == ("digipoort-authd", "credential")
    assert f"event=hash_replaced login={login}" in gateway.log()
