"""Renders the templates that Ansible installs, for a sandbox: same files, other variables."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Final

import jinja2

from tests.sandbox import layout as names
from tests.sandbox import stacks
from tests.sandbox.pki import fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.layout import Layout

ROLES: Final = names.CHECKOUT / "ansible" / "roles"
PACKAGES: Final = (
    "policyd/digipoort",
    "policyd/digipoort_policyd",
    "policyd/digipoort_maps",
    "milter/digipoort_milter",
    "dovecot_auth/digipoort_auth",
    "dovecot_auth/digipoort_sasl",
)
POSTFIX_FILES: Final = (
    "main.cf",
    "master.cf",
    "notify.pcre",
    "refusals.pcre",
    "reference.pcre",
    "trace.pcre",
    "receipts.pcre",
    "bounce.cf",
)
# The programs whose settings differ: each connects to the directory as a role of its own.
PROGRAM_GROUPS: Final = {
    "policyd": "postfix",
    "milter": "postfix",
    "authd": "dovecot",
    "sasl": "postfix",
    "admin": "root",
}


def variables(layout: Layout) -> dict[str, object]:
    """Return the variables that Ansible's defaults and inventory give on a host."""
    hop = layout.pki / "hop.pem"
    stack = stacks.current(layout)
    return {
        "digipoort_dovecot_version": stack.dovecot,
        "digipoort_dovecot_passdb": stack.passdb,
        "digipoort_hostname": names.HOSTNAME,
        "digipoort_logical_domains": names.LOGICAL_DOMAINS,
        "digipoort_mailbox_domain": names.MAILBOX_DOMAIN,
        "digipoort_postfix_config_directory": layout.postfix,
        "digipoort_postfix_meta_directory": "/etc/postfix",
        "digipoort_queue_directory": layout.spool,
        "digipoort_data_directory": layout.postfix_data,
        "digipoort_maps_directory": layout.maps,
        "digipoort_map_type": "lmdb",
        "digipoort_maillog_file": layout.mail_log,
        "digipoort_syslog_socket": layout.syslog_socket,
        "digipoort_policyd_socket": layout.policyd_run / "policyd.sock",
        "digipoort_resubmission_socket": layout.policyd_run / "resubmission.sock",
        "digipoort_milter_directory": layout.milter_run,
        "digipoort_authd_socket": layout.authd_run / "authd.sock",
        "digipoort_authd_group": "dovecot",
        "digipoort_sasl_socket": layout.sasl_run / "sasl.sock",
        "digipoort_sasl_group": "postfix",
        "digipoort_dovecot_auth_socket": layout.run / "auth.sock",
        "digipoort_lmtp_socket": layout.run / "lmtp.sock",
        "digipoort_submission_address": "127.0.0.1",
        "digipoort_submission_port": layout.ports.submission,
        "digipoort_submissions_port": layout.ports.submissions,
        "digipoort_acceptance_port": layout.ports.acceptance,
        "digipoort_pop3_address": "127.0.0.1",
        "digipoort_pop3_port": layout.ports.pop3,
        "digipoort_pop3s_port": layout.ports.pop3s,
        "digipoort_tls_certificate_file": layout.pki / "gateway.pem",
        "digipoort_tls_key_file": layout.pki / "gateway.key",
        "digipoort_agency_ca_file": layout.pki / "ca.pem",
        "digipoort_client_certificates": True,
        "digipoort_client_ca_file": "",
        "digipoort_client_ca_directory": layout.pki / "client-ca",
        "digipoort_hop_certificate_file": hop,
        "digipoort_hop_key_file": layout.pki / "hop.key",
        "digipoort_hop_fingerprint": fingerprint(hop),
        "digipoort_hop_processes": 20,
        "digipoort_agency_client_chain_files": "",
        "digipoort_agency_concurrency": 10,
        "digipoort_agency_rate_delay": "0s",
        "digipoort_agency_transports": {
            # One message in two seconds, and a certificate that the agency's server may ask for: the gateway's own.
            "slow": {"rate_delay": "2s", "client_chain_files": f"{layout.pki}/gateway.key, {layout.pki}/gateway.pem"}
        },
        "digipoort_message_size_limit": 26214400,
        # The tests and the benchmarks are all one client, and one login.
        "digipoort_client_rate_limit": 100_000,
        "digipoort_submission_rate_recipients": 100_000,
        "digipoort_submission_rate_seconds": 60,
        "digipoort_auth_free_failures_pair": 10_000,
        "digipoort_auth_free_failures_network": 0,
        "digipoort_auth_free_failures_login": 0,
        "digipoort_queue_lifetime": "3d",
        "digipoort_delay_warning_time": "4h",
        # Seconds instead of a host's minutes: the fault tests wait for retries.
        "digipoort_queue_run_delay": "2s",
        "digipoort_minimal_backoff_time": "2s",
        "digipoort_maximal_backoff_time": "5s",
        "digipoort_dovecot_run_directory": layout.dovecot / "run",
        "digipoort_dovecot_state_directory": layout.dovecot_state,
        "digipoort_checkpassword": layout.library / "checkpassword",
        "digipoort_lua_client": layout.library / "digipoort_auth.lua",
        "digipoort_lua_settings": layout.dovecot / "digipoort-auth.lua",
        "digipoort_dovecot_users": layout.dovecot / "users",
        "digipoort_mail_directory": layout.mail,
        "digipoort_dovecot_config": layout.dovecot / "dovecot.conf",
        "digipoort_quota_warning": layout.library / "quota-warning",
        "digipoort_mail_user": names.MAIL_USER,
        "digipoort_mail_uid": names.MAIL_UID,
        "digipoort_mail_gid": names.MAIL_UID,
        "digipoort_mailbox_quota": "1G",
        "digipoort_receipt_quota": "1100M",
        "digipoort_mailbox_warnings": [80, 95],
        "digipoort_mail_retention_days": 0,
        "digipoort_postmaster_mailbox": names.POSTMASTER_MAILBOX,
        "digipoort_settings": {},
    }


def render(layout: Layout, dsns: dict[str, str]) -> None:
    """Write every configuration file; `dsns` has the conninfo per program, for `write`, `resubmission` and `rehash`."""
    render_mail(layout)
    values = variables(layout)
    template = _templates().get_template("gateway/templates/digipoort.env.j2")
    for program, group in PROGRAM_GROUPS.items():
        write_dsn = {"admin": dsns["write"], "policyd": dsns["resubmission"]}.get(program, "")
        own = {
            "digipoort_program": program,
            "digipoort_directory_dsn": dsns[program],
            "digipoort_directory_write_dsn": write_dsn,
            "digipoort_rehash_dsn": dsns["rehash"] if program == "authd" else "",
        }
        _write_secret(layout.settings / f"{program}.env", template.render(values | own), group)


def render_mail(layout: Layout) -> None:
    """Write the configuration of Postfix and Dovecot, in the versions that the sandbox runs."""
    environment = _templates()
    values = variables(layout)
    for name in POSTFIX_FILES:
        text = environment.get_template(f"postfix/templates/{name}.j2").render(values)
        (layout.postfix / name).write_text(text, encoding="utf-8")
    dovecot = {
        "dovecot.conf": f"dovecot-{values['digipoort_dovecot_version']}.conf",
        "digipoort-auth.lua": "digipoort-auth.lua",
        "users": "users",
    }
    for name, template in dovecot.items():
        text = environment.get_template(f"dovecot/templates/{template}.j2").render(values)
        (layout.dovecot / name).write_text(text, encoding="utf-8")


def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        # Ansible finds what a template includes beside it.
        loader=jinja2.FileSystemLoader([ROLES, ROLES / "dovecot" / "templates"]),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        # As Ansible's template module does.
        trim_blocks=True,
        autoescape=False,  # noqa: S701 - configuration files, not HTML
    )


def _write_secret(path: Path, text: str, group: str) -> None:
    path.touch(mode=0o640)
    shutil.chown(path, "root", group)
    path.write_text(text, encoding="utf-8")


def copy_programs(layout: Layout) -> None:
    """Copy our packages and the programs that Dovecot runs to where the daemons' users can read them."""
    for package in PACKAGES:
        source = names.CHECKOUT / package
        shutil.copytree(source, layout.library / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    for module, name in (("checkpassword.py", "checkpassword"), ("quota_warning.py", "quota-warning")):
        program = layout.library / name
        shutil.copy(names.CHECKOUT / "dovecot_auth" / "digipoort_auth" / module, program)
        program.chmod(0o755)
    shutil.copy(names.CHECKOUT / "dovecot_auth" / "lua" / "digipoort_auth.lua", layout.library)


def venv_python() -> str:
    """Return the interpreter that runs this: it has the development dependencies."""
    return sys.executable
