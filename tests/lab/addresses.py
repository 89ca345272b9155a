"""Loopback addresses for hosts, so that labs on the same machine do not take each other's."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LAST_BYTES = 254


class AddressPool:
    """Hands out 127.x.y.z on which a port is free: those that it was given back first, then from 127.0.0.2 on.

    An address is reserved by an abstract Unix socket of its name, which vanishes with the process that holds it.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._reservations: dict[str, socket.socket] = {}
        self._given_back: list[str] = []
        self._lock = threading.Lock()

    def take(self) -> str:
        """A free address.

        Raises:
            OSError: there is none.
        """
        with self._lock:
            for address in (*self._given_back, *_candidates()):
                if self._reserve(address):
                    if address in self._given_back:
                        self._given_back.remove(address)
                    return address
        raise OSError(
            f"port {self._port} is taken on every loopback address: end the service that listens on 0.0.0.0:{self._port}, "
            "or give the lab another ssh_port"
        )

    def give_back(self, address: str) -> None:
        """Let others have it. Given back already is fine."""
        with self._lock:
            reservation = self._reservations.pop(address, None)
            if reservation is not None:
                self._given_back.append(address)
        if reservation is not None:
            reservation.close()

    def close(self) -> None:
        """Give all back."""
        for address in list(self._reservations):
            self.give_back(address)

    def _reserve(self, address: str) -> bool:
        reservation = socket.socket(socket.AF_UNIX)
        if not _binds(lambda: reservation.bind(f"\0iris-lab {address}:{self._port}")):
            reservation.close()
            return False
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free = _binds(lambda: probe.bind((address, self._port)))
        if not free:
            reservation.close()
            return False
        self._reservations[address] = reservation
        return True


def _candidates() -> Iterator[str]:
    for third in range(_LAST_BYTES):
        for last in range(2 if third == 0 else 1, _LAST_BYTES):
            yield f"127.0.{third}.{last}"


def _binds(bind: Callable[[], None]) -> bool:
    try:
        bind()
    except OSError:
        return False
    return True
