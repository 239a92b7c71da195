"""Receipts as parties get them, one of each kind: `python -m tests.golden` writes them again."""
