"""One source of log lines as a state machine: connect, inspect, read, land, resume. It does no I/O and owns no thread.

It is told what happened (`Received`, `Ended`, `Woken` …) and answers with what to do (`Open`, `Send`, `Land` …), in order. Whoever drives
it carries out all of that before telling it the next thing, however long it takes: so a line counts as landed only when it is, and the
end of the landed file is the only cursor there is.

The loop, where SNAPSHOT is a read that ends, and is complete only with the proof of its end (the HTTP body's final chunk):

    open a channel to the engine
    inspect the container by name         no such container: tell once, look again later
      another id than before              take the rest of the old one if it is still there, tell, begin a new life
    SNAPSHOT the last 64 or 512 entries, then 8 times as many …, then all, until the last landed entry is among them; land what follows it
      a complete SNAPSHOT of all without it: lines have been rotated away; tell the gap, land all
    it does not run: finished after two empty, complete SNAPSHOTs; look again later
    it is removed: its end is verified if the engine knows that it was not started again after it had finished
    its log may rotate: SNAPSHOT again soon (a follow loses lines when the log rotates under it); when that has found nothing for some
      seconds, follow until something comes, and leave that for a SNAPSHOT
    else: follow from the last landed entry; SNAPSHOT again when the follow ends or falls silent
    a log in one file for ever, with much to be read: take that from the file (`json_file_reading`), then SNAPSHOT
    anything breaks: tell, wait, begin again
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iris_core import docker_logs
from iris_core.backoff import Backoff, RepeatedFailure
from iris_core.engine_channel import EngineChannel, LostError
from iris_core.errors import EngineError
from iris_core.log_events import LogEventKind
from iris_core.log_protocol import BeginLife, Complained, Note, Woken
from iris_core.log_reading import LogReading

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from iris_core.container_state import ContainerState
    from iris_core.event_record import Life
    from iris_core.log_protocol import Action, Event

# Seconds.
_TOLD_SILENCE: Final = 300.0  # without a line, before it is told
_FIRST_POLL: Final = 0.25  # between SNAPSHOTs of a log that may rotate; doubled while they find nothing
_MOST_POLL: Final = 2.0  # after which it is waited for a ring instead
_SELDOM: Final = 5.0  # from ring to ring: after a ring that has come so late, it is waited for the next one at once
_LOOK_AGAIN: Final = 2.0  # for a container that is not there or has ended
_REFUSED: Final = 30.0  # before an engine that would not give the log is asked again

_GONE: Final = frozenset({404, 409})  # the answers for a container that is removed, and for one that is being removed
_NEVER: Final = _GONE | {501}  # for one whose log driver cannot be read, too
_EMPTY_SNAPSHOTS: Final = 2  # of a container that does not run, before its log counts as complete


class _BrokenOffError(Exception):
    """The engine broke off a log, which has been told; the channel is of no more use."""


class LogSource:
    """The capture of one container's log, by the container's name.

    Args:
        container: its name.
        use_sudo: whether docker needs sudo on the host.
        life: which container the end of the landed file is of, None where nothing has landed.
        jitter: gives numbers from 0 to 1, to spread the retries of many sources.

    Attributes:
        finished: it has drained and wants nothing any more.
        connected: whether the engine answers at present.
        ended: whether the container has ended and all of its log has landed, or it was removed after this source had seen it.
    """

    __slots__ = (
        "_backoff",
        "_channel",
        "_container",
        "_container_id",
        "_empty_snapshots",
        "_finished_at",
        "_left",
        "_log_complete",
        "_poll",
        "_reading",
        "_repeated_failure",
        "_seen",
        "_seldom",
        "_started_at",
        "_steps",
        "_told",
        "connected",
        "ended",
        "finished",
    )

    def __init__(self, *, container: str, use_sudo: bool, life: Life | None, jitter: Callable[[], float]) -> None:
        self.finished = False
        self.connected = False
        self.ended = False
        self._container = container
        self._channel = EngineChannel(docker_logs.engine_argv(use_sudo=use_sudo))
        self._container_id = life.container_id if life else ""
        self._started_at = life.started_at if life else ""
        self._reading = LogReading(self._channel, self._tell, use_sudo=use_sudo)
        self._backoff = Backoff(jitter)
        self._repeated_failure = RepeatedFailure()  # with a log that breaks off
        self._told: set[LogEventKind] = set()  # what was told of the present state of affairs, so that it is told once
        self._log_complete = life is not None and life.complete  # it does not run, and all of its log has landed
        self._finished_at = life.finished_at if life else ""
        self._left = False  # the life is over, and what is to be told of its end has been
        self._seen = False  # there has been a container of this name since the source began
        self._poll = _FIRST_POLL
        self._seldom = False
        self._empty_snapshots = 0  # in a row
        self._steps = self._run()

    @property
    def wake_at(self) -> float | None:
        """When it wants to be `Woken` at the latest, in seconds of the clock that it is told; None: not."""
        return None if self.finished else self._channel.wake_at

    def begin(self, now: float) -> list[Action]:
        """Begin; `now` in seconds of a monotonic clock. Returns what to do."""
        self._channel.now = self._reading.last_line_at = now
        next(self._steps)
        return self._channel.take_actions()

    def receive(self, event: Event, now: float) -> list[Action]:
        """Be told what happened, and return what to do about it."""
        if self.finished:
            return []
        channel = self._channel
        channel.now = now
        if isinstance(event, Complained):
            channel.complained(event.data)
            return []
        try:
            self._steps.send(event)
        except StopIteration:
            self.finished = True
        return channel.take_actions()

    def drain(self, now: float) -> list[Action]:
        """Take what the engine has at this moment, then finish. Returns what to do."""
        self._channel.draining = True
        return self.receive(Woken(), now)

    def _tell(self, kind: LogEventKind, **details: object) -> None:
        self._channel.actions.append(Note(kind, details))

    def _tell_once(self, kind: LogEventKind, **details: object) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self._tell(kind, **details)

    def _run(self) -> Generator[None, Event, None]:
        while True:
            before = self._reading.lines_landed
            try:
                yield from self._capture()
            except _BrokenOffError:
                pass
            except (LostError, EngineError) as error:
                self._lost(str(error))
            else:
                self._tell(LogEventKind.DRAINED, lines=self._reading.lines_landed)
                self._channel.close()
                return
            self._channel.close()
            if self._reading.lines_landed > before:
                self._backoff.succeeded()
            yield from self._channel.wait_to_retry(self._backoff.failed(self._channel.now))

    def _lost(self, reason: str) -> None:
        self.connected = False
        self._told.discard(LogEventKind.CONNECTED)
        self._tell_once(LogEventKind.DISCONNECTED, reason=reason)

    def _capture(self) -> Generator[None, Event, None]:
        """Capture until drained.

        Raises:
            LostError, EngineError, _BrokenOffError: begin again with a new channel.
        """
        self._backoff.attempted(self._channel.now)
        self._channel.open()
        while True:
            last_round = (
                self._channel.draining
            )  # else what comes between its read and the request to drain would be missed
            state = yield from self._channel.inspect(self._container)
            self._answered()
            landed: int | None = 0
            if state is None:
                yield from self._leave_life()
                self._tell_once(LogEventKind.WAITING, container_name=self._container)
                self.ended = self._seen
            else:
                self._seen = True
                yield from self._enter_life(state)
                if state.running or not self._log_complete:
                    landed = yield from self._take(state)
                self.ended = state.was_started and not state.running and self._log_complete
            self._backoff.succeeded()
            if last_round and self._at_rest(state, landed):
                return
            try:
                yield from self._wait_for_more(state, landed)
            except EngineError as error:
                if error.status is not None:
                    raise
                raise self._broken_off(error) from error
            self._check_silence()

    def _take(self, state: ContainerState) -> Generator[None, Event, int | None]:
        """Land what there is; returns how many lines, or None where the engine refused to give the log.

        Raises:
            LostError: the channel ended.
            _BrokenOffError: the engine broke off the log.
        """
        try:
            landed = yield from self._reading.snapshot(state, leave_out=self._repeated_failure.for_good)
        except EngineError as error:
            if error.status is None:
                raise self._broken_off(error) from error
            if error.status not in _GONE:
                self._tell_once(LogEventKind.UNREADABLE, reason=str(error))
            return None
        self._repeated_failure.succeeded()
        self._told.discard(LogEventKind.UNREADABLE)
        self._empty_snapshots = 0 if landed else self._empty_snapshots + 1
        if not state.running and self._empty_snapshots >= _EMPTY_SNAPSHOTS:
            self._log_complete, self._finished_at = True, state.finished_at
            if state.was_started:
                self._tell_once(
                    LogEventKind.EXITED,
                    exit_code=state.exit_code,
                    oom_killed=state.oom_killed,
                    finished_at=state.finished_at,
                )
        return landed

    def _broken_off(self, error: EngineError) -> _BrokenOffError:
        """Tell of a log that cannot be read now, and count how often it could not at the same place."""
        self._tell_once(LogEventKind.UNREADABLE, reason=str(error))
        self._repeated_failure.failed((self._container_id, self._reading.lines_landed), self._channel.now)
        return _BrokenOffError()

    def _at_rest(self, state: ContainerState | None, landed: int | None) -> bool:
        """Whether all that the engine has to give at this moment has been taken."""
        if landed is None:
            return LogEventKind.UNREADABLE in self._told
        return state is None or state.running or self._log_complete

    def _wait_for_more(self, state: ContainerState | None, landed: int | None) -> Generator[None, Event, None]:
        if landed is None:
            seconds = _REFUSED if LogEventKind.UNREADABLE in self._told else _FIRST_POLL
            yield from self._channel.sleep(seconds, connected=True)
        elif state is None or (self._log_complete and not state.running):
            yield from self._channel.sleep(_LOOK_AGAIN, connected=True)
        elif not state.running:
            return
        elif state.can_rotate:
            yield from self._wait_for_rotating(state, landed)
        else:
            yield from self._reading.follow(state)

    def _wait_for_rotating(self, state: ContainerState, landed: int) -> Generator[None, Event, None]:
        """Wait until a log that may rotate is to be looked at again: soon after something has come, else when the doorbell rings."""
        expects_more = landed and not (self._seldom and self._reading.landed_little)
        self._poll = _FIRST_POLL if expects_more else self._poll * 2
        self._seldom = False
        if self._poll <= _MOST_POLL:
            yield from self._channel.sleep(self._poll, connected=True)
            return
        before = self._channel.now
        rung = yield from self._reading.await_ring(state)
        self._seldom = rung and self._channel.now - before >= _SELDOM
        self._poll = _FIRST_POLL if rung and not self._seldom else _MOST_POLL

    def _answered(self) -> None:
        self.connected = True
        self._told.discard(LogEventKind.DISCONNECTED)
        self._tell_once(LogEventKind.CONNECTED)

    def _check_silence(self) -> None:
        seconds = self._channel.now - self._reading.last_line_at
        if seconds < _TOLD_SILENCE:
            self._told.discard(LogEventKind.SILENT)
        else:
            self._tell_once(LogEventKind.SILENT, seconds=round(seconds))

    # Lives: a container, from one start of it to the next.

    def _enter_life(self, state: ContainerState) -> Generator[None, Event, None]:
        self._told.discard(LogEventKind.WAITING)
        if state.id == self._container_id:
            self._left = False  # it may have been renamed, and have its name again
            self._told.discard(LogEventKind.UNVERIFIED_TAIL)
            if state.started_at == self._started_at:
                return
        details: dict[str, object] = {"log_driver": state.log_driver, "can_rotate": state.can_rotate, "tty": state.tty}
        if state.id == self._container_id:
            kind = LogEventKind.RESTARTED
        elif not self._container_id:
            kind = LogEventKind.STARTED
        else:
            yield from self._leave_life()
            kind = LogEventKind.RECREATED
        self._container_id, self._started_at = state.id, state.started_at
        self._log_complete = self._left = False
        self._empty_snapshots = 0
        self._reading.begin_life()
        self._told -= {LogEventKind.EXITED, LogEventKind.UNREADABLE, LogEventKind.UNVERIFIED_TAIL}
        self._channel.actions.append(BeginLife(kind, state.id, state.started_at, details))

    def _leave_life(self) -> Generator[None, Event, None]:
        """The container no longer bears the name: take what is left of its log, if it is still there under another one."""
        if not self._container_id or self._left:
            return
        for_good = self._repeated_failure.for_good
        try:
            proven = yield from self._take_the_rest(leave_out=for_good)
        except EngineError as error:
            if error.status not in _NEVER and not for_good:
                raise self._broken_off(error) from error  # the new container waits: its lines would lie before the rest
            proven = False
            if error.status is None:
                self._channel.reopen()
        self._repeated_failure.succeeded()
        if not proven:
            self._tell_once(LogEventKind.UNVERIFIED_TAIL, container=self._container_id)
        self._left = True

    def _take_the_rest(self, *, leave_out: bool) -> Generator[None, Event, bool]:
        """Land what is left of the log of the container whose life is over; returns whether that is proven to be all."""
        state = yield from self._channel.inspect(self._container_id)
        if state is not None:
            yield from self._reading.snapshot(state, leave_out=leave_out)
            return not state.running
        # It may have been started, have written and been removed since its log was seen to be complete.
        if not self._log_complete:
            return False
        again = yield from self._channel.may_have_started_again(self._container_id, self._finished_at)
        return not again
