"""Settings: every fault has its sentence, secrets never show, and the environment goes before the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from digipoort.settings import (
    PROGRAMS,
    AdminSettings,
    AuthdSettings,
    CommonSettings,
    MilterSettings,
    PolicydSettings,
    SettingsError,
    effective,
    load,
    read_variables,
)

DOMAINS = {"LOGICAL_DOMAINS": "gov.test"}


@pytest.mark.parametrize(
    ("kind", "variables", "sentence"),
    [
        (
            PolicydSettings,
            {},
            "LOGICAL_DOMAINS is not set: domains of logical addresses, separated by commas or spaces.",
        ),
        (PolicydSettings, {"LOGICAL_DOMAINS": " , "}, "LOGICAL_DOMAINS needs at least one value (it is ' , ')."),
        (AuthdSettings, {"REQUEST_DEADLINE": "soon"}, "REQUEST_DEADLINE is not a number (it is 'soon')."),
        (AuthdSettings, {"REQUEST_DEADLINE": "0"}, "REQUEST_DEADLINE must be between 0.1 and 60 (it is '0')."),
        (AuthdSettings, {"REQUEST_DEADLINE": "nan"}, "REQUEST_DEADLINE must be between 0.1 and 60 (it is 'nan')."),
        (
            PolicydSettings,
            {**DOMAINS, "SUBMISSION_RATE_RECIPIENTS": "-1"},
            "SUBMISSION_RATE_RECIPIENTS must be between 0 and 100000 (it is '-1').",
        ),
        (
            PolicydSettings,
            {**DOMAINS, "SUBMISSION_RATE_SECONDS": "0"},
            "SUBMISSION_RATE_SECONDS must be between 1 and 86400 (it is '0').",
        ),
        (AuthdSettings, {"HASH_WORKERS": "1.5"}, "HASH_WORKERS is not a number (it is '1.5')."),
        (AuthdSettings, {"HASH_WORKERS": "65"}, "HASH_WORKERS must be between 1 and 64 (it is '65')."),
        (AuthdSettings, {"LOG_LEVEL": "loud"}, "LOG_LEVEL must be one of debug, info, warning, error (it is 'loud')."),
        (AuthdSettings, {"AUTHD_SOCKET": "a.sock"}, "AUTHD_SOCKET must be an absolute path (it is 'a.sock')."),
        (
            AuthdSettings,
            {"AUTHD_SOCKET": "/" + "x" * 107},
            f"AUTHD_SOCKET is longer than the 107 bytes that a UNIX socket path can hold (it is '/{'x' * 107}').",
        ),
        (
            AdminSettings,
            {**DOMAINS, "MAP_TYPE": "dbm"},
            "MAP_TYPE must be one of , lmdb, hash, btree, cdb (it is 'dbm').",
        ),
        (
            AdminSettings,
            {**DOMAINS, "MAPS_DIRECTORY": "maps"},
            "MAPS_DIRECTORY must be an absolute path (it is 'maps').",
        ),
        (
            AdminSettings,
            {**DOMAINS, "DIRECTORY_DSN": "host=a password=hunter2 hunter3"},
            "DIRECTORY_DSN is not a libpq connection string (key=value …, or postgresql://…).",
        ),
        (
            AdminSettings,
            {**DOMAINS, "DIRECTORY_TIMEZONE": "Europe/Amsterdan"},
            "DIRECTORY_TIMEZONE is no time zone (it is 'Europe/Amsterdan').",
        ),
    ],
)
def test_a_fault_has_its_sentence(kind: type[CommonSettings], variables: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(kind, variables)
    assert caught.value.faults == [sentence]


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load(PolicydSettings, {"LOG_LEVEL": "loud", "REQUEST_DEADLINE": "0", "DRAIN_SECONDS": "x"})
    assert len(caught.value.faults) == 4
    assert str(caught.value).count("\n") == 3


def test_values_get_their_types() -> None:
    loaded = load(PolicydSettings, {"LOGICAL_DOMAINS": "Gov.test, party.TEST", "DIRECTORY_CONNECTIONS": "7"})
    assert loaded.logical_domains == ("gov.test", "party.test")
    assert loaded.directory_connections == 7
    assert loaded.policyd_socket == Path("/run/digipoort/policyd.sock")


@pytest.mark.parametrize("kind", list(PROGRAMS.values()))
def test_defaults_are_usable_settings_themselves(kind: type[CommonSettings]) -> None:
    loaded = load(kind, DOMAINS)
    shown = {key: value for key, value, _ in effective(loaded)}
    assert load(kind, shown | DOMAINS) == loaded


@pytest.mark.parametrize(
    "dsn",
    ["host=a,b password=hunter2 sslpassword=hunter3", "postgresql://user:hunter2@a,b/digipoort?sslpassword=hunter3"],
)
def test_passwords_are_masked(dsn: str) -> None:
    shown = {key: value for key, value, _ in effective(load(AdminSettings, {**DOMAINS, "DIRECTORY_DSN": dsn}))}
    assert "hunter" not in shown["DIRECTORY_DSN"]
    assert "password=********" in shown["DIRECTORY_DSN"]
    assert "host=a,b" in shown["DIRECTORY_DSN"]


def test_every_setting_has_a_meaning() -> None:
    for kind in PROGRAMS.values():
        assert all(meaning for _, _, meaning in effective(load(kind, DOMAINS)))


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "digipoort.env"
    path.write_text('GATEWAY_NAME="from file"\nLOG_LEVEL=debug\nEMPTY\n', encoding="utf-8")
    path.chmod(0o640)
    variables = read_variables({"DIGIPOORT_SETTINGS": str(path), "LOG_LEVEL": "error"} | DOMAINS)
    loaded = load(MilterSettings, variables)
    assert loaded.gateway_name == "from file"
    assert loaded.log_level == "error"
    assert "EMPTY" not in variables


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    path = tmp_path / "absent.env"
    with pytest.raises(SettingsError, match=rf"^The settings file {path} does not exist\.$"):
        read_variables({"DIGIPOORT_SETTINGS": str(path)})


def test_a_file_that_is_not_text_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "binary.env"
    path.write_bytes(b"LOG_LEVEL=\xff\n")
    path.chmod(0o640)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_variables({"DIGIPOORT_SETTINGS": str(path)})


def test_a_file_that_every_user_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "open.env"
    path.write_text("LOG_LEVEL=debug\n", encoding="utf-8")
    path.chmod(0o644)
    with pytest.raises(SettingsError, match=r"chmod 0640"):
        read_variables({"DIGIPOORT_SETTINGS": str(path)})


def test_a_dollar_sign_in_a_password_stays(tmp_path: Path) -> None:
    path = tmp_path / "digipoort.env"
    path.write_text('DIRECTORY_DSN="password=a${HOME}b"\n', encoding="utf-8")
    path.chmod(0o640)
    assert read_variables({"DIGIPOORT_SETTINGS": str(path)})["DIRECTORY_DSN"] == "password=a${HOME}b"
