"""Ctrl-C: once, and iris ends in order within seconds and says what still runs; twice, and it ends at once.

SIGTERM and SIGHUP are treated alike; the exit code is 128 + the signal's number.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NoReturn

from iris_adapters.smoke_test.interruption import leave_at_once

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

GRACE_SECONDS: Final = 10.0
"""How long an end in order may take after the first signal."""

BEFORE_DELETION_SECONDS: Final = 3.0
"""How much of that may pass before the deletion of a cluster is begun: Google is to be asked of it within the rest, by a gcloud that lists
and one for each deletion."""

MOST_DRAIN_SECONDS: Final = 7.0
"""How much of that may pass until the logs are drained, should hosts not answer: the rest is for saying what is left."""

_SHOW_CURSOR: Final = "\x1b[?25h"
_SIGNAL_EXIT_CODE: Final = 128  # plus the signal's number: the shells' convention
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """What the signals that end a command do. One for the process, made on the main thread.

    Attributes:
        number: the signal that came first, None before.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._at_stake: list[str] = []
        self._deadline: threading.Timer | None = None

    def install(self) -> None:
        """Handle the signals from now on. One that the caller's parent has chosen to ignore (nohup) stays ignored."""
        self.number = None
        for number in _SIGNALS:
            if signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}:
                signal.signal(number, self._on_signal)

    def done(self) -> None:
        """The command has ended in order: nothing needs to be ended any more."""
        if self._deadline is not None:
            self._deadline.cancel()

    @contextmanager
    def at_stake(self, text: str) -> Iterator[None]:
        """While the context is open, have `text` told where iris must end before it knows what it leaves behind."""
        self._at_stake.append(text)
        try:
            yield
        finally:
            self._at_stake.remove(text)

    def exit_code(self, code: int) -> int:
        """The code to exit with: a signal's where one has ended the command before its regular end."""
        return code if self.number is None or code == 0 else _SIGNAL_EXIT_CODE + self.number

    def _on_signal(self, number: int, _frame: FrameType | None) -> NoReturn:
        if self.number is not None:
            self._end_at_once("ended at once")
        self.number = number
        self._deadline = threading.Timer(
            GRACE_SECONDS, self._end_at_once, [f"did not end in order within {GRACE_SECONDS:g} s"]
        )
        self._deadline.daemon = True
        self._deadline.start()
        if number == signal.SIGINT:
            with suppress(OSError):  # not through `sys.stderr`: the signal may have come while that was being written
                os.write(
                    2, f"\niris: ending in order, within {GRACE_SECONDS:g} s. Ctrl-C again ends it at once.\n".encode()
                )
            raise KeyboardInterrupt
        raise SystemExit(_SIGNAL_EXIT_CODE + number)

    def _end_at_once(self, how: str) -> None:
        """End this process and the programs that it has started, whatever its threads are doing."""
        cursor = _SHOW_CURSOR if os.isatty(2) else ""  # spinners hide it
        last_words = "\n".join([f"{cursor}\niris: {how}.", *self._at_stake])
        leave_at_once(_SIGNAL_EXIT_CODE + (self.number or signal.SIGINT), last_words)


interrupts: Final = Interrupts()
"""The process's own."""
