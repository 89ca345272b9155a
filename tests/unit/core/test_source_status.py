"""From the record of a source to how it is doing: one row of the table a test."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from iris_core.log_events import LogEventKind
from iris_core.source_status import Machine, SourceRecord, SourceState, fold, judge

HERE = Machine(runs=True, preempted=False, state="iris-tpu-1 is READY")
PREEMPTED = Machine(runs=False, preempted=True, state="iris-tpu-1 is PREEMPTED")
GONE = Machine(runs=False, preempted=False, state="there is no such VM any more")


def event(kind: str, **details: Any) -> dict[str, Any]:
    return {"at": "2026-01-01T00:00:00.000+00:00", "event": kind, "offset": 0, **details}


UP = [event("connected"), event("started", container="abc")]
EXITED = event("exited", exit_code=1, oom_killed=False, finished_at="2026-01-01T00:00:00Z")
OOM = event("exited", exit_code=137, oom_killed=True, finished_at="2026-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("events", "situation", "state", "why"),
    [
        (UP, {}, SourceState.STREAMING, ""),
        (UP, {"silent_seconds": 60.0}, SourceState.QUIET, "writes nothing"),
        ([*UP, event("silent", seconds=300)], {"silent_seconds": 3.0}, SourceState.STREAMING, ""),
        ([], {}, SourceState.DISCONNECTED, "has not answered yet"),
        ([event("disconnected", reason="timed out")], {}, SourceState.DISCONNECTED, "timed out"),
        ([*UP, event("disconnected", reason="reset")], {}, SourceState.DISCONNECTED, "reset"),
        ([*UP, event("disconnected", reason="reset"), event("connected")], {}, SourceState.STREAMING, ""),
        ([event("connected"), event("waiting", container_name="x")], {}, SourceState.WAITING, "no container"),
        ([event("connected"), event("waiting"), event("started", container="a")], {}, SourceState.STREAMING, ""),
        ([*UP, event("unreadable", reason="a driver")], {}, SourceState.UNREADABLE, "a driver"),
        ([*UP, event("unreadable", reason="a driver"), event("gap")], {}, SourceState.STREAMING, ""),
        ([*UP, event("paused", reason="disk full")], {}, SourceState.PAUSED, "disk full"),
        ([*UP, event("paused", reason="disk full"), event("resumed")], {}, SourceState.STREAMING, ""),
        ([*UP, EXITED], {}, SourceState.EXITED, "exit code 1"),
        ([*UP, OOM], {}, SourceState.OOM_KILLED, "exit code 137"),
        ([*UP, EXITED, event("drained", lines=3)], {"captured": False}, SourceState.EXITED, "exit code 1"),
        ([*UP, EXITED, event("restarted", container="abc")], {}, SourceState.STREAMING, ""),
        ([*UP, EXITED, event("re-created", container="def")], {}, SourceState.STREAMING, ""),
        (UP, {"captured": False}, SourceState.NOT_CAPTURED, "may have been killed"),
        ([*UP, event("drained", lines=3)], {"captured": False}, SourceState.NOT_CAPTURED, "all that the engine held"),
        ([*UP, event("not-drained", reason="too late")], {"captured": False}, SourceState.NOT_CAPTURED, "too late"),
        ([*UP, event("drained"), event("connected")], {}, SourceState.STREAMING, ""),
        (UP, {"machine": PREEMPTED}, SourceState.PREEMPTED, "iris-tpu-1 is PREEMPTED"),
        (UP, {"machine": GONE, "captured": False}, SourceState.VM_GONE, "no such VM"),
        ([*UP, OOM], {"machine": GONE}, SourceState.VM_GONE, "exited with code 137"),
        ([*UP, event("host-gone")], {"machine": None}, SourceState.VM_GONE, "no longer listed"),
        ([*UP, event("host-gone", reason="preempted")], {"machine": None}, SourceState.PREEMPTED, "no longer listed"),
        ([*UP, event("host-lost", reason="preempted")], {"machine": GONE}, SourceState.PREEMPTED, "no such VM"),
        ([*UP, event("host-lost", reason="stopped")], {"machine": GONE}, SourceState.VM_GONE, "no such VM"),
        ([*UP, event("host-gone"), event("connected")], {"machine": None}, SourceState.STREAMING, ""),
    ],
)
def test_the_state_and_why(events: list[dict[str, Any]], situation: dict[str, Any], state: str, why: str) -> None:
    """Of several things that hold, the one that explains most is told."""
    told, reason = judge(fold(events), **{"captured": True, "silent_seconds": 1.0, "machine": HERE, **situation})
    assert told == state
    assert why in reason
    assert bool(why) == bool(reason)


def test_counts_and_times() -> None:
    """Gaps and restarts are counted over all containers; the first and the last time are kept."""
    events = [
        *UP,
        event("gap"),
        event("re-created", container="def"),
        event("gap"),
        event("restarted", container="def"),
    ]
    events[-1]["at"] = "2026-01-02T00:00:00+00:00"
    record = fold(events)
    assert (record.gaps, record.restarts, record.container) == (2, 2, "def")
    assert record.began_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert record.changed_at == datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    "stranger", [{}, {"event": 3}, {"event": "invented"}, {"at": "yesterday"}, {"at": "2026-01-01"}]
)
def test_what_it_does_not_know_changes_nothing(stranger: dict[str, Any]) -> None:
    """A record of another version, or a damaged one, is read as far as it goes."""
    assert fold([*UP, stranger]) == fold(UP)


def test_every_kind_of_event_is_known() -> None:
    """Each kind changes the record, but for those that say nothing of the state."""
    says_nothing = {LogEventKind.SILENT, LogEventKind.UNVERIFIED_HEAD, LogEventKind.UNVERIFIED_TAIL}
    paused = SourceRecord(paused="x")
    for kind in LogEventKind:
        before = [event("paused", reason="x")] if kind is LogEventKind.RESUMED else []
        record = fold([*before, event(kind, reason="r", container="c", exit_code=0)])
        untouched = SourceRecord(
            began_at=record.began_at, changed_at=record.changed_at, paused="" if not before else paused.paused
        )
        assert (record == untouched) == (kind in says_nothing), kind
