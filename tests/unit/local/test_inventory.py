from __future__ import annotations

import pytest

from iris_adapters.local.inventory import LocalInventory
from iris_core.config import WorkerGroupConfig
from iris_core.errors import InvalidRequestError, InventoryError, JobApiError, LocalPortInUseError
from iris_core.model import ControllerVm


class StandIn:
    """A running controller that remembers whether it was closed."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.token = f"token-{port}"
        self.closed = False

    def close(self) -> None:
        """Remember."""
        self.closed = True


class Starter:
    """Starts a stand-in at each call, on ports of their own."""

    def __init__(self) -> None:
        self.started: list[StandIn] = []

    def __call__(self) -> StandIn:
        """Start another one."""
        self.started.append(StandIn(1000 + len(self.started)))
        return self.started[-1]


def test_the_controller_is_on_loopback_with_its_token() -> None:
    """Address, port and token of the running controller are what the inventory reports."""
    controller = LocalInventory("demo", Starter()).ensure_controller()

    assert (controller.host.address, controller.port, controller.token) == ("127.0.0.1", 1000, "token-1000")
    assert "token-1000" not in repr(controller)


def test_delete_and_close_stop_the_controller() -> None:
    """A deleted controller is closed, the next one is another, and close closes that one too."""
    starter = Starter()
    inventory = LocalInventory("demo", starter)
    first = inventory.ensure_controller()

    inventory.delete(first)
    second = inventory.ensure_controller()
    inventory.close()

    assert [stand_in.closed for stand_in in starter.started] == [True, True]
    assert first.host.instance_id != second.host.instance_id
    assert inventory.find_controller() is None


def test_another_clusters_controller_is_left_alone() -> None:
    """Deleting a controller of another name stops nothing."""
    starter = Starter()
    inventory = LocalInventory("demo", starter)
    mine = inventory.ensure_controller()

    inventory.delete(ControllerVm(name="iris-controller-other", host=mine.host, port=1, phase=mine.phase))

    assert not starter.started[0].closed


def test_a_closed_inventory_starts_nothing() -> None:
    """After close, ensure_controller refuses instead of starting what nobody would stop."""
    starter = Starter()
    inventory = LocalInventory("demo", starter)
    inventory.close()

    with pytest.raises(InvalidRequestError, match="has been closed"):
        inventory.ensure_controller()
    assert starter.started == []


def test_a_slice_cannot_be_created() -> None:
    """create_slice names the group and says what to do instead."""
    group = WorkerGroupConfig(name="tpu", accelerator_type="v5litepod-16", runtime_version="v2")

    with pytest.raises(InvalidRequestError, match=r"(?s)'tpu'.*local\.workers"):
        LocalInventory("demo", Starter()).create_slice(group)


def test_a_controller_that_cannot_start_is_an_inventory_error() -> None:
    """The starter's error becomes an InventoryError that keeps its words and its cause."""

    def start() -> StandIn:
        raise JobApiError("did not start")

    with pytest.raises(InventoryError, match="did not start") as caught:
        LocalInventory("demo", start).ensure_controller()
    assert isinstance(caught.value.__cause__, JobApiError)


def test_a_port_that_is_taken_is_told_as_that() -> None:
    """It has an exit code of its own, and gcloud, which that of an InventoryError names, has nothing to do with it."""

    def start() -> StandIn:
        raise LocalPortInUseError("port 7 is taken", host="127.0.0.1", port=7)

    with pytest.raises(LocalPortInUseError, match="port 7 is taken"):
        LocalInventory("demo", start).ensure_controller()
