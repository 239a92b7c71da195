"""Messages with a known verdict: at the edge of every check of the interface, and on either side of it."""
