"""Which SSH host keys a host has, and what its VM is called, by Google's word.

A host's guest agent writes its keys into its guest attributes at boot, from where Google's API hands them out: the only way to know
a host's key without having to trust the network. https://cloud.google.com/compute/docs/metadata/manage-guest-attributes
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from iris_adapters.gcloud.json_shape import JsonObject, parse_objects
from iris_core.errors import InvalidRequestError, InventoryError, ResourceNotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from iris_adapters.gcloud.command import GcloudRunner
    from iris_core.model import Host
    from iris_core.ports.clock import Clock

_NAMESPACE: Final = "hostkeys"
_NAME_KEY: Final = "hostname"
_KEY_TYPE: Final = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")

# A host that boots has not reported yet, and one without a guest agent never will: each connection asks again, gcloud must not. So a
# slice is asked for every 10 s in its first minute, then ever more rarely.
_ASK_AGAIN_SECONDS: Final = 10.0
_OFTEN_AT_FIRST: Final = 6
_MOST_ASK_AGAIN_SECONDS: Final = 300.0


@dataclass(slots=True)
class _Instance:
    """What is known of one life of a VM or node."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    keys: Mapping[int, Sequence[str]] = field(default_factory=dict)  # by worker index; a controller is worker 0
    names: Mapping[int, str] = field(default_factory=dict)  # likewise
    asked_at: float | None = None
    asked: int = 0  # times
    failure: InventoryError | None = None  # of the last time

    def is_due(self, now: float) -> bool:
        doublings = min(max(self.asked - _OFTEN_AT_FIRST, 0), 10)
        pause = min(_MOST_ASK_AGAIN_SECONDS, _ASK_AGAIN_SECONDS * 2.0**doublings)
        return self.asked_at is None or now - self.asked_at >= pause


class ReportedHostKeys:
    """Asks Google for host keys, once for each life of a VM or slice. Any thread may call it.

    Args:
        gcloud: runs the commands.
        clock: for the pause before asking again.
    """

    def __init__(self, gcloud: GcloudRunner, clock: Clock) -> None:
        self._gcloud = gcloud
        self._clock = clock
        self._lock = threading.Lock()
        self._instances: dict[str, _Instance] = {}

    def __call__(self, host: Host) -> Sequence[str]:
        """The keys of the host, each as `type base64`; empty if it has reported none (yet).

        One call to Google serves all hosts of a slice. What has been reported is not asked for again, what has not is, but not
        more than once in ten seconds, and after a minute ever more rarely, down to once in five minutes.

        Raises:
            InventoryError: Google could not be asked, now or the last time.
        """
        instance, index = self._instance(host)
        with instance.lock:
            if index not in instance.keys:
                self._ask_if_due(instance, host)
            return instance.keys.get(index, ())

    def name_of_vm(self, host: Host) -> str | None:
        """What the VM is called that the host of a slice is (`t1v-n-…-w-0`), as it reports it; None: it has not (yet).

        The same call to Google tells it as tells the keys.

        Raises:
            InventoryError: Google could not be asked, now or the last time.
        """
        instance, index = self._instance(host)
        with instance.lock:
            if index not in instance.names:
                self._ask_if_due(instance, host)
            return instance.names.get(index)

    def _instance(self, host: Host) -> tuple[_Instance, int]:
        with self._lock:
            instance = self._instances.setdefault(f"{host.zone}/{host.instance_id}/{host.slice_name}", _Instance())
        return instance, host.worker_index or 0

    def _ask_if_due(self, instance: _Instance, host: Host) -> None:
        if instance.is_due(self._clock.monotonic()):
            try:
                keys, names = self._ask(host)
            except InventoryError as error:
                instance.failure = error
            else:
                instance.keys = {**instance.keys, **keys}
                instance.names = {**instance.names, **names}
                instance.failure = None
            instance.asked_at = self._clock.monotonic()
            instance.asked += 1
        if instance.failure is not None:
            raise instance.failure

    def _ask(self, host: Host) -> tuple[Mapping[int, Sequence[str]], Mapping[int, str]]:
        kind = ("instances",) if host.slice_name is None else ("tpus", "tpu-vm")
        name = host.slice_name or host.name
        command = [
            *("compute", *kind, "get-guest-attributes", name),
            *(f"--zone={host.zone}", f"--query-path={_NAMESPACE}/"),
        ]
        try:
            entries = parse_objects(self._gcloud.run(command), f"the guest attributes of {name}")
        except ResourceNotFoundError:
            return {}, {}
        except InvalidRequestError as error:
            if "guest attributes" in error.detail.lower():  # they are switched off: "endpoint access is disabled"
                return {}, {}
            raise
        keys: dict[int, list[str]] = {}
        names: dict[int, str] = {}
        for entry in entries:
            index = _worker_index(entry)
            if index is None:
                continue
            if (line := _key_line(entry)) is not None:
                keys.setdefault(index, []).append(line)
            elif (called := _vm_name(entry)) is not None:
                names[index] = called
        return keys, names


def _worker_index(entry: JsonObject) -> int | None:
    """A number from gcloud, or a string of digits; none at all in an instance's entries."""
    raw = str(entry.get("worker_id", 0))
    return int(raw) if raw.isascii() and raw.isdigit() else None


def _key_line(entry: JsonObject) -> str | None:
    """The key of an entry, None if it is none: hosts also report other things there (`hostname`), and may report anything."""
    kind, value = entry.get("key"), entry.get("value")
    if entry.get("namespace") != _NAMESPACE or not isinstance(kind, str) or not isinstance(value, str):
        return None
    value = value.strip()
    return f"{kind} {value}" if _KEY_TYPE.fullmatch(kind) and _BASE64.fullmatch(value) else None


def _vm_name(entry: JsonObject) -> str | None:
    """The VM's name, None if the entry is something else; gcloud itself reads it there for its tunnels (seen in SDK 528)."""
    value = entry.get("value")
    if entry.get("namespace") != _NAMESPACE or entry.get("key") != _NAME_KEY or not isinstance(value, str):
        return None
    return value.strip() or None
