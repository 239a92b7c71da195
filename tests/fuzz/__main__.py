"""`python -m tests.fuzz TARGET --seconds N`: fuzzes one target with atheris (the extra `fuzz`).

An input fails by an undocumented exception, by what guard.py says, by more than ten seconds, or by more than 512 MiB of
memory; libFuzzer then writes it to a folder below the temporary one and ends with another status than 0.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris
import click

with atheris.instrument_imports(
    include=["digipoort", "digipoort_milter", "digipoort_policyd", "digipoort_auth", "digipoort_sasl"]
):
    from tests.fuzz.guard import Guard
    from tests.fuzz.seeds import MAX_OCTETS, seeds
    from tests.fuzz.targets import TARGETS

_INPUT_SECONDS = 10
_MEMORY_MIB = 512


@click.command()
@click.argument("target", type=click.Choice(sorted(TARGETS)))
@click.option("--seconds", default=600, show_default=True)
def main(target: str, seconds: int) -> None:
    """Fuzz TARGET from its seeds; does not return, libFuzzer ends the process."""
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{target}-"))
    for number, seed in enumerate(seeds(target)):
        (folder / f"seed-{number}").write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={MAX_OCTETS}",
        f"-timeout={_INPUT_SECONDS}",
        f"-rss_limit_mb={_MEMORY_MIB}",
        "-print_final_stats=1",
        f"-artifact_prefix={folder}-",
    ]
    atheris.Setup([sys.argv[0], *options, str(folder)], Guard(TARGETS[target]))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
