from __future__ import annotations

import pytest

from iris_adapters.fakes import FakeInventory, make_controller, make_slice
from iris_core.cleanup import carry_out_cleanup, plan_cleanup
from iris_core.errors import CleanupIncompleteError, InventoryToolError, PermissionDeniedError

CONTROLLER = make_controller()
SLICES = [make_slice(f"iris-tpu-{index}") for index in range(6)]
NAMES = [*(slice_.name for slice_ in SLICES), CONTROLLER.name]


@pytest.fixture
def inventory() -> FakeInventory:
    return FakeInventory(controller=CONTROLLER, slices=SLICES)


def test_the_plan_is_everything_of_the_cluster(inventory: FakeInventory) -> None:
    """All slices and the controller, and nothing is deleted by planning."""
    plan = plan_cleanup(inventory)

    assert [resource.name for resource in plan] == NAMES
    assert inventory.count("delete") == 0


def test_an_empty_cluster_has_an_empty_plan() -> None:
    """Nothing there, nothing to do, and no error."""
    inventory = FakeInventory()

    assert carry_out_cleanup(inventory, plan_cleanup(inventory)) == []
    assert inventory.count("delete") == 0


def test_a_failed_list_is_an_error(inventory: FakeInventory) -> None:
    """What is not known is never taken for nothing."""
    inventory.fail_next("list_resources")

    with pytest.raises(InventoryToolError):
        plan_cleanup(inventory)


def test_everything_planned_is_deleted(inventory: FakeInventory) -> None:
    """The names come back in the plan's order, and nothing is left."""
    assert carry_out_cleanup(inventory, plan_cleanup(inventory)) == NAMES
    assert inventory.names() == []


def test_one_failure_does_not_stop_the_others(inventory: FakeInventory) -> None:
    """What could be deleted is deleted; the error names what is left, what was deleted, and why."""
    inventory.fail_next("delete", PermissionDeniedError("not yours"), name="iris-tpu-1")

    with pytest.raises(CleanupIncompleteError, match=r"iris-tpu-1: not yours") as raised:
        carry_out_cleanup(inventory, plan_cleanup(inventory))

    assert raised.value.left == ("iris-tpu-1",)
    assert raised.value.deleted == tuple(name for name in NAMES if name != "iris-tpu-1")
    assert inventory.names() == ["iris-tpu-1"]


def test_a_deletion_that_did_nothing_is_not_reported_as_done() -> None:
    """The cloud is asked again: what it still lists is left, whatever the deletion said."""
    inventory = FakeInventory(controller=CONTROLLER, undeletable=[CONTROLLER.name])

    with pytest.raises(CleanupIncompleteError, match="still there") as raised:
        carry_out_cleanup(inventory, plan_cleanup(inventory))

    assert raised.value.left == (CONTROLLER.name,)
    assert raised.value.deleted == ()


def test_a_failed_deletion_of_what_is_gone_is_no_failure(inventory: FakeInventory) -> None:
    """A deletion that failed because the resource went by itself leaves nothing behind."""
    plan = plan_cleanup(inventory)
    inventory.fail_next("delete", name="iris-tpu-3")
    inventory.remove_slice("iris-tpu-3")

    assert carry_out_cleanup(inventory, plan) == NAMES


def test_what_appears_meanwhile_is_left(inventory: FakeInventory) -> None:
    """A slice that came after the plan costs money too: it is named, not passed over."""
    plan = plan_cleanup(inventory)
    inventory.put_slice(make_slice("iris-tpu-late"))

    with pytest.raises(CleanupIncompleteError, match="iris-tpu-late: appeared"):
        carry_out_cleanup(inventory, plan)


def test_a_failed_list_afterwards_says_what_was_asked_for(inventory: FakeInventory) -> None:
    """When the outcome cannot be known, that is the error, with what was deleted until then."""
    plan = plan_cleanup(inventory)
    inventory.fail_next("list_resources")

    with pytest.raises(InventoryToolError) as raised:
        carry_out_cleanup(inventory, plan)

    assert "iris-tpu-0" in "".join(raised.value.__notes__)
