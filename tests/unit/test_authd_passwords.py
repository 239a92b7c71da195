"""Password hashes: what is stored verifies, and what cannot be verified is never taken for a wrong password."""

from __future__ import annotations

import ctypes
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from digipoort import libcrypt
from digipoort.hashcost import DEFAULT_COST, MAX_LANES, MAX_MEMORY_KIB, MAX_PASSES, HashCost
from digipoort.passwords import (
    MAX_PASSWORD_OCTETS,
    PasswordHashError,
    checked_hash,
    hash_password,
    needs_rehash,
    verify_password,
)
from digipoort.settings import AdminSettings, AuthdSettings, SettingsError, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_mock import MockerFixture

PASSWORD = b"correct horse \xff battery"

# What other programs made of one password: mkpasswd of Debian's whois 5.5.17 (libxcrypt 4.4.33), doveadm pw of Dovecot
# 2.3.19, and Python's bcrypt in three versions.
SUMMER = "Zomer·2024 lang wachtwoord".encode()
MKPASSWD_SHA512 = (
    "$6$saltSALTsalt$o1JaNCiS0HD9LheK21/7LrO.eLJWMg0KpBrqRlJxW40pXrunCFU7AZcPNbsb77QC/ytxzjxTY38Tsf3Dv3xRH."
)
MKPASSWD_SHA512_ROUNDS = (
    "$6$rounds=10000$JRGtiYeqVqWVHf/f"
    "$QDaBRAeaaTReiJ/bAvimxjW.kBdTgGyWDkSq75SidVqkE3YZqVG5mjfG30ChBx3IAbbowL36r3Gg2ZyDRJOfx."
)
MKPASSWD_YESCRYPT = "$y$j9T$CXxsmwiB5uiWCMn/bUnAM/$Vis187C362qZJImGLhjBTXlNIwKyMbv7v2k2Q6a50G5"
MKPASSWD_YESCRYPT_7 = "$y$j7T$osCXW5TLM0ZgrzrmS2OoT.$ES4FVS3jrjgeR4/IbEBPK0PcefQ/H/mc9fRwoNPA8Q9"
MKPASSWD_YESCRYPT_MOST = "$y$jCT$gvkpSyhu3HPNMtyOoRxj0.$4XZowCkes1s/U/pS5Fgy8QDKvrBbvbdQGgZMvkrW1WB"
MKPASSWD_YESCRYPT_TOO_MUCH = "$y$jDT$M3lilpXaeMWK3/hG6Ni2y0$9gjL0UQuyBKsNkLCY8.p4RR52f.G.hIOvdRH6rulfCD"
MKPASSWD_BCRYPT = "$2b$05$5qySVuu0Te8YsgPpfwiZCuugt1ZptXpsEO5ajaAFCjWUTl7ICqFG6"
MKPASSWD_BCRYPT_A = "$2a$05$fnqpfRrTG2JOmjcS04iP6OZJbb45cf0v50/Ks4vSWbJo5m1Vqtkxa"
DOVEADM_SHA512 = (
    "{SHA512-CRYPT}$6$gSXjNgPcYqpmhD8s"
    "$3P78KmXsP1dExezXzU9uUwxfYB8p5wFDvJkdVogBrPrk3rnA6gEPKqmKgB7gECRtfXvUFkY3Yyf/WlGb0ukqj/"
)
DOVEADM_BCRYPT = "{BLF-CRYPT}$2y$05$j8jHVnmMBvLqbepw23o1e.ph9GZNvJ48xixZHyQCWRBO89LKTUqsS"
DOVEADM_CRYPT = "{CRYPT}$2y$05$BFgCNFTQ2Szd8yEDEQdy3Oh7EbSy58epqxtz5TMgy.r1BV22qRhQy"
DOVEADM_ARGON2ID = (
    "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$SRdxICsB6Lp7A1HeE3Kz4A$Ir8FWAXdQrs0LoQFK43p2lBicf/Vegovoe5UUVyW+eA"
)
BCRYPT_322 = "$2b$05$4MbB.xcdA7ZeK2Nq0gY5a.x1XdrZxV8x.GUOTl8H7zGoXilYTipFS"
BCRYPT_420 = "$2b$05$PT8hVip3OHwGzBLJtYrAcO5woiWImeTpWjz3Wt/WQ05bce2KYsEIW"
BCRYPT_500_A = "$2a$05$NRa1OeBF1gTOQwiPOKTA1uZivzUCM0OVYEi3..mEVeNViX.JJ62tu"
FOREIGN = [
    MKPASSWD_SHA512,
    MKPASSWD_SHA512_ROUNDS,
    MKPASSWD_YESCRYPT,
    MKPASSWD_YESCRYPT_7,
    MKPASSWD_YESCRYPT_MOST,
    MKPASSWD_BCRYPT,
    MKPASSWD_BCRYPT_A,
    DOVEADM_SHA512,
    DOVEADM_SHA512.lower().replace(DOVEADM_SHA512[14:].lower(), DOVEADM_SHA512[14:]),
    DOVEADM_SHA512.replace("{SHA512-CRYPT}", "{CRYPT}"),
    DOVEADM_BCRYPT,
    DOVEADM_CRYPT,
    DOVEADM_ARGON2ID,
    "{CRYPT}" + MKPASSWD_YESCRYPT,
    BCRYPT_322,
    BCRYPT_420,
    BCRYPT_500_A,
]
# One of each scheme, cheap ones.
SCHEMES = [MKPASSWD_SHA512, MKPASSWD_YESCRYPT_7, MKPASSWD_BCRYPT, DOVEADM_ARGON2ID.removeprefix("{ARGON2ID}")]
SCHEME_NAMES = ["SHA512-CRYPT", "yescrypt", "bcrypt", "argon2id"]

DAMAGED = [
    "",
    "$",
    "$$",
    "x" * 100_000,
    "$1$saltsalt$hash",
    "$5$tbUGSLeSm/VTZd0d$K9huTQQgiIx/94GOAwkL844WQqkrhNOCH9fU4i9gVNC",
    "$gy$j9T$CXxsmwiB5uiWCMn/bUnAM/$Vis187C362qZJImGLhjBTXlNIwKyMbv7v2k2Q6a50G5",
    "$7$CU..../....saltsalt$hash",
    "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
    "$argon2id$",
    "$argon2id$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    "$argon2id$v=19$m=x,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    "$argon2id$v=19$m=19456,t=2,p=1$!!!!$aGFzaGhhc2hoYXNoaGFzaA",
    "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$é",
    "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA\n",
    "$argon2id$v=19$m=19456,t=٢,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    f"$argon2id$v=19$m={MAX_MEMORY_KIB + 1},t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    f"$argon2id$v=19$m=19456,t={MAX_PASSES + 1},p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    f"$argon2id$v=19$m=131072,t=2,p={MAX_LANES + 1}$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    "$argon2id$v=19$m=-1,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    "$6$salt$hash",
    MKPASSWD_SHA512[:-1],
    MKPASSWD_SHA512 + "x",
    MKPASSWD_SHA512 + "\0",
    MKPASSWD_SHA512.replace("saltSALTsalt", ""),
    MKPASSWD_SHA512.replace("saltSALTsalt", "s" * 17),
    MKPASSWD_SHA512.replace("saltSALTsalt", "salt*salt"),
    MKPASSWD_SHA512.replace("saltSALTsalt", "salt\0salt"),
    MKPASSWD_SHA512.replace("saltSALTsalt", "rounds=5000"),
    MKPASSWD_SHA512_ROUNDS.replace("10000", "999"),
    MKPASSWD_SHA512_ROUNDS.replace("10000", "1000001"),
    MKPASSWD_SHA512_ROUNDS.replace("10000", "010000"),
    MKPASSWD_SHA512_ROUNDS.replace("10000", "9" * 40),
    MKPASSWD_YESCRYPT_TOO_MUCH,
    MKPASSWD_YESCRYPT.replace("j9T", "jzT"),
    MKPASSWD_YESCRYPT.replace("j9T", "j9z."),
    MKPASSWD_YESCRYPT.replace("j9T", "j9T/.z"),
    MKPASSWD_YESCRYPT.replace("j9T", "."),
    MKPASSWD_YESCRYPT.replace("j9T", "./"),
    MKPASSWD_YESCRYPT.replace("bUnAM/", "bUnAM"),
    MKPASSWD_YESCRYPT[:-1],
    MKPASSWD_BCRYPT[:-1],
    MKPASSWD_BCRYPT + "0",
    MKPASSWD_BCRYPT.replace("$2b$", "$2x$"),
    MKPASSWD_BCRYPT.replace("$2b$", "$2$"),
    MKPASSWD_BCRYPT.replace("$05$", "$03$"),
    MKPASSWD_BCRYPT.replace("$05$", "$15$"),
    MKPASSWD_BCRYPT.replace("$05$", "$99$"),
    MKPASSWD_BCRYPT.replace("ZCuug", "ZCvug"),
]


@pytest.fixture(scope="module")
def encoded() -> str:
    return hash_password(PASSWORD)


@pytest.fixture
def unloaded() -> Iterator[None]:
    """Forget libcrypt, before and after."""
    libcrypt.loaded.cache_clear()
    yield
    libcrypt.loaded.cache_clear()


def test_a_hash_verifies_its_own_password_only(encoded: str) -> None:
    assert verify_password(encoded, PASSWORD)
    assert not verify_password(encoded, PASSWORD + b" ")
    assert not verify_password(encoded, b"")


def test_the_parameters_are_explicit_and_the_salt_is_random(encoded: str) -> None:
    assert re.match(r"\$argon2id\$v=19\$m=19456,t=2,p=1\$[\w+/]{22}\$[\w+/]{43}$", encoded)
    assert hash_password(PASSWORD) != encoded


def test_settings_choose_what_a_hash_costs() -> None:
    variables = {"HASH_MEMORY_KIB": "7168", "HASH_PASSES": "5", "HASH_LANES": "2", "LOGICAL_DOMAINS": "gov.test"}
    cost = load(AuthdSettings, variables).hash_cost
    assert cost == load(AdminSettings, variables).hash_cost == HashCost(memory_kib=7168, passes=5, lanes=2)
    costly = hash_password(PASSWORD, cost)
    assert costly.startswith("$argon2id$v=19$m=7168,t=5,p=2$")
    assert verify_password(costly, PASSWORD)
    assert not needs_rehash(costly, cost)
    assert needs_rehash(costly, DEFAULT_COST)


def test_settings_cannot_choose_what_would_not_be_verified() -> None:
    most = {"HASH_MEMORY_KIB": str(MAX_MEMORY_KIB), "HASH_PASSES": str(MAX_PASSES), "HASH_LANES": str(MAX_LANES)}
    cost = load(AuthdSettings, most).hash_cost
    shown = f"$argon2id$v=19$m={cost.memory_kib},t={cost.passes},p={cost.lanes}$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA"
    assert checked_hash(shown) == shown
    with pytest.raises(SettingsError) as caught:
        load(AuthdSettings, {key: str(int(value) + 1) for key, value in most.items()})
    assert len(caught.value.faults) == 3


@pytest.mark.parametrize("password", [b"", b"x" * (MAX_PASSWORD_OCTETS + 1), b"nul\0inside"])
def test_a_password_that_no_client_could_send_is_refused(password: bytes) -> None:
    with pytest.raises(ValueError, match="A password"):
        hash_password(password)


def test_the_longest_password_is_taken() -> None:
    longest = b"\xff" * MAX_PASSWORD_OCTETS
    assert verify_password(hash_password(longest), longest)


def test_a_host_without_memory_gives_no_hash() -> None:
    with pytest.raises(PasswordHashError, match=r"^The password cannot be hashed: .+\.$"):
        hash_password(PASSWORD, HashCost(memory_kib=2**32 - 1, passes=1, lanes=2**24))


@pytest.mark.parametrize("foreign", FOREIGN, ids=range(len(FOREIGN)))
def test_a_hash_of_another_program_verifies_its_own_password_only(foreign: str) -> None:
    stored = checked_hash(foreign)
    assert stored.startswith("$")
    assert verify_password(stored, SUMMER)
    assert not verify_password(stored, SUMMER[:-1])
    assert not verify_password(stored, SUMMER.swapcase())


@pytest.mark.parametrize("stored", SCHEMES, ids=SCHEME_NAMES)
@pytest.mark.parametrize(
    "password",
    [SUMMER + b"\0", SUMMER + b"\0x", b"\0" + SUMMER, b"", SUMMER + b"x" * 600, b"x" * 100_000],
    ids=range(6),
)
def test_a_password_that_cannot_be_one_never_verifies(stored: str, password: bytes) -> None:
    assert not verify_password(stored, password)


@pytest.mark.parametrize("password", [b"nul\0inside", b"", b"x" * 600])
def test_what_cannot_be_a_password_is_hashed_all_the_same(mocker: MockerFixture, password: bytes) -> None:
    crypt = mocker.spy(libcrypt, "crypt")
    assert not verify_password(MKPASSWD_SHA512, password)
    assert crypt.call_count == 1


@pytest.mark.parametrize(("octets", "tail"), [(72, b""), (72, b"y"), (72, b"y" * 100), (71, b"y")])
def test_bcrypt_takes_72_octets_whatever_the_library_does(octets: int, tail: bytes) -> None:
    # Of 72 times x.
    stored = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.D7RDOYXakZhsFmh/LdqQNx0kQ424AFS"
    assert verify_password(stored, b"x" * octets + tail) is (octets == 72)


def test_bcrypt_is_right_about_octets_beyond_ascii() -> None:
    # libxcrypt's own bcrypt makes another hash of this one, to keep apart what an old mistake had made equal.
    assert verify_password(
        "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VmFQpoXeVuKTzkg2ZRsAf.8PZJZg142", b"\xff\xa334\xff\xff\xff\xa3345"
    )


@pytest.mark.parametrize("stored", SCHEMES, ids=SCHEME_NAMES)
def test_the_longest_password_reaches_every_scheme(stored: str) -> None:
    assert not verify_password(stored, b"\xff" * MAX_PASSWORD_OCTETS)


@pytest.mark.parametrize("damaged", DAMAGED, ids=range(len(DAMAGED)))
def test_a_hash_without_verdict_says_so(damaged: str) -> None:
    with pytest.raises(PasswordHashError) as caught:
        verify_password(damaged, PASSWORD)
    assert str(caught.value).startswith("The ")
    assert str(caught.value).endswith(".")
    assert len(damaged) < 3 or damaged not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("geheim", "The scheme of the stored hash is none of argon2id, bcrypt, SHA512-CRYPT, yescrypt."),
        ("{PLAIN}geheim", "The scheme of the stored hash is none of argon2id, bcrypt, SHA512-CRYPT, yescrypt."),
        (MKPASSWD_YESCRYPT_TOO_MUCH, "The stored yescrypt hash costs more, or less, than is allowed."),
        (MKPASSWD_BCRYPT.replace("$05$", "$15$"), "The stored bcrypt hash costs more, or less, than is allowed."),
        (MKPASSWD_BCRYPT + "\n", "The stored bcrypt hash is not well-formed."),
        ("{SHA512-CRYPT}" + MKPASSWD_BCRYPT, "The hash is bcrypt, but its prefix in braces names another scheme."),
        (
            "{SHA512-CRYPT.B64}" + MKPASSWD_SHA512,
            "The hash is SHA512-CRYPT, but its prefix in braces names another scheme.",
        ),
        ("{}" + MKPASSWD_SHA512, "The scheme of the stored hash is none of argon2id, bcrypt, SHA512-CRYPT, yescrypt."),
    ],
)
def test_the_directory_is_spared_a_hash_that_would_never_verify(text: str, sentence: str) -> None:
    with pytest.raises(PasswordHashError) as caught:
        checked_hash(text)
    assert str(caught.value) == sentence


def test_every_other_scheme_is_hashed_anew(encoded: str) -> None:
    assert not needs_rehash(encoded, DEFAULT_COST)
    assert all(needs_rehash(stored, DEFAULT_COST) for stored in [*SCHEMES, *DAMAGED])


@pytest.mark.usefixtures("unloaded")
def test_a_host_without_libcrypt_verifies_the_rest(mocker: MockerFixture, encoded: str) -> None:
    mocker.patch.object(ctypes, "CDLL", side_effect=OSError("libcrypt.so.1: cannot open shared object file"))
    sentence = r"^The stored yescrypt hash cannot be verified: libcrypt.so.1: cannot open shared object file\.$"
    with pytest.raises(PasswordHashError, match=sentence):
        verify_password(MKPASSWD_YESCRYPT, SUMMER)
    assert verify_password(MKPASSWD_BCRYPT, SUMMER)
    assert verify_password(encoded, PASSWORD)


@pytest.mark.usefixtures("unloaded")
def test_libcrypt_is_loaded_once(mocker: MockerFixture) -> None:
    load_library = mocker.spy(ctypes, "CDLL")
    assert all(verify_password(MKPASSWD_SHA512, SUMMER) for _ in range(3))
    assert load_library.call_count == 1


@pytest.mark.parametrize("token", [b"*0", b"*1", None])
def test_an_error_token_is_no_verdict(mocker: MockerFixture, token: bytes | None) -> None:
    mocker.patch.object(libcrypt, "loaded", return_value=lambda *_: token)
    with pytest.raises(PasswordHashError, match="cannot be verified"):
        verify_password(MKPASSWD_SHA512, SUMMER)


@pytest.mark.parametrize(("phrase", "setting"), [(b"a\0b", b"$6$salt"), (b"a", b"$6$salt\0x")])
def test_c_never_sees_a_nul(phrase: bytes, setting: bytes) -> None:
    with pytest.raises(ValueError, match="NUL"):
        libcrypt.crypt(phrase, setting)


def test_threads_do_not_mix_up_their_hashes() -> None:
    wanted = [SUMMER if number % 3 else SUMMER + b"x" for number in range(60)]
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(verify_password, [MKPASSWD_SHA512, MKPASSWD_YESCRYPT_7] * 30, wanted))
    assert verdicts == [password == SUMMER for password in wanted]


@pytest.mark.parametrize(
    "costly",
    [
        MKPASSWD_BCRYPT.replace("$05$", "$11$"),
        MKPASSWD_SHA512_ROUNDS.replace("10000", "300000"),
        MKPASSWD_YESCRYPT_MOST,
        DOVEADM_ARGON2ID.removeprefix("{ARGON2ID}").replace("t=3", "t=6"),
    ],
)
def test_the_event_loop_goes_on_while_a_hash_is_computed(costly: str) -> None:
    # A thread that held the interpreter would let this one look up once or twice.
    computing = threading.Thread(target=verify_password, args=(costly, SUMMER))
    computing.start()
    looks = 0
    while computing.is_alive():
        time.sleep(0.005)
        looks += 1
    assert looks > 5
