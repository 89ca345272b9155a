from __future__ import annotations

from iris_adapters.gcloud.phases import gce_phase, tpu_phase
from iris_core.model import VmPhase

TPU_PHASES = {
    VmPhase.PENDING: "CREATING RESTARTING REIMAGING REPAIRING STARTING UNHIDING UNKNOWN NEW_IN_2027",
    VmPhase.READY: "READY",
    VmPhase.STOPPED: "STOPPED STOPPING HIDING HIDDEN",
    VmPhase.FAILED: "PREEMPTED TERMINATED",
    VmPhase.DELETING: "DELETING",
}
GCE_PHASES = {
    VmPhase.PENDING: "PROVISIONING STAGING REPAIRING NEW_IN_2027",
    VmPhase.READY: "RUNNING",
    VmPhase.STOPPED: "SUSPENDING SUSPENDED TERMINATED",
    VmPhase.DELETING: "STOPPING",  # whether it is being deleted or stopped: what is on its way out is waited for
}


def test_every_documented_state_has_its_phase() -> None:
    """Unknown states are pending: to look again is the only thing that can do no harm."""
    for phase, states in TPU_PHASES.items():
        assert {tpu_phase(state) for state in states.split()} == {phase}
    for phase, states in GCE_PHASES.items():
        assert {gce_phase(state) for state in states.split()} == {phase}
