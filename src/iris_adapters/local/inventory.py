"""The inventory of local mode: one controller in this process, and no VMs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from iris_core.errors import InvalidRequestError, InventoryError, IrisError, LocalPortInUseError
from iris_core.model import ControllerVm, Host, HostRole, VmPhase, controller_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from iris_core.config import WorkerGroupConfig
    from iris_core.model import QueuedSlice, Resource, Slice

_LOOPBACK = "127.0.0.1"
_STATE = "RUNNING"


class RunningController(Protocol):
    """A controller in this process, serving on 127.0.0.1."""

    @property
    def port(self) -> int:
        """Where it listens."""
        ...

    @property
    def token(self) -> str:
        """The bearer token it wants."""
        ...

    def close(self) -> None:
        """End its jobs and stop it. Idempotent."""
        ...


class LocalInventory:
    """A `VmInventory` whose only resource is the in-process controller; `delete` and `close` stop it.

    Args:
        label_prefix: of the cluster; part of the controller's name.
        start_controller: starts a controller and returns once it serves.
    """

    def __init__(self, label_prefix: str, start_controller: Callable[[], RunningController]) -> None:
        self._name = controller_name(label_prefix)
        self._start_controller = start_controller
        self._lock = threading.Lock()
        self._controller: RunningController | None = None
        self._lives = 0
        self._closed = False

    def owner(self) -> str:
        """Empty: what lives in this process belongs to whoever runs it."""
        return ""

    def find_controller(self) -> ControllerVm | None:
        """The controller, if it runs."""
        with self._lock:
            return None if self._controller is None else self._describe(self._controller)

    def ensure_controller(self, made: Callable[[], object] | None = None) -> ControllerVm:
        """The controller, started if it did not run.

        Args:
            made: see `VmInventory`.

        Raises:
            LocalPortInUseError: its port is taken, or not this user's to take.
            InventoryError: it could not be started for another reason; its cause says why.
        """
        with self._lock:
            if self._closed:
                raise InvalidRequestError("this inventory has been closed; make a new one to start a controller")
            if self._controller is None:
                try:
                    self._controller = self._start_controller()
                except LocalPortInUseError:
                    raise
                except IrisError as error:
                    raise InventoryError(f"the in-process controller could not be started: {error}") from error
                self._lives += 1
                if made is not None:
                    made()
            return self._describe(self._controller)

    def list_slices(self) -> tuple[Slice, ...]:
        """None: the workers are in this process too."""
        return ()

    def list_queued(self) -> tuple[QueuedSlice, ...]:
        """None, as there are no slices."""
        return ()

    def list_resources(self, *, all_zones: bool = False) -> tuple[Resource, ...]:  # noqa: ARG002 - a process has no zones
        """The controller, if it runs."""
        controller = self.find_controller()
        return () if controller is None else (controller,)

    def create_slice(self, group: WorkerGroupConfig) -> Slice:
        """Refused: there is nowhere to create one.

        Raises:
            InvalidRequestError: always.
        """
        raise self._refusal(group)

    def queue_slice(self, group: WorkerGroupConfig) -> QueuedSlice:
        """Refused, as `create_slice`.

        Raises:
            InvalidRequestError: always.
        """
        raise self._refusal(group)

    def delete(self, resource: Resource) -> None:
        """Stop the controller and its jobs. Whatever else is not here, so it is gone already."""
        if isinstance(resource, ControllerVm) and resource.name == self._name:
            self._stop()

    def serial_output(self, resource: Resource) -> str:  # noqa: ARG002 - the port's signature
        """None: this process has no console of its own."""
        return ""

    def call_off(self) -> None:
        """Nothing here takes long."""

    def close(self) -> None:
        """Stop the controller: it lives in this process. Idempotent."""
        with self._lock:
            self._closed = True
        self._stop()

    @staticmethod
    def _refusal(group: WorkerGroupConfig) -> InvalidRequestError:
        return InvalidRequestError(
            f"a slice for the worker group {group.name!r} cannot be created in local mode",
            advice="use mode gcp, or set local.workers for more in-process workers",
        )

    def _stop(self) -> None:
        with self._lock:  # held while it stops, so that a controller that is started next finds its port free
            if self._controller is not None:
                self._controller.close()
                self._controller = None

    def _describe(self, controller: RunningController) -> ControllerVm:
        return ControllerVm(
            name=self._name,
            host=Host(name=self._name, role=HostRole.CONTROLLER, address=_LOOPBACK, instance_id=f"local-{self._lives}"),
            port=controller.port,
            phase=VmPhase.READY,
            state=_STATE,
            token=controller.token,
        )
