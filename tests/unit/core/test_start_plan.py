from __future__ import annotations

from dataclasses import replace

import pytest

from iris_adapters.fakes import make_controller, make_queued_slice, make_slice
from iris_core.config import ClusterConfig, GcpConfig, Mode, QueuedConfig, WorkerGroupConfig
from iris_core.errors import ClusterMisfitError
from iris_core.model import Hardware, QueuedSlice, Slice, VmPhase
from iris_core.start_plan import failed_requests, plan_start, surplus_of

GROUP = WorkerGroupConfig(name="tpu", accelerator_type="v5litepod-8", runtime_version="v2", count=2)
QUEUED = replace(GROUP, name="queued", queued=QueuedConfig())
CONFIG = ClusterConfig(mode=Mode.GCP, gcp=GcpConfig(project_id="p", zone="z"), workers=(GROUP, QUEUED))


def planned(
    *slices: Slice, requests: tuple[QueuedSlice, ...] = (), config: ClusterConfig = CONFIG
) -> list[tuple[str, str]]:
    wanted = plan_start(config, owner="me", controller=None, slices=slices, requests=requests)
    return [(one.title, one.there.name if one.there else "") for one in wanted]


def test_of_nothing_everything_is_missing() -> None:
    """Each slice of each group has a title of its own."""
    assert planned() == [("tpu 1/2", ""), ("tpu 2/2", ""), ("queued 1/2", ""), ("queued 2/2", "")]


@pytest.mark.parametrize("phase", list(VmPhase))
def test_a_slice_that_runs_or_will_counts(phase: VmPhase) -> None:
    """Others do not, nor do those of groups that the configuration does not have."""
    counts = phase in (VmPhase.PENDING, VmPhase.READY)
    found = planned(make_slice("a", group="tpu", phase=phase), make_slice("b", group="old"))
    assert found[0] == ("tpu 1/2", "a" if counts else "")


@pytest.mark.parametrize("phase", list(VmPhase))
def test_a_request_that_waits_counts(phase: VmPhase) -> None:
    """One that has failed does not, nor one that was fulfilled and whose slice is gone."""
    found = planned(requests=(make_queued_slice("a", group="queued", phase=phase),))
    assert found[2] == ("queued 1/2", "a" if phase is VmPhase.PENDING else "")


def test_a_request_whose_slice_is_there_counts_once() -> None:
    """As its slice, whether Google calls it fulfilled already or not."""
    slices = [make_slice(name, group="queued", queued_as=name) for name in ("a", "b")]
    requests = (
        make_queued_slice("a", group="queued", is_granted=True),
        make_queued_slice("b", group="queued", phase=VmPhase.READY),
    )
    wanted = plan_start(CONFIG, owner="me", controller=None, slices=slices, requests=requests)
    assert [one.there for one in wanted if one.group is QUEUED] == slices


def test_requests_that_have_failed_are_found_to_be_deleted() -> None:
    """Ours, of whatever group; but not one whose slice is still there, with which it goes."""
    requests = [
        *(make_queued_slice(f"a-{phase}", group="queued", phase=phase, owner="me") for phase in VmPhase),
        make_queued_slice("b", group="old", phase=VmPhase.FAILED),
        make_queued_slice("c", group="queued", phase=VmPhase.FAILED, owner="joe"),
        make_queued_slice("d", group="queued", phase=VmPhase.FAILED, owner="me"),
    ]
    slices = [make_slice("d", group="queued", phase=VmPhase.FAILED, queued_as="d")]
    assert [one.name for one in failed_requests("me", slices, requests)] == ["a-failed", "b"]


def test_more_than_a_group_is_to_have_is_left_alone() -> None:
    """The first ones count."""
    assert planned(*(make_slice(name, group="tpu") for name in "abc"))[:2] == [("tpu 1/2", "a"), ("tpu 2/2", "b")]


def test_what_nobody_wants_any_more_is_known() -> None:
    """Fewer of a group, or a group less: what costs money and is not somebody else's."""
    slices = [
        *(make_slice(name, group="tpu", owner="me") for name in "abc"),
        make_slice("old", group="old"),
        make_slice("dead", group="old", phase=VmPhase.FAILED),
        make_slice("joes", group="old", owner="joe"),
    ]
    requests = [
        make_queued_slice("waits", group="old"),
        make_queued_slice("failed", group="old", phase=VmPhase.FAILED),
        make_queued_slice("c", group="tpu", phase=VmPhase.PENDING),
    ]
    wanted = plan_start(CONFIG, owner="me", controller=None, slices=slices, requests=requests)
    surplus = surplus_of(wanted, owner="me", slices=slices, requests=requests)
    assert [one.name for one in surplus] == ["c", "old", "waits"]


def test_all_that_does_not_fit_is_named_with_what_differs() -> None:
    """Controller, slices and requests at once, and what to do."""
    with pytest.raises(ClusterMisfitError) as raised:
        plan_start(
            CONFIG,
            owner="me",
            controller=make_controller(machine_type="e2-micro"),
            slices=[make_slice("iris-tpu-1", group="tpu", hardware=Hardware(accelerator_type="v5litepod-4"))],
            requests=[make_queued_slice("iris-queued-1", group="queued", owner="joe")],
        )
    text = str(raised.value)
    assert "VM iris-controller-iris: its machine type is e2-micro, the configuration says e2-standard-4" in text
    assert "slice iris-tpu-1: its accelerator type is v5litepod-4, the configuration says v5litepod-8" in text
    assert "queued resource iris-queued-1: it belongs to joe, and you are me" in text
    assert "label_prefix" in raised.value.advice


def test_what_does_not_count_need_not_fit() -> None:
    """A controller on its way out, and a preempted slice of an older configuration."""
    old = make_slice("a", group="tpu", phase=VmPhase.FAILED, hardware=Hardware(runtime_version="v1"))
    leaving = make_controller(phase=VmPhase.DELETING, machine_type="e2-micro")
    wanted = plan_start(CONFIG, owner="me", controller=leaving, slices=[old], requests=[])
    assert all(one.there is None for one in wanted)
