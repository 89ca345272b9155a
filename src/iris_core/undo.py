"""Giving back what was taken, in the opposite order, whatever goes wrong on the way."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_logger = logging.getLogger("iris.cluster")


class Undo:
    """Steps that are owed. Unlike an `ExitStack`, the error that led here stays the one that is raised."""

    def __init__(self) -> None:
        self._steps: list[tuple[str, Callable[[], object]]] = []

    def owe(self, what: str, step: Callable[[], object]) -> None:
        """Owe `step`; `what` names it in messages, as in "stopping the cluster"."""
        self._steps.append((what, step))

    def carry_out(self, because: BaseException | None = None) -> None:
        """Take every step, the last one owed first; a failed one does not stop the others. Once only.

        Args:
            because: the error that led here, which the caller raises again. Failures are noted on it and logged.

        Raises:
            Exception: the first failure, if there was no error before; later ones are noted on it and logged.
        """
        raised = because
        while self._steps:
            what, step = self._steps.pop()
            try:
                step()
            except Exception as failure:  # noqa: BLE001 - whatever it is, the other steps are owed too; none is lost
                if raised is None:
                    raised = failure
                else:
                    raised.add_note(f"After that, {what} failed: {failure}")
                    _logger.error("After an error, %s failed too: %s", what, failure)  # noqa: TRY400 - for users: no traceback
            except BaseException:
                undone = [what, *(name for name, _ in reversed(self._steps))]
                _logger.error("Interrupted; not done: %s", ", ".join(undone))  # noqa: TRY400 - as above
                self._steps.clear()
                raise
        if because is None and raised is not None:
            raise raised
