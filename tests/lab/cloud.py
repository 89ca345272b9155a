"""The state of a pretended Google Cloud: its resources, what becomes of them, and what a test does to them."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.lab.faults import Faults
from tests.lab.http_shapes import ApiError, Json, Request
from tests.lab.machines import Kind, Machines, NoMachines, Record, host_count
from tests.lab.operations import Operation, Operations
from tests.lab.os_login import OsLoginProfile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROJECT = "lab-project"
ZONE = "us-central1-a"
_JOIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an operation looks like to the API's caller, and the error in which it is to end (None: it succeeds)."""

    verb: str
    target: str
    error: Json | None = None


class Cloud:
    """One project's instances and nodes.

    The REST services (`compute.py`, `tpu.py`) translate calls into these methods; tests call them to make things happen that no
    API call does (a preemption) or to set a scene quickly.

    Args:
        machines: what stands behind the resources. None: nothing, they become ready at once.
        creation_seconds: how long a creation takes before its machines are started.

    Attributes:
        faults: errors to order.
        operations: what is going on.
        requests: every call so far, in order; polls of operations included.
        project_metadata: the project's own, ssh-keys among them.
        os_login: the profile of the account that gcloud acts for.
        creation_seconds: as above; may be changed at any time.
        base_url: of the server in front, without a slash at the end.
    """

    def __init__(self, machines: Machines | None = None, *, creation_seconds: float = 0.0) -> None:
        self.machines: Machines = machines or NoMachines()
        self.creation_seconds = creation_seconds
        self.faults = Faults()
        self.operations = Operations()
        self.requests: list[Request] = []
        self.project_metadata: dict[str, str] = {}
        self.os_login = OsLoginProfile()
        self.base_url = "http://127.0.0.1"
        self._has_machines = machines is not None
        self._records: dict[tuple[str, str, str, str], Record] = {}
        self._numbers = itertools.count(time.time_ns())
        self._lock = threading.RLock()

    @property
    def is_slow(self) -> bool:
        """Whether operations take their time, and so are carried out by threads."""
        return self._has_machines or self.creation_seconds > 0

    def find(self, kind: str, name: str, zone: str, project: str = PROJECT) -> Record:
        """The resource of this name or numeric id.

        Raises:
            ApiError: 404, in Google's words.
        """
        with self._lock:
            for record in self._records.values():
                if (record.kind, record.project, record.zone) == (kind, project, zone) and name in (
                    record.name,
                    record.number,
                ):
                    return record
        if kind == Kind.NODE:
            raise ApiError(404, f"Resource 'projects/{project}/locations/{zone}/nodes/{name}' was not found")
        raise ApiError(404, f"The resource 'projects/{project}/zones/{zone}/instances/{name}' was not found")

    def list(self, kind: str, zone: str | None = None, project: str = PROJECT) -> Sequence[Record]:
        """All resources of the kind, of one zone or of all, by name."""
        with self._lock:
            found = [r for r in self._records.values() if (r.kind, r.project) == (kind, project)]
        return sorted((r for r in found if zone in (None, r.zone)), key=lambda r: r.name)

    def get(self, name: str) -> Record:
        """The resource of this name, whatever its kind and zone, for tests.

        Raises:
            KeyError: there is none.
        """
        with self._lock:
            for record in self._records.values():
                if record.name == name:
                    return record
        raise KeyError(name)

    def new_number(self) -> str:
        """A numeric id that no resource has had before."""
        return str(next(self._numbers))

    def create(
        self,
        record: Record,
        plan: Plan,
        show_up: Callable[[Record], None],
        done: Callable[[Operation], None] = lambda _operation: None,
    ) -> Operation:
        """Add the resource and begin to start its machines.

        Args:
            record: in its first state.
            plan: what the operation looks like, and whether it is to fail, after which the resource is not there.
            show_up: writes addresses and the state of a running resource into the body.
            done: completes the operation when all went well.

        Raises:
            ApiError: 409, there is one of this name.
        """
        with self._lock:
            if record.key in self._records:
                raise ApiError(409, _exists(record))
            self._records[record.key] = record

        def carry_out(operation: Operation) -> None:
            record.leaving.wait(self.creation_seconds)
            if plan.error is not None:
                operation.error = plan.error
                self._forget(record)
                return
            with record.lock:
                if record.leaving.is_set():
                    operation.error = {"code": 1, "message": "deleted while it was being created"}
                    return
                hosts = host_count(record.body["acceleratorType"]) if record.kind == Kind.NODE else 1
                record.addresses = self.machines.allocate(record, hosts)
                if record.kind == Kind.INSTANCE:  # an instance runs while it boots; a node is ready when it has booted
                    show_up(record)
                    done(operation)
                    operation.done.set()
                self.machines.boot(record)
                if record.kind == Kind.NODE:
                    show_up(record)
                    done(operation)

        return self._begin(plan, record, carry_out)

    def delete(self, record: Record, plan: Plan) -> Operation:
        """Begin to end the resource's machines and forget it."""
        if plan.error is None:
            record.leaving.set()
            self._set(record, "DELETING" if record.kind == Kind.NODE else "STOPPING")

        def carry_out(operation: Operation) -> None:
            if plan.error is not None:
                operation.error = plan.error
                return
            with record.lock:
                self.machines.destroy(record)
                self._forget(record)

        return self._begin(plan, record, carry_out)

    def power(self, record: Record, plan: Plan, *, on: bool) -> Operation:
        """Begin to stop, or start again, an instance or a node."""
        node = record.kind == Kind.NODE

        def carry_out(operation: Operation) -> None:
            if plan.error is not None:
                operation.error = plan.error
                return
            with record.lock:
                if on:
                    self._set(record, "STARTING" if node else "STAGING")
                    self.machines.boot(record)
                    self._set(record, "READY" if node else "RUNNING")
                else:
                    self._set(record, "STOPPING")
                    self.machines.power_off(record)
                    self._set(record, "STOPPED" if node else "TERMINATED")

        return self._begin(plan, record, carry_out)

    def set_state(self, name: str, state: str) -> None:
        """Show another state, and do nothing to the machines."""
        self._set(self.get(name), state)

    def preempt(self, name: str) -> None:
        """Take the machines away, as Google does with Spot resources: a node shows PREEMPTED, an instance TERMINATED."""
        record = self.get(name)
        with record.lock:
            self.machines.power_off(record)
            self._set(record, "PREEMPTED" if record.kind == Kind.NODE else "TERMINATED")

    def remove(self, name: str) -> None:
        """Let the resource vanish at once, as if somebody else had deleted it."""
        record = self.get(name)
        record.leaving.set()
        with record.lock:
            self.machines.destroy(record)
            self._forget(record)

    def close(self) -> None:
        """Remove everything, and wait for what was going on."""
        with self._lock:
            records = list(self._records.values())
        for record in records:
            record.leaving.set()
        for record in records:
            with record.lock:
                self.machines.destroy(record)
                self._forget(record)
        self.operations.join(_JOIN_SECONDS)

    def _forget(self, record: Record) -> None:
        with self._lock:
            self._records.pop(record.key, None)

    @staticmethod
    def _set(record: Record, state: str) -> None:
        record.show(**{"state" if record.kind == Kind.NODE else "status": state})

    def _begin(self, plan: Plan, record: Record, carry_out: Callable[[Operation], None]) -> Operation:
        return self.operations.begin(
            plan.verb, plan.target, carry_out, target_id=record.number, in_background=self.is_slow
        )


def _exists(record: Record) -> str:
    if record.kind == Kind.NODE:
        return f"Resource 'projects/{record.project}/locations/{record.zone}/nodes/{record.name}' already exists"
    return f"The resource 'projects/{record.project}/zones/{record.zone}/instances/{record.name}' already exists"
