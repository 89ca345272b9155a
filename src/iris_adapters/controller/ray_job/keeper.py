"""The process that keeps one replica: it starts the command line, passes on what it prints, and sees to it that all of it ends.

The actor (`replica.py`) starts it as a program of its own and talks with it over its standard input and output:

    actor → keeper   a line of JSON: `command`, `env`, `log` (a file for the output, or null), `grace_seconds`, `drain_seconds`
                     the end of the input: end it. The actor closes it for that, or its Ray worker, or its host's Ray, has gone.
    keeper → actor   `{"lines": [...]}` as they come, and in the end `{"exit": code}` (negative: a signal)

It outlives the actor on purpose. Ray kills a worker's child processes with SIGKILL, and then nobody would end the replica's
grandchildren, nor write its last lines to the container's log; so it makes itself nobody's child, and the nearest parent
(Linux's "subreaper") of all that the command starts, in whatever session: when the command has ended, so has everything of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

MOST_LINE_BYTES = 65536
_MOST_CONTINUING_BYTES = 3  # of a UTF-8 character, after its first
_READ_BYTES = 65536
_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
_LAST_DRAIN_SECONDS = 2.0  # for the end of the output once every process is gone
_KILL_TURN_SECONDS = 0.01


class Output:
    """Where lines go: to the container's log first, which lasts, then to the actor, as long as there is one."""

    def __init__(self, log: str | None) -> None:
        self._lock = threading.Lock()
        self._log: int | None = None
        self._problem = ""
        if log is not None:
            try:
                self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                self._problem = (
                    f"[iris: {log} cannot be written, so the host's log lacks these lines: {error.strerror}]"
                )

    def lines(self, lines: list[bytes]) -> None:
        """Pass these lines on, given without their ends."""
        if self._log is not None:
            # Several replicas of a host write here, and a pipe keeps only short writes in one piece.
            with contextlib.suppress(OSError):
                fcntl.flock(self._log, fcntl.LOCK_EX)
                _write_all(self._log, b"".join(line + b"\n" for line in lines))
                fcntl.flock(self._log, fcntl.LOCK_UN)
        texts = [line.decode("utf-8", "replace") for line in lines]
        if self._problem:
            texts.insert(0, self._problem)
            self._problem = ""
        self.tell({"lines": texts})

    def tell(self, news: dict[str, Any]) -> None:
        """Tell the actor; nobody listens any more when it is gone."""
        with self._lock, contextlib.suppress(OSError):
            _write_all(1, json.dumps(news).encode() + b"\n")


def pump(descriptor: int, output: Output) -> None:
    """Pass on what is printed, line by line, until everything that holds the pipe has closed it."""
    rest = b""
    while data := os.read(descriptor, _READ_BYTES):
        *ends, rest = (rest + data).split(b"\n")
        lines: list[bytes] = []
        for end in ends:
            pieces, last = _cut(end)
            lines += [*pieces, last]
        more, rest = _cut(rest)
        if lines or more:
            output.lines(lines + more)
    if rest:
        output.lines([rest])


def keep(spec: dict[str, Any]) -> None:
    """Run the command line to its end and tell how it ended."""
    wake_reader, wake_writer = os.pipe()
    os.set_blocking(wake_writer, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # whoever ends the replica does it through the actor
    _prctl(_SET_CHILD_SUBREAPER, 1)
    output = Output(spec["log"])
    printed, prints = os.pipe()
    try:
        command = subprocess.Popen(
            ["/bin/sh", "-c", spec["command"]],
            env=spec["env"],
            stdin=subprocess.DEVNULL,
            stdout=prints,
            stderr=prints,
            start_new_session=True,
            preexec_fn=_prepare_command,  # noqa: PLW1509 - there is no other thread yet
        )
    except OSError as error:
        output.lines([f"[iris: the command could not be started: {error.strerror or error}]".encode()])
        output.tell({"exit": 127})
        return
    os.close(prints)
    pumping = threading.Thread(target=pump, args=(printed, output), daemon=True)
    pumping.start()
    exit_code = _watch(command.pid, wake_reader, float(spec["grace_seconds"]))
    pumping.join(float(spec["drain_seconds"]))  # what it left running in its group may finish its last words
    _kill_all(command.pid)
    pumping.join(_LAST_DRAIN_SECONDS)
    output.tell({"exit": exit_code})


def _watch(pid: int, wake: int, grace_seconds: float) -> int:
    """Wait until the command's own process has exited, ending it when told to; its exit code."""
    control: list[int] = [0]
    kill_at: float | None = None
    while True:
        exit_code = _reap(pid)
        if exit_code is not None:
            return exit_code
        left = None if kill_at is None else max(0.0, kill_at - time.monotonic())
        ready, _, _ = select.select([*control, wake], [], [], left)
        if wake in ready:
            os.read(wake, _READ_BYTES)
        if 0 in ready:  # the end: there is nothing else to hear
            control = []
            kill_at = time.monotonic() + grace_seconds
            _signal_group(pid, signal.SIGTERM)
        elif kill_at is not None and time.monotonic() >= kill_at:
            kill_at = None
            _signal_group(pid, signal.SIGKILL)


def _reap(wanted: int) -> int | None:
    """Reap what has ended, adopted processes too; the exit code of the wanted one if it is among them."""
    exit_code = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == wanted:
                exit_code = os.waitstatus_to_exitcode(status)
    return exit_code


def _kill_all(group: int) -> None:
    """Kill what is left: the group, and whatever left it but was started by it, which is this process's child by now."""
    _signal_group(group, signal.SIGKILL)
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        children = _children()
        if not children:
            return
        for pid in children:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_KILL_TURN_SECONDS)


def _children() -> list[int]:
    with contextlib.suppress(OSError):
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    return []


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _prepare_command() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # Ray's workers block SIGINT
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _cut(line: bytes) -> tuple[list[bytes], bytes]:
    """A line's pieces of the greatest length, cut between characters, and its rest."""
    pieces = []
    while len(line) > MOST_LINE_BYTES:
        end = MOST_LINE_BYTES
        while end > MOST_LINE_BYTES - _MOST_CONTINUING_BYTES and line[end] & 0xC0 == 0x80:  # noqa: PLR2004 - UTF-8's own
            end -= 1
        pieces.append(line[:end])
        line = line[end:]
    return pieces, line


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def main() -> None:
    """Read what to run, let go of whoever started this, and keep it."""
    spec = json.loads(sys.stdin.buffer.readline())
    if os.fork():
        os._exit(0)
    keep(spec)


if __name__ == "__main__":
    main()
