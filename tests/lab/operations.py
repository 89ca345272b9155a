"""Long-running operations: begun by a call, ended by a thread, polled by gcloud, shown in the service's own shape."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.lab.http_shapes import ApiError, Json

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True, kw_only=True)
class Operation:
    """One operation.

    Attributes:
        name: its id.
        verb: `insert`, `delete`, `setMetadata`; TPU: `create`, `delete`, `update`.
        target: Compute: the URL of what it changes; TPU: its full name.
        target_id: Compute: the numeric id of what it changes.
        error: None, or `{"code", "message"}`.
        response: TPU: what the finished operation carries.
    """

    name: str
    verb: str
    target: str
    target_id: str = "0"
    error: Json | None = None
    response: Json = field(default_factory=dict)
    began_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    done: threading.Event = field(default_factory=threading.Event)


class Operations:
    """All operations of a lab, and the threads that carry them out."""

    def __init__(self) -> None:
        self._by_name: dict[str, Operation] = {}
        self._numbers = itertools.count(time.time_ns())
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def begin(
        self,
        verb: str,
        target: str,
        work: Callable[[Operation], None],
        *,
        target_id: str = "0",
        in_background: bool,
    ) -> Operation:
        """Begin an operation whose `work` sets its `done` (or else returning does), here and now or in a thread."""
        with self._lock:
            name = f"operation-{next(self._numbers)}"
            operation = Operation(name=name, verb=verb, target=target, target_id=target_id)
            self._by_name[name] = operation

        def carry_out() -> None:
            try:
                work(operation)
            except Exception as error:
                operation.error = {"code": 13, "message": f"the lab failed: {error!r}"}
                raise
            finally:
                operation.done.set()

        if in_background:
            thread = threading.Thread(target=carry_out, name=f"lab-{verb}-{name}", daemon=True)
            with self._lock:
                self._threads.append(thread)
            thread.start()
        else:
            carry_out()
        return operation

    def find(self, name: str) -> Operation:
        """The operation of this id.

        Raises:
            ApiError: 404.
        """
        with self._lock:
            operation = self._by_name.get(name)
        if operation is None:
            raise ApiError(404, f"The resource '{name}' was not found")
        return operation

    def join(self, timeout_seconds: float) -> None:
        """Wait for what still runs, so that nothing is created behind the back of a teardown."""
        deadline = time.monotonic() + timeout_seconds
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))


def compute_shape(operation: Operation, *, base: str, scope: str) -> Json:
    """The operation as Compute shows it.

    Args:
        operation: which.
        base: URL of the project, `http://…/compute/v1/projects/P`.
        scope: `global` or `zones/Z`.
    """
    done = operation.done.is_set()
    shape: Json = {
        "kind": "compute#operation",
        "id": operation.name.removeprefix("operation-"),
        "name": operation.name,
        "operationType": operation.verb,
        "targetLink": operation.target,
        "targetId": operation.target_id,
        "status": "DONE" if done else "RUNNING",
        "user": "lab@example.com",
        "progress": 100 if done else 0,
        "insertTime": operation.began_at.isoformat(timespec="milliseconds"),
        "startTime": operation.began_at.isoformat(timespec="milliseconds"),
        "selfLink": f"{base}/{scope}/operations/{operation.name}",
    }
    if scope != "global":
        shape["zone"] = f"{base}/{scope}"
    if done and operation.error:
        shape["error"] = {"errors": [operation.error]}
        shape["httpErrorStatusCode"] = 503
        shape["httpErrorMessage"] = "SERVICE UNAVAILABLE"
    return shape


def tpu_shape(operation: Operation, *, parent: str) -> Json:
    """The operation as the TPU API shows it, `parent` being `projects/P/locations/Z`."""
    shape: Json = {
        "name": f"{parent}/operations/{operation.name}",
        "metadata": {
            "@type": "type.googleapis.com/google.cloud.tpu.v2.OperationMetadata",
            "createTime": operation.began_at.isoformat().replace("+00:00", "Z"),
            "target": operation.target,
            "verb": operation.verb,
            "cancelRequested": False,
            "apiVersion": "v2",
        },
        "done": operation.done.is_set(),
    }
    if shape["done"]:
        if operation.error:
            shape["error"] = operation.error
        else:
            shape["response"] = operation.response
    return shape
