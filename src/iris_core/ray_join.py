"""What lets a host join its cluster's Ray: the token, the head's address, and what the host offers. All of it travels over SSH.

The token is made on the controller's host, by whoever comes first, its container or iris, and is kept there, on the disk. iris reads
it when it needs it, so it is on no other machine of a user's, and a colleague who may log in can use the cluster too.

A worker's host is told in one file, `HOST_DIRECTORY/join`, which its container waits for (`iris_adapters.gcloud.ray_node`). It is on
the disk as well: a host that reboots joins again by itself.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import TYPE_CHECKING, Final

from iris_core.errors import JobApiError, RemoteShellError
from iris_core.model import VmPhase
from iris_core.ray_names import host_labels, host_resources

if TYPE_CHECKING:
    from collections.abc import Iterable

    from iris_core.model import ControllerVm, Host, Slice
    from iris_core.ports.clock import Clock
    from iris_core.ports.remote_shell import RemoteShell

HOST_DIRECTORY: Final = "/var/lib/iris"
"""Where token and join file are on a host: root's. On Container-Optimized OS, /var is one of the few places that outlive a boot."""

_TOKEN_FILE: Final = f"{HOST_DIRECTORY}/token"
_JOIN_FILE: Final = f"{HOST_DIRECTORY}/join"
_TOKEN: Final = re.compile(r"[!-~]{16,}")
_COMMAND_SECONDS: Final = 30.0  # for one command on a host, connecting included
_MOST_AT_ONCE: Final = 16
_TOLD_AGAIN_SECONDS: Final = 300.0  # a host that Google has repaired may have lost its disk and kept its id
_CORES_PER_CHIP: Final = 2  # the older TPU types count cores: https://cloud.google.com/tpu/docs/regions-zones
_CHIP_TYPES: Final = ("v5litepod", "v6e")

# Whoever comes first makes the token: `ln` of a complete file is atomic and fails where there is one.
_READ_TOKEN: Final = f"""\
umask 077
mkdir -p {HOST_DIRECTORY} && cd {HOST_DIRECTORY} || exit
if ! [ -s token ]; then
  head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \\n' >token.$$ || exit
  ln token.$$ token 2>/dev/null
  rm -f token.$$
fi
cat token
"""
# Renamed over: the container never reads half of it.
_WRITE_JOIN: Final = (
    f"umask 077; mkdir -p {HOST_DIRECTORY} && cat >{_JOIN_FILE}.$$ && mv -f {_JOIN_FILE}.$$ {_JOIN_FILE}"
)


def read_token(shell: RemoteShell, host: Host, *, use_sudo: bool) -> str:
    """The token that the controller on this host wants; made now if there is none yet.

    Raises:
        RemoteShellError: no connection, or it was lost.
        JobApiError: it cannot be read there. The message never has the token.
    """
    result = shell.run(host, _as_root(_READ_TOKEN, use_sudo=use_sudo), timeout_seconds=_COMMAND_SECONDS)
    token = result.stdout.decode("ascii", "replace").strip()
    if result.exit_status or not _TOKEN.fullmatch(token):
        said = result.stderr.decode(errors="replace").strip()[-300:] or "it is empty or no token"
        raise JobApiError(
            f"The controller's token cannot be read in {_TOKEN_FILE} on {host.name}: {said}. The user that iris logs in as must be "
            "root, or may use sudo without a password."
        )
    return token


def chips_per_host(slice_: Slice) -> int:
    """How many TPU chips each host of the slice has; 0 where that cannot be told (then Ray looks for itself)."""
    generation, _, size = slice_.hardware.accelerator_type.rpartition("-")
    if size.isdecimal():
        chips = int(size) if generation in _CHIP_TYPES else int(size) // _CORES_PER_CHIP
    elif slice_.hardware.topology:
        chips = prod(int(side) for side in slice_.hardware.topology.split("x") if side.isdecimal())
    else:
        chips = 0
    return chips // max(len(slice_.hosts), 1)


def join_message(controller: ControllerVm, slice_: Slice, host: Host) -> bytes:
    """What the join file of a host says: JSON, of which the token is a part."""
    hardware = slice_.hardware
    accelerator = hardware.accelerator_type or f"{hardware.type}-{hardware.topology}".lower()
    message = {
        "head": controller.internal_address or controller.host.address,
        "token": controller.token,
        "name": host.name,
        "resources": host_resources(slice_.name, accelerator, chips_per_host(slice_)),
        "labels": host_labels(slice_.name),
    }
    return json.dumps(message).encode()


class RayJoin:
    """Tells hosts how to join. Every method may be called from any thread.

    Args:
        shell: reaches the hosts.
        clock: tells the time.
        use_sudo: whether writing on a host as root needs `sudo -n`.
    """

    def __init__(self, shell: RemoteShell, clock: Clock, *, use_sudo: bool) -> None:
        self._shell = shell
        self._clock = clock
        self._use_sudo = use_sudo
        self._lock = threading.Lock()
        self._told: dict[
            str, tuple[str, bytes, float]
        ] = {}  # by host name: its id, what it was told (a hash), and when

    def tell(self, controller: ControllerVm, slices: Iterable[Slice]) -> dict[str, str]:
        """Tell every host that can be reached and was not told the same of late; each is tried once.

        Returns:
            for each host that could not be told, why.
        """
        messages = [
            (host, join_message(controller, slice_, host))
            for slice_ in slices
            if slice_.phase is VmPhase.READY
            for host in slice_.hosts
            if host.address
        ]
        due = [(host, message) for host, message in messages if self._is_due(host, message)]
        if not due:
            return {}
        with ThreadPoolExecutor(min(_MOST_AT_ONCE, len(due)), thread_name_prefix="iris-join") as threads:
            problems = list(threads.map(lambda one: self._tell(*one), due))
        return {host.name: problem for (host, _), problem in zip(due, problems, strict=True) if problem}

    def _is_due(self, host: Host, message: bytes) -> bool:
        with self._lock:
            told = self._told.get(host.name)
        if told is None or told[:2] != (host.instance_id, _digest(message)):
            return True
        return self._clock.monotonic() - told[2] >= _TOLD_AGAIN_SECONDS

    def _tell(self, host: Host, message: bytes) -> str:
        command = _as_root(_WRITE_JOIN, use_sudo=self._use_sudo)
        try:
            result = self._shell.run(host, command, timeout_seconds=_COMMAND_SECONDS, stdin=message)
        except RemoteShellError as error:
            return str(error)
        if result.exit_status:
            return f"{_JOIN_FILE} cannot be written: {result.stderr.decode(errors='replace').strip()[-300:]}"
        with self._lock:
            self._told[host.name] = (host.instance_id, _digest(message), self._clock.monotonic())
        return ""


def _digest(message: bytes) -> bytes:
    return hashlib.sha256(message).digest()


def _as_root(script: str, *, use_sudo: bool) -> list[str]:
    return [*(("sudo", "-n") if use_sudo else ()), "sh", "-c", script]
