from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from iris_adapters.fakes import FakeClock, FakeInventory, make_controller, make_queued_slice, make_slice
from iris_core.cleanup import CleanupPlan, Selection, carry_out_cleanup
from iris_core.cleanup import plan_cleanup as plan_selected
from iris_core.errors import CleanupIncompleteError, InventoryToolError, PermissionDeniedError

NOW = FakeClock().now()
CONTROLLER = make_controller()
SLICES = [make_slice(f"iris-tpu-{index}") for index in range(6)]
NAMES = [*(slice_.name for slice_ in SLICES), CONTROLLER.name]


MINE = Selection(owner="me")


def plan_cleanup(inventory: FakeInventory, selection: Selection = MINE) -> CleanupPlan:
    return plan_selected(inventory, selection, prices={}, now=NOW)


@pytest.fixture
def inventory() -> FakeInventory:
    return FakeInventory(controller=CONTROLLER, slices=SLICES)


def test_the_plan_is_everything_of_the_cluster(inventory: FakeInventory) -> None:
    """All slices and the controller, and nothing is deleted by planning."""
    plan = plan_cleanup(inventory)

    assert [resource.name for resource in plan.resources] == NAMES
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

    with pytest.raises(CleanupIncompleteError, match=r"iris-tpu-1 \(us-central1-a\): not yours") as raised:
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

    with pytest.raises(CleanupIncompleteError, match=r"iris-tpu-late .*: appeared"):
        carry_out_cleanup(inventory, plan)


def test_a_failed_list_afterwards_says_what_was_asked_for(inventory: FakeInventory) -> None:
    """When the outcome cannot be known, that is the error, with what was deleted until then."""
    plan = plan_cleanup(inventory)
    inventory.fail_next("list_resources")

    with pytest.raises(InventoryToolError) as raised:
        carry_out_cleanup(inventory, plan)

    assert "iris-tpu-0" in "".join(raised.value.__notes__)


class TestWhoseItIs:
    THEIRS = make_slice("iris-tpu-bobs", owner="bob")
    MINE = make_slice("iris-tpu-mine", owner="me")

    def test_somebody_elses_is_kept_and_told(self) -> None:
        """Theirs is neither deleted nor counted as left; mine, and what is nobody's, is deleted."""
        inventory = FakeInventory(controller=CONTROLLER, slices=[self.THEIRS, self.MINE])
        plan = plan_cleanup(inventory)
        assert [(kept.resource.name, kept.why) for kept in plan.kept] == [("iris-tpu-bobs", "it belongs to bob")]
        assert carry_out_cleanup(inventory, plan) == ["iris-tpu-mine", CONTROLLER.name]
        assert inventory.names() == ["iris-tpu-bobs"]

    @pytest.mark.parametrize(("owner", "left"), [(None, []), ("bob", ["iris-tpu-mine"])])
    def test_anybodys_or_a_certain_ones_when_told(self, owner: str | None, left: list[str]) -> None:
        """The explicit word for it."""
        inventory = FakeInventory(slices=[self.THEIRS, self.MINE])
        carry_out_cleanup(inventory, plan_cleanup(inventory, Selection(owner=owner)))
        assert inventory.names() == left

    def test_what_somebody_else_adds_meanwhile_is_not_left(self) -> None:
        """It was never meant."""
        inventory = FakeInventory(slices=[self.MINE])
        plan = plan_cleanup(inventory)
        inventory.put_slice(self.THEIRS)
        assert carry_out_cleanup(inventory, plan) == ["iris-tpu-mine"]


class TestAge:
    OLD = make_slice("iris-tpu-old", created_at=NOW - timedelta(hours=9))
    YOUNG = make_slice("iris-tpu-young", created_at=NOW - timedelta(hours=7))
    UNKNOWN = make_slice("iris-tpu-unknown")
    SELECTION = Selection(owner="me", older_than_seconds=8 * 3600)

    def test_only_what_is_old_enough(self) -> None:
        """What does not say how old it is, is kept too."""
        inventory = FakeInventory(slices=[self.OLD, self.YOUNG, self.UNKNOWN])
        plan = plan_cleanup(inventory, self.SELECTION)
        assert {kept.resource.name: kept.why for kept in plan.kept} == {
            "iris-tpu-unknown": "its age is not known",
            "iris-tpu-young": "it is not that old",
        }
        assert carry_out_cleanup(inventory, plan) == ["iris-tpu-old"]

    def test_what_is_new_is_not_left(self) -> None:
        """It is younger than any age that was asked for."""
        inventory = FakeInventory(slices=[self.OLD])
        plan = plan_cleanup(inventory, self.SELECTION)
        inventory.put_slice(self.YOUNG)
        assert carry_out_cleanup(inventory, plan) == ["iris-tpu-old"]


def test_a_spared_request_that_becomes_a_slice_is_spared_as_that(inventory: FakeInventory) -> None:
    """It is neither deleted nor counted as left."""
    inventory.put_queued(make_queued_slice("iris-tpu-queued"))
    plan = plan_cleanup(inventory, Selection(owner="me", spared=frozenset({"iris-tpu-queued"})))
    assert [(kept.resource.name, kept.why) for kept in plan.kept] == [("iris-tpu-queued", "it was there before")]
    inventory.fulfil("iris-tpu-queued")
    assert carry_out_cleanup(inventory, plan) == NAMES
    assert inventory.names() == ["iris-tpu-queued"]


def test_requests_for_slices_are_deleted_too() -> None:
    """A request that is fulfilled later would cost money."""
    inventory = FakeInventory(queued=[make_queued_slice("iris-tpu-queued")])
    assert carry_out_cleanup(inventory, plan_cleanup(inventory)) == ["iris-tpu-queued"]
    assert inventory.names() == []


def test_the_same_name_in_two_zones_is_two_resources() -> None:
    """Only with all zones; and one that is left is told with its zone."""
    elsewhere = replace(CONTROLLER, host=replace(CONTROLLER.host, zone="europe-west4-b"))
    inventory = FakeInventory(controller=CONTROLLER, elsewhere=[elsewhere])
    assert len(plan_cleanup(inventory).deletions) == 1
    plan = plan_cleanup(inventory, Selection(owner="me", all_zones=True))
    inventory.fail_next("delete", PermissionDeniedError("no"), name=CONTROLLER.name)
    with pytest.raises(CleanupIncompleteError) as raised:
        carry_out_cleanup(inventory, plan)
    assert len(raised.value.left) == len(raised.value.deleted) == 1
    assert inventory.count("list_resources") == 3
