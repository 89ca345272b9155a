"""Slices, requests and controllers, deleted by gcloud."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes import FakeClock
from iris_core.errors import (
    InvalidRequestError,
    InventoryError,
    InventoryToolError,
    PermissionDeniedError,
    ResourceNotFoundError,
)
from tests.unit.gcloud.inventory_rig import REQUEST, fulfilled, make
from tests.unit.gcloud.payload_builders import instance, node, queued_resource
from tests.unit.gcloud.scripted_gcloud import ScriptedGcloud

if TYPE_CHECKING:
    from collections.abc import Sequence


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


def test_an_odd_node_stands_in_the_way_of_no_deletion() -> None:
    """One that was taken away, and of which Google tells no id any more, is listed with the others and deleted like them."""
    odd = node("iris-b-20260101000000", state="PREEMPTED")
    del odd["id"]
    gcloud = ScriptedGcloud(instances=[instance()], nodes=[node("iris-a-20260101000000"), odd])
    inventory = make(gcloud)
    for resource in inventory.list_resources():
        inventory.delete(resource)
    assert (list(gcloud.nodes), list(gcloud.instances)) == ([], [])


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


def test_a_deletion_that_is_called_off_deletes_nothing_more() -> None:
    """Not the slice that comes of a withdrawn request either: who called it off tells what is left."""
    gcloud = ScriptedGcloud(queued=[queued_resource(REQUEST)])
    clock = FakeClock(auto_advance=True)
    inventory = make(gcloud, clock=clock)
    clock.call_later(5, inventory.call_off)
    clock.call_later(5, lambda: gcloud.nodes.update({REQUEST: fulfilled()}))
    (request,) = inventory.list_queued()
    with pytest.raises(InventoryToolError, match="may still happen"):
        inventory.delete(request)
    assert gcloud.changes == ["delete"]
    inventory.delete(request)
    assert not gcloud.nodes


def test_a_request_that_nothing_could_come_of_is_not_waited_for() -> None:
    """One that has failed is gone when it is gone."""
    clock = FakeClock(auto_advance=True)
    gcloud = ScriptedGcloud(queued=[queued_resource(REQUEST, state="FAILED")])
    inventory = make(gcloud, clock=clock)
    inventory.delete(inventory.list_queued()[0])
    assert gcloud.queued == {}
    assert clock.monotonic() == 0
