"""Sockets to hosts: directly, or through the user's ProxyCommand."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from iris_adapters.ssh.attempt import Attempt

_LATER_SECONDS: Final = 5.0  # the attempt's own deadline comes first, and says how long it was


def dial(address: str, port: int, attempt: Attempt, dead_peer_seconds: float) -> socket.socket:
    """Connect to the first address that accepts.

    Args:
        address: IP address or name.
        port: the TCP port.
        attempt: ends the dialling, and later closes the socket.
        dead_peer_seconds: how long the peer's kernel may leave packets unacknowledged before the socket fails.

    Raises:
        OSError: what the last address failed with.
    """
    failure: OSError | None = None
    for family, kind, protocol, _, target in socket.getaddrinfo(address, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            attempt.guard(partial(_shut, sock))
            sock.settimeout(attempt.seconds + _LATER_SECONDS)
            sock.connect(target)
            _notice_silence(sock, dead_peer_seconds)
            attempt.guard(sock.close)
        except OSError as error:
            sock.close()
            failure = error
            if attempt.ended:
                break
        else:
            return sock
    raise failure or ConnectionAbortedError("no address")


def through_command(command: str, attempt: Attempt) -> socket.socket:
    """Run the user's ProxyCommand, as OpenSSH does, and return a socket to its standard input and output.

    Paramiko's own `ProxyCommand` spins when the command ends, and leaves it a zombie.
    """
    ours, theirs = socket.socketpair()
    try:
        attempt.guard(lambda: _shut(ours))
        with theirs:
            process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in the terminal is for iris, which then closes its connections in order
            )
        threading.Thread(target=process.wait, name=f"iris-ssh-proxy-{process.pid}", daemon=True).start()  # no zombies
        attempt.guard(lambda: _end(process))
        attempt.guard(ours.close)
    except BaseException:
        ours.close()
        raise
    return ours


def _notice_silence(sock: socket.socket, seconds: float) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Linux (tcp(7)): fail when what was sent has not been acknowledged for so long. Elsewhere the watchdog must do alone.
    option: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None:
        sock.setsockopt(socket.IPPROTO_TCP, option, round(seconds * 1000))


def _shut(sock: socket.socket) -> None:
    """Wake whoever connects, reads or writes on it; they close it."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
