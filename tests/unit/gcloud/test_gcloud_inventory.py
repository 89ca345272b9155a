from __future__ import annotations

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
    ConfigError,
    InvalidRequestError,
    InventoryError,
    PermissionDeniedError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from iris_core.model import VmPhase
from iris_core.ports.vm_inventory import VmInventory
from tests.unit.gcloud.payload_builders import ZONE, instance, node, queued_resource
from tests.unit.gcloud.scripted_gcloud import ScriptedGcloud

if TYPE_CHECKING:
    from collections.abc import Sequence

GCP = GcpConfig(project_id="p", zone=ZONE, gcloud_change_timeout_seconds=60)
GROUP = WorkerGroupConfig(
    name="tpu", accelerator_type="v5litepod-16", runtime_version="v2-alpha", spot=True, labels={"team": "red"}
)


def make(
    gcloud: ScriptedGcloud,
    prefix: str = "iris",
    *,
    gcp: GcpConfig = GCP,
    controller: ControllerConfig | None = None,
    clock: FakeClock | None = None,
) -> GcloudInventory:
    config = ClusterConfig(
        mode=Mode.GCP, label_prefix=prefix, gcp=gcp, controller=controller or ControllerConfig(port=4711)
    )
    return GcloudInventory(
        config,
        gcloud,
        clock or FakeClock(auto_advance=True),
        owner=lambda: "joe",
        ssh_public_key=lambda: "ssh-ed25519 AAAA joe@home, sweet home\n",
        ssh_user="joe",
    )


def managed(prefix: str) -> dict[str, str]:
    return {f"{prefix}-managed": "true"}


def test_it_is_an_inventory() -> None:
    """It has every method of the port."""
    assert isinstance(make(ScriptedGcloud()), VmInventory)


def test_without_a_gcp_section_there_is_no_inventory() -> None:
    """A local configuration cannot be used by mistake."""
    with pytest.raises(ConfigError, match="gcp: is needed"):
        GcloudInventory(
            ClusterConfig(),
            ScriptedGcloud(),
            FakeClock(),
            owner=lambda: "joe",
            ssh_public_key=lambda: "",
            ssh_user="joe",
        )


# find_controller


def test_the_controller_is_the_vm_of_the_exact_name() -> None:
    """With the port of the configuration."""
    gcloud = ScriptedGcloud(instances=[instance("iris-controller-iris2"), instance()])
    found = make(gcloud).find_controller()
    assert found is not None
    assert (found.name, found.port) == ("iris-controller-iris", 4711)


def test_a_vm_of_the_name_without_the_label_is_not_the_controller() -> None:
    """Somebody else's VM is never taken for ours, and so never deleted."""
    gcloud = ScriptedGcloud(instances=[instance(labels={"iris-managed": "false"})])
    assert make(gcloud).find_controller() is None


@pytest.mark.parametrize("method", ["find_controller", "ensure_controller", "list_slices"])
def test_not_knowing_is_an_error(method: str) -> None:
    """It is never taken for "nothing there"; in particular not where the zone or the project is what was not found."""
    for error in (
        PermissionDeniedError("no"),
        ResourceNotFoundError("no", detail=f"The resource 'projects/p/zones/{ZONE}' was not found"),
        ResourceNotFoundError("no", detail="The resource 'projects/p' was not found"),
        ResourceNotFoundError("no", detail="Unknown zone"),
    ):
        gcloud = ScriptedGcloud()

        def refuse(_argv: Sequence[str], error: InventoryError = error) -> None:
            raise error

        gcloud.before = refuse
        with pytest.raises(type(error)):
            getattr(make(gcloud), method)()
        assert len(gcloud.commands) == 1


# ensure_controller


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
        "--labels=iris-managed=true,iris-cluster=iris,iris-owner=joe",
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


def test_an_existing_controller_is_adopted() -> None:
    """Nothing is created."""
    gcloud = ScriptedGcloud(instances=[instance(status="STAGING")])
    assert make(gcloud).ensure_controller().phase is VmPhase.PENDING
    assert gcloud.verbs() == ["describe"]


def test_a_controller_that_another_process_creates_at_the_same_time_is_adopted() -> None:
    """Losing the race is no error."""
    gcloud = ScriptedGcloud()

    def be_quicker(argv: Sequence[str]) -> None:
        if "create" in argv:
            gcloud.instances["iris-controller-iris"] = instance(id="77")

    gcloud.before = be_quicker
    assert make(gcloud).ensure_controller().host.instance_id == "77"


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
    """A stopped VM is started, a suspended one resumed."""
    gcloud = ScriptedGcloud(instances=[instance(status=state)])
    assert make(gcloud).ensure_controller().phase is VmPhase.PENDING
    assert gcloud.changes == [verb]


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


def test_closing_ends_a_wait() -> None:
    """No wait outlives the inventory."""
    gcloud = ScriptedGcloud(instances=[instance(status="STOPPING")])
    clock = FakeClock()
    inventory = make(gcloud, clock=clock)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(inventory.ensure_controller)
        clock.wait_until_waiting()
        inventory.close()
        with pytest.raises(InventoryError, match="closed"):
            waiting.result(10)
    assert gcloud.closed == 1


# list_slices


def test_all_slices_of_the_cluster_are_listed_with_one_call() -> None:
    """By name, in whatever state, and nothing of others: neither by name alone nor by label alone."""
    gcloud = ScriptedGcloud(
        nodes=[
            node("iris-b-20260101000000", hosts=2, state="PREEMPTED"),
            node("iris-a-20260101000000"),
            node("iris2-a-20260101000000", labels=managed("iris2")),
            node("iris-a-by-hand", labels={}),
            node("other", labels=managed("iris")),
            {"name": "projects/p/locations/z/nodes/Foreign~Shape%"},
        ]
    )
    slices = make(gcloud).list_slices()
    assert [(s.name, s.state, len(s.hosts)) for s in slices] == [
        ("iris-a-20260101000000", "READY", 1),
        ("iris-b-20260101000000", "PREEMPTED", 2),
    ]
    assert gcloud.commands == [["compute", "tpus", "tpu-vm", "list", f"--zone={ZONE}"]]


def test_a_prefix_that_begins_like_another_is_told_apart_by_the_label() -> None:
    """`a` has a group `b`, and `a-b` is another cluster: their slices' names look alike."""
    gcloud = ScriptedGcloud(
        nodes=[
            node("a-b-20260101000000", labels={**managed("a"), "a-group": "b"}),
            node("a-b-c-20260101000000", labels={**managed("a-b"), "a-b-group": "c"}),
        ]
    )
    assert [(s.name, s.group) for s in make(gcloud, "a").list_slices()] == [("a-b-20260101000000", "b")]
    assert [(s.name, s.group) for s in make(gcloud, "a-b").list_slices()] == [("a-b-c-20260101000000", "c")]


# create_slice


def test_a_slice_is_created_under_a_name_with_the_time() -> None:
    """With labels of the cluster, of the group and of the user, and what the group says it is."""
    gcloud = ScriptedGcloud()
    created = make(gcloud).create_slice(GROUP)

    assert (created.name, created.group) == ("iris-tpu-20260101000000", "tpu")
    ours = {"iris-managed": "true", "iris-cluster": "iris", "iris-owner": "joe", "iris-group": "tpu"}
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
    ours = {"iris-managed": "true", "iris-cluster": "iris", "iris-owner": "joe", "iris-group": "tpu"}
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


def test_names_are_not_tried_for_ever() -> None:
    """Where every name exists, something else is wrong."""
    gcloud = ScriptedGcloud()

    def refuse(_argv: Sequence[str]) -> None:
        raise ResourceExistsError("exists")

    gcloud.before = refuse
    with pytest.raises(ResourceExistsError):
        make(gcloud).create_slice(GROUP)
    assert len(gcloud.commands) == 5


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


# delete


def test_a_slice_and_a_controller_are_deleted() -> None:
    """By name, in the zone, and nothing else."""
    gcloud = ScriptedGcloud(
        instances=[instance(), instance("other")],
        nodes=[node("iris-a-20260101000000"), node("iris-b-20260101000000")],
    )
    inventory = make(gcloud)
    controller = inventory.find_controller()
    assert controller is not None

    inventory.delete(inventory.list_slices()[0])
    inventory.delete(controller)

    assert list(gcloud.nodes) == ["iris-b-20260101000000"]
    assert list(gcloud.instances) == ["other"]
    assert gcloud.changes == ["delete", "delete"]


def test_what_is_gone_already_is_deleted() -> None:
    """Deleting twice succeeds, for slices and controllers."""
    gcloud = ScriptedGcloud(instances=[instance()], nodes=[node("iris-a-20260101000000")])
    inventory = make(gcloud)
    (slice_,) = inventory.list_slices()
    controller = inventory.find_controller()
    assert controller is not None
    for resource in (slice_, controller):
        inventory.delete(resource)
        inventory.delete(resource)


def test_a_deletion_that_finds_no_zone_is_not_a_success() -> None:
    """That nothing was found is believed only if a list says so too."""
    gcloud = ScriptedGcloud(nodes=[node("iris-a-20260101000000")])
    inventory = make(gcloud)
    (slice_,) = inventory.list_slices()

    def refuse(argv: Sequence[str]) -> None:
        if "delete" in argv:
            raise ResourceNotFoundError("no such zone")

    gcloud.before = refuse
    with pytest.raises(ResourceNotFoundError):
        inventory.delete(slice_)


def test_a_deletion_that_failed_is_an_error() -> None:
    """Nothing is reported as gone that is not."""
    gcloud = ScriptedGcloud(nodes=[node("iris-a-20260101000000")])
    inventory = make(gcloud)
    (slice_,) = inventory.list_slices()

    def refuse(_argv: Sequence[str]) -> None:
        raise PermissionDeniedError("no")

    gcloud.before = refuse
    with pytest.raises(PermissionDeniedError):
        inventory.delete(slice_)


@pytest.mark.parametrize("kind", ["slice", "controller"])
def test_what_somebody_else_deletes_is_waited_for(kind: str) -> None:
    """When delete returns, it is gone, whoever did it."""
    clock = FakeClock(auto_advance=True)
    gcloud = ScriptedGcloud(
        instances=[instance(status="STOPPING")], nodes=[node("iris-a-20260101000000", state="DELETING")]
    )
    inventory = make(gcloud, clock=clock)
    resource = inventory.list_slices()[0] if kind == "slice" else inventory.find_controller()
    assert resource is not None

    def refuse(argv: Sequence[str]) -> None:
        if "delete" in argv:
            raise InvalidRequestError("it is being deleted")

    def vanish() -> None:
        gcloud.nodes.clear()
        gcloud.instances.clear()

    gcloud.before = refuse
    clock.call_later(10, vanish)
    inventory.delete(resource)
    assert clock.monotonic() >= 10


def test_a_deletion_by_somebody_else_that_never_ends_is_an_error() -> None:
    """The wait has a bound."""
    gcloud = ScriptedGcloud(nodes=[node("iris-a-20260101000000", state="DELETING")])
    inventory = make(gcloud)
    (slice_,) = inventory.list_slices()

    def refuse(argv: Sequence[str]) -> None:
        if "delete" in argv:
            raise InvalidRequestError("it is being deleted")

    gcloud.before = refuse
    with pytest.raises(InventoryError, match="being deleted for long; iris waited 60 s"):
        inventory.delete(slice_)


def test_the_serial_output_is_the_controllers() -> None:
    """Compute gives it; the TPU API has none, and a VM that is gone has none any more."""
    gcloud = ScriptedGcloud(instances=[instance()], nodes=[node("iris-a-20260101000000")])
    inventory = make(gcloud)
    controller = inventory.find_controller()
    (slice_,) = inventory.list_slices()
    assert controller is not None
    assert inventory.serial_output(controller) == f"{controller.name} boots\n"
    commands = len(gcloud.commands)
    assert inventory.serial_output(slice_) == ""
    assert len(gcloud.commands) == commands
    gcloud.consoles[controller.name] = ""
    assert inventory.serial_output(controller) == ""
    gcloud.instances.clear()
    assert inventory.serial_output(controller) == ""


# requests for slices


REQUEST = "iris-tpu-20260102030405"


def fulfilled() -> dict[str, object]:
    return node(REQUEST, queuedResource=f"projects/p/locations/{ZONE}/queuedResources/{REQUEST}")


def test_requests_are_listed_with_one_call_and_only_ours() -> None:
    """By the label of the node that they ask for, and by name."""
    gcloud = ScriptedGcloud(
        queued=[
            queued_resource(REQUEST),
            queued_resource("iris-tpu-b", labels={}),
            queued_resource("somebodys", labels=managed("iris")),
            {"name": f"projects/p/locations/{ZONE}/queuedResources/iris-odd", "tpu": {"nodeSpec": [{}, {}]}},
        ]
    )
    assert [request.name for request in make(gcloud).list_queued()] == [REQUEST]
    assert len(gcloud.commands) == 1


def test_a_slice_that_came_of_a_request_is_listed_once() -> None:
    """The request goes with it; one whose slice is not there is a resource of its own."""
    waiting = "iris-tpu-20260102030406"
    gcloud = ScriptedGcloud(
        instances=[instance()],
        nodes=[fulfilled()],
        queued=[queued_resource(REQUEST, state="ACTIVE"), queued_resource(waiting)],
    )
    assert [resource.name for resource in make(gcloud).list_resources()] == [REQUEST, waiting, "iris-controller-iris"]


def test_every_zone_is_asked_in_as_many_commands() -> None:
    """What is found there is deleted there."""
    there = "europe-west4-a"
    gcloud = ScriptedGcloud(
        instances=[instance(zone=f"https://x/zones/{there}"), instance("iris-controller-iris2")],
        nodes=[{**node("iris-tpu-a"), "name": f"projects/p/locations/{there}/nodes/iris-tpu-a"}],
        queued=[queued_resource("iris-tpu-b", zone=there)],
    )
    inventory = make(gcloud)

    found = inventory.list_resources(all_zones=True)

    assert [(resource.name, resource.zone) for resource in found] == [
        ("iris-tpu-a", there),
        ("iris-tpu-b", there),
        ("iris-controller-iris", there),
    ]
    assert len(gcloud.commands) == 3
    for resource in found:
        inventory.delete(resource)
    deletions = [command for command in gcloud.commands if "delete" in command]
    assert len(deletions) == 3
    assert all(f"--zone={there}" in command for command in deletions)


def test_a_slice_goes_with_its_request() -> None:
    """By one deletion, with the option that takes the node along."""
    gcloud = ScriptedGcloud(nodes=[fulfilled()], queued=[queued_resource(REQUEST, state="ACTIVE")])
    inventory = make(gcloud)
    [slice_] = inventory.list_slices()
    inventory.delete(slice_)
    assert (gcloud.nodes, gcloud.queued) == ({}, {})
    assert gcloud.changes == ["delete"]


@pytest.mark.parametrize("seconds", [0, 9])
def test_a_slice_that_comes_of_a_withdrawn_request_is_deleted(seconds: int) -> None:
    """At once or within ten seconds: nobody waits for it any more."""
    clock = FakeClock(auto_advance=True)
    gcloud = ScriptedGcloud(queued=[queued_resource(REQUEST)])
    inventory = make(gcloud, clock=clock)
    [request] = inventory.list_queued()

    def come_late(argv: Sequence[str]) -> None:
        if "queued-resources" in argv and "delete" in argv:
            clock.call_later(seconds, lambda: gcloud.nodes.update({REQUEST: fulfilled()}))

    gcloud.before = come_late
    inventory.delete(request)
    assert (gcloud.nodes, gcloud.queued) == ({}, {})


def test_a_request_that_nothing_could_come_of_is_not_waited_for() -> None:
    """One that has failed is gone when it is gone."""
    clock = FakeClock(auto_advance=True)
    gcloud = ScriptedGcloud(queued=[queued_resource(REQUEST, state="FAILED")])
    inventory = make(gcloud, clock=clock)
    inventory.delete(inventory.list_queued()[0])
    assert gcloud.queued == {}
    assert clock.monotonic() == 0


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
