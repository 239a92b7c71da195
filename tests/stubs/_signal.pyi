# The C module below `signal`, which checkpassword imports for its speed; only what it uses.
from collections.abc import Callable

SIGALRM: int
ITIMER_REAL: int

def signal(signalnum: int, handler: Callable[[int, object], None], /) -> object: ...
def setitimer(which: int, seconds: float, interval: float = ..., /) -> tuple[float, float]: ...
