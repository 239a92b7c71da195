"""The main job on Debian 13: Postfix 3.10 and Dovecot 2.4 from the same templates and variables as Debian 12's."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final

import pytest

from tests.integration.test_mailbox_filling import (  # noqa: F401 - tried here again
    _empty,
    test_a_party_is_warned_once_when_its_mailbox_fills,
    test_the_warning_is_a_proper_mail_that_discloses_nothing,
)
from tests.integration.test_receipt_delivery import (  # noqa: F401 - tried here again
    _quiet,
    test_a_full_mailbox_has_room_for_receipts,
    test_receipts_wait_for_a_mailbox_without_any_room,
)
from tests.integration.test_road import (  # noqa: F401 - tried here again
    test_a_declaration_is_delivered_unchanged_and_receipted,
    test_the_agency_answers_from_its_logical_address,
)
from tests.integration.test_sasl import (  # noqa: F401 - tried here again
    test_a_wrong_password_is_the_partys_fault,
    test_an_outage_is_temporary_at_once_in_sessions_old_and_new,
)
from tests.sandbox import stacks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.gateway import Gateway

DEBIAN_13: Final = "2.4-lua-postfix-3.10"
# The first use of Debian 13 on a machine makes its tree.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", autouse=True)
def _debian13(gateway: Gateway) -> Iterator[None]:
    gateway.control("switch", DEBIAN_13)
    yield
    gateway.control("switch", stacks.DEFAULT)


@pytest.mark.parametrize(
    ("program", "arguments", "version"),
    [
        ("/usr/sbin/postconf", ("-c", "{postfix}", "-h", "mail_version"), "3.10."),
        ("/usr/bin/doveconf", ("-c", "{dovecot}/dovecot.conf", "-h", "instance_name"), "digipoort"),
        ("/usr/sbin/dovecot", ("--version",), "2.4."),
        ("/usr/sbin/postconf", ("-c", "{postfix}", "-n"), ""),
        ("/usr/sbin/postconf", ("-c", "{postfix}", "-M"), ""),
        ("/usr/bin/doveconf", ("-c", "{dovecot}/dovecot.conf", "-n"), ""),
    ],
)
def test_nothing_in_the_configuration_is_unknown_or_obsolete(
    gateway: Gateway, program: str, arguments: tuple[str, ...], version: str
) -> None:
    words = [word.format(postfix=gateway.layout.postfix, dovecot=gateway.layout.dovecot) for word in arguments]
    said = subprocess.run(
        stacks.current(gateway.layout).command(program, *words), capture_output=True, text=True, check=True
    )
    assert said.stderr == ""
    assert said.stdout.startswith(version)
