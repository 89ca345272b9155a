"""One replica of a job as a process group on this machine. Everything here belongs to the engine's thread and never blocks."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from iris_adapters.child_guard import guard, release
from iris_adapters.controller.job_log import LineAssembler

if TYPE_CHECKING:
    from collections.abc import Mapping

_READ_BYTES = 65536
_MOST_LAST_READS = 64  # of 64 KiB; a Linux pipe holds at most 1 MiB unless an administrator says otherwise


class ReplicaProcess:
    """A running command line and the pipe its output comes through.

    The process leads a session and a process group of its own, so that a signal reaches all it has started, and none of the
    terminal's signals reaches it; it ends with iris, also with one that is killed. It stays unreaped until `finish`: so long its
    process id, and therefore its group's, cannot be given to another process, and signalling the group is safe.

    Args:
        command_line: as `sh -c` takes it.
        env: the whole environment.

    Raises:
        OSError: it could not be started; nothing is left of it.
    """

    def __init__(self, command_line: str, env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", command_line],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
        )
        assert self._process.stdout is not None  # noqa: S101 - for mypy: Popen was asked for a pipe
        self._stdout = self._process.stdout
        self._lines = LineAssembler()
        try:
            guard(self._process)
            os.set_blocking(self._stdout.fileno(), False)
            self.exit_fd = os.pidfd_open(self._process.pid)
        except OSError:
            self.signal_group(signal.SIGKILL)
            self._process.wait()
            release(self._process)
            self._stdout.close()
            raise
        self.output_fd = self._stdout.fileno()

    def read(self) -> tuple[list[str], bool]:
        """The lines that came, and whether the output has ended (everything that held the pipe has closed it)."""
        try:
            data = os.read(self.output_fd, _READ_BYTES)
        except BlockingIOError:
            return [], False
        return (self._lines.feed(data), False) if data else ([], True)

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to every process of the group. Those that are gone or belong to another user are left alone."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def finish(self) -> tuple[list[str], int]:
        """End what is left of the group, reap the process (it must have exited), and close everything.

        Returns:
            the last lines and the exit code; negative: the signal that ended it.
        """
        self.signal_group(signal.SIGKILL)
        lines: list[str] = []
        for _ in range(_MOST_LAST_READS):  # bounded: one that left the group may hold the pipe and go on writing
            try:
                data = os.read(self.output_fd, _READ_BYTES)
            except BlockingIOError:
                break
            if not data:
                break
            lines += self._lines.feed(data)
        lines += self._lines.end()
        exit_code = self._process.wait()
        release(self._process)
        self._stdout.close()
        os.close(self.exit_fd)
        return lines, exit_code
