"""Why a job's replicas wait, in words for the user, from what Ray says of its nodes. Pure.

Ray places the replicas; this only explains. The words follow Ray's rules: a gang is one replica per host of one slice, hosts that
are of no slice count only where there are no slices, and what a host offers is its node's resources.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iris_core.ray_names import SLICE_LABEL, accelerator_resource, slice_resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_CLOSE = 1e-4  # Ray counts in ten-thousandths
_HEAD = "node:__internal_head__"  # a resource of Ray's head node


@dataclass(frozen=True)
class Demand:
    """What a job asks for.

    Attributes:
        replicas: how many there are.
        resources: what each occupies, by Ray's names, `CPU` included.
        gang: whether all must run at the same time, one per host of one slice.
        slice_name: the only slice whose hosts will do, None: any.
        accelerator_type: the only type of slice whose hosts will do, None: any.
    """

    replicas: int
    resources: Mapping[str, float]
    gang: bool = False
    slice_name: str | None = None
    accelerator_type: str | None = None


@dataclass(frozen=True)
class Node:
    """One of Ray's nodes that is alive.

    Attributes:
        name: its node name: the host's.
        total: what it offers.
        free: what of that is free now; None: not known.
        slice_name: the slice it is of, None: none.
    """

    name: str
    total: Mapping[str, float]
    free: Mapping[str, float] | None = None
    slice_name: str | None = None


@dataclass(frozen=True)
class Verdict:
    """Why it waits, and whether the nodes, if they were idle, could run it."""

    reason: str
    can_be_scheduled: bool = True


def node_from_state(state: Mapping[str, object], free: Mapping[str, float] | None = None) -> Node:
    """A node as the State API (`node_name`, `resources_total`, `labels`) describes it."""
    labels, total = state.get("labels"), state.get("resources_total")
    slice_name = labels.get(SLICE_LABEL) if isinstance(labels, dict) else None
    return Node(str(state.get("node_name")), total if isinstance(total, dict) else {}, free, slice_name)


def why_pending(nodes: Sequence[Node], demand: Demand) -> Verdict:
    """The verdict on a job of which something waits."""
    nodes = [
        node for node in nodes if _HEAD not in node.total or node.total.get("CPU")
    ]  # the usual head runs no replicas
    places = _places(nodes) if demand.gang else {None: nodes}
    wanted = _wanted(demand)
    needed = demand.replicas if demand.gang else 1
    needs = f"needs {needed} hosts" if needed > 1 else "needs a host"
    if demand.slice_name:
        needs += f" of the slice {demand.slice_name}"
    elif demand.gang and None not in places and needed > 1:
        needs += " of one slice"
    if demand.accelerator_type:
        needs += f" of type {demand.accelerator_type}"
    needs += f" with {_words(demand.resources)}"
    offering = max((_fitting(hosts, wanted, free=False) for hosts in places.values()), key=len, default=[])
    if len(offering) < needed:
        return Verdict(f"{needs}; {_offer(len(offering), len(nodes))}", can_be_scheduled=False)
    enough = [hosts for hosts in places.values() if len(_fitting(hosts, wanted, free=False)) >= needed]
    free = max((_fitting(hosts, wanted, free=True) for hosts in enough), key=len, default=[])
    if len(free) < needed:
        have = f"{len(free)} of {len(offering)} have it now" if free else f"none of {len(offering)} has it now"
        return Verdict(f"{needs} free{' at the same time' if needed > 1 else ''}; {have}")
    return Verdict("is being placed")


def _places(nodes: Iterable[Node]) -> dict[str | None, list[Node]]:
    """The nodes by slice; those of no slice only where there is no slice."""
    places: dict[str | None, list[Node]] = {}
    for node in nodes:
        places.setdefault(node.slice_name, []).append(node)
    if len(places) > 1:
        places.pop(None, None)
    return places


def _wanted(demand: Demand) -> dict[str, float]:
    wanted = dict(demand.resources)
    if demand.slice_name:
        wanted[slice_resource(demand.slice_name)] = 1
    if demand.accelerator_type:
        wanted[accelerator_resource(demand.accelerator_type)] = 1
    return wanted


def _fitting(nodes: Iterable[Node], wanted: Mapping[str, float], *, free: bool) -> list[Node]:
    return [node for node in nodes if _fits(node, wanted, free=free)]


def _fits(node: Node, wanted: Mapping[str, float], *, free: bool) -> bool:
    room = node.free if free and node.free is not None else node.total
    # The marks of slice and type are never used up: replicas ask for a thousandth of them.
    return all((node.total if ":" in name else room).get(name, 0) >= amount - _CLOSE for name, amount in wanted.items())


def _offer(offering: int, nodes: int) -> str:
    if not nodes:
        return "no worker has joined"
    if offering:
        return f"{offering} offer{'s' if offering == 1 else ''} it"
    return f"none of {nodes} offers it"


def _words(resources: Mapping[str, float]) -> str:
    """`TPU=4 and CPU=1`: what is rarer first."""
    names = sorted(resources, key=lambda name: (name == "CPU", name))
    return " and ".join(f"{name}={resources[name]:g}" for name in names)
