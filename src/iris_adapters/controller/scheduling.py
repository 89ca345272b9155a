"""Which replica of which job starts on which worker, and why the others wait. Pure: values in, values out.

Jobs are served in the order of submission: one that could run but finds no room now holds back those after it, so that a large
one cannot be starved by many small ones. One that could never run holds nobody back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MILLI = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The workers, all alike.

    Attributes:
        workers: their ids.
        millicpus_per_worker: what each offers, in thousandths of a CPU (whole numbers add up exactly).
    """

    workers: tuple[str, ...]
    millicpus_per_worker: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a job still wants.

    Attributes:
        job_id: the job.
        waiting: the indexes of its replicas that have not started.
        replicas: how many it has altogether.
        millicpus: what each replica occupies, in thousandths of a CPU.
        coscheduled: whether all must start at once, each on a worker of its own.
    """

    job_id: str
    waiting: tuple[int, ...]
    replicas: int
    millicpus: int
    coscheduled: bool


@dataclass(frozen=True, slots=True)
class Placement:
    """A replica that starts now, and where."""

    job_id: str
    index: int
    worker_id: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why replicas of a job wait, in words for the user, and whether the cluster could run them at all."""

    reason: str
    can_be_scheduled: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What starts now, and the verdict on each job (by id) of which something still waits."""

    placements: tuple[Placement, ...]
    verdicts: Mapping[str, Verdict]


def millicpus(cpus: float) -> int:
    """CPUs in thousandths, rounded up: whatever runs occupies something."""
    return max(1, math.ceil(round(cpus * _MILLI, 6)))


def impossible(cluster: Cluster, demand: Demand) -> Verdict | None:
    """The verdict on a job that the cluster could not run even if it were idle, None for one that it could."""
    too_large = demand.millicpus > cluster.millicpus_per_worker
    too_many = demand.coscheduled and demand.replicas > len(cluster.workers)
    if not (too_large or too_many):
        return None
    needed = demand.replicas if demand.coscheduled else 1
    offer = f" with {_cpus(cluster.millicpus_per_worker)}" if too_large else ""
    return Verdict(
        f"needs {_count(needed, 'worker')} with {_cpus(demand.millicpus)}; the cluster has {len(cluster.workers)}{offer}",
        can_be_scheduled=False,
    )


def decide(cluster: Cluster, used: Mapping[str, int], demands: Sequence[Demand]) -> Decision:
    """Place what fits.

    Args:
        cluster: the workers.
        used: thousandths of a CPU that are occupied, by worker id; a worker that is missing is idle.
        demands: the jobs of which something waits, oldest first.

    Returns:
        the placements, by job and index, and the verdicts.
    """
    free = {worker: cluster.millicpus_per_worker - used.get(worker, 0) for worker in cluster.workers}
    placements: list[Placement] = []
    verdicts: dict[str, Verdict] = {}
    held_back_by: str | None = None
    for demand in demands:
        verdict = impossible(cluster, demand)
        if verdict is None and held_back_by is not None:
            verdict = Verdict(f"waits for job {held_back_by}, which was submitted before it", can_be_scheduled=True)
        if verdict is None:
            placed = _gang(free, demand) if demand.coscheduled else _singly(free, demand)
            placements += placed
            if len(placed) == len(demand.waiting):
                continue
            verdict = _no_room(free, demand)
            held_back_by = demand.job_id
        verdicts[demand.job_id] = verdict
    return Decision(tuple(placements), verdicts)


def _gang(free: dict[str, int], demand: Demand) -> list[Placement]:
    """All of them on a worker each, or none."""
    fitting = [worker for worker, room in free.items() if room >= demand.millicpus]
    if len(fitting) < len(demand.waiting):
        return []
    return [
        _place(free, demand, index, worker)
        for index, worker in zip(demand.waiting, fitting, strict=False)  # there may be more workers than replicas
    ]


def _singly(free: dict[str, int], demand: Demand) -> list[Placement]:
    """One after another on the worker with the most room, as many as fit."""
    placed: list[Placement] = []
    for index in demand.waiting:
        roomiest = max(free, key=lambda worker: free[worker])  # the first of several: max keeps the order
        if free[roomiest] < demand.millicpus:
            break
        placed.append(_place(free, demand, index, roomiest))
    return placed


def _place(free: dict[str, int], demand: Demand, index: int, worker: str) -> Placement:
    free[worker] -= demand.millicpus
    return Placement(demand.job_id, index, worker)


def _no_room(free: Mapping[str, int], demand: Demand) -> Verdict:
    fitting = sum(room >= demand.millicpus for room in free.values())
    if demand.coscheduled:
        needs = f"needs {_count(len(demand.waiting), 'worker')} with {_cpus(demand.millicpus)} free at the same time"
        return Verdict(f"{needs}; {fitting} of {len(free)} have it now", can_be_scheduled=True)
    return Verdict(
        f"needs {_cpus(demand.millicpus)} free on a worker; none of {len(free)} has it now", can_be_scheduled=True
    )


def _cpus(milli: int) -> str:
    return _count(milli / _MILLI, "CPU")


def _count(number: float, noun: str) -> str:
    return f"{number:g} {noun}" if number == 1 else f"{number:g} {noun}s"
