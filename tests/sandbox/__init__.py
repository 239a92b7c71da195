"""A private gateway on high loopback ports: real daemons, the templates that Ansible installs, a throw-away CA."""
