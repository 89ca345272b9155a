"""An inventory of VMs in memory, which a test changes at will."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from iris_adapters.fakes.builders import gce_state, make_controller, make_slice, tpu_state
from iris_core.errors import InventoryError, InventoryToolError
from iris_core.model import ControllerVm, Slice, VmPhase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from iris_core.config import WorkerGroupConfig
    from iris_core.model import Resource

Method: TypeAlias = Literal[
    "find_controller", "ensure_controller", "list_slices", "create_slice", "delete", "serial_output"
]
"""The methods of the port that ask the cloud, and so can be told to fail."""

_FIRST_TIMESTAMP = 20260101000000


@dataclass(frozen=True, slots=True)
class InventoryCall:
    """One call of a method of the port.

    Attributes:
        method: its name.
        name: what it was about: the group of `create_slice`, the resource of `delete`, else empty.
    """

    method: Method
    name: str = ""


class FakeInventory:
    """Implements `VmInventory` for tests. Any thread may call it and change it.

    Args:
        controller: the controller that is there at first, None for none.
        slices: the slices that are there at first.
        label_prefix: the cluster's, for what is created.
        new_controller: makes what `ensure_controller` creates; by default a controller that is ready. Give
            `lambda: make_controller(phase=VmPhase.PENDING, address="")` for one that still boots.
        new_slice: makes what `create_slice` creates of the group and the new name; by default a ready slice of one host.
        undeletable: names of what a deletion leaves where it is, without an error.

    Attributes:
        calls: every call of a method of the port, in order.
        closed: whether `close` was called.
    """

    def __init__(
        self,
        *,
        controller: ControllerVm | None = None,
        slices: Iterable[Slice] = (),
        label_prefix: str = "iris",
        new_controller: Callable[[], ControllerVm] | None = None,
        new_slice: Callable[[WorkerGroupConfig, str], Slice] | None = None,
        undeletable: Iterable[str] = (),
    ) -> None:
        self.calls: list[InventoryCall] = []
        self.closed = False
        self._lock = threading.RLock()
        self._controller = controller
        self._slices = {slice_.name: slice_ for slice_ in slices}
        self._label_prefix = label_prefix
        self._new_controller = new_controller or (lambda: make_controller(label_prefix))
        self._new_slice = new_slice or (
            lambda group, name: make_slice(name, group=group.name, label_prefix=label_prefix)
        )
        self._undeletable = set(undeletable)
        self._created = 0
        self._faults: defaultdict[tuple[Method, str | None], deque[InventoryError]] = defaultdict(deque)

    # The port.

    def find_controller(self) -> ControllerVm | None:
        """See `VmInventory`."""
        with self._lock:
            self._enter("find_controller")
            return self._controller

    def ensure_controller(self) -> ControllerVm:
        """See `VmInventory`. A stopped controller is ready at once."""
        with self._lock:
            self._enter("ensure_controller")
            if self._controller is None:
                self._controller = self._new_controller()
            elif self._controller.phase is VmPhase.STOPPED:
                self.set_phase(self._controller.name, VmPhase.READY)
            return self._controller

    def list_slices(self) -> Sequence[Slice]:
        """See `VmInventory`. By name."""
        with self._lock:
            self._enter("list_slices")
            return tuple(self._slices[name] for name in sorted(self._slices))

    def create_slice(self, group: WorkerGroupConfig) -> Slice:
        """See `VmInventory`."""
        with self._lock:
            self._enter("create_slice", group.name)
            self._created += 1
            created = self._new_slice(group, f"{self._label_prefix}-{group.name}-{_FIRST_TIMESTAMP + self._created}")
            self._slices[created.name] = created
            return created

    def delete(self, resource: Resource) -> None:
        """See `VmInventory`."""
        with self._lock:
            self._enter("delete", resource.name)
            if resource.name in self._undeletable:
                return
            if isinstance(resource, Slice):
                self._slices.pop(resource.name, None)
            elif self._controller is not None and self._controller.name == resource.name:
                self._controller = None

    def serial_output(self, resource: Resource) -> str:
        """See `VmInventory`. Only a controller has any."""
        with self._lock:
            self._enter("serial_output", resource.name)
            return f"{resource.name} boots\n" if isinstance(resource, ControllerVm) else ""

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

    def remove_slice(self, name: str) -> None:
        """Let the slice vanish.

        Raises:
            KeyError: there is none of this name.
        """
        with self._lock:
            del self._slices[name]

    def set_phase(self, name: str, phase: VmPhase, state: str | None = None) -> None:
        """Let the slice or controller of this name be in another phase, and in Google's `state` (None: a usual one).

        Raises:
            KeyError: there is none of this name.
        """
        with self._lock:
            if self._controller is not None and self._controller.name == name:
                self._controller = replace(self._controller, phase=phase, state=state or gce_state(phase))
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
            return sorted([*self._slices, *([self._controller.name] if self._controller else [])])

    def _enter(self, method: Method, name: str = "") -> None:
        self.calls.append(InventoryCall(method, name))
        for key in ((method, name), (method, None)):
            if self._faults[key]:
                raise self._faults[key].popleft()
