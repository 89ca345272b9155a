"""What a smoke test says: on the terminal as it happens, and in summary.md for afterwards."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self, TextIO

from iris_core.errors import LogFileError
from iris_core.log_paths import open_private

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from iris_core.ports.clock import Clock


class SmokeTestLogger:
    """Says everything twice, with the wall-clock time (UTC) and the seconds since it was made. Usable from any thread.

    A terminal that is gone (a closed pipe, say) ends nothing: the summary goes on. Nor does a summary that cannot be written any
    more: the clusters must still be cleaned up.

    Args:
        summary: the Markdown file; created, or emptied.
        clock: time.
        terminal: where the lines for the user go.
        errors: where it is told once more, at the end, that and why the run has failed. None: nowhere.

    Attributes:
        problem: why the summary could not be written any more; empty if it could.

    Raises:
        LogFileError: the summary cannot be written.
    """

    def __init__(self, summary: Path, clock: Clock, terminal: TextIO, errors: TextIO | None = None) -> None:
        self.problem = ""
        self._path = summary
        self._clock = clock
        self._started = clock.monotonic()
        self._lock = threading.Lock()
        self._terminal: TextIO | None = terminal
        self._errors = errors
        self._failures: list[str] = []
        try:
            self._summary = open_private(summary, "w")
        except OSError as error:
            raise LogFileError(f"{summary} cannot be written: {error.strerror or error}", path=summary) from error

    @property
    def elapsed_seconds(self) -> float:
        """Seconds since this was made."""
        return self._clock.monotonic() - self._started

    def title(self, text: str) -> None:
        """The one title of the summary."""
        self._say(f"{self._stamp()} {text}", f"# {text}\n\nStarted {self._clock.now():%Y-%m-%d %H:%M:%S} UTC.\n")

    def section(self, text: str) -> None:
        """A new section begins."""
        self._say(f"{self._stamp()} == {text}", f"\n## {text}\n\n_{self._stamp()}_\n")

    def log(self, text: str) -> None:
        """Something happened."""
        stamp, text = self._stamp(), printable(text)
        self._say(f"{stamp} {text}", f"- {stamp} {text}".replace("\n", "\n  "))

    def failure(self, text: str) -> None:
        """Something went wrong."""
        self._failures.append(printable(text))
        self.log(text)

    def verdict(self, text: str, *, failed: bool) -> None:
        """How it ended."""
        self.log(text)
        if failed and self._errors is not None:
            reasons = [*self._failures, self.problem] if self.problem else self._failures
            with suppress(OSError, ValueError):
                print("\n".join([f"iris: {text}", *reasons]), file=self._errors, flush=True)

    def block(self, caption: str, text: str) -> None:
        """Foreign text, word for word: a log's last lines. What a terminal would obey is shown as a replacement character."""
        stamp, text = self._stamp(), printable(text)
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
        quoted = "\n".join(f"    | {line}" for line in text.splitlines())
        self._say(f"{stamp} {caption}\n{quoted}", f"- {stamp} {caption}\n\n{fence}text\n{text}\n{fence}\n")

    def markdown(self, text: str) -> None:
        """Text for the summary alone, which is Markdown already."""
        self._say(None, f"\n{text}\n")

    def close(self) -> None:
        """End the summary. What is said afterwards goes to the terminal alone."""
        with self._lock:
            try:
                self._summary.close()
            except OSError as error:
                self._give_up(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _stamp(self) -> str:
        return f"{self._clock.now():%H:%M:%S} (+{self.elapsed_seconds:.1f} s)"

    def _say(self, line: str | None, markdown: str) -> None:
        with self._lock:
            if line is not None:
                self._tell(line)
            if self._summary.closed:
                return
            try:
                print(markdown, file=self._summary, flush=True)
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.problem = f"{self._path} cannot be written any more: {error.strerror or error}"
        with suppress(OSError):  # closing tries once more to write what is left
            self._summary.close()
        self._tell(self.problem)

    def _tell(self, line: str) -> None:
        if self._terminal is None:
            return
        try:
            print(line, file=self._terminal, flush=True)
        except (OSError, ValueError):
            self._terminal = None


def printable(text: str) -> str:
    """The text without control characters other than line ends and tabs: each becomes U+FFFD."""
    return "".join(each if each.isprintable() or each in "\n\t" else "\N{REPLACEMENT CHARACTER}" for each in text)
