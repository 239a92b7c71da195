# Stubs of python3-systemd, as far as it is used.
