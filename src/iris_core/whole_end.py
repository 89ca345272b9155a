"""What can be had of a log that the engine breaks off, at an entry that is damaged, say: its end, as steps of a source. No I/O.

A read of the last so many entries comes whole if it begins after the damage. Where the last landed entry is among the most that come so,
capture goes on from there, as if the log began after the damage. Where it lies before, what is damaged can only be left out, and told.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from iris_core.engine_channel import Outcome
from iris_core.errors import EngineError
from iris_core.log_cursor import BeginningSeeker, Seeker
from iris_core.log_events import LogEventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from iris_core.container_state import ContainerState
    from iris_core.engine_channel import EngineChannel
    from iris_core.log_cursor import Anchor
    from iris_core.log_lines import Lines
    from iris_core.log_protocol import Event

_FIRST_ENTRIES: Final = 64  # asked for; then so many times as many
_GROWTH: Final = 8


class Tell(Protocol):
    """Tells of an event."""

    def __call__(self, kind: LogEventKind, **details: object) -> None:
        """Tell of it."""
        ...


class _EnoughError(Exception):
    """So many lines have come that the read must have begun after the damage."""


class WholeEnd:
    """Reads the end of one container's log.

    Args:
        channel: of the source.
        tell: tells of holes.
        land: takes the lines to land, in order.
        land_after: the same, but has something told before the first of them.
    """

    __slots__ = ("_channel", "_land", "_land_after", "_tell")

    def __init__(
        self,
        channel: EngineChannel,
        tell: Tell,
        land: Callable[[Lines], None],
        land_after: Callable[[Callable[..., None]], Callable[[Lines], None]],
    ) -> None:
        self._channel = channel
        self._tell = tell
        self._land = land
        self._land_after = land_after

    def catch_up(
        self, state: ContainerState, error: EngineError, *, whole: int, leave_out: bool
    ) -> Generator[None, Event, Outcome | None]:
        """Land what follows the last landed entry in the end of the log that comes whole.

        Args:
            state: of the container.
            error: with which the engine breaks off the log.
            whole: of how many of the last entries it is known that they come whole.
            leave_out: where the last landed entry lies before the damage, tell that, and land all of that end.

        Returns:
            how the read of that end went; None where nothing could be landed.

        Raises:
            LostError: the channel ended.
            EngineError: a refusal, or it breaks off once more. What has landed is right all the same.
        """
        count = yield from self._longest(state, whole)
        if not count:
            return None
        anchor = yield from self._channel.anchor()
        if anchor is None:
            if not leave_out:
                return None
            tell = partial(self._tell, LogEventKind.UNVERIFIED_HEAD, reason=str(error))
            return (yield from self._channel.read(state, None, self._land_after(tell), tail=count))
        seeker = Seeker(anchor, whole=True)
        # What has come since they were counted shifts the read: where all lines look alike, nobody would see that.
        land = self._land if anchor.certain else self._land_after(self._gap(anchor, error, overlap=len(anchor.context)))
        outcome = yield from self._channel.read(state, seeker, land, tail=count)
        if outcome.found:
            return outcome
        if not leave_out:
            return None
        known, land = None, self._land_after(self._gap(anchor, error))
        if seeker.overlap.count:
            known, land = (
                BeginningSeeker(seeker.overlap),
                self._land_after(self._gap(anchor, error, overlap=seeker.overlap.count)),
            )
        outcome = yield from self._channel.read(state, known, land, tail=count)
        return outcome if outcome.found else None

    def _gap(self, anchor: Anchor, error: EngineError, **details: object) -> Callable[..., None]:
        return partial(self._tell, LogEventKind.GAP, after=anchor.timestamp, reason=str(error), **details)

    def _longest(self, state: ContainerState, whole: int) -> Generator[None, Event, int]:
        """How many of the last entries come whole, at most; 0 where none do. It is known that not all do."""
        count = whole + _FIRST_ENTRIES
        while (outcome := (yield from self._probe(state, count, whole))) is not None:
            if outcome.complete and outcome.served < count:
                return count  # that is all there is, and it breaks off no more
            whole, count = count, count * _GROWTH
        while count - whole > 1:
            middle = (whole + count) // 2
            if (yield from self._probe(state, middle, whole)) is None:
                count = middle
            else:
                whole = middle
        return whole

    def _probe(self, state: ContainerState, count: int, whole: int) -> Generator[None, Event, Outcome | None]:
        """See whether so many of the last entries come whole; None: they do not. The channel is a new one then.

        It is known of `whole` that they do. Of a read that begins before the damage, fewer than the others come before it breaks off.
        """
        seen = Outcome()

        def take(lines: Lines) -> None:
            seen.served += lines.count
            if seen.served >= count - whole:
                raise _EnoughError

        outcome: Outcome | None
        try:
            outcome = yield from self._channel.read(state, None, take, tail=count)
        except _EnoughError:
            outcome = seen
        except EngineError as error:
            if error.status is not None:
                raise
            outcome = None
        self._channel.reopen()
        return outcome
