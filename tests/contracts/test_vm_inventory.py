"""What every `VmInventory` must do.

A case is one context manager that yields an `InventoryCase`: an inventory of an empty cluster, closed and cleaned up by the case.
Add yours to `CASES`; give it the mark `lab` if it needs the lab.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes import FakeInventory
from iris_adapters.gcloud.command import GcloudCommand
from iris_adapters.gcloud.inventory import GcloudInventory
from iris_adapters.local.inventory import LocalInventory
from iris_adapters.system_clock import SystemClock
from iris_core.config import ClusterConfig, GcpConfig, Mode, QueuedConfig, WorkerGroupConfig
from iris_core.fit import slice_misfits
from iris_core.model import ControllerVm, HostRole, VmPhase, controller_name
from iris_core.ports.vm_inventory import VmInventory
from tests.lab.cloud import PROJECT, ZONE
from tests.lab.gcloud_api import GcloudApi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GROUP = WorkerGroupConfig(name="tpu", accelerator_type="v5litepod-16", runtime_version="v2-alpha-tpuv5-lite")
QUEUED = replace(GROUP, name="queued", queued=QueuedConfig(wait_minutes=30))


@dataclass(frozen=True, kw_only=True)
class InventoryCase:
    """One implementation under test.

    Attributes:
        inventory: it knows an empty cluster.
        label_prefix: of that cluster.
        group: what slices can be created of; None where there can be none (local mode).
        hold: lets requests for slices wait.
        fulfil: lets there be capacity for the request of this name.
    """

    inventory: VmInventory
    label_prefix: str
    group: WorkerGroupConfig | None = GROUP
    hold: Callable[[], None] = lambda: None
    fulfil: Callable[[str], object] = lambda _name: None


@contextmanager
def fake_case() -> Iterator[InventoryCase]:
    inventory = FakeInventory(label_prefix="ctr")
    yield InventoryCase(inventory=inventory, label_prefix="ctr", fulfil=inventory.fulfil)


class _StandInController:
    """What local mode starts, without threads and sockets; the real one has integration tests."""

    port = 10000
    token = "token"

    def close(self) -> None:
        """Nothing runs."""


@contextmanager
def local_case() -> Iterator[InventoryCase]:
    inventory = LocalInventory("ctr", _StandInController)
    yield InventoryCase(inventory=inventory, label_prefix="ctr", group=None)
    inventory.close()


@contextmanager
def gcloud_case() -> Iterator[InventoryCase]:
    gcp = GcpConfig(project_id=PROJECT, zone=ZONE)
    config = ClusterConfig(mode=Mode.GCP, label_prefix="ctr", gcp=gcp)
    with tempfile.TemporaryDirectory() as directory, GcloudApi(Path(directory)) as api:
        clock = SystemClock()
        gcloud = GcloudCommand(PROJECT, clock, environment=api.environment)
        inventory = GcloudInventory(
            config, gcloud, clock, owner=lambda: "joe", ssh_public_key=lambda: "ssh-ed25519 AAAA", ssh_user="joe"
        )

        def hold() -> None:
            api.queue.has_capacity = False

        yield InventoryCase(inventory=inventory, label_prefix="ctr", hold=hold, fulfil=api.queue.fulfil)
        inventory.close()


CASES = [
    pytest.param(fake_case, id="fake"),
    pytest.param(local_case, id="local"),
    pytest.param(gcloud_case, id="gcloud", marks=pytest.mark.lab),
]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Iterator[InventoryCase]:
    with request.param() as made:
        assert isinstance(made, InventoryCase)
        assert isinstance(made.inventory, VmInventory)
        yield made


@pytest.fixture
def inventory(case: InventoryCase) -> VmInventory:
    return case.inventory


@pytest.fixture
def group(case: InventoryCase) -> WorkerGroupConfig:
    if case.group is None:
        pytest.skip("this inventory has no slices")
    return case.group


def found(inventory: VmInventory) -> ControllerVm:
    controller = inventory.find_controller()
    assert controller is not None
    return controller


def test_an_empty_cluster_has_nothing(inventory: VmInventory) -> None:
    """Nothing there is an answer: None, and an empty sequence."""
    assert inventory.find_controller() is None
    assert list(inventory.list_slices()) == []


def test_an_ensured_controller_is_found(case: InventoryCase) -> None:
    """What ensure_controller returns is what find_controller finds, under the specified name."""
    ensured = case.inventory.ensure_controller()
    again = found(case.inventory)

    assert ensured.name == again.name == controller_name(case.label_prefix)
    assert again.host.role is HostRole.CONTROLLER
    assert again.host.instance_id == ensured.host.instance_id
    assert 1 <= again.port <= 65535
    assert again.phase in (VmPhase.PENDING, VmPhase.READY)


def test_ensuring_twice_makes_one_controller(inventory: VmInventory) -> None:
    """A second ensure_controller finds the first one's controller."""
    first = inventory.ensure_controller()
    second = inventory.ensure_controller()

    assert (second.name, second.host.instance_id) == (first.name, first.host.instance_id)


def test_who_makes_the_controller_hears_of_it(inventory: VmInventory) -> None:
    """And only who makes it: whoever finds it there has not to delete it."""
    made: list[str] = []

    controller = inventory.ensure_controller(lambda: made.append("first"))
    inventory.ensure_controller(lambda: made.append("second"))
    inventory.delete(controller)
    inventory.ensure_controller(lambda: made.append("third"))

    assert made == ["first", "third"]


def test_a_deleted_controller_is_gone(inventory: VmInventory) -> None:
    """When delete has returned, find_controller finds nothing; deleting again succeeds."""
    controller = inventory.ensure_controller()

    inventory.delete(controller)
    assert inventory.find_controller() is None
    inventory.delete(controller)


def test_a_controller_can_be_made_anew(inventory: VmInventory) -> None:
    """After a deletion, ensure_controller makes another one: another life of the same name."""
    first = inventory.ensure_controller()
    inventory.delete(first)

    second = inventory.ensure_controller()

    assert second.name == first.name
    assert found(inventory).name == second.name


def test_a_created_slice_is_listed(case: InventoryCase, group: WorkerGroupConfig) -> None:
    """The list has the slice that create_slice returned, named and grouped as specified."""
    created = case.inventory.create_slice(group)

    (listed,) = case.inventory.list_slices()

    assert listed.name == created.name
    assert listed.name.startswith(f"{case.label_prefix}-{group.name}-")
    assert listed.group == group.name
    assert listed.instance_id == created.instance_id
    assert [host.worker_index for host in listed.hosts] == list(range(len(listed.hosts)))
    for host in listed.hosts:
        assert (host.name, host.slice_name) == (f"{listed.name}-w{host.worker_index}", listed.name)
        assert host.role is HostRole.WORKER


def test_every_created_slice_is_another(inventory: VmInventory, group: WorkerGroupConfig) -> None:
    """Two slices of a group, created right after one another, have names of their own."""
    names = {inventory.create_slice(group).name for _ in range(2)}

    assert {slice_.name for slice_ in inventory.list_slices()} == names
    assert len(names) == 2


def test_a_deleted_slice_is_gone_and_others_stay(inventory: VmInventory, group: WorkerGroupConfig) -> None:
    """When delete has returned, the list lacks that slice and nothing else; deleting again succeeds."""
    gone, kept = inventory.create_slice(group), inventory.create_slice(group)

    inventory.delete(gone)
    assert [slice_.name for slice_ in inventory.list_slices()] == [kept.name]
    inventory.delete(gone)
    assert [slice_.name for slice_ in inventory.list_slices()] == [kept.name]


def test_the_controller_is_no_slice(inventory: VmInventory) -> None:
    """A controller is never listed among the slices."""
    inventory.ensure_controller()

    assert list(inventory.list_slices()) == []


def test_serial_output_is_text_and_nothing_for_what_is_gone(inventory: VmInventory) -> None:
    """A console that is not there has written nothing."""
    controller = inventory.ensure_controller()
    assert isinstance(inventory.serial_output(controller), str)
    inventory.delete(controller)
    assert isinstance(inventory.serial_output(controller), str)


def test_what_is_created_has_its_owner_and_fits(case: InventoryCase, group: WorkerGroupConfig) -> None:
    """A slice says whose it is, and is made of what was asked for; so does the controller."""
    owner = case.inventory.owner()

    slice_, controller = case.inventory.create_slice(group), case.inventory.ensure_controller()

    assert owner
    assert (slice_.owner, controller.owner) == (owner, owner)
    assert slice_misfits(slice_, group, owner=owner) == []
    assert slice_.queued_as == ""


def test_a_request_waits_and_becomes_a_slice(case: InventoryCase, group: WorkerGroupConfig) -> None:
    """It is listed from the first moment on, with its group, owner and hardware; the slice bears its name."""
    group = replace(QUEUED, name=group.name)
    case.hold()
    request = case.inventory.queue_slice(group)

    (listed,) = case.inventory.list_queued()
    assert (listed.name, listed.group, listed.phase) == (request.name, group.name, VmPhase.PENDING)
    assert listed.name.startswith(f"{case.label_prefix}-{group.name}-")
    assert slice_misfits(listed, group, owner=case.inventory.owner()) == []
    assert list(case.inventory.list_slices()) == []
    assert [resource.name for resource in case.inventory.list_resources()] == [request.name]

    case.fulfil(request.name)

    (listed,) = case.inventory.list_queued()
    (slice_,) = case.inventory.list_slices()
    assert listed.phase is VmPhase.READY
    assert (slice_.name, slice_.queued_as, slice_.group) == (request.name, request.name, group.name)
    assert list(case.inventory.list_resources()) == [slice_]


@pytest.mark.parametrize("by", ["request", "slice"])
def test_a_request_and_its_slice_go_together(case: InventoryCase, group: WorkerGroupConfig, by: str) -> None:
    """Whichever of the two is deleted; deleting again succeeds."""
    case.hold()
    request = case.inventory.queue_slice(replace(QUEUED, name=group.name))
    case.fulfil(request.name)
    (slice_,) = case.inventory.list_slices()
    resource = request if by == "request" else slice_

    case.inventory.delete(resource)
    assert list(case.inventory.list_queued()) == []
    assert list(case.inventory.list_slices()) == []
    case.inventory.delete(slice_)


def test_everything_is_listed_slices_first(case: InventoryCase, group: WorkerGroupConfig) -> None:
    """In the cluster's zone as in all of them."""
    controller = case.inventory.ensure_controller()
    slice_ = case.inventory.create_slice(group)

    for all_zones in (False, True):
        listed = case.inventory.list_resources(all_zones=all_zones)
        assert [resource.name for resource in listed] == [slice_.name, controller.name]


def test_an_empty_cluster_has_no_resources(inventory: VmInventory) -> None:
    """Neither requests nor anything else."""
    assert list(inventory.list_queued()) == []
    assert list(inventory.list_resources(all_zones=True)) == []


def test_what_comes_after_a_calling_off_is_carried_out(inventory: VmInventory) -> None:
    """Only what runs at that moment is ended: who calls a creation off deletes next."""
    controller = inventory.ensure_controller()
    inventory.call_off()
    inventory.delete(controller)
    inventory.call_off()
    assert inventory.find_controller() is None
    assert inventory.ensure_controller().name == controller.name


def test_close_is_idempotent(inventory: VmInventory) -> None:
    """Closing twice is as good as once."""
    inventory.close()
    inventory.close()
