"""An inventory of VMs in memory, which a test changes at will."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from iris_adapters.fakes.builders import (
    gce_state,
    make_controller,
    make_queued_slice,
    make_slice,
    queued_state,
    tpu_state,
)
from iris_core.errors import InventoryError, InventoryToolError
from iris_core.fit import wanted_hardware
from iris_core.model import ControllerVm, QueuedSlice, Slice, VmPhase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from iris_core.config import WorkerGroupConfig
    from iris_core.model import Resource

Method: TypeAlias = Literal[
    "find_controller",
    "ensure_controller",
    "list_slices",
    "list_queued",
    "list_resources",
    "create_slice",
    "queue_slice",
    "delete",
    "serial_output",
]
"""The methods of the port that ask the cloud, and so can be told to fail."""

_FIRST_TIMESTAMP = 20260101000000


@dataclass(frozen=True, slots=True)
class InventoryCall:
    """One call of a method of the port.

    Attributes:
        method: its name.
        name: what it was about: the group of `create_slice` and `queue_slice`, the resource of `delete`, else empty.
    """

    method: Method
    name: str = ""


class FakeInventory:
    """Implements `VmInventory` for tests. Any thread may call it and change it.

    Args:
        controller: the controller that is there at first, None for none.
        slices: the slices that are there at first.
        queued: the requests for slices that are there at first.
        elsewhere: what of the cluster there is in other zones; only `list_resources` with `all_zones` lists it.
        label_prefix: the cluster's, for what is created.
        owner: who owns what is created.
        new_controller: makes what `ensure_controller` creates; by default a controller that is ready. Give
            `lambda: make_controller(phase=VmPhase.PENDING, address="")` for one that still boots.
        new_slice: makes what `create_slice` creates of the group and the new name; by default a ready slice of one host,
            made of what the group wants.
        undeletable: names of what a deletion leaves where it is, without an error.

    Attributes:
        calls: every call of a method of the port, in order.
        closed: whether `close` was called.
        called_off: how often `call_off` was.
    """

    def __init__(
        self,
        *,
        controller: ControllerVm | None = None,
        slices: Iterable[Slice] = (),
        queued: Iterable[QueuedSlice] = (),
        elsewhere: Iterable[Resource] = (),
        label_prefix: str = "iris",
        owner: str = "me",
        new_controller: Callable[[], ControllerVm] | None = None,
        new_slice: Callable[[WorkerGroupConfig, str], Slice] | None = None,
        undeletable: Iterable[str] = (),
    ) -> None:
        self.calls: list[InventoryCall] = []
        self.closed = False
        self.called_off = 0
        self._lock = threading.RLock()
        self._controller = controller
        self._slices = {slice_.name: slice_ for slice_ in slices}
        self._queued = {queued_slice.name: queued_slice for queued_slice in queued}
        self._elsewhere = list(elsewhere)
        self._label_prefix = label_prefix
        self._owner = owner
        self._new_controller = new_controller or (lambda: make_controller(label_prefix, owner=owner))
        self._new_slice = new_slice or self._make_slice
        self._undeletable = set(undeletable)
        self._created = 0
        self._faults: defaultdict[tuple[Method, str | None], deque[InventoryError]] = defaultdict(deque)

    # The port.

    def owner(self) -> str:
        """See `VmInventory`."""
        return self._owner

    def find_controller(self) -> ControllerVm | None:
        """See `VmInventory`."""
        with self._lock:
            self._enter("find_controller")
            return self._controller

    def ensure_controller(self, made: Callable[[], object] | None = None) -> ControllerVm:
        """See `VmInventory`. A stopped controller is ready at once."""
        with self._lock:
            self._enter("ensure_controller")
            controller = self._controller
            if controller is None:
                controller = self._new_controller()
            elif controller.phase is VmPhase.STOPPED:
                controller = replace(controller, phase=VmPhase.READY, state=gce_state(VmPhase.READY))
            if made is not None and controller is not self._controller:
                made()
            self._controller = controller
            return controller

    def list_slices(self) -> Sequence[Slice]:
        """See `VmInventory`. By name."""
        with self._lock:
            self._enter("list_slices")
            return tuple(self._slices[name] for name in sorted(self._slices))

    def list_queued(self) -> Sequence[QueuedSlice]:
        """See `VmInventory`. By name."""
        with self._lock:
            self._enter("list_queued")
            return tuple(self._queued[name] for name in sorted(self._queued))

    def list_resources(self, *, all_zones: bool = False) -> Sequence[Resource]:
        """See `VmInventory`."""
        with self._lock:
            self._enter("list_resources")
            found: list[Resource] = [*self._slices.values()]
            fulfilled = {slice_.queued_as for slice_ in self._slices.values()}
            found += [queued for queued in self._queued.values() if queued.name not in fulfilled]
            found += [self._controller] if self._controller else []
            found += self._elsewhere if all_zones else []
            order = (Slice, QueuedSlice, ControllerVm)
            return sorted(found, key=lambda resource: (order.index(type(resource)), resource.zone, resource.name))

    def create_slice(self, group: WorkerGroupConfig) -> Slice:
        """See `VmInventory`."""
        with self._lock:
            self._enter("create_slice", group.name)
            created = self._new_slice(group, self._new_name(group))
            self._slices[created.name] = created
            return created

    def queue_slice(self, group: WorkerGroupConfig) -> QueuedSlice:
        """See `VmInventory`. It waits until the test lets it be fulfilled, or fail."""
        with self._lock:
            self._enter("queue_slice", group.name)
            made = make_queued_slice(
                self._new_name(group),
                group=group.name,
                label_prefix=self._label_prefix,
                owner=self._owner,
                hardware=wanted_hardware(group),
            )
            self._queued[made.name] = made
            return made

    def delete(self, resource: Resource) -> None:
        """See `VmInventory`."""
        with self._lock:
            self._enter("delete", resource.name)
            if resource.name in self._undeletable:
                return
            if resource in self._elsewhere:
                self._elsewhere.remove(resource)
            elif isinstance(resource, ControllerVm):
                if self._controller is not None and self._controller.name == resource.name:
                    self._controller = None
            else:
                self._slices.pop(resource.name, None)
                self._queued.pop(resource.name, None)

    def serial_output(self, resource: Resource) -> str:
        """See `VmInventory`. Only a controller has any."""
        with self._lock:
            self._enter("serial_output", resource.name)
            return f"{resource.name} boots\n" if isinstance(resource, ControllerVm) else ""

    def call_off(self) -> None:
        """Counted in `called_off`; nothing here takes long."""
        with self._lock:
            self.called_off += 1

    def close(self) -> None:
        """Noted in `closed`."""
        self.closed = True

    # What the test does to the cloud.

    def put_controller(self, controller: ControllerVm | None) -> None:
        """Let this be the controller from now on, or let there be none."""
        with self._lock:
            self._controller = controller

    def put_slice(self, slice_: Slice) -> None:
        """Let this slice be there, in place of one of the same name."""
        with self._lock:
            self._slices[slice_.name] = slice_

    def put_queued(self, queued: QueuedSlice) -> None:
        """Let this request be there, in place of one of the same name."""
        with self._lock:
            self._queued[queued.name] = queued

    def fulfil(self, name: str) -> Slice:
        """Let there be capacity for the request of this name: its slice is there and ready.

        Raises:
            KeyError: there is no such request.
        """
        with self._lock:
            self.set_phase(name, VmPhase.READY)
            request = self._queued[name]
            slice_ = make_slice(
                name,
                group=request.group,
                label_prefix=self._label_prefix,
                owner=request.owner,
                hardware=request.hardware,
                queued_as=name,
            )
            self._slices[name] = slice_
            return slice_

    def remove_slice(self, name: str) -> None:
        """Let the slice vanish.

        Raises:
            KeyError: there is none of this name.
        """
        with self._lock:
            del self._slices[name]

    def set_phase(self, name: str, phase: VmPhase, state: str | None = None) -> None:
        """Let the controller, request or slice of this name be in another phase, and in Google's `state` (None: a usual one).

        Raises:
            KeyError: there is none of this name.
        """
        with self._lock:
            if self._controller is not None and self._controller.name == name:
                self._controller = replace(self._controller, phase=phase, state=state or gce_state(phase))
            elif name in self._queued and name not in self._slices:
                self._queued[name] = replace(self._queued[name], phase=phase, state=state or queued_state(phase))
            else:
                self._slices[name] = replace(self._slices[name], phase=phase, state=state or tpu_state(phase))

    def fail_next(
        self, method: Method, error: InventoryError | None = None, *, name: str | None = None, times: int = 1
    ) -> None:
        """Let the next calls of `method` raise `error` and change nothing.

        Args:
            method: of the port.
            error: None: an `InventoryToolError`.
            name: only calls about this group or resource; None: any.
            times: how many calls.
        """
        with self._lock:
            self._faults[method, name].extend([error or InventoryToolError(f"{method} fails, as scripted")] * times)

    def count(self, method: Method) -> int:
        """How often `method` was called."""
        with self._lock:
            return sum(call.method == method for call in self.calls)

    def names(self) -> list[str]:
        """The names of everything that exists, sorted, asked without leaving a trace in `calls`."""
        with self._lock:
            controllers = [self._controller.name] if self._controller else []
            return sorted({*self._slices, *self._queued, *controllers, *(each.name for each in self._elsewhere)})

    def _make_slice(self, group: WorkerGroupConfig, name: str) -> Slice:
        return make_slice(
            name,
            group=group.name,
            label_prefix=self._label_prefix,
            owner=self._owner,
            hardware=wanted_hardware(group),
        )

    def _new_name(self, group: WorkerGroupConfig) -> str:
        self._created += 1
        return f"{self._label_prefix}-{group.name}-{_FIRST_TIMESTAMP + self._created}"

    def _enter(self, method: Method, name: str = "") -> None:
        self.calls.append(InventoryCall(method, name))
        for key in ((method, name), (method, None)):
            if self._faults[key]:
                raise self._faults[key].popleft()
