from collections.abc import Callable
from typing import TypeVar

_Callback = TypeVar("_Callback", bound=Callable[..., int])
_Class = TypeVar("_Class", bound=type[Base])

ADDHDRS: int
CHGHDRS: int
CHGBODY: int
CHGFROM: int
CONTINUE: int
ACCEPT: int
REJECT: int
TEMPFAIL: int
NOREPLY: int
P_HDR_LEADSPC: int
P_NOCONNECT: int
P_NOHELO: int
P_NORCPT: int
P_NODATA: int
P_NOUNKNOWN: int
P_NOEOH: int
P_NR_MAIL: int
P_NR_RCPT: int
P_NR_HDR: int
P_NR_BODY: int

factory: Callable[[], Base]

class Base:
    _protocol: int
    _actions: int
    def getsymval(self, sym: str) -> str | None: ...
    def setreply(self, rcode: str, xcode: str | None = ..., msg: str | None = ..., *ml: str) -> None: ...
    def addheader(self, field: str, value: str, idx: int = ...) -> None: ...
    def chgheader(self, field: str, idx: int, value: str) -> None: ...
    def chgfrom(self, sender: str, params: str | None = ...) -> None: ...
    def replacebody(self, body: bytes) -> None: ...
    def negotiate(self, opts: list[int]) -> int: ...
    def _setctx(self, ctx: object) -> None: ...

def header_leading_space(klass: _Class) -> _Class: ...
def noreply(func: _Callback) -> _Callback: ...
def decode(strategy: str) -> Callable[[_Callback], _Callback]: ...
def runmilter(name: str, socketname: str, timeout: int = ..., rmsock: bool = ...) -> None: ...
