"""Google's states → the few phases that iris tells apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iris_core.model import VmPhase

if TYPE_CHECKING:
    from collections.abc import Mapping

# https://cloud.google.com/compute/docs/instances/instance-lifecycle
_GCE_PHASES: Final[Mapping[str, VmPhase]] = {
    "PROVISIONING": VmPhase.PENDING,
    "STAGING": VmPhase.PENDING,
    "RUNNING": VmPhase.READY,
    "REPAIRING": VmPhase.PENDING,
    "STOPPING": VmPhase.DELETING,  # or being stopped: Compute has one word for both, and only the end tells
    "SUSPENDING": VmPhase.STOPPED,
    "SUSPENDED": VmPhase.STOPPED,
    "TERMINATED": VmPhase.STOPPED,  # Compute's word for stopped: the disk is still billed
}

# https://cloud.google.com/tpu/docs/reference/rest/v2/projects.locations.nodes#State
_TPU_PHASES: Final[Mapping[str, VmPhase]] = {
    "CREATING": VmPhase.PENDING,
    "READY": VmPhase.READY,
    "RESTARTING": VmPhase.PENDING,
    "REIMAGING": VmPhase.PENDING,
    "DELETING": VmPhase.DELETING,
    "REPAIRING": VmPhase.PENDING,
    "STOPPED": VmPhase.STOPPED,
    "STOPPING": VmPhase.STOPPED,
    "STARTING": VmPhase.PENDING,
    "PREEMPTED": VmPhase.FAILED,
    "TERMINATED": VmPhase.FAILED,
    "HIDING": VmPhase.STOPPED,
    "HIDDEN": VmPhase.STOPPED,
    "UNHIDING": VmPhase.PENDING,
    "UNKNOWN": VmPhase.PENDING,
}

GRANTED: Final = "PROVISIONING"
"""The state of a queued resource whose slice is being made."""

# https://cloud.google.com/tpu/docs/reference/rest/v2/projects.locations.queuedResources#State
_QUEUED_PHASES: Final[Mapping[str, VmPhase]] = {
    "CREATING": VmPhase.PENDING,
    "ACCEPTED": VmPhase.PENDING,
    "WAITING_FOR_RESOURCES": VmPhase.PENDING,
    GRANTED: VmPhase.PENDING,
    "ACTIVE": VmPhase.READY,
    "FAILED": VmPhase.FAILED,
    "SUSPENDING": VmPhase.FAILED,  # its slice is taken away, by Google (a preemption) or by somebody, and does not come back
    "SUSPENDED": VmPhase.FAILED,
    "DELETING": VmPhase.DELETING,
}


def gce_phase(state: str) -> VmPhase:
    """What iris makes of an instance's state. An unknown one is PENDING: to look again does no harm, all else might."""
    return _GCE_PHASES.get(state, VmPhase.PENDING)


def tpu_phase(state: str) -> VmPhase:
    """What iris makes of a node's state. An unknown one is PENDING: to look again does no harm, all else might."""
    return _TPU_PHASES.get(state, VmPhase.PENDING)


def queued_phase(state: str) -> VmPhase:
    """What iris makes of a queued resource's state. An unknown one is PENDING, as above."""
    return _QUEUED_PHASES.get(state, VmPhase.PENDING)
