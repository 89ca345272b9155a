"""Which SSH host keys a host has, by Google's word.

A host's guest agent writes its keys into its guest attributes at boot, from where Google's API hands them out: the only way to know
a host's key without having to trust the network. https://cloud.google.com/compute/docs/metadata/manage-guest-attributes
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from iris_adapters.gcloud.json_shape import JsonObject, parse_objects
from iris_core.errors import InvalidRequestError, ResourceNotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from iris_adapters.gcloud.command import GcloudRunner
    from iris_core.model import Host
    from iris_core.ports.clock import Clock

_NAMESPACE: Final = "hostkeys"
_KEY_TYPE: Final = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")

# A host that boots has not reported yet, and one without a guest agent never will: each connection asks again, gcloud must not.
_ASK_AGAIN_SECONDS = 10.0


@dataclass(slots=True)
class _Instance:
    """What is known of one life of a VM or node."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    keys: Mapping[int, Sequence[str]] = field(default_factory=dict)  # by worker index; a controller is worker 0
    asked_at: float | None = None


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
        more than once in ten seconds.

        Raises:
            InventoryError: Google could not be asked.
        """
        with self._lock:
            instance = self._instances.setdefault(f"{host.zone}/{host.instance_id}/{host.slice_name}", _Instance())
        index = host.worker_index or 0
        with instance.lock:
            now = self._clock.monotonic()
            is_due = instance.asked_at is None or now - instance.asked_at >= _ASK_AGAIN_SECONDS
            if index not in instance.keys and is_due:
                instance.keys = {**instance.keys, **self._ask(host)}
                instance.asked_at = self._clock.monotonic()
            return instance.keys.get(index, ())

    def _ask(self, host: Host) -> Mapping[int, Sequence[str]]:
        kind = ("instances",) if host.slice_name is None else ("tpus", "tpu-vm")
        name = host.slice_name or host.name
        command = [
            *("compute", *kind, "get-guest-attributes", name),
            *(f"--zone={host.zone}", f"--query-path={_NAMESPACE}/"),
        ]
        try:
            entries = parse_objects(self._gcloud.run(command), f"the guest attributes of {name}")
        except ResourceNotFoundError:
            return {}
        except InvalidRequestError as error:
            if "guest attributes" in error.detail.lower():  # they are switched off: "endpoint access is disabled"
                return {}
            raise
        keys: dict[int, list[str]] = {}
        for entry in entries:
            index = _worker_index(entry)
            line = _key_line(entry)
            if line is not None and index is not None:
                keys.setdefault(index, []).append(line)
        return keys


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
