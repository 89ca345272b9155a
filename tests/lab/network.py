"""A network for pretended hosts: each in a network namespace of its own, all on one bridge, as VMs are in a VPC.

The bridge is in the network namespace of whoever makes it. That is to be one of its own too (`own_network_namespace`), so that nothing
is to be seen of it on the machine.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET in <sched.h>
_NETWORK = "10.91.0."
_GATEWAY = f"{_NETWORK}1"
_LAST_BYTE = 254


@contextmanager
def own_network_namespace() -> Iterator[None]:
    """Be, with every thread and process started meanwhile, in a network namespace that has nothing but its loopback interface.

    Raises:
        OSError: only root may.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(_NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "a network namespace of its own is refused; only root may have one")
        try:
            _ip("link", "set", "lo", "up")
            yield
        finally:
            if libc.setns(before, _NEW_NETWORK):
                raise OSError(ctypes.get_errno(), "there is no way back into the network namespace of before")
    finally:
        os.close(before)


class Network:
    """Hands out addresses, and connects the hosts that have them. The same interface as `AddressPool`, and `attach`."""

    def __init__(self) -> None:
        self._bridge = "iris-lab"
        self._lock = threading.Lock()
        self._taken: set[str] = set()
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("address", "add", f"{_GATEWAY}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")

    def take(self) -> str:
        """A free address.

        Raises:
            OSError: there is none.
        """
        with self._lock:
            for last in range(2, _LAST_BYTE + 1):
                address = f"{_NETWORK}{last}"
                if address not in self._taken:
                    self._taken.add(address)
                    return address
        raise OSError(f"all addresses of {_NETWORK}0/24 are taken")

    def give_back(self, address: str) -> None:
        """Let others have it. Given back already is fine."""
        with self._lock:
            self._taken.discard(address)

    def attach(self, pid: int, address: str) -> None:
        """Connect the network namespace of this process, and let it have the address. It ends with the namespace."""
        outer = f"lab{address.removeprefix(_NETWORK)}"
        _ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        _ip("link", "set", outer, "master", self._bridge, "up")
        inside = ("nsenter", f"--target={pid}", "--net", "--")
        _ip("link", "set", "lo", "up", inside=inside)
        _ip("address", "add", f"{address}/24", "dev", "eth0", inside=inside)
        _ip("link", "set", "eth0", "up", inside=inside)
        # It leads nowhere; but a program that looks which address of its own leads to the world finds the right one.
        _ip("route", "add", "default", "via", _GATEWAY, inside=inside)

    def close(self) -> None:
        """Remove the bridge."""
        with suppress(OSError):  # gone with the namespace
            _ip("link", "delete", self._bridge)


def _ip(*arguments: str, inside: tuple[str, ...] = ()) -> None:
    done = subprocess.run([*inside, "ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)} failed: {done.stderr.strip()}")
