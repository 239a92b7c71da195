"""What authd could answer to the login `trader`, and what each of its clients must take for no verdict."""

from __future__ import annotations

from typing import Final

ACCEPTED: Final = b"ok\tlogin=trader\tmailbox=abcd1234\n"
NO_VERDICT: Final = (
    b"temp\n",
    b"",
    b"fail",
    b"ok\tlogin=trader\tmailbox=abcd1234",
    b"fail\nfail\n",
    ACCEPTED + b"fail\n",
    b"fail\tlogin=trader\n",
    b"FAIL\n",
    b"\n",
    b"ok\n",
    b"ok\tmailbox=abcd1234\n",
    b"ok\tlogin=other\tmailbox=abcd1234\n",
    b"ok\tlogin=Trader\tmailbox=abcd1234\n",
    b"ok\tlogin=trader\tlogin=trader\tmailbox=abcd1234\n",
    b"ok\tlogin=trader\tmailbox=\n",
    b"ok\tlogin=trader\tmailbox=abc\n",
    b"ok\tlogin=trader\tmailbox=" + b"a" * 33 + b"\n",
    b"ok\tlogin=trader\tmailbox=../../../etc\n",
    b"ok\tlogin=trader\tmailbox=abcd/efgh\n",
    b"ok\tlogin=trader\tmailbox=ABCD1234\n",
    b"ok\tlogin=trader\tmailbox=abcd\0efg\n",
    b"ok\tlogin=trader\tmailbox=abcd\x01tefg\n",
    b"ok\tlogin=trader\tmailbox=abcd1234\tmailbox=abcd1235\n",
    b"ok\tlogin=trader\tmailbox=abcd1234\t\n",
    b"ok\tlogin=trader\tmailbox=abcd1234\tuid\n",
    b"ok\t\tlogin=trader\tmailbox=abcd1234\n",
    b"ok\tlogin=trader\tmailbox=abcd1234\r\n",
    b"okay\tlogin=trader\tmailbox=abcd1234\n",
    b"\xff\0" * 3000 + b"\n",
    b"x" * 5000,
    b"x" * 5000 + b"\n",
)
