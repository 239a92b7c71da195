"""Alternating rounds: a noisy machine slows both sides alike, so only the ratio of one round's figures counts."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: `measure` returns a rate per second."""

    name: str
    measure: Callable[[], float]


def compare(title: str, ours: Side, peer: Side, rounds: int) -> float:
    """Measure both sides `rounds` times, alternating which goes first; print every round, return the median ratio."""
    click.echo(click.style(title, bold=True))
    ratios = []
    for number in range(rounds):
        order = (ours, peer) if number % 2 else (peer, ours)
        rates = {side.name: side.measure() for side in order}
        ratios.append(rates[ours.name] / rates[peer.name])
        shown = ", ".join(f"{name} {rate:.0f}/s" for name, rate in sorted(rates.items()))
        click.echo(f"  round {number + 1}: {shown}, ratio {ratios[-1]:.2f}")
    ratio = statistics.median(ratios)
    click.echo(f"  median ratio {ratio:.2f} (min {min(ratios):.2f}, max {max(ratios):.2f})")
    return ratio
