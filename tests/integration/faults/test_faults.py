"""The short form of the fault suite: every lane once, seeded. `just faults-long` is the long one (docs/faults.md)."""

from __future__ import annotations

import os

import pytest

from tests.integration.faults.__main__ import run_all
from tests.integration.faults.plans import lane_names, plan
from tests.integration.faults.report import faults_table, lines_table, problems

SEED = int(os.environ.get("IRIS_FAULTS_SEED", "20"))
FAULTS = 22  # a lane; each kind of fault that it has comes at least once
AT_ONCE = 3


@pytest.mark.lab
@pytest.mark.timeout(600)
def test_no_fault_costs_a_line() -> None:
    """0 lost, 0 doubled, order kept, every hole told and none invented, whatever goes wrong."""
    results = run_all(
        [plan(name, seed=SEED + number, faults=FAULTS) for number, name in enumerate(lane_names())], AT_ONCE
    )
    print("\n".join([*faults_table(results), "", *lines_table(results)]))  # noqa: T201 - what pytest shows of a failure
    assert not problems(results)
    assert sum(result.faults.total() for result in results) == FAULTS * len(results)
    assert sum(verdict.landed for result in results for verdict in result.verdicts.values()) > 100_000
