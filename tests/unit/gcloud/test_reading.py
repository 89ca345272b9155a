"""What is asked of gcloud to know what there is."""

from __future__ import annotations

from tests.unit.gcloud.inventory_rig import REQUEST, fulfilled, make, managed
from tests.unit.gcloud.payload_builders import ZONE, instance, node, queued_resource
from tests.unit.gcloud.scripted_gcloud import ScriptedGcloud


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
