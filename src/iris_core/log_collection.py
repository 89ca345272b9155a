"""Logs without a background: a snapshot of one container or of a whole cluster, and following one container until told to stop.

All over the same capture as streaming: what is there is continued, each line lands once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iris_core.cluster_capture import ClusterCapture
from iris_core.errors import EngineError, HostUnreachableError
from iris_core.log_events import LogEventKind
from iris_core.log_file import LandedFile
from iris_core.log_pump import LogPump
from iris_core.log_source import LogSource
from iris_core.model import HostRole
from iris_core.worker_discovery import has_controller, share_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from iris_core.config import ClusterConfig
    from iris_core.log_events import LogEvent
    from iris_core.log_pump import Machine
    from iris_core.model import Host
    from iris_core.ports.clock import Clock
    from iris_core.ports.remote_shell import RemoteShell
    from iris_core.ports.vm_inventory import VmInventory

_STOP_POLL_SECONDS: Final = 0.25  # how late a stop may be noticed: the caller's event cannot wake the pump


def collect_log(
    *, shell: RemoteShell, clock: Clock, host: Host, container: str, path: Path, use_sudo: bool, timeout_seconds: float
) -> int:
    """Land what a container's log holds at this moment, and return how many lines that was.

    Args:
        shell: reaches the host.
        clock: tells the time.
        host: where the container is.
        container: its name.
        path: the landed file; continued if it is there.
        use_sudo: whether docker needs sudo on the host.
        timeout_seconds: how long it may take.

    Raises:
        EngineError: there is no such container, the engine does not give its log, or not all of it came in time.
        HostUnreachableError: the host, or its engine, did not answer in time.
        LogFileError: the file cannot be written.
        LogFileLockedError: another process captures into it.
    """
    heard: dict[LogEventKind, LogEvent] = {}

    def hear(event: LogEvent) -> None:
        heard[event.kind] = event

    lines = _capture_one(
        shell=shell,
        clock=clock,
        host=host,
        container=container,
        path=path,
        use_sudo=use_sudo,
        drain_seconds=timeout_seconds,
        hear=hear,
        ended=lambda _: True,
    )
    for kind in (LogEventKind.WAITING, LogEventKind.UNREADABLE):
        if kind in heard:
            reason = heard[kind].details.get("reason", f"there is no container {container!r}")
            raise EngineError(
                f"The log of {container} on {host.name} was not collected: {reason}. See `docker ps -a` there."
            )
    if LogEventKind.NOT_DRAINED in heard:
        lost = heard.get(LogEventKind.DISCONNECTED)
        if lost is not None and LogEventKind.CONNECTED not in heard:
            raise HostUnreachableError(
                f"The log of {container} was not collected: {host.name} did not answer within {timeout_seconds:g} s: "
                f"{lost.details['reason']}",
                host=host.name,
            )
        raise EngineError(
            f"The log of {container} on {host.name} was collected in part only: {heard[LogEventKind.NOT_DRAINED].details['reason']} "
            f"({timeout_seconds:g} s). What has landed is in {path}; collect again, and it goes on."
        )
    return lines


def stream_log(
    *,
    shell: RemoteShell,
    clock: Clock,
    host: Host,
    container: str,
    path: Path,
    use_sudo: bool,
    drain_seconds: float,
    stop: threading.Event | None,
) -> int:
    """Land a container's log as it comes, until `stop` is set, or (None) until the container has ended. Blocks; returns how many lines.

    A host that does not answer, and a container that does not exist yet, are waited for. One that is removed before its end was read has
    ended, too.

    Args:
        shell: reaches the host.
        clock: tells the time.
        host: where the container is.
        container: its name.
        path: the landed file; continued if it is there.
        use_sudo: whether docker needs sudo on the host.
        drain_seconds: how long, after the stop, to land what the engine still holds.
        stop: ends it.

    Raises:
        LogFileError: the file cannot be written.
        LogFileLockedError: another process captures into it.
    """
    return _capture_one(
        shell=shell,
        clock=clock,
        host=host,
        container=container,
        path=path,
        use_sudo=use_sudo,
        drain_seconds=drain_seconds,
        hear=lambda _: None,
        ended=_has_ended if stop is None else lambda _: stop.is_set(),
    )


def collect_cluster_logs(
    *,
    config: ClusterConfig,
    shell: RemoteShell,
    inventory: VmInventory,
    clock: Clock,
    output_dir: Path,
    controller_container: str,
    worker_container: str,
    on_event: Callable[[LogEvent], None] | None = None,
) -> list[str]:
    """Land what the logs of a cluster's main containers hold at this moment, within the config's `logs.drain_seconds`.

    Args:
        config: of the cluster.
        shell: reaches its hosts.
        inventory: knows them.
        clock: tells the time.
        output_dir: where logs are landed, as by `open_log_streaming`.
        controller_container: name of the controller's container.
        worker_container: name of the workers' containers.
        on_event: hears of every event of every source; must be quick.

    Returns:
        what could not be landed, for people; empty where all was.

    Raises:
        InventoryError: it is not known which hosts there are.
        LogFileError: `output_dir` cannot be made or written.
    """
    capture = ClusterCapture(
        config=config.logs,
        shell=shell,
        clock=clock,
        output_dir=output_dir,
        containers={HostRole.CONTROLLER: controller_container, HostRole.WORKER: worker_container},
        on_event=on_event,
    )
    slices = share_of(inventory.list_slices(), config.logs)
    capture.adopt(slices, inventory.find_controller() if has_controller(config.logs) else None)
    capture.drain()
    capture.pump.run_until_done()
    return capture.problems


def _capture_one(
    *,
    shell: RemoteShell,
    clock: Clock,
    host: Host,
    container: str,
    path: Path,
    use_sudo: bool,
    drain_seconds: float,
    hear: Callable[[LogEvent], None],
    ended: Callable[[Machine], bool],
) -> int:
    pump = LogPump(shell, clock, hear)
    file = LandedFile(path)
    try:
        slot = pump.add(path.stem, host, container, file, use_sudo=use_sudo)
        while not (ended(slot.machine) or slot.done):  # a fault ends it, too
            seconds = pump.step()
            clock.wait(pump.wake, _STOP_POLL_SECONDS if seconds is None else min(seconds, _STOP_POLL_SECONDS))
        pump.drain([slot], drain_seconds)
        pump.run_until_done()
        if slot.fault is not None:
            raise slot.fault
        return slot.lines_landed
    finally:  # Ctrl-C leaves neither a process nor a lock behind
        for left in pump.slots:
            left.inbox.close()
        file.close()


def _has_ended(machine: Machine) -> bool:
    return isinstance(machine, LogSource) and machine.ended
