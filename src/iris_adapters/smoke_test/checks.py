"""The three checks: one job, three jobs at once, and replicas (four, if workers allow) that must all run at the same time."""

from __future__ import annotations

import re
import secrets
import shlex
import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from iris_adapters.controller.wire import JobRequest
from iris_adapters.smoke_test.jobs import CheckFailedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from iris_adapters.smoke_test.jobs import JobRunner

_JOBS_AT_ONCE: Final = 3
MOST_REPLICAS: Final = 4
_MEET_TRIES: Final = 600  # 0.05 s apart: 30 s for four processes to begin
_HOLD_SECONDS: Final = 15  # long beside the seconds by which container starts and clocks of several hosts may differ

# Shell that any image has. The replicas of a job on one machine meet in a directory: each leaves its mark and waits, running, for
# the marks of all the others, so that all have marked is proof that all ran at one moment.
_MEET = """\
: > {place}/"$IRIS_TASK_INDEX"
tries=0
until [ "$(ls {place} | wc -l)" -ge {replicas} ]; do
  tries=$((tries + 1))
  if [ "$tries" -gt {tries} ]; then echo "replica $IRIS_TASK_INDEX met only $(ls {place} | wc -l) of {replicas}"; exit 1; fi
  sleep 0.05
done
echo "{mark} met index=$IRIS_TASK_INDEX"
"""

# Hosts share no directory: there each replica says when it ran, and the times must overlap.
_HOLD = """\
echo "{mark} began index=$IRIS_TASK_INDEX at=$(date +%s)"
sleep {seconds}
echo "{mark} ended index=$IRIS_TASK_INDEX at=$(date +%s)"
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: for the user.
        run: carries it out and returns what was proven, in a sentence. Raises CheckFailedError or an IrisError.
    """

    name: str
    run: Callable[[JobRunner], str]


def local_checks(meeting_place: Path) -> tuple[Check, ...]:
    """The checks, in their order, on workers that share a directory.

    Args:
        meeting_place: the directory (absolute; made and removed).
    """
    last = Check("four replicas at the same time", partial(_meeting, place=meeting_place))
    return (Check("one job", _one_job), Check("three jobs at once", _three_jobs), last)


def cluster_checks(gang_size: Callable[[], int]) -> tuple[Check, ...]:
    """The checks, in their order, on hosts that share nothing.

    Args:
        gang_size: how many replicas can run at the same time, 1 to 4; asked when the others have passed, so that workers are there.
    """
    last = Check("replicas at the same time", lambda runner: _overlapping(runner, gang_size()))
    return (Check("one job", _one_job), Check("three jobs at once", _three_jobs), last)


def _one_job(runner: JobRunner) -> str:
    mark = _new_mark()
    log = runner.run({"one": JobRequest(entrypoint=f"echo {mark}")})["one"]
    if mark not in log:
        raise CheckFailedError(f"the job succeeded, but its log does not have the line it printed ({mark})")
    return f"it ran, and its line is in its log{runner.check_landed('one', [mark])}"


def _three_jobs(runner: JobRunner) -> str:
    marks = {f"three-{number}": _new_mark() for number in range(1, _JOBS_AT_ONCE + 1)}
    logs = runner.run({name: JobRequest(entrypoint=f"echo {mark}") for name, mark in marks.items()})
    for name, log in logs.items():
        there = {other for other, mark in marks.items() if mark in log}
        if there != {name}:
            raise CheckFailedError(f"the log of {name} has the lines of {', '.join(sorted(there)) or 'no job'}")
    landed = ""
    for name, mark in marks.items():
        landed = runner.check_landed(name, [mark])
    return f"all ran, and each log has its own job's line and no other's{landed}"


def _meeting(runner: JobRunner, place: Path) -> str:
    mark = _new_mark()
    place.mkdir(mode=0o700, parents=True)
    try:
        script = _MEET.format(place=shlex.quote(str(place)), mark=mark, replicas=MOST_REPLICAS, tries=_MEET_TRIES)
        log = _run_coscheduled(runner, script, MOST_REPLICAS)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    met = set(re.findall(rf"{mark} met index=(\d+)", log))
    if met != {str(index) for index in range(MOST_REPLICAS)}:
        raise CheckFailedError(f"only the replicas {', '.join(sorted(met)) or 'none'} of {MOST_REPLICAS} say they met")
    return "each waited, running, until it had met all the others"


def _overlapping(runner: JobRunner, replicas: int) -> str:
    mark = _new_mark()
    log = _run_coscheduled(runner, _HOLD.format(mark=mark, seconds=_HOLD_SECONDS), replicas)
    began = _times(log, f"{mark} began")
    ended = _times(log, f"{mark} ended")
    expected = set(range(replicas))
    if set(began) != expected or set(ended) != expected:
        raise CheckFailedError(
            f"not every replica said when it ran: began {sorted(began)}, ended {sorted(ended)} of {replicas}"
        )
    if max(began.values()) >= min(ended.values()):
        late = max(began, key=lambda index: began[index])
        raise CheckFailedError(
            f"they did not all run at the same time: replica {late} began at {began[late]}, "
            f"when another had ended at {min(ended.values())} (seconds since 1970)"
        )
    landed = runner.check_landed("coscheduled", [f"{mark} ended index={index}" for index in range(replicas)])
    overlap = min(ended.values()) - max(began.values())
    return f"{replicas} replicas ran, and their times overlap by {overlap} s{landed}"


def _run_coscheduled(runner: JobRunner, script: str, replicas: int) -> str:
    request = JobRequest(entrypoint=script, replicas=replicas, coscheduled=True)
    return runner.run({"coscheduled": request})["coscheduled"]


def _times(log: str, what: str) -> dict[int, int]:
    return {int(index): int(at) for index, at in re.findall(rf"{what} index=(\d+) at=(\d+)", log)}


def _new_mark() -> str:
    """A word that no other run has printed."""
    return f"iris-smoke-{secrets.token_hex(4)}"
