"""What stands behind an instance or a node: the port between the API's records and pretended (or no) hosts."""

from __future__ import annotations

import base64
import hashlib
import itertools
import math
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.lab.http_shapes import Json

_HOSTS_PER_CHIPS = 4
_CORES_PER_HOST = 8
_CORES_PER_CHIP = 2


class Kind:
    """The two kinds of resources, by the word in their URLs."""

    INSTANCE = "instances"
    NODE = "nodes"


class Address(NamedTuple):
    """The two addresses of a host."""

    internal: str
    external: str


@dataclass(slots=True, kw_only=True)
class Record:
    """An instance or a node as the API has it.

    Attributes:
        kind: `instances` or `nodes`.
        project: its project.
        zone: its zone.
        name: its short name.
        number: its numeric id, another one for each creation.
        body: what a describe returns; changed by `show` only.
        addresses: of its hosts, by worker index.
        guest_attributes: per host, `(namespace, key)` to value.
        leaving: set when it is to go: what still waits for it gives up.
        lock: held while its machines are started or ended.
    """

    kind: str
    project: str
    zone: str
    name: str
    number: str
    body: Json
    addresses: Sequence[Address] = ()
    guest_attributes: list[dict[tuple[str, str], str]] = field(default_factory=list)
    leaving: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _changing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What no two resources share at a time."""
        return (self.kind, self.project, self.zone, self.name)

    @property
    def metadata(self) -> Mapping[str, str]:
        """Its own metadata, whichever way the API writes them."""
        metadata = self.body.get("metadata", {})
        if self.kind == Kind.NODE:
            return dict(metadata)
        return {item["key"]: item.get("value", "") for item in metadata.get("items", [])}

    def show(self, **fields: object) -> None:
        """Change top-level fields of the body. A body, once read, stays as it was, so that it can be sent without a lock."""
        with self._changing:
            self.body = self.body | fields


class Machines(Protocol):
    """What an API server does to machines. Calls for one resource come one after another, for several at the same time."""

    def allocate(self, record: Record, count: int) -> Sequence[Address]:
        """The addresses that its `count` hosts will have. Returns at once."""
        ...

    def boot(self, record: Record) -> None:
        """Start its hosts and fill in `record.guest_attributes`. Returns when ssh answers."""
        ...

    def power_off(self, record: Record) -> None:
        """End its hosts at once, as a preemption does; their disks stay. Never booted, or already off, is fine."""
        ...

    def destroy(self, record: Record) -> None:
        """End its hosts, wipe their disks, give their addresses back. Already gone is fine."""
        ...

    def metadata_changed(self, record: Record | None) -> None:
        """The metadata of one resource, or of the project (None), are others now."""
        ...

    def serial_output(self, record: Record) -> str:
        """All that its first host has written on its console."""
        ...


class NoMachines:
    """Machines for tests that need only the inventory: addresses and host keys are well-formed and lead nowhere."""

    def __init__(self) -> None:
        self._numbers = itertools.count(2)

    def allocate(self, record: Record, count: int) -> Sequence[Address]:  # noqa: ARG002 - the port's signature
        """So many addresses: 10.128.x.y inside, 34.16.x.y outside."""
        tails = [f"{number // 250}.{number % 250}" for number in itertools.islice(self._numbers, count)]
        return [Address(internal=f"10.128.{tail}", external=f"34.16.{tail}") for tail in tails]

    def boot(self, record: Record) -> None:
        """Report host keys made of the name and the numeric id."""
        record.guest_attributes[:] = [
            {
                ("hostkeys", "ssh-ed25519"): ed25519_text(f"{record.name} {record.number} {index}"),
                ("hostkeys", "hostname"): f"t1v-n-{record.number[-8:]}-w-{index}",
            }
            for index in range(len(record.addresses))
        ]

    def power_off(self, record: Record) -> None:
        """Nothing to end."""

    def destroy(self, record: Record) -> None:
        """Nothing to wipe."""

    def metadata_changed(self, record: Record | None) -> None:
        """Nobody to tell."""

    def serial_output(self, record: Record) -> str:
        """One line."""
        return f"{record.name} has no console\n"


def ed25519_text(seed: str) -> str:
    """A public key of the right form, as base64, that belongs to nobody."""
    algorithm = b"ssh-ed25519"
    point = hashlib.sha256(seed.encode()).digest()
    blob = len(algorithm).to_bytes(4) + algorithm + len(point).to_bytes(4) + point
    return base64.b64encode(blob).decode()


def host_count(accelerator_type: str) -> int:
    """How many hosts a node of this type has: `v5litepod-N` and `v6e-N` count chips, the older types count cores."""
    generation, _, size = accelerator_type.rpartition("-")
    per_host = _HOSTS_PER_CHIPS if generation in {"v5litepod", "v6e"} else _CORES_PER_HOST
    return max(1, int(size) // per_host)


def accelerator_type(generation: str, topology: str) -> str:
    """The accelerator type that a generation (`V4`) and a topology (`2x2x2`, in chips) make."""
    chips = math.prod(int(length) for length in topology.split("x"))
    if generation in {"V5LITE_POD", "V6E"}:
        return f"{'v6e' if generation == 'V6E' else 'v5litepod'}-{chips}"
    return f"{generation.lower()}-{chips * _CORES_PER_CHIP}"
