"""The milter: one program in three roles, each a process of its own, that Postfix asks about every message."""
