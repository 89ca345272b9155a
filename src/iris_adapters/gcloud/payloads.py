"""What gcloud prints as JSON → values of the core. Pure, and strict: a payload without what must be there is an error.

Shapes: https://cloud.google.com/compute/docs/reference/rest/v1/instances and
https://cloud.google.com/tpu/docs/reference/rest/v2/projects.locations.nodes
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from iris_adapters.gcloud.errors import failure_told
from iris_adapters.gcloud.json_shape import as_object, as_text, checked, list_at, malformed, text_at, time_at
from iris_adapters.gcloud.phases import GRANTED, gce_phase, queued_phase, tpu_phase
from iris_core.config import Route
from iris_core.errors import OutOfCapacityError
from iris_core.labels import expiry_in, group_label, owner_in
from iris_core.model import ControllerVm, Hardware, Host, HostRole, QueuedSlice, Slice, VmPhase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iris_adapters.gcloud.json_shape import JsonObject

# RFC 1035 labels: what Compute demands of instance names, and iris of the nodes it makes (the TPU API would take more).
# What does not match never becomes part of a path or a command line.
_NAME: Final = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_PATH: Final = re.compile(r"projects/[^/]+/locations/(?P<zone>[^/]+)/(?P<kind>[^/]+)/(?P<name>[^/]+)")
_ZONE: Final = re.compile(r"[a-z][-a-z0-9]*")
_ADDRESS: Final = re.compile(r"[0-9A-Fa-f.:]+")
_ID: Final = re.compile(r"[0-9A-Za-z_-]+")


def labels_of(payload: JsonObject, what: str) -> Mapping[str, str]:
    """The labels of an instance or node; the key is absent where there are none."""
    raw = payload.get("labels") or {}
    labels = as_object(raw, what, "labels")
    return MappingProxyType({key: as_text(value, what, f"labels.{key}") for key, value in labels.items()})


def short_name(payload: JsonObject) -> str:
    """The name of a node or queued resource without the path before it."""
    full = text_at(payload, "name", "TPU resource")
    return checked(_NAME, full.rsplit("/", 1)[-1], f"TPU resource {full!r}", "name")


def queued_node(payload: JsonObject) -> JsonObject:
    """The node that a queued resource asks for; {} where it asks for something else than exactly one."""
    what = "queued resource"
    tpu = as_object(payload.get("tpu") or {}, what, "tpu")
    specs = list_at(tpu, "nodeSpec", what)
    if len(specs) != 1:
        return {}
    spec = as_object(specs[0], what, "tpu.nodeSpec[0]")
    return as_object(spec.get("node") or {}, what, "tpu.nodeSpec[0].node")


def host_from_instance(payload: JsonObject, *, route: Route) -> Host:
    """The host that a Compute instance is.

    Args:
        payload: from `instances describe`.
        route: which of its addresses to take.

    Raises:
        InventoryError: the payload lacks something, or holds what cannot be.
    """
    name = checked(_NAME, text_at(payload, "name", "instance"), "instance", "name")
    what = f"instance {name}"
    zone = text_at(payload, "zone", what).rsplit("/", 1)[-1]  # a URL
    return Host(
        name=name,
        role=HostRole.CONTROLLER,
        address=_instance_address(list_at(payload, "networkInterfaces", what), route, what),
        zone=checked(_ZONE, zone, what, "zone"),
        instance_id=checked(_ID, text_at(payload, "id", what), what, "id"),
    )


def controller_from_instance(payload: JsonObject, *, port: int, route: Route) -> ControllerVm:
    """The controller that this Compute instance is.

    Args:
        payload: from `instances describe`.
        port: where its controller listens.
        route: which of its addresses to take.

    Raises:
        InventoryError: the payload lacks something, or holds what cannot be.
    """
    host = host_from_instance(payload, route=route)
    what = f"instance {host.name}"
    state = text_at(payload, "status", what)
    labels = labels_of(payload, what)
    return ControllerVm(
        name=host.name,
        host=host,
        port=port,
        phase=gce_phase(state),
        state=state,
        created_at=time_at(payload, "creationTimestamp", what),
        labels=labels,
        owner=owner_in(labels),
        expires_at=expiry_in(labels),
        machine_type=_last_word(payload, "machineType", what),
        internal_address=_instance_address(list_at(payload, "networkInterfaces", what), Route.INTERNAL, what),
    )


def slice_from_node(payload: JsonObject, *, label_prefix: str, route: Route) -> Slice:
    """The worker slice that this TPU node is. It has one host for every network endpoint, and none where it has no id.

    Args:
        payload: from `tpu-vm list` or `describe`.
        label_prefix: of the cluster it belongs to.
        route: which of its hosts' addresses to take.

    Raises:
        InventoryError: the payload lacks something, or holds what cannot be.
    """
    zone, name = _split_path(payload, "nodes", "TPU node")
    what = f"TPU node {name}"
    labels = labels_of(payload, what)
    state = text_at(payload, "state", what)
    phase = tpu_phase(state)
    # An id tells the hosts of one life of a node from those of the next: without one there are none that could be reached. Nothing
    # says that a node has its id from the first moment to the last, and what is to be deleted must be listed all the same.
    needs_id = phase is VmPhase.READY or payload.get("id") not in (None, "")
    instance_id = checked(_ID, text_at(payload, "id", what), what, "id") if needs_id else ""
    endpoints = _worker_endpoints(payload, what) if instance_id else []
    hosts = tuple(
        Host(
            name=f"{name}-w{index}",
            role=HostRole.WORKER,
            address=_endpoint_address(endpoint, route, what, index),
            zone=zone,
            instance_id=instance_id,
            slice_name=name,
            worker_index=index,
        )
        for index, endpoint in enumerate(endpoints)
    )
    return Slice(
        name=name,
        group=labels.get(group_label(label_prefix)) or _group_in_name(name, label_prefix),
        zone=zone,
        instance_id=instance_id,
        phase=phase,
        state=state,
        hosts=hosts,
        created_at=time_at(payload, "createTime", what),
        labels=labels,
        owner=owner_in(labels),
        expires_at=expiry_in(labels),
        hardware=_hardware(payload, as_object(payload.get("schedulingConfig") or {}, what, "schedulingConfig"), what),
        queued_as=_last_word(payload, "queuedResource", what),
    )


def queued_slice(payload: JsonObject, *, label_prefix: str) -> QueuedSlice:
    """The request for a slice that this queued resource is.

    Args:
        payload: from `queued-resources list` or `describe`.
        label_prefix: of the cluster it belongs to.

    Raises:
        InventoryError: the payload lacks something, or holds what cannot be.
    """
    zone, name = _split_path(payload, "queuedResources", "queued resource")
    what = f"queued resource {name}"
    node = queued_node(payload)
    labels = labels_of(node, what)
    status = as_object(payload.get("state") or {}, what, "state")
    state = text_at(status, "state", what)
    failure = as_object(status.get("failedData") or {}, what, "state.failedData")
    error = as_object(failure.get("error") or {}, what, "state.failedData.error")
    problem = as_text(error.get("message") or "", what, "state.failedData.error.message")
    scheduling = {"spot": "spot" in payload, "reserved": "reservationName" in payload}
    return QueuedSlice(
        name=name,
        group=labels.get(group_label(label_prefix)) or _group_in_name(name, label_prefix),
        zone=zone,
        phase=queued_phase(state),
        state=state,
        is_granted=state == GRANTED,
        problem=problem,
        failure=failure_told(problem) or OutOfCapacityError,
        created_at=time_at(payload, "createTime", what),
        labels=labels,
        owner=owner_in(labels),
        expires_at=expiry_in(labels),
        hardware=_hardware(node, scheduling, what),
    )


def _hardware(node: JsonObject, scheduling: JsonObject, what: str) -> Hardware:
    config = as_object(node.get("acceleratorConfig") or {}, what, "acceleratorConfig")
    return Hardware(
        accelerator_type=_last_word(node, "acceleratorType", what),
        type=as_text(config.get("type") or "", what, "acceleratorConfig.type"),
        topology=as_text(config.get("topology") or "", what, "acceleratorConfig.topology"),
        runtime_version=_last_word(node, "runtimeVersion", what),
        spot=scheduling.get("spot") is True,
        reserved=scheduling.get("reserved") is True,
    )


def _last_word(payload: JsonObject, key: str, what: str) -> str:
    """The last part of the path or URL at a key, or the word that stands there alone; empty if the key is absent."""
    return as_text(payload.get(key) or "", what, key).rsplit("/", 1)[-1]


def _worker_endpoints(payload: JsonObject, what: str) -> list[JsonObject]:
    """The first endpoint of each worker: with k network interfaces per worker, every k-th is one."""
    endpoints = [
        as_object(item, what, f"networkEndpoints[{index}]")
        for index, item in enumerate(list_at(payload, "networkEndpoints", what))
    ]
    interfaces = len(list_at(payload, "networkConfigs", what)) or 1
    return endpoints[::interfaces]


def _endpoint_address(endpoint: JsonObject, route: Route, what: str, index: int) -> str:
    key = f"networkEndpoints[{index}]"
    if route is not Route.EXTERNAL:  # through IAP, too, it is the internal address that is reached
        return _address(endpoint, "ipAddress", what, key)
    access = as_object(endpoint.get("accessConfig") or {}, what, f"{key}.accessConfig")
    return _address(access, "externalIp", what, f"{key}.accessConfig")


def _instance_address(interfaces: list[object], route: Route, what: str) -> str:
    if not interfaces:
        return ""
    first = as_object(interfaces[0], what, "networkInterfaces[0]")
    if route is not Route.EXTERNAL:
        return _address(first, "networkIP", what, "networkInterfaces[0]")
    configs = list_at(first, "accessConfigs", what)
    if not configs:
        return ""
    key = "networkInterfaces[0].accessConfigs[0]"
    return _address(as_object(configs[0], what, key), "natIP", what, key)


def _address(payload: JsonObject, key: str, what: str, parent: str) -> str:
    """An IP address, empty where there is none yet (or none of this kind)."""
    value = payload.get(key)
    if value is None or value == "":
        return ""
    path = f"{parent}.{key}"
    return checked(_ADDRESS, as_text(value, what, path), what, path)


def _split_path(payload: JsonObject, kind: str, what: str) -> tuple[str, str]:
    """Zone and name in the full name of a TPU resource."""
    full = text_at(payload, "name", what)
    match = _PATH.fullmatch(full)
    if match is None or match["kind"] != kind:
        raise malformed(what, "name", f"is {full!r}, not projects/…/locations/…/{kind}/…")
    what = f"{what} {full!r}"
    return checked(_ZONE, match["zone"], what, "name"), checked(_NAME, match["name"], what, "name")


def _group_in_name(name: str, label_prefix: str) -> str:
    """The group in `{label_prefix}-{group}-{timestamp}`, empty if the name is not of that form."""
    match = re.fullmatch(rf"{re.escape(label_prefix)}-(?P<group>.+?)-\d{{14}}(-[0-9a-z])?", name)
    return match["group"] if match else ""
