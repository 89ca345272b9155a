"""The TPU v2 calls that gcloud makes for nodes."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.lab.cloud import Plan
from tests.lab.http_shapes import ApiError
from tests.lab.machines import Kind, Record, accelerator_type, host_count
from tests.lab.operations import Operation, tpu_shape

if TYPE_CHECKING:
    from tests.lab.cloud import Cloud
    from tests.lab.http_shapes import Json, Request, Router

_KEPT = (
    "labels",
    "metadata",
    "tags",
    "serviceAccount",
    "dataDisks",
    "description",
    "acceleratorConfig",
    "queuedResource",
)
_ROOT = "/v2/projects/{project}/locations/{zone}"


class TpuNodes:
    """Answers for `/v2/projects/P/locations/Z/…` from the cloud's state."""

    def __init__(self, cloud: Cloud, router: Router) -> None:
        self._cloud = cloud
        for method, path, handler in (
            ("GET", "/nodes", self.list_nodes),
            ("POST", "/nodes", self.create),
            ("GET", "/nodes/{name}", self.describe),
            ("DELETE", "/nodes/{name}", self.delete),
            ("PATCH", "/nodes/{name}", self.update),
            ("POST", "/nodes/{name}:getGuestAttributes", self.guest_attributes),
            ("POST", "/nodes/{name}:start", self.start),
            ("POST", "/nodes/{name}:stop", self.stop),
            ("GET", "/operations/{name}", self.operation),
        ):
            router.add(method, _ROOT + path, handler)

    def list_nodes(self, _request: Request, project: str, zone: str) -> Json:
        """The nodes of a zone, or of all (`-`)."""
        nodes = self._cloud.list(Kind.NODE, None if zone == "-" else zone, project)
        return {"nodes": [node.body for node in nodes]} if nodes else {}

    def describe(self, _request: Request, project: str, zone: str, name: str) -> Json:
        """One node."""
        return self._cloud.find(Kind.NODE, name, zone, project).body

    def create(self, request: Request, project: str, zone: str) -> Json:
        """Create a node."""
        operation = self.create_node(
            project, zone, request.query["nodeId"], request.body, error=request.operation_error
        )
        return tpu_shape(operation, parent=_parent(project, zone))

    def check(self, sent: Json) -> str:
        """The accelerator type of a node that is asked for.

        Raises:
            ApiError: 400, it is none that the lab knows.
        """
        config = sent.get("acceleratorConfig")
        wanted = sent.get("acceleratorType") or (config and accelerator_type(config["type"], config["topology"]))
        if not wanted:
            raise ApiError(400, "the lab wants an accelerator type", status_name="INVALID_ARGUMENT")
        try:
            host_count(wanted)
        except ValueError:
            raise ApiError(400, f"Invalid accelerator type: {wanted}", status_name="INVALID_ARGUMENT") from None
        return str(wanted)

    def create_node(self, project: str, zone: str, name: str, sent: Json, *, error: Json | None = None) -> Operation:
        """Begin to create a node.

        Args:
            project: where.
            zone: where.
            name: of the node.
            sent: what was asked for, in the API's shape.
            error: in which the operation is to end; None: it succeeds.

        Raises:
            ApiError: it cannot be.
        """
        wanted = self.check(sent)
        number = self._cloud.new_number()
        now = time.time_ns()
        seconds = datetime.fromtimestamp(now // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        full_name = f"{_parent(project, zone)}/nodes/{name}"
        body: Json = {
            "name": full_name,
            "id": number,
            "state": "CREATING",
            "acceleratorType": wanted,
            "runtimeVersion": sent.get("runtimeVersion", ""),
            "apiVersion": "V2",
            "createTime": f"{seconds}.{now % 10**9:09d}Z",
            "cidrBlock": "10.128.0.0/20",
            "networkConfig": sent.get("networkConfig", {}),
            "schedulingConfig": sent.get("schedulingConfig", {}),
        }
        for field in _KEPT:
            if sent.get(field):
                body[field] = sent[field]
        record = Record(kind=Kind.NODE, project=project, zone=zone, name=name, number=number, body=body)

        def done(operation: Operation) -> None:
            operation.response = {"@type": "type.googleapis.com/google.cloud.tpu.v2.Node", **record.body}

        return self._cloud.create(record, Plan(verb="create", target=full_name, error=error), _show_ready, done)

    def delete_node(self, project: str, zone: str, name: str) -> Operation:
        """Begin to delete a node.

        Raises:
            ApiError: 404.
        """
        record = self._cloud.find(Kind.NODE, name, zone, project)
        return self._cloud.delete(record, Plan(verb="delete", target=record.body["name"]))

    def delete(self, request: Request, project: str, zone: str, name: str) -> Json:
        """Delete a node."""
        record = self._cloud.find(Kind.NODE, name, zone, project)
        return self._answer(self._cloud.delete(record, _plan("delete", record, request)), record)

    def start(self, request: Request, project: str, zone: str, name: str) -> Json:
        """Start a stopped node."""
        record = self._cloud.find(Kind.NODE, name, zone, project)
        return self._answer(self._cloud.power(record, _plan("start", record, request), on=True), record)

    def stop(self, request: Request, project: str, zone: str, name: str) -> Json:
        """Stop a node; its disks stay."""
        record = self._cloud.find(Kind.NODE, name, zone, project)
        return self._answer(self._cloud.power(record, _plan("stop", record, request), on=False), record)

    def update(self, request: Request, project: str, zone: str, name: str) -> Json:
        """Replace the fields that `updateMask` names."""
        record = self._cloud.find(Kind.NODE, name, zone, project)
        fields = request.query.get("updateMask", "").split(",")
        for field in fields:
            if field not in {"metadata", "labels", "tags", "description"}:
                raise ApiError(400, f"Invalid update mask: {field!r}")
            record.show(**{field: request.body.get(field, {})})
        if "metadata" in fields:
            self._cloud.machines.metadata_changed(record)
        begin = self._cloud.operations.begin
        operation = begin("update", record.body["name"], lambda _operation: None, in_background=False)
        operation.response = {"@type": "type.googleapis.com/google.cloud.tpu.v2.Node", **record.body}
        return self._answer(operation, record)

    def guest_attributes(self, request: Request, project: str, zone: str, name: str) -> Json:
        """What each host has published, of one namespace (`hostkeys/`) or of all, one entry per host."""
        record = self._cloud.find(Kind.NODE, name, zone, project)
        query = request.body.get("queryPath", "")
        wanted = {int(worker) for worker in request.body.get("workerIds", []) if worker}  # gcloud sends [""] for all
        return {
            "guestAttributes": [
                {
                    "queryPath": query,
                    "queryValue": {
                        "items": [
                            {"namespace": namespace, "key": key, "value": value}
                            for (namespace, key), value in published.items()
                            if f"{namespace}/{key}".startswith(query)
                        ]
                    },
                }
                for worker, published in enumerate(record.guest_attributes)
                if not wanted or worker in wanted
            ]
        }

    def operation(self, _request: Request, project: str, zone: str, name: str) -> Json:
        """An operation, as it stands."""
        return tpu_shape(self._cloud.operations.find(name), parent=_parent(project, zone))

    @staticmethod
    def _answer(operation: Operation, record: Record) -> Json:
        return tpu_shape(operation, parent=_parent(record.project, record.zone))


def _parent(project: str, zone: str) -> str:
    return f"projects/{project}/locations/{zone}"


def _plan(verb: str, record: Record, request: Request) -> Plan:
    return Plan(verb=verb, target=record.body["name"], error=request.operation_error)


def _show_ready(record: Record) -> None:
    external = record.body["networkConfig"].get("enableExternalIps", False)
    endpoints = [
        {
            "ipAddress": address.internal,
            "port": 8470,
            **({"accessConfig": {"externalIp": address.external}} if external else {}),
        }
        for address in record.addresses
    ]
    record.show(networkEndpoints=endpoints, health="HEALTHY", state="READY")
