"""Having Ray place replicas: a placement group for a gang, one actor after another for the rest. Ray decides; nothing here does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ray
from ray import cloudpickle
from ray._private.state import (
    available_resources_per_node,
)  # not public, but the only place that says what is free where
from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from iris_adapters.controller.ray_job import replica
from iris_adapters.controller.ray_job.reasons import Demand, Node, node_from_state
from iris_core.ray_names import SHARE, SLICE_LABEL, accelerator_resource, slice_resource

if TYPE_CHECKING:
    from collections.abc import Sequence

_NODE_LABEL = "ray.io/node-id"
_MOST_ASKED_FOR = 256  # actors that wait for a place at the same time; Ray looks at each again and again
_FIRST_WAIT_SECONDS = 0.5
_THREADS = 4  # of an actor: one waits for lines, one may stop it meanwhile


def alive_nodes() -> dict[str, Node]:
    """Ray's nodes that are alive, by Ray's id, with what is free on them."""
    free = available_resources_per_node()
    nodes = {}
    for node in ray.nodes():
        if node["Alive"]:
            state = {"node_name": node["NodeName"], "resources_total": node["Resources"], "labels": node["Labels"]}
            nodes[node["NodeID"]] = replace(node_from_state(state), free=free.get(node["NodeID"]))
    return nodes


class Placing:
    """Asks Ray for places for a job's replicas.

    Args:
        demand: what the job wants.
        name: what its placement group is called.
    """

    def __init__(self, demand: Demand, name: str) -> None:
        self._demand = demand
        self._name = name
        self._group: Any = None
        self._group_packs_a_slice = False
        cloudpickle.register_pickle_by_value(replica)  # workers have no iris
        self._actor_class = ray.remote(replica.Replica)

    def gang(self) -> list[Any]:
        """An actor for each replica once Ray has room for all of them; until then none."""
        has_slices = any(node.slice_name is not None for node in alive_nodes().values())
        if self._group is not None and not self._is_created() and has_slices != self._group_packs_a_slice:
            self.clear()  # the first slice has joined, or the last has gone
        if self._group is None:
            self._group_packs_a_slice = has_slices
            one_per_host = {_NODE_LABEL: "STRICT_SPREAD"}
            self._group = placement_group(
                [self._resources()] * self._demand.replicas,
                name=self._name,
                topology_strategy={SLICE_LABEL: "STRICT_PACK", **one_per_host} if has_slices else one_per_host,
            )
            self._group.wait(_FIRST_WAIT_SECONDS)  # where there is room, it takes milliseconds
        if not self._is_created():
            return []
        return [
            self._actor(PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=index))
            for index in range(self._demand.replicas)
        ]

    def singly(self, waiting: Sequence[int], asked_for: int) -> dict[int, Any]:
        """An actor for each of these replicas, which Ray starts when it has room; some later, if many wait already."""
        return {index: self._actor("SPREAD") for index in waiting[: max(0, _MOST_ASKED_FOR - asked_for)]}

    def clear(self) -> None:
        """Give the gang's places back. Its actors, if it has any, end."""
        if self._group is not None:
            remove_placement_group(self._group)
            self._group = None

    def _is_created(self) -> bool:
        state: str = placement_group_table(self._group)["state"]
        return state == "CREATED"

    def _actor(self, strategy: Any) -> Any:
        rest = self._resources()
        options: dict[str, Any] = {"num_cpus": rest.pop("CPU", 0), "num_gpus": rest.pop("GPU", 0)}
        if "memory" in rest:
            options["memory"] = rest.pop("memory")
        return self._actor_class.options(
            **options, resources=rest, scheduling_strategy=strategy, max_restarts=0, max_concurrency=_THREADS
        ).remote()

    def _resources(self) -> dict[str, float]:
        resources = dict(self._demand.resources)
        if self._demand.slice_name:
            resources[slice_resource(self._demand.slice_name)] = SHARE
        if self._demand.accelerator_type:
            resources[accelerator_resource(self._demand.accelerator_type)] = SHARE
        return resources
