"""The gcloud commands that create what a cluster consists of. Pure: the files they name are the caller's.

References: https://cloud.google.com/sdk/gcloud/reference/compute/instances/create,
https://cloud.google.com/sdk/gcloud/reference/compute/tpus/tpu-vm/create and
https://cloud.google.com/sdk/gcloud/reference/compute/tpus/queued-resources/create
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from iris_core.config import ControllerConfig, GcpConfig, QueuedConfig, WorkerGroupConfig

_SECONDS_PER_HOUR: Final = 3600
_SECONDS_PER_MINUTE: Final = 60

# Google's own deadline comes after iris's: it is for the case that iris is not there any more to withdraw the request.
_WITHDRAWAL_MINUTES: Final = 5.0


def create_controller_argv(
    name: str,
    *,
    labels: Mapping[str, str],
    gcp: GcpConfig,
    controller: ControllerConfig,
    time_to_live_hours: float | None,
    metadata_files: Mapping[str, Path],
) -> list[str]:
    """The command that creates the controller's VM and returns when it exists (it boots for a while after that).

    Args:
        name: of the VM.
        labels: of the VM.
        gcp: where it is to be.
        controller: what it is to be.
        time_to_live_hours: after so long Google deletes it; None: never.
        metadata_files: metadata keys, and the files that hold their values.
    """
    return [
        *("compute", "instances", "create", name),
        f"--zone={gcp.zone}",
        f"--machine-type={controller.machine_type}",
        f"--image-family={controller.image_family}",
        f"--image-project={controller.image_project}",
        f"--boot-disk-size={controller.boot_disk_gb}GB",
        f"--labels={_pairs(labels)}",
        *_metadata(metadata_files),
        *_life(time_to_live_hours),
        *([] if gcp.external_ips else ["--no-address"]),
        *_network(gcp, controller, subnetwork_option="--subnet"),
    ]


def create_slice_argv(
    name: str,
    *,
    labels: Mapping[str, str],
    gcp: GcpConfig,
    group: WorkerGroupConfig,
    metadata_files: Mapping[str, Path],
) -> list[str]:
    """The command that creates a worker slice and returns when it is ready, or has failed.

    Args:
        name: of the slice.
        labels: of the slice.
        gcp: where it is to be.
        group: what it is to be.
        metadata_files: metadata keys, and the files that hold their values.
    """
    return [
        *("compute", "tpus", "tpu-vm", "create", name),
        f"--version={group.runtime_version}",
        *_slice(labels, gcp, group, metadata_files),
    ]


def queue_slice_argv(
    name: str,
    *,
    labels: Mapping[str, str],
    gcp: GcpConfig,
    group: WorkerGroupConfig,
    queued: QueuedConfig,
    metadata_files: Mapping[str, Path],
) -> list[str]:
    """The command that asks for a worker slice, to be created when there is capacity; it returns when the request is accepted.

    Args:
        name: of the request, and of the slice.
        labels: of the slice.
        gcp: where it is to be.
        group: what it is to be.
        queued: how long it may take.
        metadata_files: metadata keys, and the files that hold their values.
    """
    seconds = round((queued.wait_minutes + _WITHDRAWAL_MINUTES) * _SECONDS_PER_MINUTE)
    return [
        *("compute", "tpus", "queued-resources", "create", name),
        f"--node-id={name}",
        f"--runtime-version={group.runtime_version}",
        f"--valid-until-duration={seconds}s",
        *_slice(labels, gcp, group, metadata_files),
    ]


def _slice(
    labels: Mapping[str, str], gcp: GcpConfig, group: WorkerGroupConfig, metadata_files: Mapping[str, Path]
) -> list[str]:
    """The options that a slice has, whichever way it is asked for."""
    return [
        f"--zone={gcp.zone}",
        *(
            [f"--accelerator-type={group.accelerator_type}"]
            if group.accelerator_type
            else [f"--type={group.type}", f"--topology={group.topology}"]
        ),
        *(["--spot"] if group.spot else []),
        *(["--reserved"] if group.reserved else []),
        f"--labels={_pairs(labels)}",
        *_metadata(metadata_files),
        *([] if gcp.external_ips else ["--internal-ips"]),
        *_network(gcp, group, subnetwork_option="--subnetwork"),
    ]


def _metadata(files: Mapping[str, Path]) -> list[str]:
    # Values come from files, so that no comma or newline in one of them is taken for gcloud's own syntax. Guest attributes are
    # where a host reports its SSH host keys.
    return ["--metadata=enable-guest-attributes=TRUE", f"--metadata-from-file={_pairs(files)}"]


def _life(hours: float | None) -> Sequence[str]:
    if hours is None:
        return []
    seconds = max(round(hours * _SECONDS_PER_HOUR), 1)
    return [f"--max-run-duration={seconds}s", "--instance-termination-action=DELETE"]


def _network(gcp: GcpConfig, own: ControllerConfig | WorkerGroupConfig, *, subnetwork_option: str) -> list[str]:
    network = own.network or gcp.network
    # A subnetwork is one of its network: that of the section `gcp` is none of another network.
    subnetwork = own.subnetwork or (None if own.network else gcp.subnetwork)
    account = own.service_account or gcp.service_account
    return [
        *([f"--network={network}"] if network else []),
        *([f"{subnetwork_option}={subnetwork}"] if subnetwork else []),
        *([f"--tags={','.join(own.tags)}"] if own.tags else []),
        # With an account of one's own, Google's advice is the full scope: what it may do is a matter of its roles.
        *([f"--service-account={account}", "--scopes=cloud-platform"] if account else []),
    ]


def _pairs(items: Mapping[str, object]) -> str:
    return ",".join(f"{key}={value}" for key, value in items.items())
