"""Which slices are lost, and which of them are created again, when: no I/O, no clock."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iris_adapters.fakes import make_controller, make_queued_slice, make_slice
from iris_core.config import WorkerGroupConfig
from iris_core.errors import (
    InvalidRequestError,
    InventoryError,
    OutOfCapacityError,
    PermissionDeniedError,
    QuotaExceededError,
)
from iris_core.healing import Healing, Replacement
from iris_core.model import Slice, VmPhase

CONTROLLER = make_controller()
HOUR = 3600.0


def group(
    name: str = "g", *, count: int = 1, recreate: bool = True, spot: bool = False, most: int = 3
) -> WorkerGroupConfig:
    return WorkerGroupConfig(
        name=name,
        accelerator_type="v5litepod-8",
        runtime_version="v",
        count=count,
        spot=spot,
        recreate=recreate,
        most_recreations_per_hour=most,
    )


def one(name: str = "g-1", phase: VmPhase = VmPhase.READY, state: str | None = None, of: str = "g") -> Slice:
    made = make_slice(name, group=of, phase=phase)
    return made if state is None else replace(made, state=state)


def healing(*groups: WorkerGroupConfig) -> Healing:
    return Healing(groups, jitter=lambda: 1.0, is_ours=lambda one: one.owner != "somebody")


def names(due: list[Replacement]) -> list[str]:
    return [replacement.loss.slice.name for replacement in due]


PREEMPTED = one(phase=VmPhase.FAILED)
OTHER = one("g-2")


@pytest.mark.parametrize(
    ("config", "looks", "told", "due"),
    [
        pytest.param(group(), [[one()]], [], [], id="all is well"),
        pytest.param(group(), [[one(phase=VmPhase.PENDING)]], [], [], id="on its way"),
        pytest.param(group(), [[one()], [PREEMPTED]], ["preempted"], ["g-1"], id="preempted"),
        pytest.param(group(), [[PREEMPTED]], ["preempted"], ["g-1"], id="found preempted"),
        pytest.param(group(), [[PREEMPTED], [PREEMPTED]], ["preempted"], ["g-1"], id="told once"),
        pytest.param(
            group(), [[one(phase=VmPhase.FAILED, state="TERMINATED")]], ["terminated"], ["g-1"], id="terminated"
        ),
        pytest.param(group(), [[one()], []], [], [], id="missing once: the answer may be incomplete"),
        pytest.param(group(), [[one()], [], []], ["gone"], ["g-1"], id="missing twice"),
        pytest.param(group(), [[one()], [], [one()], []], [], [], id="missing, there, missing"),
        pytest.param(group(), [[one()], [], [], []], ["gone"], ["g-1"], id="gone is told once, too"),
        pytest.param(group(), [[]], [], [], id="never seen: `start` creates what is missing, not this"),
        pytest.param(group(), [[one(phase=VmPhase.STOPPED)]], ["stopped"], [], id="stopped: perhaps on purpose"),
        pytest.param(group(spot=True), [[one(phase=VmPhase.STOPPED)]], ["stopped"], ["g-1"], id="a stopped spot slice"),
        pytest.param(group(), [[one(phase=VmPhase.STOPPED)], [], []], ["stopped"], [], id="stopped, then deleted"),
        pytest.param(group(recreate=False), [[PREEMPTED]], ["preempted"], [], id="not wanted"),
        pytest.param(group(), [[replace(PREEMPTED, owner="somebody")]], ["preempted"], [], id="somebody else's"),
        pytest.param(group(count=0), [[PREEMPTED]], ["preempted"], [], id="something else creates them"),
        pytest.param(group(), [[PREEMPTED, OTHER]], ["preempted"], [], id="enough of them without it"),
        pytest.param(group(count=2), [[PREEMPTED, OTHER]], ["preempted"], ["g-1"], id="one of two"),
        pytest.param(group("other"), [[PREEMPTED]], ["preempted"], [], id="of a group that is no longer configured"),
        pytest.param(group(), [[PREEMPTED], [one()]], ["preempted"], [], id="it came back by itself"),
        pytest.param(
            group(count=2),
            [[PREEMPTED, one("g-2", VmPhase.DELETING)]],
            ["preempted"],
            [],
            id="the cluster is being deleted",
        ),
        pytest.param(
            group(), [[one()], [one(phase=VmPhase.DELETING)], [], []], ["gone"], ["g-1"], id="deleted by somebody else"
        ),
        pytest.param(
            group(count=5, most=2),
            [[one(f"g-{n}", VmPhase.FAILED) for n in range(5)]],
            ["preempted"] * 5,
            ["g-0", "g-1"],
            id="no more than the budget",
        ),
    ],
)
def test_what_is_lost_and_what_is_replaced(
    config: WorkerGroupConfig, looks: list[list[Slice]], told: list[str], due: list[str]
) -> None:
    """Each row: what the looks find, what is told in all, what is to be replaced after the last."""
    machine = healing(config)
    losses = [loss for look in looks for loss in machine.look(look)]
    assert [loss.reason for loss in losses] == told
    assert names(machine.due(looks[-1], CONTROLLER, 0.0)) == due


@pytest.mark.parametrize(
    "controller", [None, make_controller(phase=VmPhase.STOPPED), make_controller(phase=VmPhase.DELETING)]
)
def test_nothing_is_created_for_a_cluster_without_a_controller(controller: object) -> None:
    """Somebody deletes it at this moment: what vanishes is not to come back."""
    machine = healing(group())
    machine.look([PREEMPTED])
    assert machine.due([PREEMPTED], controller, 0.0) == []  # type: ignore[arg-type]
    assert names(machine.due([PREEMPTED], CONTROLLER, 0.0)) == ["g-1"]


def test_what_is_gone_need_not_be_deleted() -> None:
    """A preempted slice that somebody else deletes before iris does is still replaced; first by them, though, if it is another iris."""
    machine = healing(group())
    machine.look([PREEMPTED])
    machine.look([])
    assert machine.due([], CONTROLLER, 0.0) == []
    machine.look([PREEMPTED])
    machine.look([])
    assert machine.due([], CONTROLLER, 10.0) == []
    machine.look([])
    [replacement] = machine.due([], CONTROLLER, 20.0)
    assert (replacement.loss.reason, replacement.loss.is_there, replacement.deletes) == ("preempted", False, False)


def test_what_iris_has_deleted_itself_is_replaced_at_once() -> None:
    """Whether or not it is still listed; and it is not deleted again, when creating another has failed."""
    machine = healing(group())
    machine.look([PREEMPTED])
    [replacement] = machine.due([PREEMPTED], CONTROLLER, 0.0)
    machine.cleared(replacement)
    assert machine.failed(replacement, OutOfCapacityError("none"), 0.0) == 30
    machine.look([])
    [replacement] = machine.due([], CONTROLLER, 30.0)
    assert not replacement.deletes


@pytest.mark.parametrize(
    ("now", "is_still"),
    [
        pytest.param(PREEMPTED, True, id="as it was"),
        pytest.param(one(phase=VmPhase.STOPPED), True, id="lost in another way"),
        pytest.param(replace(PREEMPTED, instance_id=""), True, id="its life is not told"),
        pytest.param(one(), False, id="of use again"),
        pytest.param(one(phase=VmPhase.PENDING), False, id="being started"),
        pytest.param(replace(PREEMPTED, instance_id="2"), False, id="another life"),
        pytest.param(replace(PREEMPTED, owner="somebody"), False, id="somebody else's"),
    ],
)
def test_what_is_deleted_is_what_was_lost(now: Slice, is_still: bool) -> None:  # noqa: FBT001 - a row of the table
    """What bears its name just before the deletion may be something else."""
    machine = healing(group())
    [loss] = machine.look([PREEMPTED])
    assert loss.is_still(now) == is_still


def test_no_more_is_created_than_is_lacking_after_the_deletions() -> None:
    """Another iris has replaced one of two meanwhile."""
    machine = healing(group(count=2))
    lost = [one("g-1", VmPhase.FAILED), one("g-2", VmPhase.FAILED)]
    machine.look(lost)
    due = machine.due(lost, CONTROLLER, 0.0)
    assert names(due) == ["g-1", "g-2"]
    lacking, _ = machine.still_due(due, [one("g-3")], [], CONTROLLER, 1.0)
    assert names(lacking) == ["g-1"]
    assert machine.still_due(due, [], [], None, 1.0) == ([], [])


def test_each_loss_is_replaced_once() -> None:
    """What was created counts from then on, and what another iris has created does, too."""
    machine = healing(group())
    machine.look([PREEMPTED])
    [replacement] = machine.due([PREEMPTED], CONTROLLER, 0.0)
    machine.created(replacement, OTHER, 0.0)
    machine.look([OTHER])
    assert machine.due([OTHER], CONTROLLER, 10.0) == []
    machine.look([one("g-2", VmPhase.FAILED), one("g-3")])
    assert machine.due([one("g-3")], CONTROLLER, 20.0) == []
    assert machine.due([], CONTROLLER, 30.0) == []


def test_never_more_than_the_budget_of_an_hour() -> None:
    """A slice that is preempted as soon as it is there does not cost money for ever; and that is told once each time."""
    machine = healing(group(most=3))
    created: list[float] = []
    told: list[float] = []
    for minute in range(150):
        now = minute * 60.0
        lost = one(f"g-{minute}", VmPhase.FAILED)
        machine.look([lost])
        if machine.spent(now):
            told.append(now)
        for replacement in machine.due([lost], CONTROLLER, now):
            machine.created(replacement, one(f"new-{minute}"), now)
            created.append(now)
    assert created == [0, 60, 120, HOUR, HOUR + 60, HOUR + 120, 2 * HOUR, 2 * HOUR + 60, 2 * HOUR + 120]
    assert told == [180, HOUR + 180, 2 * HOUR + 180]


def test_a_stockout_is_tried_again_ever_more_rarely() -> None:
    """From half a minute to ten minutes; it does not use up the budget, for nothing was created."""
    machine = healing(group(most=1))
    machine.look([PREEMPTED])
    now, pauses = 0.0, []
    for _ in range(8):
        [replacement] = machine.due([], CONTROLLER, now)
        seconds = machine.failed(replacement, OutOfCapacityError("none"), now)
        assert seconds is not None
        assert machine.due([], CONTROLLER, now + seconds - 1) == []
        pauses.append(seconds)
        now += seconds
    assert pauses == [30, 60, 120, 240, 480, 600, 600, 600]


def test_those_that_fail_together_are_one_failure() -> None:
    """Four stockouts of one moment do not make the next try wait four times as long."""
    machine = healing(group(count=2))
    lost = [one("g-1", VmPhase.FAILED), one("g-2", VmPhase.FAILED)]
    machine.look(lost)
    due = machine.due(lost, CONTROLLER, 0.0)
    assert [machine.failed(replacement, OutOfCapacityError("none"), 0.0) for replacement in due] == [30, 30]


def test_a_success_does_not_bring_the_next_try_forward() -> None:
    """Of two that were due together one was re-created; when the other is tried again has been told."""
    machine = healing(group(count=2))
    lost = [one("g-1", VmPhase.FAILED), one("g-2", VmPhase.FAILED)]
    machine.look(lost)
    first, second = machine.due(lost, CONTROLLER, 0.0)
    assert machine.not_cleared(first, InvalidRequestError("not now"), 0.0) == 30
    machine.created(second, one("g-3"), 5.0)
    left = [lost[0], one("g-3")]
    machine.look(left)
    assert machine.due(left, CONTROLLER, 29.0) == []
    assert names(machine.due(left, CONTROLLER, 30.0)) == ["g-1"]


def test_one_that_is_gone_again_before_it_was_listed_is_missed() -> None:
    """A spot slice may live for seconds."""
    machine = healing(group())
    machine.look([PREEMPTED])
    [replacement] = machine.due([PREEMPTED], CONTROLLER, 0.0)
    machine.created(replacement, OTHER, 0.0)
    assert machine.look([]) == []
    assert [loss.slice for loss in machine.look([])] == [OTHER]
    assert names(machine.due([], CONTROLLER, 10.0)) == ["g-2"]


def test_a_failure_that_nobody_knows_counts_as_a_creation() -> None:
    """It may pass, and it may cost money each time: it is tried again as often as slices may be created."""
    machine = healing(group(most=2))
    machine.look([PREEMPTED])
    tries = []
    for now in range(0, 2 * int(HOUR), 10):
        for replacement in machine.due([], CONTROLLER, now):
            tries.append(now)
            machine.failed(replacement, InventoryError("?"), now)
    assert tries == [0, 30, HOUR, HOUR + 120]


@pytest.mark.parametrize("error", [PermissionDeniedError("no"), QuotaExceededError("no"), InvalidRequestError("no")])
def test_what_trying_again_cannot_help_is_given_up(error: InventoryError) -> None:
    """For that group; others go on."""
    machine = healing(group(), group("h"))
    lost = [PREEMPTED, one("h-1", VmPhase.FAILED, of="h")]
    machine.look(lost)
    first, _ = machine.due(lost, CONTROLLER, 0.0)
    assert machine.failed(first, error, 0.0) is None
    assert names(machine.due(lost, CONTROLLER, HOUR)) == ["h-1"]


def test_what_cannot_be_deleted_now_is_tried_again() -> None:
    """For as long as it takes, without using up the budget: nothing was created."""
    machine = healing(group(most=1))
    machine.look([PREEMPTED])
    now = 0.0
    for error in (InvalidRequestError("being suspended"), InventoryError("?"), QuotaExceededError("of requests")):
        [replacement] = machine.due([PREEMPTED], CONTROLLER, now)
        seconds = machine.not_cleared(replacement, error, now)
        assert seconds is not None
        now += seconds
    [replacement] = machine.due([PREEMPTED], CONTROLLER, now)
    assert machine.not_cleared(replacement, PermissionDeniedError("no"), now) is None
    assert machine.due([PREEMPTED], CONTROLLER, HOUR) == []


def test_a_group_that_is_whole_again_is_healed_again() -> None:
    """What was given up has been put right, and `iris up` has created what was missing."""
    machine = healing(group())
    machine.look([PREEMPTED])
    [replacement] = machine.due([PREEMPTED], CONTROLLER, 0.0)
    assert not machine.is_given_up("g")
    machine.failed(replacement, QuotaExceededError("no"), 0.0)
    assert machine.is_given_up("g")
    machine.look([PREEMPTED, OTHER])
    assert machine.due([PREEMPTED, OTHER], None, 100.0) == []
    assert machine.is_given_up("g"), "whether the cluster is there is not known"
    assert machine.due([PREEMPTED, OTHER], CONTROLLER, 100.0) == []
    assert not machine.is_given_up("g")
    lost = one("g-2", VmPhase.FAILED)
    machine.look([lost])
    assert names(machine.due([lost], CONTROLLER, 200.0)) == ["g-2"]


def test_what_is_being_deleted_for_ever_is_not_waited_for() -> None:
    """Ten minutes of its own for each: a cluster that somebody deletes is gone by then, or has lost its controller."""
    machine = healing(group(count=3))
    stuck, newer = one("x-1", VmPhase.DELETING, of="old"), one("g-2", VmPhase.DELETING)
    machine.look([stuck])
    assert machine.due([stuck], CONTROLLER, 0.0) == []
    assert machine.held_up_by() == [], "nothing is owed"
    machine.look([PREEMPTED, stuck])
    assert machine.due([PREEMPTED, stuck], CONTROLLER, 10.0) == []
    assert machine.held_up_by() == ["x-1"]
    assert machine.due([PREEMPTED, stuck], CONTROLLER, 590.0) == []
    assert machine.held_up_by() == [], "told before"
    assert names(machine.due([PREEMPTED, stuck], CONTROLLER, 600.0)) == ["g-1"]
    assert machine.due([PREEMPTED, stuck, newer], CONTROLLER, 610.0) == []
    assert machine.held_up_by() == ["g-2"]
    assert names(machine.due([PREEMPTED, stuck, newer], CONTROLLER, 1210.0)) == ["g-1"]


def test_a_lost_slice_that_is_being_deleted_for_ever_is_replaced() -> None:
    """To delete it once more would only wait for it."""
    machine = healing(group())
    machine.look([PREEMPTED])
    [replacement] = machine.due([PREEMPTED], CONTROLLER, 0.0)
    assert replacement.deletes
    dying = [one(phase=VmPhase.DELETING)]
    for now in (10.0, 100.0):
        machine.look(dying)
        assert machine.due(dying, CONTROLLER, now) == []
    [replacement] = machine.due(dying, CONTROLLER, 610.0)
    assert not replacement.deletes
    assert machine.still_due([replacement], dying, [], CONTROLLER, 620.0) == ([replacement], [])


def test_nothing_is_created_for_a_cluster_whose_deletion_begins_meanwhile() -> None:
    """Deleting what was lost may take minutes, and what `iris down` deletes last is the controller."""
    machine = healing(group(count=2))
    machine.look([PREEMPTED, OTHER])
    due = machine.due([PREEMPTED, OTHER], CONTROLLER, 0.0)
    dying = [one("g-2", VmPhase.DELETING)]
    assert machine.still_due(due, dying, [], CONTROLLER, 100.0) == ([], [])


def test_a_request_that_waits_stands_for_a_slice() -> None:
    """Made by another iris, or by this one, which never got the answer: it is not made twice."""
    machine = healing(group(count=3))
    lost = [one(f"g-{n}", VmPhase.FAILED) for n in range(3)]
    machine.look(lost)
    due = machine.due(lost, CONTROLLER, 0.0)
    waits, fulfilled = make_queued_slice("g-4", group="g"), make_queued_slice("g-5", group="g", is_granted=True)
    others = [make_queued_slice("g-6", group="g", phase=VmPhase.FAILED), make_queued_slice("h-7", group="h")]
    slices = [one("g-5", VmPhase.PENDING)]
    lacking, waiting = machine.still_due(due, slices, [waits, fulfilled, *others], CONTROLLER, 1.0)
    assert (names(lacking), waiting) == (["g-0"], [(due[1], waits)])
    machine.waits_already(*waiting[0])
    assert machine.asked.requests == [waits]


def test_what_was_asked_for_counts_until_it_comes_to_nothing() -> None:
    """Or is a slice, which counts by itself, and is lost like others."""
    machine = healing(group(count=1))
    machine.look([PREEMPTED])
    [replacement] = machine.due([PREEMPTED], CONTROLLER, 0.0)
    request = make_queued_slice("g-2", group="g")
    machine.created(replacement, request, 0.0)
    other = one("g-3", VmPhase.FAILED)
    machine.look([other])
    assert machine.due([other], CONTROLLER, 10.0) == [], "another is on its way"
    assert machine.asked.look([request]) == ([], [])
    machine.look([OTHER])
    assert machine.asked.requests == []
    lost = one("g-2", VmPhase.FAILED)
    machine.look([lost])
    assert names(machine.due([lost], CONTROLLER, 20.0)) == ["g-2"]


def test_what_came_to_nothing_is_missed() -> None:
    """Told until it has been deleted; it counts no longer."""
    machine = healing(group(count=2))
    lost = [PREEMPTED, one("g-2", VmPhase.FAILED)]
    machine.look(lost)
    first, second = machine.due(lost, CONTROLLER, 0.0)
    machine.created(first, make_queued_slice("g-3", group="g"), 0.0)
    machine.created(second, make_queued_slice("g-4", group="g"), 0.0)
    failed = make_queued_slice("g-3", group="g", phase=VmPhase.FAILED)
    [gone] = [request for request in machine.asked.requests if request.name == "g-4"]
    assert machine.asked.look([failed]) == ([failed], [gone])
    assert machine.asked.look([failed]) == ([failed], [])
    other = one("g-5", VmPhase.FAILED)
    machine.look([other])
    assert names(machine.due([other], CONTROLLER, 10.0)) == ["g-5"]
    machine.asked.forget(failed)
    assert machine.asked.requests == []
