"""`python -m tests.fuzz TARGET --seconds N`: fuzzes one target with atheris (the extra `fuzz`).

An input fails by an undocumented exception, by more than ten seconds, or by more than 512 MiB of memory; libFuzzer
then writes it to the working folder and ends with another status than 0.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris
import click

with atheris.instrument_imports(include=["digipoort", "digipoort_milter", "digipoort_policyd", "digipoort_auth"]):
    from tests.fuzz.targets import SEEDS, TARGETS

_MAX_INPUT_OCTETS = 4096
_INPUT_SECONDS = 10
_MEMORY_MIB = 512


@click.command()
@click.argument("target", type=click.Choice(sorted(TARGETS)))
@click.option("--seconds", default=600, show_default=True)
def main(target: str, seconds: int) -> None:
    """Fuzz TARGET from its seeds; does not return, libFuzzer ends the process."""
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{target}-"))
    for number, seed in enumerate(SEEDS[target]):
        (folder / f"seed-{number}").write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={_MAX_INPUT_OCTETS}",
        f"-timeout={_INPUT_SECONDS}",
        f"-rss_limit_mb={_MEMORY_MIB}",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(folder)], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
