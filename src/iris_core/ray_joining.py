"""Seeing to it that every worker host knows how to join the cluster's Ray: once at a start, and for as long as somebody is connected."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from iris_core.errors import (
    AuthenticationFailedError,
    ControllerNotReadyError,
    HostKeyError,
    IrisError,
    RemoteShellError,
)
from iris_core.model import VmPhase
from iris_core.ray_join import read_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from iris_core.cluster_watch import ClusterWatch, Look
    from iris_core.model import ControllerVm
    from iris_core.ports.clock import Clock
    from iris_core.ports.remote_shell import RemoteShell
    from iris_core.ports.vm_inventory import VmInventory
    from iris_core.ray_join import RayJoin

_logger = logging.getLogger("iris.cluster")

_RETRY_SECONDS: Final = 3.0  # a host that boots takes a minute; asking more often would not make it faster
_END_SECONDS: Final = 5.0  # for a host that is just being told when the joining is ended
_COMING: Final = frozenset({VmPhase.PENDING, VmPhase.READY})
# A VM that boots has neither our key nor a host key that the cloud could report; later these are for the user to mend.
_UNLIKELY_TO_PASS: Final = (AuthenticationFailedError, HostKeyError)


def with_token(
    shell: RemoteShell,
    clock: Clock,
    controller: ControllerVm,
    *,
    use_sudo: bool,
    timeout_seconds: float,
    give_up: threading.Event,
) -> ControllerVm:
    """The controller with its token, read over SSH as soon as its host lets iris in.

    Args:
        shell: reaches its host.
        clock: every wait goes through it.
        controller: whose VM is ready.
        use_sudo: whether reading as root needs `sudo -n`.
        timeout_seconds: for all tries together; the first is made at once, whatever the time.
        give_up: ends the waiting when another thread sets it.

    Raises:
        ControllerNotReadyError: its host could not be reached within the time.
        JobApiError: it was reached, and the token cannot be read there.
    """
    deadline = clock.monotonic() + timeout_seconds
    last_problem = ""
    while True:
        try:
            return replace(controller, token=read_token(shell, controller.host, use_sudo=use_sudo))
        except RemoteShellError as error:
            problem = str(error)
            if problem != last_problem:
                last_problem = problem
                level = logging.WARNING if isinstance(error, _UNLIKELY_TO_PASS) else logging.INFO
                _logger.log(level, "Waiting for the controller's host %s: %s", controller.name, problem)
            seconds = min(_RETRY_SECONDS, deadline - clock.monotonic())
            stopped = clock.wait(give_up, seconds)
            if stopped or seconds <= 0:
                end = "was stopped while iris waited" if stopped else f"was not reached within {timeout_seconds:g} s"
                raise ControllerNotReadyError(
                    f"The controller's host {controller.name} {end}; the last problem: {problem}",
                    seconds=timeout_seconds,
                    problem=problem,
                ) from error


def tell_all(
    join: RayJoin,
    inventory: VmInventory,
    clock: Clock,
    controller: ControllerVm,
    *,
    timeout_seconds: float,
    give_up: threading.Event,
) -> None:
    """Tell every worker host that there is, or is coming, how to join; who cannot be told within the time is named in a warning.

    Args:
        join: tells them.
        inventory: knows them.
        clock: every wait goes through it.
        controller: with its token.
        timeout_seconds: for all tries together.
        give_up: ends the waiting when another thread sets it.

    Raises:
        InventoryError: it is not known which hosts there are.
    """
    deadline = clock.monotonic() + timeout_seconds
    while True:
        slices = [one for one in inventory.list_slices() if one.phase in _COMING]
        coming = [one for one in slices if one.phase is not VmPhase.READY or not one.hosts]
        problems = {one.name: f"it is {one.state or one.phase}" for one in coming}
        problems |= join.tell(controller, slices)
        seconds = min(_RETRY_SECONDS, deadline - clock.monotonic())
        if not problems or seconds <= 0 or clock.wait(give_up, seconds):
            break
    if problems:
        _logger.warning(
            "These workers do not know yet which controller to join, and will hear of it at the next `iris connect`: %s",
            "; ".join(f"{name}: {problem}" for name, problem in problems.items()),
        )


class RayJoining:
    """Tells worker hosts how to join as they come, until `stop`: those of slices made anew, and all when the controller was made anew.

    Args:
        join: tells them.
        watch: knows them.
        shell: reaches the controller's host.
        clock: tells the time.
        use_sudo: whether reading as root needs `sudo -n`.
        controller: the controller as it is now, with its token.
        on_controller: hears of a controller that was made anew, with its token.
    """

    def __init__(
        self,
        *,
        join: RayJoin,
        watch: ClusterWatch,
        shell: RemoteShell,
        clock: Clock,
        use_sudo: bool,
        controller: ControllerVm,
        on_controller: Callable[[ControllerVm], object],
    ) -> None:
        self._join = join
        self._watch = watch
        self._shell = shell
        self._clock = clock
        self._use_sudo = use_sudo
        self._controller = controller
        self._on_controller = on_controller
        self._lock = threading.Lock()
        self._look: Look | None = None
        self._said: dict[str, str] = {}  # by host or controller: what was told of it last
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._leave: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin. Called once."""
        threading.Thread(target=self._loop, name="iris-ray-joining", daemon=True).start()
        self._leave = self._watch.listen(self._hear)

    def stop(self) -> None:
        """End it; a host that is just being told is waited for some seconds. Idempotent."""
        self._stop.set()
        self._wake.set()
        self._leave()
        self._clock.wait(self._ended, _END_SECONDS)

    def _hear(self, look: Look) -> None:
        with self._lock:
            self._look = look
        self._wake.set()

    def _loop(self) -> None:
        try:
            seconds: float | None = None
            while True:
                self._clock.wait(self._wake, seconds)
                self._wake.clear()
                if self._stop.is_set():
                    return
                seconds = None if self._turn() else _RETRY_SECONDS
        finally:
            self._ended.set()

    def _turn(self) -> bool:
        """Tell those who can be told now; False if somebody is to be tried again soon."""
        with self._lock:
            look = self._look
        if look is None or look.slices is None:
            return True
        try:
            controller = self._current(look.controller)
        except IrisError as error:
            self._say(self._controller.name, str(error))
            return False
        problems = self._join.tell(controller, look.slices)
        for name, problem in problems.items():
            self._say(name, problem)
        return not problems

    def _current(self, seen: ControllerVm | None) -> ControllerVm:
        """The controller to join: the one that was seen last, if it is ready and another one than before."""
        known = self._controller
        if seen is None or seen.phase is not VmPhase.READY or not seen.host.address:
            return known
        if (seen.host.instance_id, seen.internal_address) == (known.host.instance_id, known.internal_address):
            return known
        token = read_token(self._shell, seen.host, use_sudo=self._use_sudo)
        self._controller = replace(seen, token=token)
        self._on_controller(self._controller)
        return self._controller

    def _say(self, name: str, problem: str) -> None:
        if self._said.get(name) != problem:
            self._said[name] = problem
            _logger.info("%s cannot be told yet which controller to join: %s", name, problem)
