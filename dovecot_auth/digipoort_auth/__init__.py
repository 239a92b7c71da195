"""Who may log in: authd, which decides, and checkpassword, by which Dovecot 2.3 asks it."""
