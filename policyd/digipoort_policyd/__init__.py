"""The policy daemon: Postfix asks it, recipient by recipient, whether a message may pass."""
