"""The job's driver: a program on the head node that has Ray place the replicas, passes on what they print, and sees the job to its end.

It keeps a report (`Tasks.report` as JSON) in Ray's log directory, beside its own output, because the State API serves any file of
that directory: so whoever has the controller's URL can read it (`ray_jobs.py` does).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import ray
from ray.exceptions import ActorUnavailableError, RayError

from iris_adapters.controller.ray_job.doubt import Doubt
from iris_adapters.controller.ray_job.placing import Placing, alive_nodes
from iris_adapters.controller.ray_job.reasons import Demand, why_pending
from iris_adapters.controller.ray_job.report import BEGIN_LINE, report_name
from iris_adapters.controller.ray_job.tasks import Tasks
from iris_core.ray_names import TASK_LOG_VARIABLE

_POLL_SECONDS = 10.0  # that an actor may hold back its answer
_TURN_SECONDS = 0.25
_LOOK_SECONDS = 1.0  # between looks at the nodes while something waits
_START_SECONDS = 5.0  # that an actor which has a place usually needs at most
_MOST_FAILED_STARTS = 5  # one after the other: then the job fails, it would go on forever
_STOP_MARGIN_SECONDS = 3.0  # beyond a replica's own grace and drain


@dataclass
class _Running:
    """A replica that Ray was asked to place: its actor, the question put to it that it has not answered, and its lines read so far."""

    index: int
    actor: Any
    question: Any
    position: int = 0
    worker: str = ""
    node_id: str = ""
    has_started: bool = False
    ends_by: float | None = None  # when it was told to stop: until when it may take


class Driver:
    """Runs one job.

    Args:
        job: as `bundle.py` packs it.
        command: the command line.
        keeper_source: the text of `keeper.py`.
        log: the job's log.
        report_path: where the report goes.
    """

    def __init__(
        self, job: dict[str, Any], command: str, keeper_source: str, *, log: TextIO, report_path: Path
    ) -> None:
        self._job = job
        self._log = log
        self._report_path = report_path
        self._command = command
        self._keeper_source = keeper_source
        self._demand = Demand(
            job["replicas"], job["resources"], job["coscheduled"], job["slice_name"], job["accelerator_type"]
        )
        self._tasks = Tasks(job["replicas"], gang=job["coscheduled"], retries=job["retries"])
        self._placing = Placing(self._demand, f"iris:{job['job_id']}")
        self._running: dict[int, _Running] = {}
        self._failures: list[tuple[int, int]] = []  # index and exit code of a gang's replicas that are in doubt
        self._doubt: Doubt | None = None
        self._runs_again = False  # a gang that lost a host, until the rest of it has ended
        self._failed_starts = 0
        self._stop_asked = False
        self._asked_at = self._look_at = time.monotonic()
        self._reported = ""

    def run(self) -> int:
        """Until the job has ended; the exit code."""
        signal.signal(signal.SIGTERM, self._hear)
        self._log.write(f"{BEGIN_LINE}\n")
        self._log.flush()
        while not self._tasks.has_ended:
            if self._stop_asked:
                self._tasks.stop()
            self._settle_doubt()
            if self._tasks.is_ending or self._runs_again:
                self._end_running()
            else:
                self._place()
            self._report()
            self._listen()
        self._placing.clear()
        self._report()
        return self._tasks.process_exit_code

    def _hear(self, _number: int, _frame: object) -> None:
        self._stop_asked = True

    def _place(self) -> None:
        """Ask for places for what has none, and say why it waits."""
        waiting = [index for index in self._tasks.waiting if index not in self._running]
        if not self._demand.gang:
            asked_for = sum(not one.has_started for one in self._running.values())
            self._ask_where(self._placing.singly(waiting, asked_for))
        now = time.monotonic()
        if not self._tasks.waiting or now < self._look_at:
            return
        self._look_at = now + _LOOK_SECONDS
        if self._demand.gang and not self._running:
            self._ask_where(dict(enumerate(self._placing.gang())))
        verdict = why_pending(tuple(alive_nodes().values()), self._demand)
        has_place = bool(self._running) and (self._demand.gang or now < self._asked_at + _START_SECONDS)
        reason = "is being started" if verdict.can_be_scheduled and has_place else verdict.reason
        self._tasks.waits(reason, can_be_scheduled=verdict.can_be_scheduled or has_place)

    def _ask_where(self, actors: dict[int, Any]) -> None:
        for index, actor in actors.items():
            self._running[index] = _Running(index, actor, actor.node_id.remote())
            self._asked_at = time.monotonic()

    def _listen(self) -> None:
        """Take the answers that are there; waits a moment for the first."""
        asked = {one.question: one for one in self._running.values() if one.question is not None}
        if not asked:
            time.sleep(_TURN_SECONDS)
            return
        ready, _ = ray.wait(list(asked), num_returns=1, timeout=_TURN_SECONDS)
        if ready:
            ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=0)
        for question in ready:
            one = asked[question]
            if self._running.get(one.index) is one:  # else another's answer has put an end to it
                self._take(one)

    def _take(self, one: _Running) -> None:
        try:
            answer = ray.get(one.question)
        except ActorUnavailableError:  # for the moment; what it has not been thanked for, it still has
            time.sleep(_TURN_SECONDS)
            self._ask(one)
        except RayError as error:
            if one.has_started:
                self._lose(one, error)
            else:
                self._fail_to_start(error)
        else:
            if one.has_started:
                self._take_lines(one, *answer)
            else:
                self._take_place(one, answer)

    def _ask(self, one: _Running) -> None:
        if one.has_started:
            one.question = one.actor.poll.remote(one.position, _POLL_SECONDS)
        else:
            one.question = one.actor.node_id.remote()

    def _take_place(self, one: _Running, node_id: str) -> None:
        """It has a place. It starts at once, in a gang when all have one."""
        node = alive_nodes().get(node_id)
        one.node_id, one.worker, one.question = node_id, node.name if node else node_id, None
        if not self._demand.gang:
            self._start(one)
            return
        placed = [each for each in self._running.values() if each.worker]
        if len(placed) == self._demand.replicas:
            placed.sort(key=lambda each: _natural(each.worker))  # in a slice the index is then the host's number
            self._running = dict(enumerate(placed))
            for index, each in enumerate(placed):
                each.index = index
                self._start(each)

    def _start(self, one: _Running) -> None:
        own = {
            "IRIS_JOB_ID": self._job["job_id"],
            "IRIS_TASK_INDEX": str(one.index),
            "IRIS_NUM_TASKS": str(self._demand.replicas),
            "IRIS_WORKER_ID": one.worker,
        }
        spec = {
            "command": self._command,
            "env": {**self._job["env"], **own},
            "grace_seconds": self._job["grace_seconds"],
            "drain_seconds": self._job["drain_seconds"],
        }
        one.actor.start.remote(self._keeper_source, spec, self._job["drop"], TASK_LOG_VARIABLE)
        one.has_started = True
        self._failed_starts = 0
        self._tasks.run(one.index, one.worker)
        self._ask(one)

    def _take_lines(self, one: _Running, lines: list[str], exit_code: int | None) -> None:
        if lines:
            prefix = f"[task {one.index}] " if self._demand.replicas > 1 else ""
            self._log.write("".join(f"{prefix}{line}\n" for line in lines))
            self._log.flush()
        one.position += len(lines)
        if exit_code is None:
            self._ask(one)
            return
        self._drop(one)
        if self._runs_again:
            return
        if exit_code == 0 or not self._demand.gang or self._tasks.is_ending:
            self._tasks.exit(one.index, exit_code)
            return
        self._failures.append((one.index, exit_code))
        if self._doubt is None:
            self._doubt = Doubt({each.index: each.actor for each in self._running.values()})

    def _settle_doubt(self) -> None:
        """Believe the failures of a gang's replicas once no lost host can be their reason, or it does not matter any more."""
        if self._doubt is not None and (self._tasks.is_ending or self._doubt.is_over(self._running)):
            for index, exit_code in self._failures:  # the first fails the job
                self._tasks.exit(index, exit_code)
            self._failures, self._doubt = [], None

    def _fail_to_start(self, error: RayError) -> None:
        """A place was lost before the command was started there: nothing has run, so this is no loss of the job's."""
        self._failed_starts += 1
        for one in [each for each in self._running.values() if not each.has_started]:
            self._drop(one)
        self._placing.clear()
        if self._failed_starts >= _MOST_FAILED_STARTS and not self._tasks.is_ending:
            self._tasks.fail(f"its replicas cannot be started: {_cause(error)}")

    def _lose(self, one: _Running, error: RayError) -> None:
        self._drop(one)
        if self._runs_again:
            return
        is_alive = one.node_id in alive_nodes()
        lost = f"its Ray worker on {one.worker} ({_cause(error)})" if is_alive else f"its host {one.worker}"
        runs_again = self._tasks.lose(one.index, f"task {one.index} lost {lost}")
        self._runs_again = runs_again and self._demand.gang
        if self._runs_again:
            self._failures, self._doubt = [], None

    def _end_running(self) -> None:
        """Have everything that runs stopped. A gang that runs again is placed anew when all of it has ended."""
        now = time.monotonic()
        grace = self._job["grace_seconds"] + self._job["drain_seconds"] + _STOP_MARGIN_SECONDS
        for one in tuple(self._running.values()):
            if not one.has_started:
                self._drop(one)
            elif one.ends_by is None:
                one.ends_by = now + grace
                one.actor.stop.remote()
            elif now > one.ends_by:  # its host does not answer: Ray, or the keeper by itself, ends what runs there
                self._drop(one)
                if not self._runs_again:
                    self._tasks.exit(one.index, -signal.SIGKILL)
        if self._runs_again and not self._running:
            self._placing.clear()
            self._runs_again = False

    def _drop(self, one: _Running) -> None:
        """Let go of the actor, and so of its place. A keeper that still runs ends its replica by itself."""
        del self._running[one.index]
        ray.kill(one.actor)

    def _report(self) -> None:
        text = json.dumps(self._tasks.report(), separators=(",", ":"))
        if text != self._reported:
            part = self._report_path.with_suffix(".part")
            part.write_text(text, encoding="utf-8")
            part.replace(self._report_path)
            self._reported = text


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts `w10` after `w9`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _cause(error: RayError) -> str:
    """An error of Ray's in a line; the first says what, those after it are ids and advice."""
    return " ".join(str(error).split("\n\t", 1)[0].split())[:300]


def main(job: dict[str, Any], command: str, keeper_source: str) -> None:
    """Join the cluster, run the job, and exit as it did."""
    # Ray's own output goes to the log directory: that names the directory, which nothing public does.
    report_path = Path("/proc/self/fd/1").readlink().with_name(report_name(job["job_id"]))
    ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
    # Ray's threads print what they find worth knowing, such as that a node has died, in the middle of the job's lines.
    with (
        open(os.dup(1), "w", encoding="utf-8", errors="replace") as log,  # noqa: PTH123 - a descriptor has no path
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        code = Driver(job, command, keeper_source, log=log, report_path=report_path).run()
    ray.shutdown()
    sys.exit(code)
