"""Runs the admin's program as `python -m digipoort.cli`, where its script is not installed."""

from __future__ import annotations

from digipoort.cli import main

main(prog_name="digipoort")
