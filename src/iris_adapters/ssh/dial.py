"""Sockets to hosts."""

from __future__ import annotations

import socket
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
    # As bytes: a name that is a str is taken through a codec that only other alphabets need.
    name = address.encode() if address.isascii() else address
    for family, kind, protocol, _, target in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            attempt.guard(partial(shut, sock))
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


def _notice_silence(sock: socket.socket, seconds: float) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Linux (tcp(7)): fail when what was sent has not been acknowledged for so long. Elsewhere the watchdog must do alone.
    option: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None:
        sock.setsockopt(socket.IPPROTO_TCP, option, round(seconds * 1000))


def shut(sock: socket.socket) -> None:
    """Wake whoever connects, reads or writes on it; they close it."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
