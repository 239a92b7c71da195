"""What `make demo` shows is true: every step of it, on the sandbox that the tests run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sandbox import demo

if TYPE_CHECKING:
    import pytest

    from tests.integration.gateway import Gateway


def test_every_step_of_the_demonstration(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.wait_for(gateway.queue_is_empty, "an empty queue")
    assert demo.run(gateway.env) == 0
    shown = capsys.readouterr().out
    assert "byte-identical" in shown
    assert "DGP-2003" in shown
