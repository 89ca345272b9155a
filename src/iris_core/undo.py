"""Giving back what was taken, in the opposite order, whatever goes wrong on the way."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from iris_core.ports.clock import Clock

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


class Ending:
    """An `Undo` that is begun before other steps, which wait for it for so long only: what takes longer goes on beside them.

    Args:
        undo: the steps.
        clock: every wait goes through it.
        seconds: how long others wait for it. None: to its end.
    """

    def __init__(self, undo: Undo, clock: Clock, seconds: float | None) -> None:
        self._undo = undo
        self._clock = clock
        self._seconds = seconds
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._failure: Exception | None = None

    def begin(self) -> None:
        """Carry it out; return at its end, or when the time is over. Once only.

        Raises:
            Exception: its first failure, where it was waited for to the end.
        """
        if self._seconds is None:
            self._undo.carry_out()
            return
        thread = threading.Thread(target=self._carry_out, name="iris-ending", daemon=True)
        thread.start()
        self._thread = thread
        self._clock.wait(self._ended, self._seconds)

    def wait(self) -> None:
        """Wait for the end of what was begun.

        Raises:
            Exception: its first failure, if nobody was told yet.
        """
        if self._thread is not None:
            self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _carry_out(self) -> None:
        try:
            self._undo.carry_out()
        except Exception as failure:  # noqa: BLE001 - raised by `wait`
            self._failure = failure
        finally:
            self._ended.set()
