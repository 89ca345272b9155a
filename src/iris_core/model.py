"""What a cluster is made of. Everything here is a value: frozen, comparable, without behaviour of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from iris_core.errors import OutOfCapacityError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from iris_core.errors import InventoryError


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})  # by a factory: Python 3.11 takes a mapping proxy for a mutable default


class HostRole(StrEnum):
    """What a host is for."""

    CONTROLLER = "controller"
    WORKER = "worker"


class VmPhase(StrEnum):
    """The part of Google's states that decides what iris does: GCE and TPU have a dozen and a half of them."""

    PENDING = "pending"  # it is on its way: look again
    READY = "ready"  # it should be reachable
    STOPPED = "stopped"  # it exists and runs nothing (its disk may still cost money)
    FAILED = "failed"  # preempted, terminated: it will not come back by itself
    DELETING = "deleting"  # it is on its way out (a VM: or is being stopped)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One machine that a shell can reach: the controller VM, or one host of a worker slice.

    Attributes:
        name: unique in the cluster: the VM's name, or `{slice}-w{index}`.
        role: what it is for.
        address: the IP address or name that the shell connects to; empty while it has none.
        zone: its Google Cloud zone, empty in local mode.
        instance_id: Google's id of this life of the VM or node: a VM re-created under the same name has another one.
        slice_name: the slice it belongs to, None for a controller.
        worker_index: its 0-based place in the slice, None for a controller.
    """

    name: str
    role: HostRole
    address: str
    zone: str = ""
    instance_id: str = ""
    slice_name: str | None = None
    worker_index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerVm:
    """The VM (in local mode: this process) in which the controller runs.

    Attributes:
        name: `iris-controller-{label_prefix}`.
        host: how the shell reaches it.
        port: the port its controller listens on, on the host's own 127.0.0.1.
        phase: what iris makes of `state`.
        state: Google's word for its state (`RUNNING`, `STAGING` …), shown to the user.
        created_at: when it was created, None where that is not known.
        labels: its labels.
        owner: who it belongs to, by its label; empty where it has none.
        expires_at: until when it was meant to exist, by its label; None: until it is deleted.
        machine_type: of its VM, empty in local mode.
        internal_address: its host's address inside the VPC network, where workers find it; empty where that is not known.
        token: the bearer token that the job API wants, None where it wants none. Never shown.
    """

    name: str
    host: Host
    port: int
    phase: VmPhase
    state: str = ""
    created_at: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=_nothing, hash=False)
    owner: str = ""
    expires_at: datetime | None = None
    machine_type: str = ""
    internal_address: str = ""
    token: str | None = field(default=None, repr=False)

    @property
    def zone(self) -> str:
        """Its zone, empty in local mode."""
        return self.host.zone


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What a slice is made of, as far as Google tells. What it does not tell is empty, or None.

    Attributes:
        accelerator_type: `v5litepod-16` and the like.
        type: the TPU's generation, `V4` and the like.
        topology: how its chips are arranged, `2x2x2` and the like.
        runtime_version: the image of its hosts.
        spot: whether it may be preempted.
        reserved: whether it came out of a reservation.
    """

    accelerator_type: str = ""
    type: str = ""
    topology: str = ""
    runtime_version: str = ""
    spot: bool | None = None
    reserved: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A worker slice: one TPU node of one or more hosts that come and go together.

    Attributes:
        name: `{label_prefix}-{group}-{timestamp}`.
        group: the worker group of the configuration it was made for, empty where its labels do not say.
        zone: its zone.
        instance_id: Google's id of this life of the slice, empty where Google tells none.
        phase: what iris makes of `state`.
        state: Google's word for its state (`READY`, `CREATING`, `PREEMPTED` …), shown to the user.
        hosts: its hosts by worker index; empty until Google has given them addresses and an id.
        created_at: when it was created, None where that is not known.
        labels: its labels.
        owner: who it belongs to, by its label; empty where it has none.
        expires_at: until when it was meant to exist, by its label; None: until it is deleted.
        hardware: what it is made of.
        queued_as: the name of the queued resource that it came from, empty where it was created at once.
    """

    name: str
    group: str
    zone: str
    instance_id: str
    phase: VmPhase
    state: str = ""
    hosts: tuple[Host, ...] = ()
    created_at: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=_nothing, hash=False)
    owner: str = ""
    expires_at: datetime | None = None
    hardware: Hardware = field(default_factory=Hardware)
    queued_as: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedSlice:
    """A request for a slice (Google's word: a queued resource), which stays there beside the slice once that exists.

    Attributes:
        name: of the request, and of the slice that comes of it.
        group: the worker group of the configuration it was made for, empty where its labels do not say.
        zone: its zone.
        phase: PENDING while it waits or is being fulfilled, READY once the slice is there, FAILED when no slice comes of it any more
            (it counts against the quota until it is deleted), DELETING.
        state: Google's word for its state (`WAITING_FOR_RESOURCES`, `ACTIVE` …), shown to the user.
        is_granted: whether it has left the queue and its slice is being created.
        problem: why it has failed, empty where Google does not say or it has not.
        failure: what kind of error a failure of it is, by what Google says; a stockout where it says nothing that iris knows.
        created_at: when it was made, None where that is not known.
        labels: its labels, which are those of the slice.
        owner: who it belongs to, by its label; empty where it has none.
        expires_at: until when its slice is meant to exist, by its label; None: until it is deleted.
        hardware: what the slice is to be made of.
    """

    name: str
    group: str
    zone: str
    phase: VmPhase
    state: str = ""
    is_granted: bool = False
    problem: str = ""
    failure: type[InventoryError] = OutOfCapacityError
    created_at: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=_nothing, hash=False)
    owner: str = ""
    expires_at: datetime | None = None
    hardware: Hardware = field(default_factory=Hardware)


Resource: TypeAlias = ControllerVm | Slice | QueuedSlice
"""What can be deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """How a command on a host ended.

    Attributes:
        exit_status: its exit status; 128 + n where signal n ended it.
        stdout: all it wrote on standard output.
        stderr: all it wrote on standard error.
    """

    exit_status: int
    stdout: bytes = b""
    stderr: bytes = b""


def controller_name(label_prefix: str) -> str:
    """The name of the controller VM of the cluster with this label prefix."""
    return f"iris-controller-{label_prefix}"
