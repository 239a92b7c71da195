"""Real Debian guests with systemd, networks between them, and Ansible runs against them: provisioning is tried there.

By hand, as root, from a checkout (`--run NAME` keeps labs apart; by default a checkout has one lab):

    python -m tests.provisioning up --release trixie gw1 db     boot guests; prints each name and address
    python -m tests.provisioning exec gw1 systemctl status      a command in one
    python -m tests.provisioning inventory                      prints the path of an Ansible inventory of them
    python -m tests.provisioning play SITE.yml -i INVENTORY …   ansible-playbook with connection and collections set
    python -m tests.provisioning restart gw1                    shut down cleanly and boot again, the disk kept
    python -m tests.provisioning down [gw1]                     shut down and remove one, or all and the network
"""
