"""Hosts, slices and controllers for tests, with everything that a test does not care about filled in."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from iris_core.labels import OWNER_LABEL, managed_label
from iris_core.model import ControllerVm, Hardware, Host, HostRole, QueuedSlice, Slice, VmPhase, controller_name

if TYPE_CHECKING:
    from datetime import datetime

DEFAULT_ZONE = "us-central1-a"

_QUEUED_STATES = {
    VmPhase.PENDING: "WAITING_FOR_RESOURCES",
    VmPhase.READY: "ACTIVE",
    VmPhase.STOPPED: "SUSPENDED",
    VmPhase.FAILED: "FAILED",
    VmPhase.DELETING: "DELETING",
}
_STATES = {
    VmPhase.PENDING: ("STAGING", "CREATING"),
    VmPhase.READY: ("RUNNING", "READY"),
    VmPhase.STOPPED: ("TERMINATED", "STOPPED"),
    VmPhase.FAILED: ("REPAIRING", "PREEMPTED"),
    VmPhase.DELETING: ("STOPPING", "DELETING"),
}


def gce_state(phase: VmPhase) -> str:
    """A state that Compute Engine has for an instance in this phase."""
    return _STATES[phase][0]


def tpu_state(phase: VmPhase) -> str:
    """A state that the TPU API has for a node in this phase."""
    return _STATES[phase][1]


def queued_state(phase: VmPhase) -> str:
    """A state that the TPU API has for a queued resource in this phase."""
    return _QUEUED_STATES[phase]


def _address_of(name: str) -> str:
    number = zlib.crc32(name.encode())
    return f"10.{number >> 16 & 0xFF}.{number >> 8 & 0xFF}.{number & 0xFF}"


def make_host(name: str, *, role: HostRole = HostRole.CONTROLLER, address: str | None = None, life: int = 1) -> Host:
    """A host that belongs to no slice. `life` counts how often it was created: another one is another instance id."""
    return Host(
        name=name,
        role=role,
        address=_address_of(name) if address is None else address,
        zone=DEFAULT_ZONE,
        instance_id=f"{name}#{life}",
    )


def make_controller(
    label_prefix: str = "iris",
    *,
    phase: VmPhase = VmPhase.READY,
    address: str | None = None,
    port: int = 10000,
    token: str | None = None,
    owner: str = "",
    machine_type: str = "",
    expires_at: datetime | None = None,
    created_at: datetime | None = None,
    life: int = 1,
) -> ControllerVm:
    """A controller of the cluster. One whose `address` is "" has not got one yet; one whose `owner` is "" bears no such label."""
    name = controller_name(label_prefix)
    return ControllerVm(
        name=name,
        host=make_host(name, address=address, life=life),
        port=port,
        phase=phase,
        state=gce_state(phase),
        created_at=created_at,
        labels=_labels(label_prefix, owner),
        owner=owner,
        expires_at=expires_at,
        machine_type=machine_type,
        token=token,
    )


def make_slice(
    name: str,
    hosts: int = 1,
    *,
    group: str = "",
    label_prefix: str = "iris",
    phase: VmPhase = VmPhase.READY,
    created_at: datetime | None = None,
    owner: str = "",
    expires_at: datetime | None = None,
    hardware: Hardware | None = None,
    queued_as: str = "",
    life: int = 1,
) -> Slice:
    """A slice with so many hosts, `{name}-w0`, `{name}-w1` …; 0 hosts is a slice that has no addresses yet."""
    return Slice(
        name=name,
        group=group,
        zone=DEFAULT_ZONE,
        instance_id=f"{name}#{life}",
        phase=phase,
        state=tpu_state(phase),
        hosts=tuple(
            Host(
                name=f"{name}-w{index}",
                role=HostRole.WORKER,
                address=_address_of(f"{name}-w{index}"),
                zone=DEFAULT_ZONE,
                instance_id=f"{name}#{life}",
                slice_name=name,
                worker_index=index,
            )
            for index in range(hosts)
        ),
        created_at=created_at,
        labels=_labels(label_prefix, owner),
        owner=owner,
        expires_at=expires_at,
        hardware=hardware or Hardware(),
        queued_as=queued_as,
    )


def make_queued_slice(
    name: str,
    *,
    group: str = "",
    label_prefix: str = "iris",
    phase: VmPhase = VmPhase.PENDING,
    is_granted: bool = False,
    problem: str = "",
    created_at: datetime | None = None,
    owner: str = "",
    expires_at: datetime | None = None,
    hardware: Hardware | None = None,
) -> QueuedSlice:
    """A request for a slice, by default one that waits."""
    return QueuedSlice(
        name=name,
        group=group,
        zone=DEFAULT_ZONE,
        phase=phase,
        state="PROVISIONING" if is_granted else queued_state(phase),
        is_granted=is_granted,
        problem=problem,
        created_at=created_at,
        labels=_labels(label_prefix, owner),
        owner=owner,
        expires_at=expires_at,
        hardware=hardware or Hardware(),
    )


def _labels(label_prefix: str, owner: str) -> dict[str, str]:
    return {managed_label(label_prefix): "true", **({OWNER_LABEL: owner} if owner else {})}
