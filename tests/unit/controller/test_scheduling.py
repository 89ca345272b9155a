from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from iris_adapters.controller.scheduling import Cluster, Demand, Placement, Verdict, decide, impossible, millicpus

FOUR = Cluster(workers=("a", "b", "c", "d"), millicpus_per_worker=1000)


def demand(
    job_id: str = "job", replicas: int = 1, cpus: float = 1, *, coscheduled: bool = False, started: int = 0
) -> Demand:
    return Demand(
        job_id=job_id,
        waiting=tuple(range(started, replicas)),
        replicas=replicas,
        millicpus=millicpus(cpus),
        coscheduled=coscheduled,
    )


def test_replicas_spread_over_the_workers() -> None:
    """Each replica goes to the worker with the most room, the first of several."""
    two_cpus = Cluster(workers=("a", "b"), millicpus_per_worker=2000)

    decision = decide(two_cpus, {"a": 1000}, [demand(replicas=3)])

    assert [(p.index, p.worker_id) for p in decision.placements] == [(0, "b"), (1, "a"), (2, "b")]
    assert decision.verdicts == {}


def test_more_replicas_than_room_start_in_waves() -> None:
    """As many replicas as fit start, and the job's verdict says what the others wait for."""
    decision = decide(FOUR, {"a": 1000}, [demand(replicas=6)])

    assert [p.index for p in decision.placements] == [0, 1, 2]
    assert decision.verdicts == {
        "job": Verdict("needs 1 CPU free on a worker; none of 4 has it now", can_be_scheduled=True)
    }


def test_a_gang_starts_at_once_or_not_at_all() -> None:
    """With three of four workers free, no replica of a gang of four starts; with four free, all do, each on its own."""
    gang = demand(replicas=4, coscheduled=True)

    refused = decide(FOUR, {"b": 500}, [gang])
    granted = decide(FOUR, {}, [gang])

    assert refused.placements == ()
    assert refused.verdicts["job"].reason == "needs 4 workers with 1 CPU free at the same time; 3 of 4 have it now"
    assert {(p.index, p.worker_id) for p in granted.placements} == {(0, "a"), (1, "b"), (2, "c"), (3, "d")}


def test_a_gang_has_a_worker_for_each_even_if_one_could_hold_two() -> None:
    """Two replicas that would both fit on one worker go to two."""
    large = Cluster(workers=("a", "b"), millicpus_per_worker=8000)

    decision = decide(large, {}, [demand(replicas=2, coscheduled=True)])

    assert {p.worker_id for p in decision.placements} == {"a", "b"}


def test_a_gang_larger_than_the_cluster_can_never_run() -> None:
    """The verdict says how many workers it needs and how many there are."""
    verdict = impossible(FOUR, demand(replicas=8, coscheduled=True))

    assert verdict == Verdict("needs 8 workers with 1 CPU; the cluster has 4", can_be_scheduled=False)


def test_a_replica_larger_than_a_worker_can_never_run() -> None:
    """The verdict says what it needs and what a worker offers."""
    verdict = impossible(FOUR, demand(cpus=2.5))

    assert verdict == Verdict("needs 1 worker with 2.5 CPUs; the cluster has 4 with 1 CPU", can_be_scheduled=False)


def test_many_replicas_that_need_not_run_together_can_run() -> None:
    """Without coscheduling, more replicas than workers are only a matter of time."""
    assert impossible(FOUR, demand(replicas=100)) is None


def test_a_waiting_job_holds_back_those_after_it() -> None:
    """While a gang waits for room, a later small job does not take it, and says whom it waits for."""
    gang, small = demand("gang", replicas=4, coscheduled=True), demand("small")

    decision = decide(FOUR, {"a": 1000}, [gang, small])

    assert decision.placements == ()
    assert decision.verdicts["small"].reason == "waits for job gang, which was submitted before it"


def test_an_impossible_job_holds_nobody_back() -> None:
    """A job that can never run does not keep a later one from starting."""
    decision = decide(FOUR, {}, [demand("huge", replicas=5, coscheduled=True), demand("small")])

    assert decision.placements == (Placement("small", 0, "a"),)
    assert not decision.verdicts["huge"].can_be_scheduled


def test_fractions_add_up() -> None:
    """Ten replicas of a tenth of a CPU fill one CPU exactly; an eleventh waits."""
    one = Cluster(workers=("a",), millicpus_per_worker=1000)

    decision = decide(one, {}, [demand(replicas=11, cpus=0.1)])

    assert len(decision.placements) == 10


def test_cpus_are_rounded_up_but_never_by_float_noise() -> None:
    """The tiniest demand occupies something, and 0.1 + 0.2 is 300 thousandths."""
    assert millicpus(1e-9) == 1
    assert millicpus(0.1 + 0.2) == 300


DEMANDS = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0]), st.booleans()), max_size=6
).map(
    lambda items: [
        demand(f"job-{number}", replicas, cpus, coscheduled=coscheduled)
        for number, (replicas, cpus, coscheduled) in enumerate(items)
    ]
)


@given(DEMANDS, st.lists(st.integers(0, 2000), min_size=3, max_size=3))
def test_no_worker_is_ever_overbooked_and_no_gang_split(demands: list[Demand], occupied: list[int]) -> None:
    """Whatever waits: capacity holds, each waiting replica is placed or explained, and gangs start whole."""
    cluster = Cluster(workers=("a", "b", "c"), millicpus_per_worker=2000)
    used = dict(zip(cluster.workers, occupied, strict=True))

    decision = decide(cluster, used, demands)

    by_id = {item.job_id: item for item in demands}
    for placement in decision.placements:
        used[placement.worker_id] += by_id[placement.job_id].millicpus
    assert max(used.values()) <= 2000
    for item in demands:
        placed = [p for p in decision.placements if p.job_id == item.job_id]
        assert (len(placed) == item.replicas) is (item.job_id not in decision.verdicts)
        if item.coscheduled:
            assert len(placed) in (0, item.replicas)
            assert len({p.worker_id for p in placed}) == len(placed)
