from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from iris_adapters.gcloud.create_argv import create_controller_argv, create_slice_argv, queue_slice_argv
from iris_core.config import ControllerConfig, GcpConfig, QueuedConfig, Route, SshConfig, WorkerGroupConfig

LABELS = {"iris-managed": "true", "iris-owner": "joe"}
FILES = {"ssh-keys": Path("/k"), "startup-script": Path("/s")}
GCP = GcpConfig(project_id="p", zone="z", network="net", subnetwork="sub", service_account="sa@p")
INSIDE = GcpConfig(project_id="p", zone="z", external_ips=False, ssh=SshConfig(route=Route.INTERNAL))
GROUP = WorkerGroupConfig(name="tpu", accelerator_type="v5litepod-16", runtime_version="v2")


def controller(gcp: GcpConfig = GCP, hours: float | None = None, config: ControllerConfig | None = None) -> list[str]:
    return create_controller_argv(
        "vm",
        labels=LABELS,
        gcp=gcp,
        controller=config or ControllerConfig(),
        time_to_live_hours=hours,
        metadata_files=FILES,
    )


def slice_(group: WorkerGroupConfig = GROUP, gcp: GcpConfig = GCP) -> list[str]:
    return create_slice_argv("s", labels=LABELS, gcp=gcp, group=group, metadata_files=FILES)


def test_a_time_to_live_becomes_a_duration_after_which_google_deletes_the_vm() -> None:
    """In whole seconds, at least one; without one the VM lives on."""
    assert {"--max-run-duration=28800s", "--instance-termination-action=DELETE"} <= set(controller(hours=8))
    assert "--max-run-duration=1s" in controller(hours=0.00001)
    assert not any(word.startswith(("--max-run-duration", "--instance-termination")) for word in controller())


def test_labels_and_metadata_reach_gcloud_whole() -> None:
    """Metadata by files, so that no value is taken for gcloud's own syntax."""
    for argv in (controller(), slice_()):
        assert "--labels=iris-managed=true,iris-owner=joe" in argv
        assert "--metadata-from-file=ssh-keys=/k,startup-script=/s" in argv
        assert "--metadata=enable-guest-attributes=TRUE" in argv


def test_controller_and_groups_may_have_network_and_account_of_their_own() -> None:
    """The section's subnetwork goes with the section's network only."""
    own = {"network": "other", "service_account": "own@p", "tags": ("a", "b")}
    for argv in (
        controller(config=ControllerConfig(network="other", service_account="own@p", tags=("a", "b"))),
        slice_(replace(GROUP, **own)),  # type: ignore[arg-type]
    ):
        assert {"--network=other", "--service-account=own@p", "--scopes=cloud-platform", "--tags=a,b"} <= set(argv)
        assert not any(word.startswith("--subnet") for word in argv)
    assert {"--network=net", "--subnetwork=sub", "--service-account=sa@p"} <= set(slice_())
    assert {"--network=net", "--subnet=sub"} <= set(controller())
    assert "--subnetwork=mine" in slice_(replace(GROUP, subnetwork="mine"))


def test_without_external_addresses_gcloud_is_told_so() -> None:
    """Each command has its own option for it."""
    assert "--no-address" in controller(INSIDE)
    assert "--internal-ips" in slice_(gcp=INSIDE)
    assert "--no-address" not in controller()
    assert "--internal-ips" not in slice_()


def test_a_slice_is_what_the_group_says() -> None:
    """By accelerator type, or by type and topology; spot or reserved."""
    assert {"--accelerator-type=v5litepod-16", "--version=v2"} <= set(slice_())
    chips = WorkerGroupConfig(name="tpu", type="v4", topology="2x2x2", runtime_version="v2", reserved=True)
    argv = slice_(chips)
    assert {"--type=v4", "--topology=2x2x2", "--reserved"} <= set(argv)
    assert not any(word.startswith("--accelerator-type") for word in argv)
    assert "--spot" not in argv
    assert "--spot" in slice_(replace(GROUP, spot=True))


def test_a_request_names_its_slice_and_until_when_it_is_good() -> None:
    """Google itself withdraws it some minutes after iris would have."""
    argv = queue_slice_argv(
        "s",
        labels=LABELS,
        gcp=GCP,
        group=replace(GROUP, spot=True),
        queued=QueuedConfig(wait_minutes=30),
        metadata_files=FILES,
    )
    assert argv[:5] == ["compute", "tpus", "queued-resources", "create", "s"]
    assert {
        "--node-id=s",
        "--runtime-version=v2",
        "--valid-until-duration=2100s",
        "--accelerator-type=v5litepod-16",
        "--spot",
        "--zone=z",
        "--labels=iris-managed=true,iris-owner=joe",
    } <= set(argv)
