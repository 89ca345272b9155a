from __future__ import annotations

from dataclasses import replace

import pytest

from iris_adapters.fakes import make_controller, make_queued_slice, make_slice
from iris_core.config import ControllerConfig, WorkerGroupConfig
from iris_core.fit import controller_misfits, slice_misfits, wanted_hardware
from iris_core.model import Hardware

GROUP = WorkerGroupConfig(name="tpu", accelerator_type="v5litepod-16", runtime_version="v2", spot=True)
CHIPS = WorkerGroupConfig(name="tpu", type="v4", topology="2x2x2", runtime_version="v2")


def test_what_was_made_by_the_same_configuration_fits() -> None:
    """A slice as well as a request for one, and the controller."""
    hardware = wanted_hardware(GROUP)
    assert slice_misfits(make_slice("s", owner="me", hardware=hardware), GROUP, owner="me") == []
    assert slice_misfits(make_queued_slice("s", owner="me", hardware=hardware), GROUP, owner="me") == []
    vm = make_controller(owner="me", machine_type="e2-standard-4")
    assert controller_misfits(vm, ControllerConfig(), owner="me") == []


def test_what_google_does_not_tell_fits() -> None:
    """A type and topology that are told beside an accelerator type do not matter, nor the other way round; nor does the case."""
    assert slice_misfits(make_slice("s"), GROUP, owner="me") == []
    told = replace(wanted_hardware(GROUP), type="V5LITE_POD", topology="4x4")
    assert slice_misfits(make_slice("s", hardware=told), GROUP, owner="me") == []
    told = replace(wanted_hardware(CHIPS), type="V4", accelerator_type="v4-16")
    assert slice_misfits(make_slice("s", hardware=told), CHIPS, owner="me") == []


@pytest.mark.parametrize(
    ("hardware", "said"),
    [
        (
            Hardware(accelerator_type="v5litepod-8"),
            "its accelerator type is v5litepod-8, the configuration says v5litepod-16",
        ),
        (Hardware(runtime_version="v1"), "its runtime version is v1, the configuration says v2"),
        (Hardware(spot=False), "its spot is false, the configuration says true"),
        (Hardware(reserved=True), "its reserved is true, the configuration says false"),
    ],
)
def test_what_differs_is_told(hardware: Hardware, said: str) -> None:
    """With what is there and what should be."""
    assert slice_misfits(make_slice("s", hardware=hardware), GROUP, owner="me") == [said]


def test_all_that_differs_is_told_at_once() -> None:
    """The owner too."""
    hardware = Hardware(type="v3", topology="2x2", runtime_version="v1")
    assert len(slice_misfits(make_slice("s", owner="you", hardware=hardware), CHIPS, owner="me")) == 4
    vm = make_controller(owner="you", machine_type="e2-micro")
    assert controller_misfits(vm, ControllerConfig(), owner="me") == [
        "it belongs to you, and you are me",
        "its machine type is e2-micro, the configuration says e2-standard-4",
    ]


def test_what_bears_no_owner_is_nobody_elses() -> None:
    """Older versions of iris wrote no owner, and where it is not known who one is, nobody is somebody else."""
    assert controller_misfits(make_controller(), ControllerConfig(), owner="me") == []
    assert controller_misfits(make_controller(owner="you"), ControllerConfig(), owner="") == []
