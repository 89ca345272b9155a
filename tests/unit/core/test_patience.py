"""How long a question may go unanswered."""

from __future__ import annotations

import pytest

from iris_adapters.fakes import FakeClock
from iris_core.errors import CloudUnavailableError, InventoryToolError, PermissionDeniedError
from iris_core.patience import PATIENCE_SECONDS, Patience


@pytest.mark.parametrize("error", [CloudUnavailableError("no network"), InventoryToolError("it hangs")])
def test_what_may_pass_is_borne_for_some_minutes(error: InventoryToolError, caplog: pytest.LogCaptureFixture) -> None:
    """And told once; an answer begins the time anew."""
    clock = FakeClock()
    patience = Patience(clock, "how it is")
    for _ in range(3):
        patience.bear(error)
        clock.advance(PATIENCE_SECONDS / 4)
    assert caplog.messages == [f"It is not known at the moment how it is; iris asks again. {error}"]
    patience.answered()
    patience.bear(error)
    clock.advance(PATIENCE_SECONDS)
    with pytest.raises(type(error)):
        patience.bear(error)


def test_what_does_not_pass_is_an_error_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for a permission."""
    with pytest.raises(PermissionDeniedError):
        Patience(FakeClock(), "how it is").bear(PermissionDeniedError("no"))
    assert caplog.messages == []
