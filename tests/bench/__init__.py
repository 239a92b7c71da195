"""Speed as ratios to a peer of the same run; `python -m tests.bench`, never in CI."""
