"""What a run of ansible-playbook said is read rightly: on it rests every claim that a run changed nothing."""

from __future__ import annotations

from typing import Final

from tests.provisioning.playbook import Played

_OUTPUT: Final = """
TASK [postfix : Configure Postfix] *********************************************
--- before: /etc/postfix-digipoort/main.cf
+++ after: /root/.ansible/tmp/main.cf.j2
@@ -1,3 +1,3 @@
 myhostname = gw1
-delay_warning_time = 4h
+delay_warning_time = 5h

changed: [gw1] => (item=main.cf)
ok: [gw1] => (item=master.cf)

TASK [Look] ********************************************************************
ok: [gw1]

RUNNING HANDLER [postfix : Reload] *********************************************
changed: [gw1]

PLAY RECAP *********************************************************************
gw1                        : ok=3    changed=2    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0
gw2                        : ok=3    changed=1    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0

postfix : Configure Postfix ---------------------------------------------- 1.32s
"""


def test_counts_changes_and_differences_are_read() -> None:
    played = Played(0, 1.0, _OUTPUT)
    assert {name: counts["changed"] for name, counts in played.recap.items()} == {"gw1": 2, "gw2": 1}
    assert played.changed == 3
    assert played.changes == ["postfix : Configure Postfix", "postfix : Reload"]
    assert played.differences == {"-delay_warning_time = 4h", "+delay_warning_time = 5h"}


def test_a_run_without_a_recap_has_no_counts() -> None:
    assert Played(4, 1.0, "ERROR! the playbook could not be found\n").recap == {}
