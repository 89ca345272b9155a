"""Programs that carry a connection on their standard input and output, instead of a socket to the host."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from iris_adapters.ssh.dial import shut

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from iris_adapters.ssh.attempt import Attempt
    from iris_core.errors import RemoteShellError
    from iris_core.model import Host

_PIECE_BYTES: Final = 1 << 12
_MOST_SAID_BYTES: Final = 1 << 14
_LAST_WORDS_SECONDS: Final = 1.0


class ProxyRoute(Protocol):
    """A way to hosts that leads through a program. Any number of threads may use it.

    Attributes:
        environment: variables that the program gets beside this process's.
    """

    @property
    def environment(self) -> Mapping[str, str]:
        """See above."""
        ...

    def argv(self, host: Host, port: int) -> Sequence[str]:
        """The program that leads to this port of the host.

        Raises:
            RemoteShellError: it is not known yet.
        """
        ...

    def explain(self, host: Host, said: str) -> RemoteShellError | None:
        """What it means that the program could not lead to the host, and `said` this on standard error; None: nobody knows."""
        ...


class Proxy:
    """A program that runs, until the attempt or the connection that it is for is ended.

    Args:
        argv: the program.
        attempt: ends it.
        environment: variables that it gets beside this process's.

    Attributes:
        sock: what it writes comes out of here, and what goes in here it reads.

    Raises:
        OSError: there is no such program, or it could not be started (`FileNotFoundError` …), or the attempt has ended
            (`ConnectionAbortedError`).
    """

    def __init__(self, argv: Sequence[str], attempt: Attempt, environment: Mapping[str, str] | None = None) -> None:
        self._said = bytearray()
        self.sock, theirs = socket.socketpair()
        try:
            attempt.guard(partial(shut, self.sock))
            with theirs:
                self._start(argv, theirs, {**os.environ, **(environment or {})})
            attempt.guard(self._end)
            attempt.guard(self.sock.close)
        except BaseException:
            self.sock.close()
            raise

    def last_words(self) -> str:
        """What it has written on standard error (the last of it). Waits a moment for a program that is about to end."""
        self._watcher.join(_LAST_WORDS_SECONDS)
        return bytes(self._said).decode(errors="replace").strip()

    def _start(self, argv: Sequence[str], theirs: socket.socket, environment: Mapping[str, str]) -> None:
        # Its input must not be the same open file as its output. gcloud sets O_NONBLOCK on the one, which then holds for the other
        # too, and loses what it cannot write at once: of 20 MB through one socket for both, 0.2 MB arrived (seen with SDK 528).
        fed, feed = os.pipe()
        heard, speak = os.pipe()
        try:
            self._feeder = subprocess.Popen(
                ["cat"], stdin=theirs.fileno(), stdout=feed, stderr=subprocess.DEVNULL, start_new_session=True
            )
            try:
                self._process = subprocess.Popen(
                    argv,
                    stdin=fed,
                    stdout=theirs.fileno(),
                    stderr=speak,
                    env=environment,
                    start_new_session=True,  # Ctrl-C in the terminal is for iris, which then closes its connections in order
                )
            except BaseException:
                self._feeder.kill()
                self._feeder.wait()
                raise
            self._watcher = threading.Thread(
                target=self._watch, args=(os.dup(heard),), name=f"iris-ssh-proxy-{self._process.pid}", daemon=True
            )
            self._watcher.start()
        finally:
            for descriptor in (fed, feed, heard, speak):
                os.close(descriptor)

    def _watch(self, heard: int) -> None:
        """Keep what it says, and clear up behind it: no zombies."""
        while piece := os.read(heard, _PIECE_BYTES):
            self._said += piece
            del self._said[:-_MOST_SAID_BYTES]
        os.close(heard)
        self._process.wait()
        self._feeder.kill()
        self._feeder.wait()

    def _end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)


def shell_argv(command: str) -> Sequence[str]:
    """The program that a ProxyCommand of `~/.ssh/config` is, as OpenSSH runs it."""
    return ["/bin/sh", "-c", f"exec {command}"]
