from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from iris_adapters.gcloud.json_shape import parse_object, parse_objects
from iris_adapters.gcloud.payloads import (
    controller_from_instance,
    queued_node,
    queued_slice,
    slice_from_node,
)
from iris_core.config import Route
from iris_core.errors import InventoryError, OutOfCapacityError, PermissionDeniedError, QuotaExceededError
from iris_core.model import Hardware, HostRole, VmPhase
from tests.unit.gcloud.payload_builders import ZONE, instance, node, queued_resource

NAME = "iris-tpu-20260102030405"


def slice_of(payload: dict[str, object], route: Route = Route.EXTERNAL) -> object:
    return slice_from_node(payload, label_prefix="iris", route=route)


def test_a_node_becomes_a_slice_with_a_host_for_each_endpoint() -> None:
    """Worker i is the i-th network endpoint."""
    made = slice_from_node(node(NAME, hosts=2), label_prefix="iris", route=Route.EXTERNAL)

    assert (made.name, made.group, made.zone, made.instance_id) == (NAME, "tpu", ZONE, "7001")
    assert (made.phase, made.state) == (VmPhase.READY, "READY")
    assert made.created_at == datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)
    assert [(h.name, h.address, h.worker_index) for h in made.hosts] == [
        (f"{NAME}-w0", "34.0.0.0", 0),
        (f"{NAME}-w1", "34.0.0.1", 1),
    ]
    assert {(h.role, h.zone, h.instance_id, h.slice_name) for h in made.hosts} == {
        (HostRole.WORKER, ZONE, "7001", NAME)
    }


def test_the_internal_route_takes_the_internal_addresses() -> None:
    """`route: internal` connects to the VPC's addresses, and so needs no external ones."""
    payload = node(NAME, networkEndpoints=[{"ipAddress": "10.0.0.5"}])
    made = slice_from_node(payload, label_prefix="iris", route=Route.INTERNAL)
    assert [host.address for host in made.hosts] == ["10.0.0.5"]


def test_a_host_without_an_external_address_is_listed_without_an_address() -> None:
    """AccessConfig may be absent: the host exists all the same."""
    payload = node(NAME, networkEndpoints=[{"ipAddress": "10.0.0.5"}])
    made = slice_from_node(payload, label_prefix="iris", route=Route.EXTERNAL)
    assert [host.address for host in made.hosts] == [""]


def test_with_several_interfaces_every_kth_endpoint_is_a_worker() -> None:
    """Two networkConfigs make two endpoints per worker, of which the first counts."""
    payload = node(NAME, hosts=4, networkConfigs=[{"network": "a"}, {"network": "b"}])
    made = slice_from_node(payload, label_prefix="iris", route=Route.EXTERNAL)
    assert [host.address for host in made.hosts] == ["34.0.0.0", "34.0.0.2"]
    assert [host.name for host in made.hosts] == [f"{NAME}-w0", f"{NAME}-w1"]


def test_a_node_being_created_has_no_hosts_and_perhaps_no_id() -> None:
    """A slice is listed before Google has given it anything but a name and a state."""
    payload = node(NAME, state="CREATING")
    del payload["networkEndpoints"], payload["id"]
    made = slice_from_node(payload, label_prefix="iris", route=Route.EXTERNAL)
    assert (made.phase, made.hosts, made.instance_id) == (VmPhase.PENDING, (), "")


@pytest.mark.parametrize("state", ["CREATING", "STOPPED", "PREEMPTED", "DELETING"])
def test_only_a_node_that_is_ready_must_have_an_id(state: str) -> None:
    """What is deleted is found by its name; a host without an id cannot be told from its next life, and is none to be reached."""
    payload = node(NAME, state=state)
    del payload["id"]
    made = slice_from_node(payload, label_prefix="iris", route=Route.EXTERNAL)
    assert (made.name, made.zone, made.group, made.state) == (NAME, ZONE, "tpu", state)
    assert (made.instance_id, made.hosts) == ("", ())


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("iris-tpu-20260102030405", "tpu"),
        ("iris-big-tpu-20260102030405-1", "big-tpu"),
        ("iris-made-by-hand", ""),
        ("other-tpu-20260102030405", ""),
    ],
)
def test_the_group_is_read_from_the_name_where_no_label_says_it(name: str, group: str) -> None:
    """A name of the form {prefix}-{group}-{timestamp} tells the group; any other tells none."""
    payload = node(name, labels={"iris-managed": "true"})
    assert slice_from_node(payload, label_prefix="iris", route=Route.EXTERNAL).group == group


def test_an_instance_becomes_a_controller() -> None:
    """Its zone is the end of a URL, its time is turned into UTC."""
    made = controller_from_instance(instance(), port=10000, route=Route.EXTERNAL)
    assert (made.name, made.port, made.phase, made.state) == (
        "iris-controller-iris",
        10000,
        VmPhase.READY,
        "RUNNING",
    )
    assert made.created_at == datetime(2026, 1, 2, 11, 4, 5, 678000, tzinfo=UTC)
    assert made.labels == {"iris-managed": "true"}
    host = made.host
    assert (host.name, host.role, host.address, host.zone) == (made.name, HostRole.CONTROLLER, "34.0.0.9", ZONE)
    assert (host.instance_id, host.slice_name, host.worker_index) == ("9001", None, None)


def test_an_instance_is_reached_by_the_route() -> None:
    """The internal address with the internal route; none where there is no external one, or no interface yet."""
    bare = instance(networkInterfaces=[{"networkIP": "10.0.0.9"}])
    assert controller_from_instance(instance(), port=1, route=Route.INTERNAL).host.address == "10.0.0.9"
    assert controller_from_instance(bare, port=1, route=Route.EXTERNAL).host.address == ""
    assert controller_from_instance(instance(networkInterfaces=[]), port=1, route=Route.EXTERNAL).host.address == ""


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"name": None}, "name is missing"),
        ({"name": "iris-tpu-1"}, "name is 'iris-tpu-1', not projects/"),
        ({"name": "projects/p/locations/z/nodes/../../etc"}, "name is"),
        ({"name": "projects/p/locations/z/nodes/a b"}, "name is 'a b'"),
        ({"name": "projects/p/locations/z/nodes/-rf"}, "name is '-rf'"),
        ({"name": "projects/p/locations/--zone/nodes/a"}, "name is '--zone'"),
        ({"id": None}, "id is missing"),
        ({"id": 7}, "id is int, not a string"),
        ({"id": "../7"}, "id is '../7'"),
        ({"state": None}, "state is missing"),
        ({"labels": ["a"]}, "labels is list, not an object"),
        ({"labels": {"a": 1}}, "labels.a is int"),
        ({"networkEndpoints": {}}, "networkEndpoints is dict, not a list"),
        ({"networkEndpoints": ["x"]}, "networkEndpoints[0] is str, not an object"),
        (
            {"networkEndpoints": [{"accessConfig": {"externalIp": 3}}]},
            "networkEndpoints[0].accessConfig.externalIp is int",
        ),
        ({"networkEndpoints": [{"accessConfig": {"externalIp": "-oProxyCommand=x"}}]}, "externalIp is '-oProxy"),
        ({"createTime": "yesterday"}, "createTime is 'yesterday', not a time"),
        ({"createTime": "2026-01-02T03:04:05"}, "a time without its zone"),
    ],
)
def test_a_node_of_another_shape_is_an_error_that_names_the_key(changes: dict[str, object], key: str) -> None:
    """What the cloud says is not believed blindly: names and addresses end up in paths and commands."""
    with pytest.raises(InventoryError, match=re.escape(key)):
        slice_of({**node(NAME), **changes})


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"name": None}, "name is missing"),
        ({"name": "UPPER"}, "name is 'UPPER'"),
        ({"name": "a" * 64}, "name is"),
        ({"id": None}, "id is missing"),
        ({"status": None}, "status is missing"),
        ({"zone": None}, "zone is missing"),
        ({"networkInterfaces": [3]}, "networkInterfaces[0] is int"),
        ({"networkInterfaces": [{"accessConfigs": [{"natIP": "a;b"}]}]}, "accessConfigs[0].natIP is 'a;b'"),
        ({"creationTimestamp": 5}, "creationTimestamp is int"),
    ],
)
def test_an_instance_of_another_shape_is_an_error_that_names_the_key(changes: dict[str, object], key: str) -> None:
    """As for nodes."""
    with pytest.raises(InventoryError, match=re.escape(key)):
        controller_from_instance({**instance(), **changes}, port=1, route=Route.EXTERNAL)


@pytest.mark.parametrize(("text", "problem"), [("", "not JSON"), ("{}", "it is dict"), ("[1]", "[0] is int")])
def test_a_list_must_be_a_list_of_objects(text: str, problem: str) -> None:
    """An empty answer is not an empty list."""
    with pytest.raises(InventoryError, match=re.escape(problem)):
        parse_objects(text, "the VMs")


def test_an_object_must_be_an_object() -> None:
    """A list is none."""
    with pytest.raises(InventoryError, match="it is list"):
        parse_object("[]", "a VM")
    assert parse_object('{"a": 1}', "a VM") == {"a": 1}


def test_a_slice_tells_what_it_is_made_of_whose_it_is_and_where_it_came_from() -> None:
    """Whether Google names things by themselves or by their whole path."""
    labels = {"iris-managed": "true", "iris-owner": "joe", "iris-expires": "2026-01-02t11-04-05z"}
    payload = node(
        NAME,
        labels=labels,
        acceleratorType="projects/p/locations/z/acceleratorTypes/v4-16",
        acceleratorConfig={"type": "V4", "topology": "2x2x2"},
        runtimeVersion="v2",
        schedulingConfig={"spot": True},
        queuedResource=f"projects/p/locations/{ZONE}/queuedResources/{NAME}",
    )
    made = slice_from_node(payload, label_prefix="iris", route=Route.EXTERNAL)
    assert made.hardware == Hardware(
        accelerator_type="v4-16", type="V4", topology="2x2x2", runtime_version="v2", spot=True, reserved=False
    )
    assert (made.owner, made.queued_as) == ("joe", NAME)
    assert made.expires_at == datetime(2026, 1, 2, 11, 4, 5, tzinfo=UTC)


def test_a_controller_tells_what_it_is_and_whose() -> None:
    """Compute gives the machine type as a URL."""
    payload = instance(
        labels={"iris-managed": "true", "iris-owner": "joe"}, machineType="https://x/zones/z/machineTypes/e2-micro"
    )
    made = controller_from_instance(payload, port=1, route=Route.EXTERNAL)
    assert (made.machine_type, made.owner, made.expires_at, made.zone) == ("e2-micro", "joe", None, ZONE)


@pytest.mark.parametrize(
    ("state", "phase", "is_granted"),
    [
        ("CREATING", VmPhase.PENDING, False),
        ("ACCEPTED", VmPhase.PENDING, False),
        ("WAITING_FOR_RESOURCES", VmPhase.PENDING, False),
        ("PROVISIONING", VmPhase.PENDING, True),
        ("ACTIVE", VmPhase.READY, False),
        ("FAILED", VmPhase.FAILED, False),
        ("SUSPENDING", VmPhase.FAILED, False),
        ("SUSPENDED", VmPhase.FAILED, False),
        ("DELETING", VmPhase.DELETING, False),
        ("SOMETHING_NEW", VmPhase.PENDING, False),
    ],
)
def test_every_state_of_a_queued_resource_is_known(state: str, phase: VmPhase, *, is_granted: bool) -> None:
    """An unknown one is looked at again."""
    made = queued_slice(queued_resource(NAME, state=state), label_prefix="iris")
    assert (made.phase, made.state, made.is_granted) == (phase, state, is_granted)


def test_a_queued_resource_becomes_a_request() -> None:
    """Its labels and what it is to be are those of the node that it asks for; a failure is told."""
    payload = queued_resource(
        NAME,
        labels={"iris-managed": "true", "iris-group": "tpu", "iris-owner": "joe"},
        state="FAILED",
        spot={},
    )
    payload["state"] = {"state": "FAILED", "failedData": {"error": {"code": 8, "message": "no such reservation"}}}
    made = queued_slice(payload, label_prefix="iris")
    assert (made.name, made.group, made.zone, made.owner) == (NAME, "tpu", ZONE, "joe")
    assert made.problem == "no such reservation"
    assert made.created_at == datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)
    assert made.hardware == Hardware(
        accelerator_type="v5litepod-16", runtime_version="v2-alpha", spot=True, reserved=False
    )


@pytest.mark.parametrize(
    ("message", "failure"),
    [
        ("Quota limit 'TPUV5sPreemptibleLitepodPerProjectPerZoneForTPUAPI' has been exceeded.", QuotaExceededError),
        ("Permission 'tpu.nodes.create' denied on resource", PermissionDeniedError),
        ('There is no more capacity in the zone "z"', OutOfCapacityError),
        ("Nobody knows.", OutOfCapacityError),
        ("", OutOfCapacityError),
    ],
)
def test_a_failed_queued_resource_tells_what_kind_of_failure_it_is(message: str, failure: type[InventoryError]) -> None:
    """As a command's would be told; a queue of which nothing else is known has had no capacity."""
    payload = queued_resource(NAME)
    payload["state"] = {"state": "FAILED", "failedData": {"error": {"code": 8, "message": message}}}
    made = queued_slice(payload, label_prefix="iris")
    assert (made.problem, made.failure) == (message, failure)


def test_a_queued_resource_of_several_nodes_is_none_of_ours() -> None:
    """Iris asks for one at a time; what others ask for has no labels that iris reads."""
    payload = queued_resource(NAME)
    payload["tpu"] = {"nodeSpec": [{}, {}]}
    assert queued_node(payload) == {}
    assert queued_node({"name": "x"}) == {}


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"name": f"projects/p/locations/{ZONE}/nodes/{NAME}"}, "queuedResources/…"),
        ({"state": {}}, "state is missing"),
        ({"state": "ACTIVE"}, "state is str"),
        ({"createTime": "yesterday"}, "createTime"),
    ],
)
def test_a_queued_resource_of_another_shape_is_an_error_that_names_the_key(
    changes: dict[str, object], key: str
) -> None:
    """As for nodes."""
    with pytest.raises(InventoryError, match=re.escape(key)):
        queued_slice({**queued_resource(NAME), **changes}, label_prefix="iris")
