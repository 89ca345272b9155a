"""How what an engine holds of a log is read, after what has landed of it: SNAPSHOTs and follows, as steps of a source. No I/O."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from iris_core import docker_logs
from iris_core.engine_channel import Outcome, PlentyError
from iris_core.errors import EngineError
from iris_core.json_file_reading import JsonFileReading
from iris_core.log_cursor import Beginning, BeginningSeeker, Seeker, timestamp_of
from iris_core.log_events import LogEventKind
from iris_core.log_head import Head
from iris_core.log_protocol import Land
from iris_core.whole_end import WholeEnd

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from iris_core.container_state import ContainerState
    from iris_core.engine_channel import EngineChannel
    from iris_core.json_file_reading import Pace
    from iris_core.log_cursor import Anchor, Finder
    from iris_core.log_lines import Lines
    from iris_core.log_protocol import Event
    from iris_core.whole_end import Tell

# Seconds.
_FIRST_SILENCE: Final = 5.0  # of a follow, before a SNAPSHOT checks it; doubled each time that finds it right
_MOST_SILENCE: Final = 300.0  # a check costs some milliseconds, and there may be a thousand sources
_FIRST_RING_SILENCE: Final = 30.0  # of a doorbell: what it misses is late, not lost
_SHORT_FOLLOW: Final = 0.25  # the least time from one follow to the next
# Between SNAPSHOTs of a log that breaks off so near before its end that it cannot be followed.
_DAMAGED_POLL: Final = 2.0
_MOST_DAMAGED_POLL: Final = 30.0  # where the last landed entry may be taken for another one, too

_RING_LINES: Final = 32  # of the log's end, asked for so that what came since the last SNAPSHOT rings, too
_TAILS: Final = (64, 512, 4096, 32_768, 262_144, 2_097_152)  # of the log's end, before all of it is asked for
_FIRST_TAIL: Final = 1  # index in _TAILS, but for a SNAPSHOT after one that has found little
_MANY_LINES: Final = 32_768  # asked for: fewer are read soon, whatever their length
_FOLLOWED: Final = 512  # entries that must come whole before a log is followed
_LITTLE: Final = 16  # lines: with the context of 32 they fit into the shortest tail


class _RungError(Exception):
    """There is a line after the last landed one."""


class _Noting:
    """Finds what another finder finds, and knows whether it has."""

    def __init__(self, finder: Finder) -> None:
        self.found = False
        self._finder = finder

    def find(self, lines: list[bytes]) -> int | None:
        index = self._finder.find(lines)
        self.found = index is not None
        return index


class _Remembering:
    """Finds what another finder finds, and adds the lines up to there to what was seen."""

    def __init__(self, finder: Finder, seen: Beginning) -> None:
        self._finder = finder
        self._seen = seen

    def find(self, lines: list[bytes]) -> int | None:
        index = self._finder.find(lines)
        self._seen.add(map(hash, lines[:index]))
        return index


class LogReading:
    """Reads what is new of one container's log and has it landed.

    Args:
        channel: to the engine.
        tell: tells of holes.
        use_sudo: whether docker needs sudo on the host.

    Attributes:
        lines_landed: since it began.
        landed_little: at the last SNAPSHOT.
        last_line_at: when, in seconds of the channel's clock.
    """

    __slots__ = (
        "_beginning",
        "_channel",
        "_cut_at",
        "_damaged_before",
        "_follow_tail",
        "_json_file",
        "_pace",
        "_silence",
        "_tell",
        "_whole_end",
        "landed_little",
        "last_line_at",
        "lines_landed",
    )

    def __init__(self, channel: EngineChannel, tell: Tell, *, use_sudo: bool) -> None:
        self.lines_landed = 0
        self.last_line_at = 0.0
        self._channel = channel
        self._tell = tell
        self._json_file = JsonFileReading(channel, self._land, use_sudo=use_sudo)
        self._pace: Pace | None = None  # of a read that may be left for the file
        self._silence = _FIRST_SILENCE
        self.landed_little = False
        self._follow_tail = _FIRST_TAIL
        self._whole_end = WholeEnd(channel, tell, self._land, self._landing_after)
        # As `lines_landed`: a read of more than what has landed since breaks off.
        self._damaged_before: int | None = None
        # As `lines_landed`: there the log breaks off, and what follows was not to be had.
        self._cut_at: int | None = None
        self._beginning: Beginning | None = (
            None  # of the log, up to the last landed line, where that is not certain to be found again
        )

    def begin_life(self) -> None:
        """The log is another one from now on, or another start's."""
        self._follow_tail = _FIRST_TAIL
        self._beginning = None
        self._damaged_before = self._cut_at = None
        self._json_file.begin_life()

    def snapshot(self, state: ContainerState, *, leave_out: bool = False) -> Generator[None, Event, int]:
        """Land all that the engine holds after the last landed entry; returns how many lines.

        Args:
            state: of the container.
            leave_out: where the engine breaks off the log after the last landed entry, tell that, and land what can be had behind it.

        Raises:
            LostError: the channel ended.
            EngineError: a refusal; or the engine broke off the log, and the channel is of no use. What comes before that has landed.
        """
        before = self.lines_landed
        self._pace = self._json_file.pace(state)
        try:
            yield from self._snapshot_or_file(state)
        except EngineError as error:
            if error.status is not None or self.lines_landed > before:
                raise
            yield from self._catch_up_at_end(state, error, leave_out=leave_out)
        landed = self.lines_landed - before
        self.landed_little = landed < _LITTLE
        if landed:
            self._silence = _FIRST_SILENCE
        return landed

    def _snapshot_or_file(self, state: ContainerState) -> Generator[None, Event, None]:
        try:
            yield from self._snapshot(state)
        except PlentyError:
            yield from self._json_file.catch_up(state)
            self._pace = None  # the engine has the last word
            yield from self._snapshot(state)

    def _catch_up_at_end(
        self, state: ContainerState, error: EngineError, *, leave_out: bool
    ) -> Generator[None, Event, None]:
        """The engine broke off the log: land what is to be had of its end.

        Raises:
            LostError: the channel ended.
            EngineError: that error, or another one: nothing is to be had.
        """
        whole = self._undamaged or 0
        self._damaged_before = self._beginning = None
        if self._cut_at == self.lines_landed and not leave_out:
            raise error
        self._channel.reopen()
        outcome = yield from self._whole_end.catch_up(state, error, whole=whole, leave_out=leave_out)
        if outcome is None:
            self._cut_at = self.lines_landed
            raise error
        self._damaged_before = self.lines_landed - outcome.served

    def _snapshot(self, state: ContainerState) -> Generator[None, Event, None]:
        known, self._beginning = self._beginning, None
        anchor = yield from self._channel.anchor()
        if anchor is None:
            yield from self._first_snapshot(state)
            return
        if not anchor.certain:
            self._pace = None  # the file has no other way to find it
        if anchor.certain:
            seeker, outcome = yield from self._read_tails(state, anchor, known)
        else:
            seeker, outcome = yield from self._read_whole(state, anchor, known)
        if not outcome.found:
            yield from self._land_after_rotation(state, anchor, seeker.overlap)

    def _read_tails(
        self, state: ContainerState, anchor: Anchor, known: Beginning | None
    ) -> Generator[None, Event, tuple[Seeker, Outcome]]:
        """Look for the anchor among more and more of the last entries; land what follows it."""
        for tail in self._tails():
            seeker = Seeker(anchor, whole=tail == self._undamaged)
            noting = _Noting(seeker)
            try:
                outcome = yield from self._read(state, noting, self._land, tail=tail)
            except EngineError as error:
                if error.status is not None or noting.found:
                    raise
                # The place may lie before the damage: each read that begins before it lands what comes up to there.
                self._channel.reopen()
                continue
            if outcome.found:
                return seeker, outcome
            if outcome.served < tail:
                break  # that was all there is: asked for as all, a match needs less context
        return (yield from self._read_whole(state, anchor, known))

    @property
    def _undamaged(self) -> int | None:
        """How many of the last entries come whole, at least; None where all may."""
        return None if self._damaged_before is None else self.lines_landed - self._damaged_before

    def _tails(self) -> list[int]:
        """How many entries to ask for, one number after the other, before all of them."""
        tails, most = _TAILS[0 if self.landed_little else _FIRST_TAIL :], self._undamaged
        return [*tails] if most is None else [*(tail for tail in tails if tail < most), most]

    def _read_whole(
        self, state: ContainerState, anchor: Anchor, known: Beginning | None
    ) -> Generator[None, Event, tuple[Seeker, Outcome]]:
        """Look for the anchor in all that there is; land what follows it.

        Where more lines may follow that look the same (the parts of a line that does not end, most often), the place is known at first by
        all that the log held at the SNAPSHOT before, if it still begins with that.
        """
        seeker = Seeker(anchor, whole=True)
        if known is not None:
            outcome = yield from self._read_from_beginning(state, BeginningSeeker(known), self._land)
            if outcome.found:
                return seeker, outcome
        outcome = yield from self._read_from_beginning(state, seeker, self._land)
        return seeker, outcome

    def _land_after_rotation(
        self, state: ContainerState, anchor: Anchor, overlap: Beginning
    ) -> Generator[None, Event, None]:
        """Tell a gap, for the anchor is nowhere, and land what there is.

        But if the log begins with some lines that may be landed ones or others that look the same, nobody can know: they are taken for
        landed ones.
        """
        if overlap.count:
            self._tell(
                LogEventKind.GAP,
                after=anchor.timestamp,
                before=anchor.timestamp,
                overlap=overlap.count,
                reason="the engine's log was rotated, and begins with lines that are or look like the last landed ones",
            )
            yield from self._read_from_beginning(state, BeginningSeeker(overlap), self._land)
        else:
            tell = partial(
                self._tell,
                LogEventKind.GAP,
                after=anchor.timestamp,
                reason="the engine no longer holds the last landed line: its log was rotated or cut",
            )
            yield from self._read_from_beginning(state, None, self._landing_after(tell))

    def _read_from_beginning(
        self, state: ContainerState, finder: Finder | None, land: Callable[[Lines], None]
    ) -> Generator[None, Event, Outcome]:
        """Read the whole log, and remember it if it is landed up to its end."""
        seen = Beginning()

        def remember(lines: Lines) -> None:
            seen.add(map(hash, lines.apart()))
            land(lines)

        remembering = None if finder is None else _Remembering(finder, seen)
        outcome = yield from self._read(state, remembering, remember, tail=docker_logs.ALL)
        self._beginning = seen if outcome.found else None
        return outcome

    def _read(
        self,
        state: ContainerState,
        finder: Finder | None,
        land: Callable[[Lines], None],
        *,
        tail: int | None,
        follow_seconds: float | None = None,
    ) -> Generator[None, Event, Outcome]:
        many = follow_seconds is not None or tail is docker_logs.ALL or tail >= _MANY_LINES
        plenty = self._pace.is_plenty if self._pace and many else None
        return self._channel.read(state, finder, land, tail=tail, follow_seconds=follow_seconds, plenty=plenty)

    def follow(self, state: ContainerState) -> Generator[None, Event, None]:
        """Land what comes, until the follow ends, falls silent, or proves to have begun too late."""
        self._beginning = None
        if (yield from self._waited_instead()):
            return
        before = self._channel.now
        anchor = yield from self._channel.anchor()
        silence = self._next_silence()
        tail = self._follow_entries() if anchor and anchor.certain else docker_logs.ALL
        finder = Seeker(anchor, whole=tail is docker_logs.ALL) if anchor else None
        self._pace = self._json_file.pace(state) if anchor is None or anchor.certain else None
        read = self._read(state, finder, self._land, tail=tail, follow_seconds=silence)
        del anchor, finder  # a follow may go on for months, and is done with them soon
        try:
            outcome = yield from read
        except PlentyError:
            yield from self._json_file.catch_up(state)
            return
        except EngineError as error:
            if error.status is not None:
                raise
            yield from self._catch_up_at_end(state, error, leave_out=False)
            yield from self._channel.sleep(silence, connected=True)  # it may be that a follow always breaks off
            return
        if outcome.complete:
            if self._channel.now - before < _SHORT_FOLLOW:
                yield from self._channel.sleep(_SHORT_FOLLOW, connected=True)
            return
        if outcome.found:
            self._follow_tail = _FIRST_TAIL
        elif outcome.served:
            self._follow_tail = min(self._follow_tail + 1, len(_TAILS) - 1)
        # A follow that goes on cannot be called off within its channel.
        self._channel.reopen()

    def _waited_instead(self) -> Generator[None, Event, bool]:
        """Wait until the next SNAPSHOT, where a follow would break off; returns whether that is so."""
        most = self._undamaged
        if most is None:
            return False
        anchor = yield from self._channel.anchor()
        if anchor is None or not anchor.certain:
            seconds = min(_MOST_DAMAGED_POLL, self._next_silence())  # a SNAPSHOT takes many reads
        elif most < _FOLLOWED:
            seconds = _DAMAGED_POLL
        else:
            return False
        yield from self._channel.sleep(seconds, connected=True)
        return True

    def _follow_entries(self) -> int:
        tail, most = _TAILS[self._follow_tail], self._undamaged
        return tail if most is None else min(tail, most)

    def await_ring(self, state: ContainerState) -> Generator[None, Event, bool]:
        """Wait until the log has gone on after the last landed entry; returns whether it has, as far as can be told.

        A follow tells, by an entry that is none of the last landed ones. What it gives is left for a SNAPSHOT: it may have lost
        what came before. An entry that equals a landed one to the nanosecond does not ring, and waits for half a minute, mostly.
        """
        if (yield from self._waited_instead()):
            return False
        before = self._channel.now
        self._silence = max(self._silence, _FIRST_RING_SILENCE)
        silence = self._next_silence()
        tail = yield from self._channel.tail()
        known = frozenset(map(hash, tail.lines[-2 * _RING_LINES :]))
        del tail  # this may take minutes, and there may be a thousand

        def ring(lines: Lines) -> None:
            if not known.issuperset(map(hash, lines.apart())) or self._channel.now - before >= silence:
                raise _RungError

        try:
            outcome = yield from self._channel.read(state, None, ring, tail=_RING_LINES, follow_seconds=silence)
        except _RungError:
            outcome = None
        except EngineError as error:
            if error.status is not None:
                raise
            self._channel.reopen()
            yield from self._channel.sleep(_DAMAGED_POLL, connected=True)
            return False
        if outcome is None or not outcome.complete:
            self._channel.reopen()  # as after a follow
        elif self._channel.now - before < _SHORT_FOLLOW:
            yield from self._channel.sleep(_SHORT_FOLLOW, connected=True)
        return outcome is None or outcome.complete

    def _next_silence(self) -> float:
        silence = self._silence
        self._silence = min(_MOST_SILENCE, silence * 2)
        return silence

    def _first_snapshot(self, state: ContainerState) -> Generator[None, Event, None]:
        if not state.can_rotate:
            yield from self._read(state, None, self._land, tail=docker_logs.ALL)
            return
        head = Head(state.kept_bytes)
        try:
            yield from self._read(state, None, partial(self._land_head, head), tail=docker_logs.ALL)
        except EngineError:  # how much more there is will not be known
            self._land_unverified(head)
            raise
        held = head.take()
        if held.count:
            self._land(held)

    def _land_head(self, head: Head, lines: Lines) -> None:
        if head.unverified:
            self._land(lines)
            return
        if head.add(lines):
            self._land_unverified(head)

    def _land_unverified(self, head: Head) -> None:
        held = head.take()
        if held.count:
            self._tell(LogEventKind.UNVERIFIED_HEAD, before=timestamp_of(held.data))
            self._land(held)

    def _landing_after(self, tell: Callable[..., None]) -> Callable[[Lines], None]:
        """Lands, after it has told before which line."""
        return partial(self._land_after, tell, Outcome())

    def _land_after(self, tell: Callable[..., None], progress: Outcome, lines: Lines) -> None:
        if not progress.landed:
            tell(before=timestamp_of(lines.data))
        progress.landed += lines.count
        self._land(lines)

    def _land(self, lines: Lines) -> None:
        self._channel.actions.append(Land(lines.data, lines.count))
        self.lines_landed += lines.count
        self.last_line_at = self._channel.now
