from __future__ import annotations

import pytest

from iris_adapters.fakes import FakeInventory, InventoryCall, make_controller, make_slice
from iris_core.config import WorkerGroupConfig
from iris_core.errors import InventoryToolError, OutOfCapacityError
from iris_core.model import VmPhase

GROUP = WorkerGroupConfig(name="tpu", accelerator_type="v5litepod-8", runtime_version="v2-alpha-tpuv5-lite")


def test_slices_come_change_and_go() -> None:
    """The next list tells what the test has done to the cloud."""
    inventory = FakeInventory(slices=[make_slice("iris-tpu-1", hosts=2)])

    inventory.put_slice(make_slice("iris-tpu-0", hosts=0, phase=VmPhase.PENDING))
    assert [slice_.name for slice_ in inventory.list_slices()] == ["iris-tpu-0", "iris-tpu-1"]

    inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
    assert [(item.phase, item.state) for item in inventory.list_slices()] == [
        (VmPhase.PENDING, "CREATING"),
        (VmPhase.FAILED, "PREEMPTED"),
    ]

    inventory.remove_slice("iris-tpu-1")
    assert inventory.names() == ["iris-tpu-0"]


def test_a_controller_may_be_half_booted() -> None:
    """What ensure_controller creates is what the test wants it to be, and stays so until the test changes it."""
    inventory = FakeInventory(new_controller=lambda: make_controller(phase=VmPhase.PENDING, address=""))

    created = inventory.ensure_controller()
    assert (created.phase, created.state, created.host.address) == (VmPhase.PENDING, "STAGING", "")
    assert inventory.ensure_controller() == created

    inventory.put_controller(make_controller())
    found = inventory.find_controller()
    assert found is not None
    assert found.phase is VmPhase.READY
    assert found.host.address


def test_a_stopped_controller_is_started_again() -> None:
    """ensure_controller does not create a second controller beside a stopped one."""
    stopped = make_controller(phase=VmPhase.STOPPED)
    inventory = FakeInventory(controller=stopped)
    made: list[str] = []

    ensured = inventory.ensure_controller(lambda: made.append("started"))

    assert made == ["started"]
    assert ensured.phase is VmPhase.READY
    assert ensured.host == stopped.host


def test_created_slices_are_made_by_the_test() -> None:
    """The test decides how a created slice looks; its name is the inventory's."""
    inventory = FakeInventory(
        label_prefix="dev", new_slice=lambda group, name: make_slice(name, hosts=4, group=group.name)
    )

    first, second = inventory.create_slice(GROUP), inventory.create_slice(GROUP)

    assert first.name.startswith("dev-tpu-2026")
    assert first.name != second.name
    assert [host.name for host in first.hosts] == [f"{first.name}-w{index}" for index in range(4)]


def test_a_fault_strikes_as_often_as_scripted() -> None:
    """The call after the last fault works, and a failed call changes nothing."""
    inventory = FakeInventory(slices=[make_slice("iris-tpu-1")])
    inventory.fail_next("list_slices", OutOfCapacityError("none left"))
    inventory.fail_next("create_slice", times=2)

    with pytest.raises(OutOfCapacityError):
        inventory.list_slices()
    for _ in range(2):
        with pytest.raises(InventoryToolError):
            inventory.create_slice(GROUP)

    assert len(inventory.list_slices()) == 1
    inventory.create_slice(GROUP)
    assert len(inventory.list_slices()) == 2


def test_a_fault_can_be_about_one_resource() -> None:
    """Only the deletion of the named slice fails."""
    one, two = make_slice("iris-tpu-1"), make_slice("iris-tpu-2")
    inventory = FakeInventory(slices=[one, two])
    inventory.fail_next("delete", name="iris-tpu-2")

    inventory.delete(one)
    with pytest.raises(InventoryToolError):
        inventory.delete(two)

    assert inventory.names() == ["iris-tpu-2"]


def test_what_is_undeletable_stays_without_an_error() -> None:
    """A cloud that says yes and does nothing can be played."""
    controller = make_controller()
    inventory = FakeInventory(controller=controller, undeletable=[controller.name])

    inventory.delete(controller)

    assert inventory.names() == [controller.name]


def test_calls_are_recorded() -> None:
    """Also those that fail; what the test asks for itself is not."""
    inventory = FakeInventory()
    inventory.fail_next("find_controller")

    with pytest.raises(InventoryToolError):
        inventory.find_controller()
    created = inventory.create_slice(GROUP)
    inventory.delete(created)
    inventory.names()
    inventory.close()

    assert inventory.calls == [
        InventoryCall("find_controller"),
        InventoryCall("create_slice", "tpu"),
        InventoryCall("delete", created.name),
    ]
    assert inventory.count("delete") == 1
    assert inventory.closed
