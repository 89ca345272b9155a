"""What may end a smoke test early: Ctrl-C, SIGTERM, a closed terminal, and its own deadline.

    event                              while the phases run                         while cleaning up
    first signal                       Interrupted is raised in the main thread     noted: the exit code changes
    deadline                           Interrupted is raised in the main thread     nothing
    signal after a signal              leaves at once                               leaves at once
    no end in time after any of them   leaves at once                               leaves at once

An exception in the main thread is what any `with manager.connect()` must survive (it is what Ctrl-C does by itself), and it also
ends waits that know nothing of deadlines. "At once" kills the child processes and skips everything else.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

    from iris_core.ports.clock import Clock

TIMED_OUT_EXIT_CODE: Final = 1
_SIGNAL_EXIT_CODE: Final = 128  # plus the signal's number: the shells' convention
_USER_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DEADLINE_SIGNAL: Final = signal.SIGALRM


class Interrupted(BaseException):
    """The run was told to end. Not an Exception: nothing on the way may take it for a failure that it can handle.

    Attributes:
        exit_code: what the process is to exit with.
        reason: why, as the user is told.
    """

    def __init__(self, exit_code: int, reason: str) -> None:
        self.exit_code = exit_code
        self.reason = reason
        super().__init__(reason)


class Interruption:
    """While its context is open (in the main thread only), the events of the table above are handled as it says.

    Args:
        clock: time.
        timeout_seconds: the deadline, from the entering of the context.
        cleanup_seconds: how long everything after the first interruption, or else cleaning up, may take.
        at_stake: the last words of an end that leaves things behind; empty: there are none to be left.
        leave: ends the process at once with an exit code and a last word.

    Attributes:
        exit_code: of the first interruption; None while there was none.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        timeout_seconds: float,
        cleanup_seconds: float,
        at_stake: str = "",
        leave: Callable[[int, str], None] | None = None,
    ) -> None:
        self.exit_code: int | None = None
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._cleanup_seconds = cleanup_seconds
        self._leave = leave or leave_at_once
        self._at_stake = at_stake
        self._was_signalled = False
        self._deadline_passed = False
        self._cleans_up = False
        self._ending = threading.Event()
        self._is_over = threading.Event()
        self._former: dict[signal.Signals, object] = {}
        self._main_thread = threading.get_ident()
        self._watchdog = threading.Thread(target=self._watch, name="iris-deadline", daemon=True)

    def begin_cleanup(self) -> None:
        """From now on the first signal is only noted, and the deadline is that of cleaning up."""
        # In this order: the handler must not set the event while this does, an Event's lock is not reentrant.
        self._cleans_up = True
        self._ending.set()

    def check(self) -> None:
        """Raise what should have been raised but was lost: Python drops exceptions that come up in a finalizer.

        Raises:
            Interrupted: the deadline has passed, or a signal came.
        """
        if self._was_signalled or self._deadline_passed:
            raise Interrupted(self.exit_code or TIMED_OUT_EXIT_CODE, "interrupted")

    def __enter__(self) -> Self:
        self._main_thread = threading.get_ident()
        for number in (*_USER_SIGNALS, _DEADLINE_SIGNAL):
            # Started by nohup, or in the background by a script: an ignored signal stays ignored.
            if number is _DEADLINE_SIGNAL or signal.getsignal(number) is not signal.SIG_IGN:
                self._former[number] = signal.signal(number, self._hear)
        self._watchdog.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.begin_cleanup()
        self._is_over.set()
        self._watchdog.join()
        for number, handler in self._former.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # it is what signal.signal returned

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal; in the main thread, between two of its steps."""
        if number == _DEADLINE_SIGNAL:
            if self.exit_code is None and not self._cleans_up:
                self.exit_code = TIMED_OUT_EXIT_CODE
                raise Interrupted(self.exit_code, f"not done within its {self._timeout_seconds:g} s (--timeout)")
            return
        code, name = _SIGNAL_EXIT_CODE + number, signal.Signals(number).name
        if self._was_signalled:
            self._leave(code, self._last_words(f"{name} again: left at once, without cleaning up."))
        self._was_signalled = True
        is_first = self.exit_code is None
        if is_first:
            self.exit_code = code
        with suppress(OSError):
            os.write(2, f"{name}: cleaning up; once more leaves at once\n".encode())
        if self._cleans_up or not is_first:
            return
        self._ending.set()
        raise Interrupted(code, name)

    def _watch(self) -> None:
        if not self._clock.wait(self._ending, self._timeout_seconds):
            self._deadline_passed = True
            signal.pthread_kill(self._main_thread, _DEADLINE_SIGNAL)
        # From here on it is clean-up time: what the main thread unwinds now is part of it.
        if not self._clock.wait(self._is_over, self._cleanup_seconds):
            self._leave(
                self.exit_code or TIMED_OUT_EXIT_CODE,
                self._last_words(f"cleaning up took more than {self._cleanup_seconds:g} s and was given up."),
            )

    def _last_words(self, how: str) -> str:
        return "\n".join(filter(None, [how, self._at_stake]))


def still_runs(cluster: str, down: str) -> str:
    """What to say of a cluster that is left behind without a look at it.

    Args:
        cluster: its label prefix.
        down: the command line that deletes it.
    """
    return f"What there is of the cluster {cluster} still runs and costs money: `{down}` finds and deletes all of it."


def leave_at_once(exit_code: int, last_word: str) -> None:
    """Kill the child processes, say a last word and end the process, whatever its threads are doing."""
    for child in _children():
        with suppress(OSError):
            if os.getpgid(child) == child:
                os.killpg(child, signal.SIGKILL)
            else:
                os.kill(child, signal.SIGKILL)
    with suppress(OSError):
        os.write(2, f"{last_word}\n".encode())
    os._exit(exit_code)


def _children() -> list[int]:
    """The child processes by Linux's own list; elsewhere none are known."""
    found: list[int] = []
    for listing in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, listing.read_text().split())
    return found
