"""Waiting for a controller's VM: for one that boots, and for the end of one that is on its way out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iris_core.errors import ControllerNotFoundError, ControllerNotReadyError, InventoryError
from iris_core.model import VmPhase
from iris_core.patience import Patience
from iris_core.progress import Progress, Stage, log_progress
from iris_core.queued_slices import check_wanted

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from iris_core.model import ControllerVm
    from iris_core.ports.clock import Clock
    from iris_core.progress import ProgressListener

_POLL_SECONDS: Final = 5.0  # between looks at a controller; in GCP mode each is a gcloud command of a second or two


def wait_until_ready(
    look: Callable[[], ControllerVm | None],
    clock: Clock,
    controller: ControllerVm,
    *,
    timeout_seconds: float,
    give_up: threading.Event,
    listener: ProgressListener = log_progress,
) -> ControllerVm:
    """Wait until the controller's VM is ready and has an address, and return it as it is then.

    Args:
        look: asks for the controller; None if there is none any more.
        clock: every wait goes through it.
        controller: as it is now.
        timeout_seconds: for all of it.
        give_up: ends the waiting when another thread sets it.
        listener: hears what is waited for.

    Raises:
        ControllerNotReadyError: it failed, or was not ready within the time.
        ControllerNotFoundError: it vanished.
        ClusterError: `give_up` was set meanwhile.
        InventoryError: it is not known how it is, and was not for some minutes.
    """
    looks = _Looks(look, clock, controller, timeout_seconds=timeout_seconds, give_up=give_up, listener=listener)
    while controller.phase is not VmPhase.READY or not controller.host.address:
        problem = _problem_of(controller)
        if controller.phase is VmPhase.FAILED:
            end = "will not come up by itself: stop the cluster, and start it again"
        else:
            end = "" if looks.seconds_left > 0 else f"was not ready within {timeout_seconds:g} s"
        if end:
            raise ControllerNotReadyError(
                f"The controller's VM {controller.name} {end} ({problem}).", seconds=timeout_seconds, problem=problem
            )
        found = looks.next(controller, problem)
        if found is None:
            raise ControllerNotFoundError(
                f"The controller {controller.name} vanished while iris waited for it: somebody else has deleted it."
            )
        controller = found
    listener(Progress(controller.name, Stage.DONE, f"its VM is ready, at {controller.host.address}"))
    return controller


def wait_until_gone(
    look: Callable[[], ControllerVm | None],
    clock: Clock,
    controller: ControllerVm,
    *,
    timeout_seconds: float,
    give_up: threading.Event,
    listener: ProgressListener = log_progress,
) -> None:
    """Wait until a controller that is on its way out is gone, or in another phase: it may have been stopped, not deleted.

    Args:
        look: asks for the controller; None if there is none any more.
        clock: every wait goes through it.
        controller: as it is now.
        timeout_seconds: for all of it.
        give_up: ends the waiting when another thread sets it.
        listener: hears what is waited for.

    Raises:
        ControllerNotReadyError: it remained as it was for all of the time.
        ClusterError: `give_up` was set meanwhile.
        InventoryError: it is not known how it is, and was not for some minutes.
    """
    looks = _Looks(look, clock, controller, timeout_seconds=timeout_seconds, give_up=give_up, listener=listener)
    found: ControllerVm | None = controller
    while found is not None and found.phase is VmPhase.DELETING:
        problem = f"it is on its way out ({found.state})"
        if looks.seconds_left <= 0:
            raise ControllerNotReadyError(
                f"The controller's VM {found.name} cannot be made anew: {problem}, and was for {timeout_seconds:g} s. Look at it in the "
                "console.",
                seconds=timeout_seconds,
                problem=problem,
            )
        found = looks.next(found, problem)


class _Looks:
    """Looks at a controller, again and again until the time is over."""

    def __init__(
        self,
        look: Callable[[], ControllerVm | None],
        clock: Clock,
        controller: ControllerVm,
        *,
        timeout_seconds: float,
        give_up: threading.Event,
        listener: ProgressListener,
    ) -> None:
        self._look = look
        self._clock = clock
        self._give_up = give_up
        self._listener = listener
        self._deadline = clock.monotonic() + timeout_seconds
        self._patience = Patience(clock, f"how the controller's VM {controller.name} is")

    @property
    def seconds_left(self) -> float:
        return self._deadline - self._clock.monotonic()

    def next(self, last: ControllerVm, problem: str) -> ControllerVm | None:
        """Tell what is waited for, wait, and look; `last` again where it is not known how it is."""
        self._listener(Progress(last.name, Stage.WAITING, f"waited for: {problem}"))
        self._clock.wait(self._give_up, max(0.0, min(_POLL_SECONDS, self.seconds_left)))
        check_wanted(self._give_up)
        try:
            found = self._look()
        except InventoryError as error:
            self._patience.bear(error)
            return last
        self._patience.answered()
        return found


def _problem_of(controller: ControllerVm) -> str:
    if controller.phase is VmPhase.READY:
        return "it has no address"
    return f"it is {controller.phase}" + (f", {controller.state}" if controller.state else "")
