"""Programs that do not outlive this process, however it ends.

A gcloud whose iris was killed would go on: it might create a VM after `iris down` had looked and found nothing. So each program tells a
guardian of itself before it begins, and when this process is gone, the guardian, a small shell on the other end of a pipe, ends what is
left: no signal that kills iris keeps a pipe open. (Linux's PR_SET_PDEATHSIG is tied to a thread, and wants code between fork and exec.)
"""

from __future__ import annotations

import os
import subprocess
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Each line is `+` or `-` and the id of a process group. It ignores what ends iris, so that it is there afterwards.
_GUARDIAN: Final = """
trap '' HUP INT QUIT TERM
groups=
while read -r sign group; do
  kept=
  for other in $groups; do [ "$other" = "$group" ] || kept="$kept $other"; done
  groups=$kept
  [ "$sign" = - ] || groups="$groups $group"
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
"""

# Its standard input is the guardian's pipe until the program takes its place.
_ANNOUNCED: Final = 'echo "+ $$" >&0 && exec "$@" </dev/null'


class _Guardian:
    """Runs while there is a program to guard. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._guarded: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._process is None:
                self._begin()
            try:
                process = subprocess.Popen(
                    ["/bin/sh", "-c", _ANNOUNCED, "sh", *command],
                    stdin=self._pipe,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=environment,
                    start_new_session=True,
                )
            except BaseException:
                self._end_if_idle()
                raise
            self._guarded.add(process.pid)
            return process

    def add(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            if self._process is None:
                self._begin()
            self._guarded.add(process.pid)
            self._tell(f"+ {process.pid}")

    def ended(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            if process.pid in self._guarded:
                self._guarded.discard(process.pid)
                self._tell(f"- {process.pid}")
                self._end_if_idle()

    def _tell(self, line: str) -> None:
        with suppress(OSError):  # somebody has killed the guardian: nobody to tell
            os.write(self._pipe, f"{line}\n".encode())

    def _begin(self) -> None:
        theirs, self._pipe = os.pipe()
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _GUARDIAN],
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(theirs)

    def _end_if_idle(self) -> None:
        if not self._guarded and self._process is not None:
            os.close(self._pipe)
            self._process.wait()
            self._process = None


_guardian: Final = _Guardian()


def start_guarded(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a program in a session and process group of its own, with pipes for its output and nothing to read.

    A program that cannot be executed ends with status 126 or 127, as in a shell.

    Args:
        command: the program, by path or by its name on PATH, and its arguments.
        environment: all its variables.

    Raises:
        OSError: this machine can start no process.
    """
    return _guardian.start(command, environment)


def guard(process: subprocess.Popen[bytes]) -> None:
    """Guard a program that runs already, and leads a process group of its own.

    Raises:
        OSError: this machine can start no process.
    """
    _guardian.add(process)


def release(process: subprocess.Popen[bytes]) -> None:
    """Guard it no longer: its process group has ended. Idempotent."""
    _guardian.ended(process)
