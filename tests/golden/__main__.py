"""`python -m tests.golden`: writes every kind of receipt again; what changed shows in the version control."""

from tests.golden.kinds import path_of, receipts

if __name__ == "__main__":
    for name, content in receipts().items():
        path_of(name).write_bytes(content)
