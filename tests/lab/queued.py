"""The TPU v2 calls that gcloud makes for queued resources: requests for nodes that wait for capacity."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.lab.http_shapes import ApiError
from tests.lab.machines import Kind
from tests.lab.operations import Operation, tpu_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.lab.cloud import Cloud
    from tests.lab.http_shapes import Json, Request, Router
    from tests.lab.tpu import TpuNodes

_ROOT = "/v2/projects/{project}/locations/{zone}"
_KIND = "queuedResources"


@dataclass(slots=True, kw_only=True)
class _Queued:
    """One queued resource: what was sent, and what has become of it."""

    project: str
    zone: str
    name: str
    sent: Json
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    began: float = field(default_factory=time.monotonic)
    looks: int = 0
    provisioning: Operation | None = None
    failure: str = ""
    deleting: bool = False

    @property
    def full_name(self) -> str:
        return f"projects/{self.project}/locations/{self.zone}/{_KIND}/{self.name}"

    @property
    def node_id(self) -> str:
        return str(self.sent["tpu"]["nodeSpec"][0]["nodeId"])

    @property
    def is_overdue(self) -> bool:
        until = str(self.sent.get("queueingPolicy", {}).get("validUntilDuration", ""))
        return bool(until) and time.monotonic() - self.began > float(until.removesuffix("s"))


class QueuedResources:
    """Answers for `/v2/projects/P/locations/Z/queuedResources…`, and is what a test does to the queue.

    Attributes:
        has_capacity: whether a request is fulfilled at once; else it waits until `fulfil`, or until it is overdue.
        late_seconds: a waiting request that is deleted becomes a node all the same, so many seconds after it is gone, as has been
            seen of the real one; None: it does not.
    """

    def __init__(self, cloud: Cloud, router: Router, nodes: TpuNodes) -> None:
        self.has_capacity = True
        self.late_seconds: float | None = None
        self._cloud = cloud
        self._nodes = nodes
        self._lock = threading.RLock()
        self._queued: dict[tuple[str, str, str], _Queued] = {}
        for method, path, handler in (
            ("GET", "", self.list_requests),
            ("POST", "", self.create),
            ("GET", "/{name}", self.describe),
            ("DELETE", "/{name}", self.delete),
        ):
            router.add(method, f"{_ROOT}/{_KIND}{path}", handler)

    def names(self) -> Sequence[str]:
        """Of all requests that are there, in whatever state."""
        with self._lock:
            return sorted(queued.name for queued in self._queued.values())

    def fulfil(self, name: str) -> None:
        """Let there be capacity for the request.

        Raises:
            KeyError: there is no such request.
        """
        with self._lock:
            self._provision(self._get(name))

    def fail(self, name: str, message: str) -> None:
        """Let the request fail.

        Raises:
            KeyError: there is no such request.
        """
        with self._lock:
            self._get(name).failure = message

    def list_requests(self, _request: Request, project: str, zone: str) -> Json:
        """The requests of a zone, or of all (`-`)."""
        with self._lock:
            found = [q for q in self._queued.values() if q.project == project and zone in ("-", q.zone)]
            shown = [self._shape(queued) for queued in sorted(found, key=lambda queued: queued.name)]
        return {_KIND: shown} if shown else {}

    def describe(self, _request: Request, project: str, zone: str, name: str) -> Json:
        """One request."""
        with self._lock:
            return self._shape(self._find(project, zone, name))

    def create(self, request: Request, project: str, zone: str) -> Json:
        """Ask for a node."""
        queued = _Queued(project=project, zone=zone, name=request.query["queuedResourceId"], sent=request.body)
        self._nodes.check(request.body["tpu"]["nodeSpec"][0]["node"])

        def carry_out(operation: Operation) -> None:
            if request.operation_error is not None:
                operation.error = request.operation_error
                return
            with self._lock:
                self._queued[project, zone, queued.name] = queued
                if self.has_capacity:
                    self._provision(queued)
                operation.response = {
                    "@type": "type.googleapis.com/google.cloud.tpu.v2.QueuedResource",
                    **self._shape(queued),
                }

        with self._lock:
            if (project, zone, queued.name) in self._queued:
                raise ApiError(409, f"Resource '{queued.full_name}' already exists")
        return self._begin("create", queued, carry_out)

    def delete(self, request: Request, project: str, zone: str, name: str) -> Json:
        """Withdraw a request; with `force`, delete its node too, without which there must be none."""
        with self._lock:
            queued = self._find(project, zone, name)
            has_node = self._node_is_there(queued)
            if has_node and request.query.get("force", "").lower() != "true":
                raise ApiError(
                    400,
                    f"Queued resource {queued.full_name} has nodes: delete them first, or use force.",
                    status_name="FAILED_PRECONDITION",
                )
            waits = queued.provisioning is None and not queued.failure
            queued.deleting = request.operation_error is None

        def carry_out(operation: Operation) -> None:
            if request.operation_error is not None:
                operation.error = request.operation_error
                return
            if has_node:
                self._nodes.delete_node(project, zone, queued.node_id).done.wait()
            with self._lock:
                self._queued.pop((project, zone, name), None)
            if waits and self.late_seconds is not None:
                late = threading.Timer(self.late_seconds, self._create_node, [queued])
                late.daemon = True
                late.start()

        return self._begin("delete", queued, carry_out)

    def _begin(self, verb: str, queued: _Queued, carry_out: Callable[[Operation], None]) -> Json:
        begin = self._cloud.operations.begin
        operation = begin(verb, queued.full_name, carry_out, in_background=self._cloud.is_slow)
        return tpu_shape(operation, parent=f"projects/{queued.project}/locations/{queued.zone}")

    def _provision(self, queued: _Queued) -> None:
        queued.provisioning = self._create_node(queued)

    def _create_node(self, queued: _Queued) -> Operation:
        node = {**queued.sent["tpu"]["nodeSpec"][0]["node"], "queuedResource": queued.full_name}
        if "spot" in queued.sent:
            node["schedulingConfig"] = {"spot": True}
        return self._nodes.create_node(queued.project, queued.zone, queued.node_id, node)

    def _node_is_there(self, queued: _Queued) -> bool:
        return any(r.name == queued.node_id for r in self._cloud.list(Kind.NODE, queued.zone, queued.project))

    def _shape(self, queued: _Queued) -> Json:
        queued.looks += 1
        state = self._state(queued)
        shown: Json = {"state": state}
        if state == "FAILED":
            shown["failedData"] = {"error": {"code": 8, "message": self._failure(queued)}}
        return {
            **queued.sent,
            "name": queued.full_name,
            "createTime": queued.created.isoformat().replace("+00:00", "Z"),
            "state": shown,
        }

    def _state(self, queued: _Queued) -> str:
        if queued.deleting:
            return "DELETING"
        if self._failure(queued):
            return "FAILED"
        if queued.provisioning is None:
            return "ACCEPTED" if queued.looks <= 1 else "WAITING_FOR_RESOURCES"
        if not queued.provisioning.done.is_set():
            return "PROVISIONING"
        return "ACTIVE" if self._node_is_there(queued) else "SUSPENDED"

    @staticmethod
    def _failure(queued: _Queued) -> str:
        if queued.failure:
            return queued.failure
        if queued.provisioning is None:
            return "The request was not fulfilled before its valid-until time." if queued.is_overdue else ""
        error = queued.provisioning.error
        return str(error["message"]) if error else ""

    def _find(self, project: str, zone: str, name: str) -> _Queued:
        found = self._queued.get((project, zone, name))
        if found is None:
            raise ApiError(404, f"Resource 'projects/{project}/locations/{zone}/{_KIND}/{name}' was not found")
        return found

    def _get(self, name: str) -> _Queued:
        for queued in self._queued.values():
            if queued.name == name:
                return queued
        raise KeyError(name)
