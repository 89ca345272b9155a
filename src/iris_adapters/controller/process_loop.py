"""The one thread that starts, reads, signals and reaps the processes of the local engine."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from iris_adapters.controller.replica_process import ReplicaProcess

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from iris_core.ports.clock import Clock

_log = logging.getLogger("iris.controller")

_LAST_DRAIN_SECONDS = 0.5  # after SIGKILL; only a process that left the group can still hold the pipe then


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A replica that is to run, or runs: what to start, and where it counts."""

    job_id: str
    index: int
    worker_id: str
    millicpus: int
    entrypoint: str
    env: Mapping[str, str] = field(repr=False, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the loop is to do next.

    Attributes:
        start: replicas to start, in this order.
        end: ids of the jobs whose replicas are to be ended; those that are on their way already are not bothered again.
        leave: whether the loop is to leave once nothing runs any more.
    """

    start: Sequence[Replica]
    end: Collection[str]
    leave: bool


class LoopOwner(Protocol):
    """Whom the loop asks and tells. All calls come from the loop's thread, one after another."""

    def plan(self, running: Sequence[Replica]) -> Plan:
        """What is to be done, now that these run. Asked once after each `wake`."""
        ...

    def on_lines(self, replica: Replica, lines: Sequence[str]) -> None:
        """The replica has printed these lines (at least one)."""
        ...

    def on_exit(self, replica: Replica, exit_code: int) -> None:
        """The replica has exited, all its lines have been told, and nothing of its process group is left."""
        ...

    def on_start_failure(self, replica: Replica, error: OSError) -> None:
        """The replica could not be started."""
        ...

    def on_loop_failure(self, error: Exception) -> None:
        """The loop has failed; every replica has been killed and told of, and none will be started again."""
        ...


@dataclass(slots=True, eq=False)
class _Running:
    """The deadlines are on the clock's monotonic scale."""

    replica: Replica
    process: ReplicaProcess
    kill_at: float | None = None  # SIGTERM has been sent; SIGKILL follows then
    drain_until: float | None = None  # the process has exited; its output is waited for until then
    killed: bool = False
    output_ended: bool = False
    finished: bool = False


class ProcessLoop:
    """Runs replicas. `wake` and `join` may be called from any thread; everything else happens on the loop's own.

        event                      then
        asked to end               SIGTERM for the group; `stop_grace_seconds` later SIGKILL
        the process exits          what is left of its group may go on writing for `drain_seconds` (when being ended: for the
                                   rest of the grace); then SIGKILL for the group
        exited and output ended    SIGKILL for the group, reap, tell the owner
        killed, exited, and the    as above: a process that has left the group (setsid) may hold the pipe for ever
        pipe is still held

    Args:
        owner: whom to ask and tell.
        clock: what the deadlines are measured by. What is waited for is bytes, exits and wake-ups, until the next deadline.
        stop_grace_seconds: see above.
        drain_seconds: see above.
    """

    def __init__(self, owner: LoopOwner, clock: Clock, *, stop_grace_seconds: float, drain_seconds: float) -> None:
        self._owner = owner
        self._clock = clock
        self._stop_grace_seconds = stop_grace_seconds
        self._drain_seconds = drain_seconds
        self._running: list[_Running] = []
        self._woken = False
        self._leave = False
        self._wake_lock = threading.Lock()  # so that nobody writes to a descriptor that was closed and given to another
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)
        self._wake_open = True
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_reader, selectors.EVENT_READ, self._on_wake)
        self._thread = threading.Thread(target=self._run, name="iris-local-engine", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Have the owner asked for a plan, soon."""
        with self._wake_lock:
            if self._wake_open:
                with suppress(BlockingIOError):  # the pipe is full of wake-ups
                    os.write(self._wake_writer, b"!")

    def join(self) -> None:
        """Wait until the loop has left."""
        self._thread.join()

    def _run(self) -> None:
        try:
            while not (self._leave and not self._running):
                self._turn()
        except Exception as error:  # noqa: BLE001 - whatever it was: no process may stay behind, and no job hang
            _log.exception("the local engine failed; its jobs are ended")
            for running in tuple(self._running):
                running.process.signal_group(signal.SIGKILL)
                with suppress(Exception):
                    self._finish(running)
            self._owner.on_loop_failure(error)
        finally:
            with self._wake_lock:
                self._wake_open = False
                os.close(self._wake_reader)
                os.close(self._wake_writer)
            self._selector.close()

    def _turn(self) -> None:
        """Wait for bytes, exits, a wake-up or a deadline, and do what follows."""
        for key, _ in self._selector.select(self._seconds_to_deadline()):
            key.data()
        self._enforce_deadlines()
        if self._woken:
            self._woken = False
            plan = self._owner.plan([running.replica for running in self._running])
            for replica in plan.start:
                self._start(replica)
            for running in self._running:
                if running.kill_at is None and running.replica.job_id in plan.end:
                    self._ask_to_end(running)
            self._leave = plan.leave

    def _on_wake(self) -> None:
        os.read(self._wake_reader, 4096)
        self._woken = True

    def _start(self, replica: Replica) -> None:
        try:
            process = ReplicaProcess(replica.entrypoint, replica.env)
        except OSError as error:
            self._owner.on_start_failure(replica, error)
            return
        running = _Running(replica, process)
        self._running.append(running)
        self._selector.register(process.output_fd, selectors.EVENT_READ, partial(self._on_output, running))
        self._selector.register(process.exit_fd, selectors.EVENT_READ, partial(self._on_exit, running))

    def _ask_to_end(self, running: _Running) -> None:
        running.kill_at = self._clock.monotonic() + self._stop_grace_seconds
        if running.drain_until is not None and not running.killed:
            running.drain_until = max(running.drain_until, running.kill_at)
        running.process.signal_group(signal.SIGTERM)
        running.process.signal_group(signal.SIGCONT)  # a stopped process would hear of SIGTERM only then

    def _on_output(self, running: _Running) -> None:
        if running.finished:
            return  # earlier in this round
        lines, running.output_ended = running.process.read()
        self._tell_lines(running, lines)
        if running.output_ended:
            self._selector.unregister(running.process.output_fd)
            if running.drain_until is not None:
                self._finish(running)

    def _on_exit(self, running: _Running) -> None:
        self._selector.unregister(running.process.exit_fd)
        now = self._clock.monotonic()
        if running.killed:
            running.drain_until = now + _LAST_DRAIN_SECONDS
        else:
            running.drain_until = max(now + self._drain_seconds, running.kill_at or now)
        if running.output_ended:
            self._finish(running)

    def _seconds_to_deadline(self) -> float | None:
        deadlines = [
            deadline
            for running in self._running
            for deadline in (None if running.killed else running.kill_at, running.drain_until)
            if deadline is not None
        ]
        return max(0.0, min(deadlines) - self._clock.monotonic()) if deadlines else None

    def _enforce_deadlines(self) -> None:
        now = self._clock.monotonic()
        for running in tuple(self._running):
            drained = running.drain_until is not None and running.drain_until <= now
            if running.killed and drained:
                self._finish(running)
            elif not running.killed and (drained or (running.kill_at is not None and running.kill_at <= now)):
                running.killed = True
                running.process.signal_group(signal.SIGKILL)
                if running.drain_until is not None:
                    running.drain_until = now + _LAST_DRAIN_SECONDS

    def _finish(self, running: _Running) -> None:
        """The process has exited, and its output has ended or was waited for long enough."""
        running.finished = True
        self._running.remove(running)
        for descriptor in (running.process.output_fd, running.process.exit_fd):
            with suppress(KeyError):  # unregistered when it ended
                self._selector.unregister(descriptor)
        lines, exit_code = running.process.finish()
        self._tell_lines(running, lines)
        self._owner.on_exit(running.replica, exit_code)

    def _tell_lines(self, running: _Running, lines: Sequence[str]) -> None:
        if lines:
            self._owner.on_lines(running.replica, lines)
