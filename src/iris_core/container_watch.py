"""Which containers of a host bear a label: a state machine like a log source. It lists, then waits for the engine to tell of a change.

The engine is asked for what happened since it answered with the list, by its own clock. What it has forgotten or kept to itself is seen at
the next list, after a minute. Where the lists find no change that was not told of, they come less and less often: a list costs some
milliseconds, and there may be a thousand hosts.

Told to finish, it lists once more, unless it is waiting with nothing told: else a container of which it has not heard would be left out,
and nobody would be told of that either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iris_core import docker_logs
from iris_core.backoff import Backoff
from iris_core.engine_channel import EngineChannel, LostError
from iris_core.errors import EngineError
from iris_core.log_events import LogEventKind
from iris_core.log_protocol import Close, Complained, Found, Note, Woken

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from iris_core.log_protocol import Action, Event

_RELIST_SECONDS: Final = 60.0
_MOST_RELIST_SECONDS: Final = 960.0
_LEAST_SECONDS: Final = (
    1.0  # from a change to the list that shows it: hosts may make containers faster than one can list them
)


class ContainerWatch:
    """The containers of one host that bear a label.

    Args:
        label: `key` or `key=value`.
        use_sudo: whether docker needs sudo on the host.
        jitter: gives numbers from 0 to 1, to spread the retries of many.

    Attributes:
        finished: it wants nothing any more.
        connected: whether the engine answers at present.
    """

    __slots__ = ("_backoff", "_channel", "_label", "_steps", "_up_to_date", "connected", "finished")

    def __init__(self, *, label: str, use_sudo: bool, jitter: Callable[[], float]) -> None:
        self.finished = False
        self.connected = False
        self._label = label
        self._channel = EngineChannel(docker_logs.engine_argv(use_sudo=use_sudo))
        self._backoff = Backoff(jitter)
        self._up_to_date = False  # the engine tells of changes, and has told of none since the list
        self._steps = self._run()

    @property
    def wake_at(self) -> float | None:
        """When it wants to be `Woken` at the latest, in seconds of the clock that it is told; None: not."""
        return None if self.finished else self._channel.wake_at

    def begin(self, now: float) -> list[Action]:
        """Begin; `now` in seconds of a monotonic clock. Returns what to do."""
        self._channel.now = now
        next(self._steps)
        return self._channel.take_actions()

    def receive(self, event: Event, now: float) -> list[Action]:
        """Be told what happened, and return what to do about it."""
        if self.finished:
            return []
        self._channel.now = now
        if isinstance(event, Complained):
            self._channel.complained(event.data)
            return []
        try:
            self._steps.send(event)
        except StopIteration:
            self.finished = True
        return self._channel.take_actions()

    def drain(self, now: float) -> list[Action]:
        """Tell what is there at this moment, then finish. Returns what to do."""
        self._channel.draining = True
        if not self._up_to_date:
            return self.receive(Woken(), now)
        self.finished = True
        return [Close()]

    def _run(self) -> Generator[None, Event, None]:
        told = ""
        relist = _RELIST_SECONDS
        before: frozenset[str] | None = None
        while True:
            last_round = self._channel.draining  # else what comes between the list and the request to finish is missed
            self._backoff.attempted(self._channel.now)
            self._channel.open()
            refused = False
            try:
                names, at = yield from self._channel.names(self._label)
                self.connected = True
                self._channel.actions.append(Found(names))
                if not last_round:
                    relist = min(_MOST_RELIST_SECONDS, relist * 2) if names == before else _RELIST_SECONDS
                    before = names
                    if (yield from self._channel.await_change(self._label, at, relist, self._listening)):
                        before = None  # look again in a minute: one change may have hidden another
                self._backoff.succeeded()
                told = ""
                seconds = 0.0 if self._channel.draining else _LEAST_SECONDS
            except (LostError, EngineError) as error:
                self.connected = False
                seconds = self._backoff.failed(self._channel.now)
                # A refusal concerns this watch alone; all else is told by the source of the host's main container, which meets it too.
                refused = isinstance(error, EngineError) and error.status is not None
                if refused and told != str(error):
                    told = str(error)
                    self._channel.actions.append(Note(LogEventKind.UNREADABLE, {"reason": told}))
            self._up_to_date = False
            self._channel.close()
            if last_round and (self.connected or refused):
                return
            yield from self._channel.wait_to_retry(seconds)

    def _listening(self) -> None:
        self._up_to_date = True
