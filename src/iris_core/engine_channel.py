"""A log source's one channel to a Docker engine: waiting, asking, reading, as steps of its state machine. No I/O.

A step is a generator: it appends what is to be done to `actions`, and is sent what happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from iris_core import docker_logs
from iris_core.container_state import ContainerState, names_of, started_again
from iris_core.engine_api import HttpReply, Message
from iris_core.errors import EngineError
from iris_core.log_cursor import Anchor
from iris_core.log_lines import NO_LINES, Lines
from iris_core.log_protocol import Close, Ended, Open, ReadTail, Received, Send, TailRead, Woken
from iris_core.log_reply import LogReply

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from iris_core.log_cursor import Finder, Tail
    from iris_core.log_protocol import Action, Event

REPLY_SECONDS: Final = 60.0  # for the next bytes of an answer; a scan of 2 million entries took 2.8 s
_REMEMBER_SECONDS: Final = 1.0  # for the engine to tell what it remembers; what it has forgotten does not come
_DRAIN_SECONDS: Final = 0.5  # between the attempts of a source that shall finish
_MOST_STDERR_BYTES: Final = 2000
_OK: Final = 200
_NOT_FOUND: Final = 404


class LostError(Exception):
    """The channel is of no more use; the text says why."""


class PlentyError(Exception):
    """An answer brings so much, so fast, that another way to the log may be better. It was not read to its end."""


@dataclass(slots=True)
class Outcome:
    """How a read went.

    Attributes:
        served: how many lines came.
        landed: how many of them were landed.
        found: whether the place to land from was among them (or none was looked for).
        complete: whether the read's end was proven.
    """

    served: int = 0
    landed: int = 0
    found: bool = False
    complete: bool = False


class EngineChannel:
    """The channel, and the waiting on it.

    Args:
        argv: the command that joins its stdin and stdout to the engine.

    Attributes:
        now: seconds of the clock, set by the source before each step.
        draining: whether waiting is to end because the source shall finish.
        wake_at: when the next step is due if nothing happens.
        actions: what is to be done.
    """

    __slots__ = ("_argv", "_stderr", "actions", "draining", "now", "wake_at")

    def __init__(self, argv: list[str]) -> None:
        self.now = 0.0
        self.draining = False
        self.wake_at: float | None = None
        self.actions: list[Action] = []
        self._argv = tuple(argv)
        self._stderr = bytearray()

    def open(self) -> None:
        """Open it, or open it anew."""
        self._stderr.clear()
        self.actions.append(Open(self._argv, docker_logs.ENGINE_SOCKET))

    def close(self) -> None:
        """Close it."""
        self.actions.append(Close())

    def reopen(self) -> None:
        """Close it and open it anew: what is under way on it is not wanted any more."""
        self.close()
        self.open()

    def take_actions(self) -> list[Action]:
        """What is to be done, once."""
        actions, self.actions = self.actions, []
        return actions

    def complained(self, data: bytes) -> None:
        """Take what came on standard error: it explains an end."""
        self._stderr += data
        del self._stderr[:-_MOST_STDERR_BYTES]

    def event(self, seconds: float, *, until_drain: bool = False) -> Generator[None, Event, Event | None]:
        """The next event; None when the time ran out, or (`until_drain`) when the source is to finish."""
        wake_at = self.wake_at = self.now + seconds
        while True:
            if until_drain and self.draining:
                return None
            event = yield
            if not isinstance(event, Woken):
                return event
            if self.now >= wake_at:
                return None

    def sleep(self, seconds: float, *, connected: bool) -> Generator[None, Event, None]:
        """Wait, or until the source is to finish.

        Raises:
            LostError: the channel ended meanwhile, and the source wants it (`connected`).
        """
        until = self.now + seconds
        until_drain = connected or not self.draining  # a source that shall finish must not retry in a hot loop
        while self.now < until:
            event = yield from self.event(until - self.now, until_drain=until_drain)
            if event is None:
                return
            if connected and isinstance(event, Ended):
                raise LostError(self._why(event))

    def wait_to_retry(self, seconds: float) -> Generator[None, Event, None]:
        """Wait before the channel is opened anew: for a shorter time where the source shall finish, and until it shall."""
        yield from self.sleep(min(seconds, _DRAIN_SECONDS) if self.draining else seconds, connected=False)

    def run(self, argv: list[str], take: Callable[[bytes], None]) -> Generator[None, Event, None]:
        """Run a command on the host in place of what is open, until it ends; `take` is handed what it prints.

        Raises:
            LostError: the host was lost, or the command fell silent.
            EngineError: it failed.
        """
        self._stderr.clear()
        self.actions.append(Open(tuple(argv), ""))
        while True:
            event = yield from self.event(REPLY_SECONDS)
            match event:
                case Received(data):
                    take(data)
                case Ended(status=0, reason=None):
                    return
                case Ended(status=int(status), reason=None):
                    said = bytes(self._stderr).decode(errors="replace").strip()
                    raise EngineError(f"{' '.join(argv)} ended with status {status}: {said}")
                case Ended(reason=reason):
                    raise LostError(reason or "the connection to the host was lost")
                case _:
                    raise LostError(f"{argv[0]} on the host fell silent for {REPLY_SECONDS:.0f} s")

    def inspect(self, container: str) -> Generator[None, Event, ContainerState | None]:
        """The state of a container, by name or id; None if there is none.

        Raises:
            LostError: no answer.
            EngineError: a refusal.
        """
        message = yield from self._message(docker_logs.inspect_request(container))
        if message.reply.status == _NOT_FOUND:
            return None
        if message.reply.status != _OK:
            raise message.problem()
        return ContainerState.from_json(message.json())

    def names(self, label: str) -> Generator[None, Event, tuple[frozenset[str], int | None]]:
        """The names of the containers, running or not, that bear a label, and when the engine told them (`HttpReply.date`).

        Raises:
            LostError: no answer.
            EngineError: a refusal.
        """
        message = yield from self._message(docker_logs.list_request(label))
        if message.reply.status != _OK:
            raise message.problem()
        return names_of(message.json()), message.reply.date

    def may_have_started_again(self, container_id: str, finished_at: str) -> Generator[None, Event, bool]:
        """Whether a container that is removed may have been started between that end and its removal. The channel is then a new one.

        Raises:
            LostError: the channel ended.
        """
        again: bool | None = None
        self.actions.append(Send(docker_logs.starts_request(container_id)))
        until = self.now + _REMEMBER_SECONDS
        message = Message(HttpReply())
        while again is None and not message.reply.complete:
            data = yield from self._bytes(until - self.now)
            if data is None:
                break
            message.add(message.reply.feed(data))
            again = started_again(message.body, finished_at) if message.reply.status in {0, _OK} else True
        self.reopen()
        return again is not False

    def await_change(
        self, label: str, since: int | None, seconds: float, listening: Callable[[], None]
    ) -> Generator[None, Event, bool]:
        """Wait until something happens to containers that bear a label, for so long at most; returns whether it has.

        The channel is of no use afterwards.

        Args:
            label: see `docker_logs.changes_request`.
            since: see there.
            seconds: for so long.
            listening: called when the engine has said that it will tell.

        Raises:
            LostError: the channel ended.
            EngineError: a refusal.
        """
        self.actions.append(Send(docker_logs.changes_request(label, since)))
        until = self.now + seconds
        reply = HttpReply()
        refusal = Message(reply)
        while not reply.complete:
            data = yield from self._bytes(until - self.now, until_drain=True)
            if data is None:
                return False
            pieces = reply.feed(data)
            refusal.add(pieces)
            if reply.status == _OK:
                if pieces:
                    return True
                listening()
        if reply.status != _OK:
            raise refusal.problem()
        return True

    def _message(self, request: bytes) -> Generator[None, Event, Message]:
        """Ask for something that is read whole."""
        self.actions.append(Send(request))
        message = Message(HttpReply())
        while not message.reply.complete:
            data = yield from self._bytes(REPLY_SECONDS)
            if data is None:
                raise LostError(f"the Docker engine did not answer within {REPLY_SECONDS:.0f} s")
            message.add(message.reply.feed(data))
        return message

    def anchor(self) -> Generator[None, Event, Anchor | None]:
        """The last landed entry, None where nothing has landed of this container."""
        tail = yield from self.tail()
        return Anchor.at_end_of(tail)

    def tail(self) -> Generator[None, Event, Tail]:
        """The last landed entries of this container."""
        self.actions.append(ReadTail())
        event = yield
        if not isinstance(event, TailRead):
            raise TypeError(f"a source that asked for the landed tail was told {event!r}")
        return event.tail

    def read(
        self,
        state: ContainerState,
        finder: Finder | None,
        land: Callable[[Lines], None],
        *,
        tail: int | None,
        follow_seconds: float | None = None,
        plenty: Callable[[int, float], bool] | None = None,
    ) -> Generator[None, Event, Outcome]:
        """Read log entries and land those from the place on that is found (all, where none is looked for).

        Args:
            state: of the container.
            finder: finds it.
            land: takes the lines to land, in order.
            tail: how many of the last entries to ask for.
            follow_seconds: None: a read that ends. Else it goes on when all is read, until nothing comes for so long; it also ends, not
                complete, when the place was not found among the last `tail` entries, and when the source is to finish.
            plenty: says, of how many bytes have come at which time, whether to break off.

        Raises:
            PlentyError: it said so; the channel is of no use then.
            LostError: the channel ended or fell silent before the answer was complete.
            EngineError: a refusal, or no log.
        """
        follow = follow_seconds is not None
        self.actions.append(Send(docker_logs.logs_request(state.id, follow=follow, tail=tail)))
        outcome = Outcome(found=finder is None)
        reply = LogReply(tty=state.tty)
        while not reply.complete:
            data = yield from self._bytes(
                REPLY_SECONDS if follow_seconds is None else follow_seconds, until_drain=follow
            )
            if data is None:
                if follow:
                    return outcome
                raise LostError(f"the Docker engine fell silent for {REPLY_SECONDS:.0f} s in the middle of an answer")
            lines = reply.feed(data)
            outcome.served += lines.count
            if finder is not None:
                served = lines.apart()
                index = finder.find(served)
                if index is not None:
                    outcome.found = True
                    finder = None  # a follow may go on for months
                    lines = Lines.of(served[index:])
                else:
                    if follow and tail is not docker_logs.ALL and outcome.served >= tail:
                        return outcome
                    lines = NO_LINES
            if lines.count:
                land(lines)
                outcome.landed += lines.count
            # What a follow begins with has landed, but for its end.
            if plenty is not None and plenty(len(lines.data if follow else data), self.now) and not reply.complete:
                raise PlentyError
        reply.check()
        outcome.complete = True
        return outcome

    def _bytes(self, seconds: float, *, until_drain: bool = False) -> Generator[None, Event, bytes | None]:
        """The next bytes; None when the time ran out, or when the source is to finish."""
        wake_at = self.wake_at = self.now + seconds  # as `event`, without its generator: most lines come one by one
        while not (until_drain and self.draining):
            event = yield
            match event:
                case Received(data):
                    return data
                case Ended():
                    raise LostError(self._why(event))
                case Woken() if self.now < wake_at:
                    pass
                case _:
                    return None
        return None

    def _why(self, event: Ended) -> str:
        if event.reason is not None:
            return event.reason
        said = bytes(self._stderr).decode(errors="replace").strip()
        if event.status == 0 and not said:
            return "the Docker engine closed the connection"
        reason = f"{' '.join(self._argv)} ended with status {event.status}" + (f": {said}" if said else "")
        if "permission denied" in said.lower() and "docker" in said.lower():
            reason += (
                ". The login user may not reach the engine: set logs.use_sudo, or add the user to the docker group."
            )
        elif "sudo:" in said:
            reason += ". The login user may not use sudo without a password: allow it, or set logs.use_sudo to false."
        return reason
