"""What `digipoort doctor` looks at on this host, and what it makes of it.

A part of the examination is a module that gathers facts and a function without I/O that turns them into findings, one
line each. `parts.PARTS` names them all; `examination` runs them side by side, each with a deadline.
"""
