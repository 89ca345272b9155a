from __future__ import annotations

import pytest

from iris_adapters.controller.ray_job.reasons import Demand, Node, Verdict, node_from_state, why_pending
from iris_core.ray_names import host_labels, host_resources

HEAD = Node("controller", {"memory": 8e9, "node:__internal_head__": 1.0})


def host(
    slice_name: str, index: int, *, chips: int = 4, free_chips: int | None = None, kind: str = "v5litepod-8"
) -> Node:
    total = {"CPU": 8.0, **host_resources(slice_name, kind, chips)}
    free = total if free_chips is None else {**total, "TPU": float(free_chips)}
    return Node(f"{slice_name}-w{index}", total, free, slice_name)


def tpus(replicas: int, amount: float = 4, **others: object) -> Demand:
    return Demand(replicas, {"CPU": 1, "TPU": amount}, gang=True, **others)  # type: ignore[arg-type]


def plain(index: int, cpus: float = 4) -> Node:
    return Node(f"vm-{index}", {"CPU": cpus}, {"CPU": cpus})


@pytest.mark.parametrize(
    ("nodes", "demand", "reason", "can_be_scheduled"),
    [
        ([HEAD], Demand(1, {"CPU": 1}), "needs a host with CPU=1; no worker has joined", False),
        ([HEAD, plain(0)], Demand(1, {"CPU": 8}), "needs a host with CPU=8; none of 1 offers it", False),
        ([HEAD, plain(0)], Demand(1, {"CPU": 4}), "is being placed", True),
        ([plain(0), plain(1)], Demand(9, {"CPU": 2}), "is being placed", True),
        (
            [host("a", 0, free_chips=0), host("b", 0, free_chips=2)],
            Demand(2, {"CPU": 1, "TPU": 4}),
            "needs a host with TPU=4 and CPU=1 free; none of 2 has it now",
            True,
        ),
        (
            [plain(0), plain(1)],
            Demand(4, {"CPU": 1}, gang=True),
            "needs 4 hosts with CPU=1; 2 offer it",
            False,
        ),
        (
            [HEAD, host("a", 0), host("a", 1), host("b", 0), host("b", 1)],
            tpus(4),
            "needs 4 hosts of one slice with TPU=4 and CPU=1; 2 offer it",
            False,
        ),
        (
            [host("a", 0), host("a", 1, free_chips=0), host("b", 0)],
            tpus(2),
            "needs 2 hosts of one slice with TPU=4 and CPU=1 free at the same time; 1 of 2 have it now",
            True,
        ),
        ([host("a", 0, free_chips=0), host("b", 0), host("b", 1)], tpus(2), "is being placed", True),
        (
            [host("a", 0), host("a", 1), *(plain(index) for index in range(5))],
            Demand(3, {"CPU": 1}, gang=True),
            "needs 3 hosts of one slice with CPU=1; 2 offer it",
            False,
        ),
        (
            [host("a", 0), host("a", 1)],
            tpus(2, slice_name="b"),
            "needs 2 hosts of the slice b with TPU=4 and CPU=1; none of 2 offers it",
            False,
        ),
        (
            [host("a", 0)],
            tpus(1, accelerator_type="v4-8"),
            "needs a host of type v4-8 with TPU=4 and CPU=1; none of 1 offers it",
            False,
        ),
        ([host("a", 0), host("b", 0, kind="v4-8")], tpus(1, accelerator_type="v4-8"), "is being placed", True),
    ],
)
def test_the_reason_is_true_and_in_words(
    nodes: list[Node], demand: Demand, reason: str, *, can_be_scheduled: bool
) -> None:
    """What is asked for, and how many hosts offer it at all, or have it free now."""
    assert why_pending(nodes, demand) == Verdict(reason, can_be_scheduled)


def test_a_node_is_read_from_the_state_api() -> None:
    """Name, resources and slice are taken; a node of no slice has none."""
    state = {"node_name": "a-w0", "resources_total": {"CPU": 2.0}, "labels": host_labels("a")}

    assert node_from_state(state) == Node("a-w0", {"CPU": 2.0}, None, "a")
    assert node_from_state({**state, "labels": None}).slice_name is None


def test_what_is_free_is_not_known_from_the_state_api() -> None:
    """Then what a node offers counts, and nothing false is said of what is free."""
    node = node_from_state({"node_name": "vm", "resources_total": {"CPU": 2.0}, "labels": {}})

    assert why_pending([node], Demand(1, {"CPU": 2})) == Verdict("is being placed")


def test_float_noise_is_no_shortage() -> None:
    """Ray counts in ten-thousandths."""
    node = Node("vm", {"CPU": 0.3}, {"CPU": 0.30000000000000004 - 0.00000001})

    assert why_pending([node], Demand(1, {"CPU": 0.3})).reason == "is being placed"
