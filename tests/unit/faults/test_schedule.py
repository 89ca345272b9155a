"""The fault suite's schedules."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.integration.faults.plans import lane_names, plan
from tests.integration.faults.schedule import SPREADS, FaultKind, make_schedule

WEIGHTS = {FaultKind.IRIS_KILL: 8, FaultKind.NET_RESET: 2, FaultKind.CONTAINER_RESTART: 1}


def test_a_seed_gives_one_schedule() -> None:
    """The same for the same seed, another one for another."""
    schedules = [make_schedule(seed, 50, WEIGHTS, ["a", "b"]) for seed in (1, 1, 2)]
    assert schedules[0] == schedules[1] != schedules[2]


def test_kinds_come_as_often_as_their_weights_say() -> None:
    """And each at least once."""
    counts = Counter(fault.kind for fault in make_schedule(3, 2200, WEIGHTS, ["a"]))
    assert set(counts) == set(WEIGHTS)
    assert 1500 < counts[FaultKind.IRIS_KILL] < 1700
    assert set(WEIGHTS) == {fault.kind for fault in make_schedule(4, 3, WEIGHTS, ["a"])}


def test_faults_are_within_their_spreads() -> None:
    """No fault lasts longer or shorter than its kind does, and only a container's has one."""
    for fault in make_schedule(5, 500, dict.fromkeys(FaultKind, 1), ["a", "b"], longest_wait=2.0):
        spread = SPREADS[fault.kind]
        assert spread.shortest <= fault.seconds <= spread.longest
        assert spread.amounts[0] <= fault.amount <= spread.amounts[1]
        assert 0 <= fault.wait <= 2.0
        assert (fault.container in {"a", "b"}) == fault.kind.startswith("container")


@pytest.mark.parametrize("name", lane_names())
def test_every_lane_has_a_plan(name: str) -> None:
    """Whose kinds all have a spread; with another engine it has another name."""
    one = plan(name, seed=1, faults=10)
    assert set(one.weights) <= set(SPREADS)
    assert plan(name, seed=1, faults=10, engine="/other").name != one.name


def test_together_the_lanes_have_every_kind_of_fault() -> None:
    """Nothing that can be made to go wrong is left out."""
    kinds = {kind for name in lane_names() for kind in plan(name, seed=1, faults=1).weights}
    assert kinds == set(FaultKind)
