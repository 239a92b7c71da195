from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

def instrument_imports(include: Iterable[str] = ...) -> AbstractContextManager[None]: ...
def Setup(arguments: list[str], target: Callable[[bytes], None]) -> list[str]: ...  # noqa: N802
def Fuzz() -> None: ...  # noqa: N802
