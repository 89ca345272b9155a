"""How a source of logs is doing, by what is on record beside its landed file. Pure: `cluster_status` reads the record.

Whoever asks need not be the process that captures: the record says what that process saw (docs/logs.md lists the events), the file's
time when the last line landed, its lock whether anybody captures at all, and the inventory what became of the machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from iris_core.log_events import LogEventKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

QUIET_SECONDS: Final = 60.0
"""How long nothing has to land from a container that runs before its source is called quiet."""


_PREEMPTED: Final = "preempted"  # the reason of a host that is lost, see `iris_core.worker_discovery.lost_reason`


class SourceState(StrEnum):
    """How a source is doing. Of several that hold, the first one here is told."""

    PREEMPTED = "preempted"  # Google took its machine away
    VM_GONE = "vm-gone"  # its machine is not there any more, or does not run
    OOM_KILLED = "oom-killed"  # its container was ended for want of memory, and all of its log has landed
    EXITED = "exited"  # its container ended, and all of its log has landed
    NOT_CAPTURED = "not-captured"  # no process lands it at present
    PAUSED = "paused"  # the landed file cannot be written
    DISCONNECTED = "disconnected"  # the engine does not answer
    WAITING = "waiting"  # the engine has no container of that name
    UNREADABLE = "unreadable"  # the engine refuses to give the log
    QUIET = "quiet"  # its container runs and has written nothing for a while
    STREAMING = "streaming"  # its container runs, and its lines land


@dataclass(frozen=True, slots=True)
class Machine:
    """What the inventory says of a source's host.

    Attributes:
        runs: whether it is there, and should be reachable or is on its way.
        preempted: whether Google took it away.
        state: for people: Google's word for its state, or that it is not there.
    """

    runs: bool
    preempted: bool
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecord:
    """What the events of a source come to.

    Attributes:
        connected: whether the engine answered when that was last told.
        reason: why it does not.
        waiting: whether there was no container of the name.
        unreadable: why the engine refuses to give the log, empty where it does not.
        paused: why the landed file could not be written, empty where it could.
        host_gone: whether discovery had it that the host was no longer there.
        lost: what had become of its machine, by discovery: `preempted`, `stopped` …; empty where nothing had.
        ended: how the capture ended, empty while it goes on (or was killed).
        container: the engine's id of the present container, empty where there never was one.
        exit_code: of the container, None where it runs.
        oom_killed: whether it was ended for want of memory.
        restarts: how often a container was seen to be started again, or another one in its place.
        gaps: how many gaps were told.
        began_at: when the first event was recorded.
        changed_at: when the last one was.
    """

    connected: bool = False
    reason: str = ""
    waiting: bool = False
    unreadable: str = ""
    paused: str = ""
    host_gone: bool = False
    lost: str = ""
    ended: str = ""
    container: str = ""
    exit_code: int | None = None
    oom_killed: bool = False
    restarts: int = 0
    gaps: int = 0
    began_at: datetime | None = None
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """How a source is doing.

    Attributes:
        source: its name: `controller-logs`, `workers/{host}`, `containers/{host}/{container}`.
        host: the name of its host, empty for the controller's where the inventory does not say.
        state: how it is doing.
        why: more about that, for people; may be empty.
        silent_seconds: since the last line landed, or where none has, since the capture began. None: not known.
        path: its landed file.
        record: what is on record of it.
    """

    source: str
    host: str
    state: SourceState
    why: str
    silent_seconds: float | None
    path: Path
    record: SourceRecord


def fold(events: Iterable[Mapping[str, Any]]) -> SourceRecord:
    """What the events of a source, in order, come to. An event that this version does not know changes nothing."""
    record = SourceRecord()
    for event in events:
        at = _time(event.get("at"))
        record = replace(_next(record, event), began_at=record.began_at or at, changed_at=at or record.changed_at)
    return record


def _next(record: SourceRecord, event: Mapping[str, Any]) -> SourceRecord:  # noqa: C901, PLR0911, PLR0912 - a table
    match event.get("event"):
        case LogEventKind.CONNECTED:  # a capture begins, or goes on: what ended an earlier one is over
            return replace(record, connected=True, reason="", ended="", host_gone=False, lost="")
        case LogEventKind.DISCONNECTED:
            return replace(record, connected=False, reason=str(event.get("reason", "")), ended="")
        case LogEventKind.WAITING:
            return replace(record, waiting=True)
        case (LogEventKind.STARTED | LogEventKind.RESTARTED | LogEventKind.RECREATED) as kind:
            begun = SourceRecord(
                connected=True,
                paused=record.paused,
                container=str(event.get("container", "")),
                restarts=record.restarts + (kind != LogEventKind.STARTED),
                gaps=record.gaps,
            )
            return replace(begun, began_at=record.began_at, changed_at=record.changed_at)
        case LogEventKind.EXITED:
            code = event.get("exit_code")
            return replace(
                record,
                exit_code=code if isinstance(code, int) else -1,
                oom_killed=event.get("oom_killed") is True,
                unreadable="",
            )
        case LogEventKind.GAP:
            return replace(record, gaps=record.gaps + 1, unreadable="")
        case LogEventKind.UNREADABLE:
            return replace(record, unreadable=str(event.get("reason", "")) or "it does not say why")
        case LogEventKind.PAUSED:
            return replace(record, paused=str(event.get("reason", "")) or "it cannot be written")
        case LogEventKind.RESUMED:
            return replace(record, paused="")
        case LogEventKind.HOST_LOST:
            return replace(record, lost=str(event.get("reason", "")))
        case LogEventKind.HOST_GONE:
            return replace(record, host_gone=True, lost=str(event.get("reason", "")))
        case LogEventKind.DRAINED:
            return replace(record, ended="it was ended, with all that the engine held then")
        case LogEventKind.NOT_DRAINED:
            return replace(record, ended=f"it was ended, not with all of the log: {event.get('reason', '')}")
        case _:
            return record


def judge(
    record: SourceRecord, *, captured: bool, silent_seconds: float | None, machine: Machine | None
) -> tuple[SourceState, str]:
    """The state of a source, and why.

    Args:
        record: what is on record of it.
        captured: whether a process lands it at present.
        silent_seconds: since a line landed; None: not known.
        machine: what the inventory says of its host; None: it was not asked.
    """
    exited = "" if record.exit_code is None else f"its container had exited with code {record.exit_code}"
    if machine is None:
        gone, machine_why = record.host_gone, "its host was no longer listed"
        preempted = gone and record.lost == _PREEMPTED
    else:
        gone, machine_why = not machine.runs, machine.state
        preempted = machine.preempted or (gone and record.lost == _PREEMPTED)  # and has been deleted since
    ended = record.exit_code is not None
    quiet = silent_seconds is not None and silent_seconds >= QUIET_SECONDS
    killed = "the capture ended without a word: it may have been killed"
    rows = (
        (preempted, SourceState.PREEMPTED, "; ".join(filter(None, [machine_why, exited]))),
        (gone, SourceState.VM_GONE, "; ".join(filter(None, [machine_why, exited]))),
        (ended and record.oom_killed, SourceState.OOM_KILLED, f"exit code {record.exit_code}"),
        (ended, SourceState.EXITED, f"exit code {record.exit_code}"),
        (not captured, SourceState.NOT_CAPTURED, record.ended or killed),
        (bool(record.paused), SourceState.PAUSED, record.paused),
        (not record.connected, SourceState.DISCONNECTED, record.reason or "the engine has not answered yet"),
        (record.waiting, SourceState.WAITING, "the engine has no container of that name"),
        (bool(record.unreadable), SourceState.UNREADABLE, record.unreadable),
        (quiet, SourceState.QUIET, "its container runs and writes nothing"),
        (True, SourceState.STREAMING, ""),
    )
    return next((state, why) for holds, state, why in rows if holds)


def _time(text: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None
