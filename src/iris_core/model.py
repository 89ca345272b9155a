"""What a cluster is made of. Everything here is a value: frozen, comparable, without behaviour of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


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
    DELETING = "deleting"  # it is on its way out


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
        token: the bearer token that the job API wants, None where it wants none. Never shown.
    """

    name: str
    host: Host
    port: int
    phase: VmPhase
    state: str = ""
    created_at: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=_nothing, hash=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A worker slice: one TPU node of one or more hosts that come and go together.

    Attributes:
        name: `{label_prefix}-{group}-{timestamp}`.
        group: the worker group of the configuration it was made for, empty where its labels do not say.
        zone: its zone.
        instance_id: Google's id of this life of the slice.
        phase: what iris makes of `state`.
        state: Google's word for its state (`READY`, `CREATING`, `PREEMPTED` …), shown to the user.
        hosts: its hosts by worker index; empty until Google has given them addresses.
        created_at: when it was created, None where that is not known.
        labels: its labels.
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


Resource: TypeAlias = ControllerVm | Slice
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


def managed_label(label_prefix: str) -> str:
    """The label that every resource of the cluster bears with the value `true`."""
    return f"{label_prefix}-managed"
