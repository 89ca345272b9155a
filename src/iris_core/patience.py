"""How long a question that is asked again anyway may go unanswered: a blip must not cost what was waited for until then."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from iris_core.errors import InventoryToolError

if TYPE_CHECKING:
    from iris_core.errors import InventoryError
    from iris_core.ports.clock import Clock

_logger = logging.getLogger("iris.cluster")

PATIENCE_SECONDS: Final = 300.0
"""For failures in a row."""


class Patience:
    """Bears the failures of one question for some minutes, where they may pass by themselves.

    Args:
        clock: tells the time.
        what: is asked for, as in "how the requests stand".
    """

    def __init__(self, clock: Clock, what: str) -> None:
        self._clock = clock
        self._what = what
        self._failing_since: float | None = None

    def answered(self) -> None:
        """The question was answered: what fails next is another failure."""
        self._failing_since = None

    def bear(self, error: InventoryError) -> None:
        """Take note of a failure, and return if it is to be asked again.

        Raises:
            InventoryError: `error`, if it does not pass by itself, or has not for long.
        """
        now = self._clock.monotonic()
        since = now if self._failing_since is None else self._failing_since
        # An error of the tool: a gcloud that hangs, or is in another's way.
        may_pass = error.retryable or isinstance(error, InventoryToolError)
        if not may_pass or now - since >= PATIENCE_SECONDS:
            raise error
        if self._failing_since is None:
            self._failing_since = now
            _logger.warning("It is not known at the moment %s; iris asks again. %s", self._what, error)
