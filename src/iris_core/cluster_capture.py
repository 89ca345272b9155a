"""Which logs of a cluster are captured, and where they land: begins and retires sources as hosts and containers come and go."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from iris_core.errors import LogError, LogFileLockedError
from iris_core.log_events import LogEventKind
from iris_core.log_file import LandedFile
from iris_core.log_paths import container_path, containers_dir, fresh_path, host_path, make_output_dir, name_of
from iris_core.log_pump import LogPump
from iris_core.log_reader import has_open_end
from iris_core.model import HostRole
from iris_core.worker_discovery import GONE, decide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from iris_core.config import LogConfig
    from iris_core.log_events import LogEvent
    from iris_core.log_pump import CaptureSlot
    from iris_core.model import ControllerVm, Host, Slice
    from iris_core.ports.clock import Clock
    from iris_core.ports.remote_shell import RemoteShell

_logger = logging.getLogger("iris.logs")

_MOST_TOLD: Final = 100  # of the sources that could not be drained
_GONE_SECONDS: Final = 5.0  # for the last lines of a host that is no longer listed


class _HostCapture:
    """What is captured of one host: its main container, the watch for further ones, and these."""

    def __init__(self, host: Host, main: CaptureSlot | None) -> None:
        self.host = host
        self.main = main
        self.watch: CaptureSlot | None = None
        self.others: dict[str, CaptureSlot] = {}
        self.names: frozenset[str] = frozenset()  # of the further containers that are there
        self.listed = False  # they are known
        self.retired = False
        self.lost = ""  # what became of its machine, as far as that is known

    @property
    def came_back(self) -> bool:
        """Whether a container is there again under the name of one whose source had not finished when that was seen, and has now."""
        if not self.others or self.retired:  # as a rule, and asked of every host
            return False
        return any(slot.done and slot.fault is None and name in self.names for name, slot in self.others.items())

    @property
    def lacks_some(self) -> bool:
        """Whether a container is there that is not captured: its file could not be opened."""
        return not (self.retired or self.names <= self.others.keys())

    @property
    def slots(self) -> list[CaptureSlot]:
        """All that is not done."""
        return [slot for slot in (self.main, self.watch, *self.others.values()) if slot is not None and not slot.done]


class ClusterCapture:
    """The capture of a cluster's logs. Everything but `discovered_workers` is for one thread.

    Args:
        config: how logs are landed.
        shell: reaches the hosts.
        clock: tells the time.
        output_dir: where logs are landed.
        containers: the name of the main container of each kind of host.
        on_event: hears of every event of every source; must be quick.
        fresh: begin new files beside those that are there.

    Attributes:
        pump: moves the sources.
        discovered_workers: names of the worker hosts found so far; only ever added to.

    Raises:
        LogFileError: `output_dir` cannot be made or written.
    """

    def __init__(
        self,
        *,
        config: LogConfig,
        shell: RemoteShell,
        clock: Clock,
        output_dir: Path,
        containers: Mapping[HostRole, str],
        on_event: Callable[[LogEvent], None] | None = None,
        fresh: bool = False,
    ) -> None:
        make_output_dir(output_dir)
        self.pump = LogPump(shell, clock, self._hear)
        self.discovered_workers: dict[str, None] = {}
        self._config = config
        self._clock = clock
        self._output_dir = output_dir
        self._containers = containers
        self._on_event = on_event
        self._fresh = fresh
        self._paths: dict[Path, Path] = {}  # of this capture, where it begins new files
        self._hosts: dict[str, _HostCapture] = {}
        self._retired: list[_HostCapture] = []  # of these
        self._refused: dict[str, str] = {}  # whose file cannot be opened at present, and why
        self._told: set[str] = set()  # whose file could not be opened at some time
        self._not_freed_at: int | None = None  # how many sources had finished; None: look
        self._not_drained: list[str] = []
        self._more_not_drained = 0  # of a cluster with many preemptions there are more and more

    @property
    def problems(self) -> list[str]:
        """What is not landed, for people."""
        untold = self._more_not_drained
        more = [f"and {untold} more that were not drained: see their events"] if untold else []
        return [*(f"{name}: {reason}" for name, reason in self._refused.items()), *self._not_drained, *more]

    @property
    def freed(self) -> bool:
        """Whether a host or a container that is another one now has been taken leave of, so that the same answer can be adopted again.

        Asked whenever anything happens, so it must not look at every host unless a source has finished since.
        """
        if self._not_freed_at == self.pump.finished:
            return False
        freed = any(not one.slots for one in self._retired) or any(one.came_back for one in self._hosts.values())
        if not freed:
            self._not_freed_at = self.pump.finished
        return freed

    def adopt(self, slices: Iterable[Slice], controller: ControllerVm | None) -> None:
        """Begin and retire sources as one answer of the inventory says."""
        retired, self._retired = self._retired, []
        for one in retired:
            if one.slots:
                self._retired.append(one)
            else:
                del self._hosts[one.host.name]
        decision = decide({name: one.host for name, one in self._hosts.items()}, slices, controller)
        gone = frozenset(decision.retire)  # may be all that there were
        for name, one in self._hosts.items():
            self._lose(one, decision.lost.get(name, one.lost if name in gone else ""))
        for name in decision.retire:
            self._retire(self._hosts[name])
        for host in decision.start:
            self._start(host)
        for one in self._hosts.values():
            if one.came_back or one.lacks_some:
                self._found(one, one.names)

    def let_go(self, slice_name: str, reason: str) -> None:
        """Take leave of the hosts of a slice that is about to be deleted: their last lines are had within a few seconds, or not."""
        for one in self._hosts.values():
            if one.host.slice_name == slice_name:
                one.lost = reason
                self._retire(one)

    def has_let_go(self, slice_name: str) -> bool:
        """Whether nothing is captured of the hosts of a slice."""
        return not any(one.slots for one in self._hosts.values() if one.host.slice_name == slice_name)

    def drain(self) -> None:
        """Have every source take what its engine holds now, and finish, within the config's `drain_seconds`."""
        self.pump.drain(self.pump.slots, self._config.drain_seconds)

    def _start(self, host: Host) -> None:
        container = self._containers[host.role]
        try:
            path = host_path(self._output_dir, host)
            main = self._capture(host, container, path)
        except LogError as error:
            self._refuse(host.name, error)
            return  # to be tried again at the next answer
        self._refused.pop(host.name, None)
        one = self._hosts[host.name] = _HostCapture(host, main)
        if host.role is HostRole.WORKER:
            self.discovered_workers[host.name] = None
        if self._config.container_label is not None:
            one.watch = self.pump.watch(
                host,
                self._config.container_label,
                lambda names: self._found(one, names - {container}),
                use_sudo=self._config.use_sudo,
                beside=main,
            )

    def _capture(self, host: Host, container: str, path: Path) -> CaptureSlot:
        name = str(path.relative_to(self._output_dir).with_suffix(""))
        if self._fresh:
            path = self._paths.setdefault(path, fresh_path(path))
        return self.pump.add(name, host, container, LandedFile(path), use_sudo=self._config.use_sudo)

    def _found(self, one: _HostCapture, names: frozenset[str]) -> None:
        """Begin and retire the further containers of a host; those that are found when all is about to end, for the time that is left."""
        if not one.listed:
            one.listed = True
            self._take_leave(one, names)
        if names == one.names and names <= one.others.keys() and not one.came_back:
            return
        end_at = None if one.watch is None else one.watch.give_up_at
        drained = frozenset() if end_at is None else one.names  # or about to be: they are not begun anew
        one.names = names
        self._not_freed_at = None
        for name in [name for name, slot in one.others.items() if slot.done and name not in drained]:
            del one.others[name]
        self.pump.drain([slot for name, slot in one.others.items() if name not in names], _GONE_SECONDS)
        for name in sorted(names - one.others.keys()):
            full_name = f"{one.host.name}: {name}"
            try:
                path = container_path(self._output_dir, one.host, name)
                one.others[name] = self._capture(one.host, name, path)
            except LogError as error:
                self._refuse(full_name, error)
            else:
                self._refused.pop(full_name, None)
                if end_at is not None:
                    self.pump.drain([one.others[name]], end_at - self._clock.monotonic())

    def _take_leave(self, one: _HostCapture, names: frozenset[str]) -> None:
        """Take leave of the containers that an earlier iris captured and that are no longer there: what it did not land of them is told.

        By their ids: another one of the name may be there, without the label.
        """
        if self._fresh:
            return
        end_at = None if one.watch is None else one.watch.give_up_at
        for path in sorted(containers_dir(self._output_dir, one.host).glob("*.txt")):
            if name_of(path) in names:
                continue
            try:
                if has_open_end(path) and (slot := self._leave_by_id(one.host, path, end_at)) is not None:
                    one.others[path.stem] = slot
            except LogFileLockedError:
                pass  # whoever captures into it tells
            except LogError as error:
                self._refuse(f"{one.host.name}: {path.stem}", error)

    def _leave_by_id(self, host: Host, path: Path, end_at: float | None) -> CaptureSlot | None:
        file = LandedFile(path)
        if file.life is None:
            file.close()
            return None
        name = str(path.relative_to(self._output_dir).with_suffix(""))
        slot = self.pump.add(name, host, file.life.container_id, file, use_sudo=self._config.use_sudo)
        left = _GONE_SECONDS if end_at is None else end_at - self._clock.monotonic()
        self.pump.drain([slot], min(_GONE_SECONDS, left))
        return slot

    def _lose(self, one: _HostCapture, reason: str) -> None:
        """Tell of a machine that does not run any more, once for each time."""
        if reason and reason != one.lost and not one.retired and one.main is not None and not one.main.done:
            self.pump.tell(one.main, LogEventKind.HOST_LOST, {"reason": reason})
        if not one.retired:
            one.lost = reason

    def _retire(self, one: _HostCapture) -> None:
        if not one.retired:
            one.retired = True
            self._retired.append(one)
            self._not_freed_at = None
            if one.main is not None and not one.main.done:
                details: dict[str, object] = {"instance": one.host.instance_id, "reason": one.lost or GONE}
                self.pump.tell(one.main, LogEventKind.HOST_GONE, details)
            self.pump.drain(one.slots, _GONE_SECONDS)

    def _refuse(self, name: str, error: LogError) -> None:
        self._refused[name] = str(error)
        if name not in self._told:
            self._told.add(name)
            _logger.warning("The log of %r is not captured: %s", name, error)

    def _hear(self, event: LogEvent) -> None:
        if event.kind is LogEventKind.NOT_DRAINED:
            if len(self._not_drained) < _MOST_TOLD:
                self._not_drained.append(str(event))
            else:
                self._more_not_drained += 1
        if self._on_event is not None:
            try:
                self._on_event(event)
            except Exception:  # the caller's code: what is wrong with it must not cost lines
                _logger.exception("on_event failed for %s", event)
