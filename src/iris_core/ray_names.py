"""What a worker host tells Ray about itself, and by which names: the start-up scripts say it, the job client asks for it.

A host joins with `ray start --node-name={host name} --resources={host_resources(…)} --labels={host_labels(…)}`, and its container
has `TASK_LOG_VARIABLE` set. The module imports nothing, because its text also travels to the cluster with each job.
"""

from __future__ import annotations

TPU_RESOURCE = "TPU"
"""Ray's own name for TPU chips; a host offers as many as it has."""

SLICE_LABEL = "ray.io/tpu-slice-name"
"""Ray's own node label (2.60) for the slice that a host is of. A gang is packed by it; it must not be there on other hosts."""

TASK_LOG_VARIABLE = "IRIS_TASK_LOG"
"""Environment variable of a worker's container: the file to which what tasks print is written, beside the job's log.

It is to be where the container's own output goes, so that Docker logs it: `/proc/1/fd/1`. Unset: the job's log is the only place.
"""

SHARE = 0.001
"""How much of a slice's or accelerator's resource a replica asks for: it chooses hosts by it and occupies nothing."""


def slice_resource(slice_name: str) -> str:
    """The resource of which every host of this slice, and no other host, offers 1."""
    return f"iris_slice:{slice_name}"


def accelerator_resource(accelerator_type: str) -> str:
    """The resource of which every host of a slice of this type (`v5litepod-16`) offers 1."""
    return f"iris_accelerator:{accelerator_type}"


def host_resources(slice_name: str, accelerator_type: str, chips: int) -> dict[str, float]:
    """What a host of a slice offers beside its CPUs and memory, which Ray finds out by itself."""
    resources = {slice_resource(slice_name): 1.0, accelerator_resource(accelerator_type): 1.0}
    return {**resources, TPU_RESOURCE: float(chips)} if chips else resources


def host_labels(slice_name: str) -> dict[str, str]:
    """The node labels of a host of a slice."""
    return {SLICE_LABEL: slice_name}
