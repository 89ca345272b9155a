"""Errors to order: the next so many calls that match fail, are slow, or begin an operation that fails."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.lab.http_shapes import ApiError, Json, Request


@dataclass(slots=True, kw_only=True)
class Fault:
    """What happens to the next `times` calls of `method` whose path matches `path` (searched, not anchored)."""

    method: str
    path: re.Pattern[str]
    times: int | None
    error: ApiError | None = None
    operation_error: Json | None = None
    delay_seconds: float = 0.0


@dataclass(slots=True)
class Faults:
    """The faults waiting for their calls. Every method may be called while the server answers."""

    _waiting: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, method: str, path: str, error: ApiError, *, times: int | None = 1) -> None:
        """Answer matching calls with an HTTP error. `times=None` means all of them, until `clear`."""
        self._add(Fault(method=method, path=re.compile(path), times=times, error=error))

    def fail_operation(self, method: str, path: str, code: int | str, message: str, *, times: int | None = 1) -> None:
        """Let matching calls succeed, and the operation they begin end in an error that changes nothing.

        Args:
            method: HTTP method.
            path: regular expression, searched in the path.
            code: what the service has for codes: a number for TPU (8: no capacity), a word for Compute.
            message: for the user.
            times: how many calls.
        """
        error = {"code": code, "message": message}
        self._add(Fault(method=method, path=re.compile(path), times=times, operation_error=error))

    def stockout(self, *, times: int | None = 1) -> None:
        """Let the next creations, of instances as of nodes, fail for want of capacity, in Google's words."""
        self.fail_operation(
            "POST",
            r"/instances$",
            "ZONE_RESOURCE_POOL_EXHAUSTED",
            "The zone does not have enough resources available to fulfill the request.  Try a different zone, or try again "
            "later.",
            times=times,
        )
        self.fail_operation(
            "POST",
            r"/nodes$",
            8,
            "There is no more capacity in the zone; you can try in another zone where Cloud TPU Nodes are offered "
            "(see https://cloud.google.com/tpu/docs/regions)",
            times=times,
        )

    def delay(self, method: str, path: str, seconds: float, *, times: int | None = 1) -> None:
        """Answer matching calls only after so many seconds."""
        self._add(Fault(method=method, path=re.compile(path), times=times, delay_seconds=seconds))

    def clear(self) -> None:
        """Forget all that has not happened yet."""
        with self._lock:
            self._waiting.clear()

    def take(self, request: Request) -> Fault | None:
        """The first fault that matches, one use of it used up."""
        with self._lock:
            for fault in self._waiting:
                if fault.method == request.method and fault.path.search(request.path):
                    if fault.times is not None:
                        fault.times -= 1
                        if fault.times <= 0:
                            self._waiting.remove(fault)
                    return fault
        return None

    def _add(self, fault: Fault) -> None:
        with self._lock:
            self._waiting.append(fault)
