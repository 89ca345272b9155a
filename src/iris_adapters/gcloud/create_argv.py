"""The gcloud commands that create what a cluster consists of. Pure: the files they name are the caller's.

References: https://cloud.google.com/sdk/gcloud/reference/compute/instances/create and
https://cloud.google.com/sdk/gcloud/reference/compute/tpus/tpu-vm/create
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iris_core.model import managed_label

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from iris_core.config import ControllerConfig, GcpConfig, WorkerGroupConfig


def create_controller_argv(
    name: str, *, label_prefix: str, gcp: GcpConfig, controller: ControllerConfig, metadata_files: Mapping[str, Path]
) -> list[str]:
    """The command that creates the controller's VM and returns when it exists (it boots for a while after that).

    Args:
        name: of the VM.
        label_prefix: of the cluster.
        gcp: where it is to be.
        controller: what it is to be.
        metadata_files: metadata keys, and the files that hold their values.
    """
    return [
        *("compute", "instances", "create", name),
        f"--zone={gcp.zone}",
        f"--machine-type={controller.machine_type}",
        f"--image-family={controller.image_family}",
        f"--image-project={controller.image_project}",
        f"--boot-disk-size={controller.boot_disk_gb}GB",
        f"--labels={_pairs({managed_label(label_prefix): 'true'})}",
        *_metadata(metadata_files),
        *([f"--subnet={gcp.subnetwork}"] if gcp.subnetwork else []),
        *_network_and_account(gcp),
    ]


def create_slice_argv(
    name: str, *, label_prefix: str, gcp: GcpConfig, group: WorkerGroupConfig, metadata_files: Mapping[str, Path]
) -> list[str]:
    """The command that creates a worker slice and returns when it is ready, or has failed.

    Args:
        name: of the slice.
        label_prefix: of the cluster.
        gcp: where it is to be.
        group: what it is to be.
        metadata_files: metadata keys, and the files that hold their values.
    """
    labels = {**group.labels, managed_label(label_prefix): "true", f"{label_prefix}-group": group.name}
    return [
        *("compute", "tpus", "tpu-vm", "create", name),
        f"--zone={gcp.zone}",
        f"--accelerator-type={group.accelerator_type}",
        f"--version={group.runtime_version}",
        *(["--spot"] if group.spot else []),
        f"--labels={_pairs(labels)}",
        *_metadata(metadata_files),
        *([f"--subnetwork={gcp.subnetwork}"] if gcp.subnetwork else []),
        *_network_and_account(gcp),
    ]


def _metadata(files: Mapping[str, Path]) -> list[str]:
    # Values come from files, so that no comma or newline in one of them is taken for gcloud's own syntax. Guest attributes are
    # where a host reports its SSH host keys.
    return ["--metadata=enable-guest-attributes=TRUE", f"--metadata-from-file={_pairs(files)}"]


def _network_and_account(gcp: GcpConfig) -> list[str]:
    # With an account of one's own, Google's advice is the full scope: what it may do is a matter of its roles.
    return [
        *([f"--network={gcp.network}"] if gcp.network else []),
        *([f"--service-account={gcp.service_account}", "--scopes=cloud-platform"] if gcp.service_account else []),
    ]


def _pairs(items: Mapping[str, object]) -> str:
    return ",".join(f"{key}={value}" for key, value in items.items())
