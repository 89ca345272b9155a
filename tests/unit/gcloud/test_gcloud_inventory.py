"""The inventory as a whole; its parts are in test_reading, test_creating and test_deleting."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes import FakeClock
from iris_adapters.gcloud.inventory import GcloudInventory
from iris_core.config import ClusterConfig
from iris_core.errors import (
    ConfigError,
    InventoryError,
    InventoryToolError,
    PermissionDeniedError,
    ResourceNotFoundError,
)
from iris_core.model import VmPhase
from iris_core.ports.vm_inventory import VmInventory
from tests.unit.gcloud.inventory_rig import GROUP, make
from tests.unit.gcloud.payload_builders import ZONE, instance, node
from tests.unit.gcloud.scripted_gcloud import ScriptedGcloud

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


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


@pytest.mark.parametrize(
    ("act", "look"),
    [
        (lambda inventory: inventory.ensure_controller(), "describe"),
        (lambda inventory: inventory.create_slice(GROUP), "account"),
        (lambda inventory: inventory.queue_slice(GROUP), "account"),
    ],
    ids=["controller", "slice", "request"],
)
def test_calling_off_ends_what_only_looks_at_that_moment(act: Callable[[VmInventory], object], look: str) -> None:
    """A Ctrl-C comes while the controller is looked for, or its owner's name is: nothing is created after it."""
    gcloud = ScriptedGcloud()
    inventory = make(gcloud, owner=lambda: gcloud.run(["config", "get", "account"]))

    def call_off(argv: Sequence[str]) -> None:
        if look in argv:
            inventory.call_off()

    gcloud.before = call_off
    with pytest.raises(InventoryToolError, match="may still happen"):
        act(inventory)
    assert gcloud.changes == []


def test_calling_off_ends_a_wait() -> None:
    """That for a controller that is being stopped; nothing is started after it, and a later call waits for itself."""
    gcloud = ScriptedGcloud(instances=[instance(status="STOPPING")])
    clock = FakeClock(auto_advance=True)
    inventory = make(gcloud, clock=clock)
    clock.call_later(7, inventory.call_off)
    with pytest.raises(InventoryToolError, match="may still happen"):
        inventory.ensure_controller()
    assert clock.monotonic() < 12
    gcloud.instances.clear()
    assert inventory.ensure_controller().phase is VmPhase.READY


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
