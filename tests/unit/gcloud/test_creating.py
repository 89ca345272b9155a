"""The controller and the slices, made by gcloud."""

from __future__ import annotations

import errno
import os
import re
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes import FakeClock
from iris_adapters.gcloud.inventory import GcloudInventory
from iris_core.config import ClusterConfig, ContainerConfig, ControllerConfig, GcpConfig, Mode, WorkerGroupConfig
from iris_core.errors import (
    CloudUnavailableError,
    InventoryError,
    ResourceExistsError,
)
from iris_core.labels import creation_in
from iris_core.model import VmPhase
from tests.unit.gcloud.inventory_rig import GCP, GROUP, make, managed
from tests.unit.gcloud.payload_builders import ZONE, instance, node, queued_resource
from tests.unit.gcloud.scripted_gcloud import ScriptedGcloud

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def test_a_missing_controller_is_created() -> None:
    """With its label, the key for our user, and guest attributes in which it will report its host keys."""
    gcloud = ScriptedGcloud()
    gcp = GcpConfig(project_id="p", zone=ZONE, network="net", subnetwork="sub", service_account="sa@p")

    created = make(gcloud, gcp=gcp).ensure_controller()

    assert (created.name, created.phase) == ("iris-controller-iris", VmPhase.READY)
    assert gcloud.verbs() == ["describe", "create", "describe"]
    assert gcloud.changes == ["create"]
    create = gcloud.commands[1]
    assert create[:4] == ["compute", "instances", "create", "iris-controller-iris"]
    assert {
        f"--zone={ZONE}",
        "--machine-type=e2-standard-4",
        "--image-family=cos-stable",
        "--image-project=cos-cloud",
        "--boot-disk-size=50GB",
        "--labels=iris-managed=true,iris-cluster=iris,iris-owner=joe,iris-creation=1",
        "--metadata=enable-guest-attributes=TRUE",
        "--network=net",
        "--subnet=sub",
        "--service-account=sa@p",
    } <= set(create)
    assert gcloud.files["ssh-keys"] == "joe:ssh-ed25519 AAAA joe@home, sweet home\n"
    assert "rayproject/ray:" in gcloud.files["startup-script"]


def test_a_controller_with_an_image_gets_a_startup_script() -> None:
    """The VM starts its container itself, under the name that the log capture looks for."""
    gcloud = ScriptedGcloud()
    make(gcloud, controller=ControllerConfig(container=ContainerConfig(image="example/c"))).ensure_controller()
    assert "--name=iris-controller" in gcloud.files["startup-script"]
    assert "example/c" in gcloud.files["startup-script"]


def test_no_file_is_left_behind() -> None:
    """The files that carry metadata to gcloud are gone once it has read them, also when it failed."""
    gcloud = ScriptedGcloud()
    make(gcloud).ensure_controller()
    assert not Path(gcloud.option("metadata-from-file").removeprefix("ssh-keys=")).exists()


@pytest.mark.parametrize(
    "act",
    [
        lambda inventory: inventory.ensure_controller(),
        lambda inventory: inventory.create_slice(GROUP),
        lambda inventory: inventory.queue_slice(GROUP),
    ],
    ids=["controller", "slice", "request"],
)
def test_files_that_cannot_be_written_are_an_error_that_says_what_to_do(
    act: Callable[[GcloudInventory], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is no error in iris, which would end the healing for good; nothing was asked of Google."""
    gcloud = ScriptedGcloud()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(InventoryError, match=r"gone[\s\S]*TMPDIR") as caught:
        act(make(gcloud))
    assert isinstance(caught.value.__cause__, OSError)
    assert gcloud.changes == []


def test_files_that_cannot_be_removed_undo_no_creation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slice is there, and costs money, whatever becomes of a directory below /tmp."""
    gcloud = ScriptedGcloud()

    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    gcloud.before = lambda _argv: monkeypatch.setattr(os, "rmdir", refuse)
    assert make(gcloud).create_slice(GROUP).name in gcloud.nodes


def test_an_existing_controller_is_adopted() -> None:
    """Nothing is created."""
    gcloud = ScriptedGcloud(instances=[instance(status="STAGING")])
    assert make(gcloud).ensure_controller(pytest.fail).phase is VmPhase.PENDING
    assert gcloud.verbs() == ["describe"]


def test_a_controller_that_another_process_creates_at_the_same_time_is_adopted() -> None:
    """Losing the race is no error, but whoever has won it is who has made it."""
    gcloud = ScriptedGcloud()

    def be_quicker(argv: Sequence[str]) -> None:
        if "create" in argv:
            gcloud.instances["iris-controller-iris"] = instance(id="77")

    gcloud.before = be_quicker
    assert make(gcloud).ensure_controller(pytest.fail).host.instance_id == "77"


def test_something_else_in_the_way_of_the_controller_is_an_error() -> None:
    """That something exists which is not the VM (a disk, say) is told."""
    gcloud = ScriptedGcloud()

    def refuse(argv: Sequence[str]) -> None:
        if "create" in argv:
            raise ResourceExistsError("The disk exists")

    gcloud.before = refuse
    with pytest.raises(ResourceExistsError, match="disk"):
        make(gcloud).ensure_controller()


def test_a_foreign_vm_of_the_controllers_name_is_an_error_that_names_it() -> None:
    """It is neither adopted nor touched."""
    gcloud = ScriptedGcloud(instances=[instance(labels=managed("other"), status="TERMINATED")])
    with pytest.raises(ResourceExistsError, match=r"iris-controller-iris.*iris-managed=true"):
        make(gcloud).ensure_controller()
    assert gcloud.verbs() == ["describe"]


@pytest.mark.parametrize(("state", "verb"), [("TERMINATED", "start"), ("SUSPENDED", "resume")])
def test_a_stopped_controller_is_started(state: str, verb: str) -> None:
    """A stopped VM is started, a suspended one resumed, and who does that is told so."""
    gcloud = ScriptedGcloud(instances=[instance(status=state)])
    made: list[str] = []
    assert make(gcloud).ensure_controller(lambda: made.append(verb)).phase is VmPhase.PENDING
    assert gcloud.changes == made == [verb]


def test_a_stopping_controller_is_waited_for_and_started() -> None:
    """Compute refuses to start a VM that is on its way to being stopped."""
    gcloud = ScriptedGcloud(instances=[instance(status="STOPPING")])
    clock = FakeClock(auto_advance=True)
    clock.call_later(7, lambda: gcloud.instances.update({"iris-controller-iris": instance(status="TERMINATED")}))

    assert make(gcloud, clock=clock).ensure_controller().phase is VmPhase.PENDING
    assert gcloud.changes == ["start"]


def test_a_controller_that_is_being_deleted_is_created_anew() -> None:
    """STOPPING ends in nothing where somebody deletes the VM."""
    gcloud = ScriptedGcloud(instances=[instance(status="STOPPING")])
    clock = FakeClock(auto_advance=True)
    clock.call_later(7, gcloud.instances.clear)

    assert make(gcloud, clock=clock).ensure_controller().phase is VmPhase.READY
    assert gcloud.changes == ["create"]


def test_a_controller_that_never_stops_stopping_is_an_error_in_the_end() -> None:
    """The wait has a bound."""
    gcloud = ScriptedGcloud(instances=[instance(status="STOPPING")])
    with pytest.raises(InventoryError, match="remained STOPPING; iris waited 60 s"):
        make(gcloud).ensure_controller()


def test_the_controller_bears_the_time_of_its_end() -> None:
    """As a label for people and `iris cleanup`, and as a duration for Google."""
    gcloud = ScriptedGcloud()
    config = ClusterConfig(mode=Mode.GCP, gcp=GCP, time_to_live_hours=8)
    clock = FakeClock(auto_advance=True)
    inventory = GcloudInventory(
        config, gcloud, clock, owner=lambda: "joe", ssh_public_key=lambda: "key", ssh_user="joe"
    )
    created = inventory.ensure_controller()
    assert created.expires_at == clock.now() + timedelta(hours=8)
    assert "--max-run-duration=28800s" in gcloud.commands[1]


def test_a_slice_is_created_under_a_name_with_the_time() -> None:
    """With labels of the cluster, of the group and of the user, and what the group says it is."""
    gcloud = ScriptedGcloud()
    created = make(gcloud).create_slice(GROUP)

    assert (created.name, created.group) == ("iris-tpu-20260101000000", "tpu")
    ours = {
        "iris-managed": "true",
        "iris-cluster": "iris",
        "iris-owner": "joe",
        "iris-group": "tpu",
        "iris-creation": "1",
    }
    assert created.labels == {"team": "red", **ours}
    create = gcloud.commands[0]
    assert create[:5] == ["compute", "tpus", "tpu-vm", "create", "iris-tpu-20260101000000"]
    assert {"--accelerator-type=v5litepod-16", "--version=v2-alpha", "--spot", f"--zone={ZONE}"} <= set(create)
    assert "--metadata=enable-guest-attributes=TRUE" in create
    assert gcloud.files["ssh-keys"].startswith("joe:ssh-ed25519 AAAA ")
    assert gcloud.changes == ["create"]


def test_an_on_demand_slice_is_not_spot() -> None:
    """`--spot` is there only where the group says so."""
    gcloud = ScriptedGcloud()
    make(gcloud).create_slice(WorkerGroupConfig(name="tpu", accelerator_type="t", runtime_version="v"))
    assert "--spot" not in gcloud.commands[0]


def test_users_labels_do_not_replace_the_clusters() -> None:
    """A slice without the cluster's label would never be found again."""
    gcloud = ScriptedGcloud()
    group = WorkerGroupConfig(
        name="tpu", accelerator_type="t", runtime_version="v", labels={"iris-managed": "no", "iris-group": "x"}
    )
    created = make(gcloud).create_slice(group)
    ours = {
        "iris-managed": "true",
        "iris-cluster": "iris",
        "iris-owner": "joe",
        "iris-group": "tpu",
        "iris-creation": "1",
    }
    assert created.labels == ours


def test_slices_created_in_the_same_second_have_names_of_their_own() -> None:
    """More of them than there are suffixes wait for the next second."""
    inventory = make(ScriptedGcloud())
    names = [inventory.create_slice(GROUP).name for _ in range(40)]
    assert names[:3] == ["iris-tpu-20260101000000", "iris-tpu-20260101000000-1", "iris-tpu-20260101000000-2"]
    assert names[36] == "iris-tpu-20260101000001"
    assert len(set(names)) == 40


def test_the_longest_name_is_one_that_google_takes() -> None:
    """30 characters of prefix, 15 of group, time and suffix: 63."""
    gcloud = ScriptedGcloud()
    inventory = make(gcloud, "p" * 30)
    group = WorkerGroupConfig(name="g" * 15, accelerator_type="t", runtime_version="v")
    names = [inventory.create_slice(group).name for _ in range(2)]
    assert max(map(len, names)) == 63


def test_a_name_that_another_process_took_is_not_insisted_on() -> None:
    """The next one is tried."""
    gcloud = ScriptedGcloud(nodes=[node("iris-tpu-20260101000000")])
    assert make(gcloud).create_slice(GROUP).name == "iris-tpu-20260101000000-1"


def accept_the_first(gcloud: ScriptedGcloud, accept: Callable[[str, Mapping[str, str]], dict[str, object]]) -> None:
    """Let the cloud have what the first creation asks for, though gcloud was refused afterwards, so that the command is repeated.

    Args:
        gcloud: whose creation it is; it finds what it was to create.
        accept: makes it of its name and labels.
    """
    accepted: list[str] = []

    def before(argv: Sequence[str]) -> None:
        if "create" in argv and not accepted:
            name = argv[argv.index("create") + 1]
            accepted.append(name)
            labels = dict(pair.split("=") for pair in gcloud.option("labels").split(","))
            there = gcloud.queued if "queued-resources" in argv else gcloud.nodes
            there[name] = accept(name, labels)

    gcloud.before = before


def test_a_slice_that_a_repeated_command_finds_there_is_the_one_it_has_made() -> None:
    """No second one is created, of which the first would be forgotten."""
    gcloud = ScriptedGcloud()
    accept_the_first(gcloud, lambda name, labels: node(name, labels=labels))
    created = make(gcloud).create_slice(GROUP)
    assert list(gcloud.nodes) == [created.name]
    assert gcloud.changes == ["create"]


def test_a_request_that_a_repeated_command_finds_there_is_the_one_it_has_made() -> None:
    """By the labels of the node that it asks for."""
    gcloud = ScriptedGcloud()
    accept_the_first(gcloud, lambda name, labels: queued_resource(name, labels=labels))
    made = make(gcloud).queue_slice(GROUP)
    assert list(gcloud.queued) == [made.name]
    assert gcloud.changes == ["create"]


@pytest.mark.parametrize(("creation", "maker"), [("1", ["me"]), ("another", [])])
def test_a_controller_that_a_repeated_command_finds_there_is_adopted(creation: str, maker: list[str]) -> None:
    """Its name is the only one there is: no second one comes of it. By its label it is known who has made it."""
    gcloud = ScriptedGcloud()

    def accept(argv: Sequence[str]) -> None:
        if "create" in argv:
            assert "iris-creation=1" in gcloud.option("labels").split(",")
            labels = {**managed("iris"), "iris-creation": creation}
            gcloud.instances["iris-controller-iris"] = instance(status="PROVISIONING", labels=labels)

    gcloud.before = accept
    made: list[str] = []
    assert make(gcloud).ensure_controller(lambda: made.append("me")).phase is VmPhase.PENDING
    assert (list(gcloud.instances), gcloud.changes) == (["iris-controller-iris"], ["create"])
    assert made == maker


def test_a_slice_that_is_found_there_is_waited_for() -> None:
    """As gcloud waits for one: it is ready when `create_slice` returns."""
    gcloud = ScriptedGcloud()
    clock = FakeClock(auto_advance=True)

    def accept(name: str, labels: Mapping[str, str]) -> dict[str, object]:
        clock.call_later(45, lambda: gcloud.nodes.update({name: node(name, labels=labels)}))
        return node(name, labels=labels, state="CREATING")

    accept_the_first(gcloud, accept)
    assert make(gcloud, clock=clock).create_slice(GROUP).phase is VmPhase.READY
    assert 45 <= clock.monotonic() <= 60


@pytest.mark.parametrize("state", ["CREATING", "DELETING"])
def test_a_slice_that_is_found_there_and_vanishes_has_failed(state: str) -> None:
    """Its operation has no reader any more, so nobody knows why."""
    gcloud = ScriptedGcloud()
    clock = FakeClock(auto_advance=True)
    clock.call_later(20, gcloud.nodes.clear)
    accept_the_first(gcloud, lambda name, labels: node(name, labels=labels, state=state))
    with pytest.raises(InventoryError, match="iris-tpu-20260101000000 is gone"):
        make(gcloud, clock=clock).create_slice(GROUP)
    assert gcloud.changes == ["create"]


def test_a_slice_that_is_found_there_and_never_gets_ready_is_an_error() -> None:
    """After as long as gcloud would have been waited for."""
    gcloud = ScriptedGcloud()
    accept_the_first(gcloud, lambda name, labels: node(name, labels=labels, state="CREATING"))
    with pytest.raises(InventoryError, match="remained CREATING; iris waited 60 s"):
        make(gcloud).create_slice(GROUP)


@pytest.mark.parametrize("labels", [{}, {"iris-managed": "true", "iris-creation": "another"}], ids=["none", "another"])
def test_a_slice_of_another_creation_is_not_taken_for_ones_own(labels: Mapping[str, str]) -> None:
    """Nor one from before there was such a label."""
    name = "iris-tpu-20260101000000"
    gcloud = ScriptedGcloud(nodes=[node(name, labels=labels)], queued=[queued_resource(name, labels=labels)])
    inventory = make(gcloud)
    assert inventory.create_slice(GROUP).name == f"{name}-1"
    assert inventory.queue_slice(GROUP).name == f"{name}-2"


def test_what_exists_and_cannot_be_looked_at_is_named() -> None:
    """It may have been made by this very call, so nothing else is created, and the user is told."""
    gcloud = ScriptedGcloud(nodes=[node("iris-tpu-20260101000000")])

    def refuse(argv: Sequence[str]) -> None:
        if "describe" in argv:
            raise CloudUnavailableError("UNAVAILABLE")

    gcloud.before = refuse
    with pytest.raises(CloudUnavailableError) as caught:
        make(gcloud).create_slice(GROUP)
    assert "iris-tpu-20260101000000 is there" in "".join(caught.value.__notes__)
    assert gcloud.changes == ["create"]


def test_every_creation_bears_a_label_of_its_own() -> None:
    """A random one: no two processes have the same."""
    gcloud = ScriptedGcloud()
    inventory = GcloudInventory(
        ClusterConfig(mode=Mode.GCP, gcp=GCP),
        gcloud,
        FakeClock(auto_advance=True),
        owner=lambda: "joe",
        ssh_public_key=lambda: "key",
        ssh_user="joe",
    )
    labels = [creation_in(inventory.create_slice(GROUP).labels) for _ in range(2)]
    assert len(set(labels)) == 2
    assert all(re.fullmatch(r"[0-9a-f]{32}", label) for label in labels)


def test_names_are_not_tried_for_ever() -> None:
    """Where every name exists, something else is wrong."""
    gcloud = ScriptedGcloud()

    def refuse(argv: Sequence[str]) -> None:
        if "create" in argv:
            raise ResourceExistsError("exists")

    gcloud.before = refuse
    with pytest.raises(ResourceExistsError):
        make(gcloud).create_slice(GROUP)
    assert gcloud.changes == ["create"] * 5


def test_threads_get_names_of_their_own() -> None:
    """Slices are created side by side."""
    gcloud = ScriptedGcloud()
    inventory = make(gcloud)
    start = threading.Barrier(8)

    def create(_number: int) -> str:
        start.wait(10)
        return inventory.create_slice(GROUP).name

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(create, range(8)))) == 8
