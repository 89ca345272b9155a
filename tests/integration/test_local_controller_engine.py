"""The in-process engine with real processes."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iris_adapters.controller.local_engine import LocalEngine
from iris_adapters.controller.wire import JobInfo, JobRequest, JobStatus
from iris_adapters.fakes import FakeClock
from iris_adapters.fakes.clock import DEFAULT_START
from iris_adapters.system_clock import SystemClock
from iris_core.errors import JobApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from iris_core.ports.clock import Clock

LONG_SECONDS = 20.0
SPIN = "while :; do sleep 0.02; done"


@contextmanager
def engine_of(
    *,
    workers: int = 4,
    cpus: float = 1.0,
    clock: Clock | None = None,
    grace: float = 3.0,
    drain: float = 0.3,
    most_ended_jobs: int = 256,
) -> Iterator[LocalEngine]:
    engine = LocalEngine(
        workers=workers,
        cpus_per_worker=cpus,
        clock=clock or SystemClock(),
        stop_grace_seconds=grace,
        drain_seconds=drain,
        most_ended_jobs=most_ended_jobs,
    )
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture
def engine() -> Iterator[LocalEngine]:
    with engine_of() as made:
        yield made


def until(condition: Callable[[], bool], what: str) -> None:
    """Look every few milliseconds until it is so; fail after a long time."""
    never = threading.Event()
    for _ in range(int(LONG_SECONDS / 0.005)):
        if condition():
            return
        never.wait(0.005)
    pytest.fail(f"not within {LONG_SECONDS} s: {what}")


def end_of(engine: LocalEngine, job_id: str) -> JobInfo:
    until(lambda: engine.get(job_id).status.has_ended, f"{job_id} ends")
    return engine.get(job_id)


def run(engine: LocalEngine, entrypoint: str, replicas: int = 1) -> tuple[JobInfo, str]:
    job_id = engine.submit(JobRequest(entrypoint=entrypoint, replicas=replicas))
    return end_of(engine, job_id), engine.logs(job_id)


def printed(engine: LocalEngine, job_id: str, text: str) -> None:
    until(lambda: text in engine.logs(job_id), f"{job_id} prints {text!r}")


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie (whose parent, not we, has to reap it)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def test_a_replica_knows_who_it_is(engine: LocalEngine) -> None:
    """Each replica has the job's id, its index, their number and its worker in its environment, whatever the request says."""
    request = JobRequest(
        entrypoint='echo "$IRIS_JOB_ID $IRIS_TASK_INDEX/$IRIS_NUM_TASKS $IRIS_WORKER_ID $COLOUR"',
        job_id="who",
        env={"COLOUR": "blue", "IRIS_TASK_INDEX": "99"},
        replicas=2,
    )

    info = end_of(engine, engine.submit(request))

    assert info.status is JobStatus.SUCCEEDED
    assert sorted(engine.logs("who").splitlines()) == [
        "[task 0] who 0/2 local-w0 blue",
        "[task 1] who 1/2 local-w1 blue",
    ]


def test_a_file_handler_on_iris_gets_every_line(engine: LocalEngine, tmp_path: Path) -> None:
    """Without any other set-up of logging, a FileHandler on `iris` gets each line, from the worker's own logger."""
    handler = logging.FileHandler(tmp_path / "iris.log")
    handler.setFormatter(logging.Formatter("%(name)s|%(iris_job_id)s|%(message)s"))
    logging.getLogger("iris").addHandler(handler)
    try:
        info, _ = run(engine, "seq 1000; echo to stderr >&2")
    finally:
        logging.getLogger("iris").removeHandler(handler)
        handler.close()

    lines = (tmp_path / "iris.log").read_text().splitlines()
    texts = [*map(str, range(1, 1001)), "to stderr"]
    assert lines == [f"iris.worker.local-w0|{info.job_id}|{text}" for text in texts]


def test_a_gang_runs_at_the_same_time(engine: LocalEngine, tmp_path: Path) -> None:
    """Four coscheduled replicas that each wait for all four to be there end well, on four workers."""
    entrypoint = f'touch {tmp_path}/$IRIS_TASK_INDEX; until [ "$(ls {tmp_path} | wc -l)" = 4 ]; do sleep 0.01; done'

    job_id = engine.submit(JobRequest(entrypoint=entrypoint, replicas=4, coscheduled=True))

    assert end_of(engine, job_id).status is JobStatus.SUCCEEDED
    assert {task.worker_id for task in engine.tasks(job_id)} == {"local-w0", "local-w1", "local-w2", "local-w3"}


def test_a_gang_waits_until_all_fit_and_says_so(engine: LocalEngine) -> None:
    """While one worker is busy a gang of four waits with a true reason; when it is free the gang runs."""
    busy = engine.submit(JobRequest(entrypoint=SPIN))
    gang = engine.submit(JobRequest(entrypoint="true", replicas=4, coscheduled=True))
    reason = "needs 4 workers with 1 CPU free at the same time; 3 of 4 have it now"
    until(lambda: engine.tasks(gang)[0].pending_reason == reason, reason)
    assert {(task.state, task.can_be_scheduled) for task in engine.tasks(gang)} == {(JobStatus.PENDING, True)}

    engine.stop(busy)

    assert end_of(engine, gang).status is JobStatus.SUCCEEDED


def test_a_job_that_can_never_fit_says_so_at_once(engine: LocalEngine) -> None:
    """A gang of eight on four workers is PENDING with the reason from the very first look, and can be stopped."""
    job_id = engine.submit(JobRequest(entrypoint="true", replicas=8, coscheduled=True))

    task = engine.tasks(job_id)[7]
    assert (task.state, task.can_be_scheduled) == (JobStatus.PENDING, False)
    assert task.pending_reason == "needs 8 workers with 1 CPU; the cluster has 4"
    assert engine.get(job_id).message == "Job needs 8 workers with 1 CPU; the cluster has 4."
    assert engine.stop(job_id)
    assert engine.get(job_id).status is JobStatus.STOPPED


def test_more_replicas_than_workers_run_one_after_another(engine: LocalEngine) -> None:
    """Ten replicas on four workers all run."""
    info, log = run(engine, "echo $IRIS_TASK_INDEX", replicas=10)

    assert info.status is JobStatus.SUCCEEDED
    assert sorted(int(line.split()[2]) for line in log.splitlines()) == list(range(10))


def test_one_failing_replica_ends_the_others(engine: LocalEngine) -> None:
    """When one of three exits with 7, the two that would run for ever are ended, and the job says who failed."""
    info, _ = run(engine, f'[ "$IRIS_TASK_INDEX" = 1 ] && exit 7; {SPIN}', replicas=3)

    assert (info.status, info.exit_code) == (JobStatus.FAILED, 7)
    assert info.message == "task 1 on local-w1 exited with 7"
    assert [task.state for task in engine.tasks(info.job_id)] == [
        JobStatus.STOPPED,
        JobStatus.FAILED,
        JobStatus.STOPPED,
    ]


def test_a_stopped_job_may_say_goodbye(engine: LocalEngine) -> None:
    """SIGTERM comes first: what a replica prints on its way out is in the log."""
    job_id = engine.submit(JobRequest(entrypoint=f"trap 'echo bye; exit 0' TERM; echo up; {SPIN}"))
    printed(engine, job_id, "up")

    assert engine.stop(job_id)

    assert end_of(engine, job_id).status is JobStatus.STOPPED
    assert engine.logs(job_id).splitlines()[-1] == "bye"  # the shell may tell of its child's end before
    assert not engine.stop(job_id)


def test_sigterm_reaches_the_whole_group(engine: LocalEngine) -> None:
    """A child of the shell hears of the stop, and its parting words are read although the shell is gone first."""
    child = f"trap 'sleep 0.1; echo child bye; exit' TERM; echo child up; {SPIN}"
    job_id = engine.submit(JobRequest(entrypoint=f'sh -c "{child}"; true'))
    printed(engine, job_id, "child up")

    engine.stop(job_id)

    end_of(engine, job_id)
    assert engine.logs(job_id).splitlines()[-1] == "child bye"


def test_who_ignores_sigterm_is_killed_after_the_grace_of_the_clock() -> None:
    """A replica that ignores SIGTERM runs on until the clock says that the grace is over, and then dies of SIGKILL."""
    clock = FakeClock()
    with engine_of(clock=clock, grace=3.0) as engine:
        job_id = engine.submit(JobRequest(entrypoint=f"trap 'echo no' TERM; echo up; {SPIN}"))
        printed(engine, job_id, "up")
        engine.stop(job_id)
        printed(engine, job_id, "no")
        clock.advance(2.9)
        assert engine.get(job_id).status is JobStatus.RUNNING

        clock.advance(0.2)
        engine.stop(job_id)  # the loop looks at the clock when something happens

        assert end_of(engine, job_id).status is JobStatus.STOPPED
        assert engine.tasks(job_id)[0].exit_code == -9


def test_a_stopped_process_can_be_ended(engine: LocalEngine) -> None:
    """A replica that was suspended by SIGSTOP is woken to hear SIGTERM."""
    job_id = engine.submit(JobRequest(entrypoint="echo up; kill -STOP $$"))
    printed(engine, job_id, "up")

    engine.stop(job_id)

    end_of(engine, job_id)
    assert engine.tasks(job_id)[0].exit_code == -15


def test_output_after_the_exit_is_read(engine: LocalEngine) -> None:
    """What a background child prints a moment after its parent's exit is in the log."""
    info, log = run(engine, "(sleep 0.1; echo late) & echo early")

    assert info.status is JobStatus.SUCCEEDED
    assert log == "early\nlate\n"


def test_a_child_that_keeps_the_pipe_does_not_hang_the_job(engine: LocalEngine) -> None:
    """A background child that would run for ever is ended a moment after its parent's exit; the job's own code counts."""
    info, log = run(engine, "sleep 1000 & echo $!; exit 4")

    assert info.exit_code == 4
    assert not is_running(int(log))


def test_a_silent_child_is_ended_too(engine: LocalEngine) -> None:
    """A background child without the pipe does not outlive the replica either."""
    _, log = run(engine, "sleep 1000 > /dev/null 2>&1 & echo $!")

    until(lambda: not is_running(int(log)), "the child is gone")


def test_a_child_that_left_the_group_does_not_hang_the_job(engine: LocalEngine) -> None:
    """A child in a session of its own keeps the pipe open and cannot be signalled as a group; the job ends nonetheless."""
    info, log = run(engine, "setsid sh -c 'echo $$; exec sleep 30' & sleep 0.2")

    assert info.status is JobStatus.SUCCEEDED
    os.kill(int(log), signal.SIGKILL)  # fails if it was not running any more


def test_odd_output_is_taken(engine: LocalEngine) -> None:
    """Bytes that are not UTF-8, a line of 200,000 characters and a last line without its end all arrive."""
    info, log = run(engine, r"printf 'a\377b\n'; head -c 200000 /dev/zero | tr '\0' x; printf '\nend'")

    first, *long, last = log.splitlines()
    assert info.status is JobStatus.SUCCEEDED
    assert first == "a\ufffdb"
    assert "".join(long) == "x" * 200000
    assert last == "end"


def test_a_command_that_cannot_start_fails_its_job(engine: LocalEngine) -> None:
    """An environment that the kernel refuses is a FAILED job with the kernel's words, and the engine goes on."""
    job_id = engine.submit(JobRequest(entrypoint="true", env={"HUGE": "x" * 500_000}))

    assert "could not be started on local-w0: Argument list too long" in end_of(engine, job_id).message
    assert run(engine, "true")[0].status is JobStatus.SUCCEEDED


def test_a_broken_logging_handler_breaks_nothing(engine: LocalEngine) -> None:
    """A handler that raises costs its own records only."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            """Fail."""
            raise RuntimeError(record.name)

    handler = Broken()
    logging.getLogger("iris.worker").addHandler(handler)
    try:
        assert run(engine, "echo a; echo b")[1] == "a\nb\n"
    finally:
        logging.getLogger("iris.worker").removeHandler(handler)


def test_ids_are_unique_and_unknown_ones_are_404(engine: LocalEngine) -> None:
    """A second job of an id is refused with 409, and every question about an id nobody has is a 404."""
    engine.submit(JobRequest(entrypoint="true", job_id="one"))

    with pytest.raises(JobApiError, match="there is a job one already") as taken:
        engine.submit(JobRequest(entrypoint="true", job_id="one"))
    assert taken.value.status == 409
    for ask in (engine.get, engine.tasks, engine.logs, engine.stop, engine.delete):
        with pytest.raises(JobApiError, match="there is no job two") as unknown:
            ask("two")
        assert unknown.value.status == 404


def test_an_ended_job_can_be_deleted_and_a_running_one_not(engine: LocalEngine) -> None:
    """A running job is refused with 409; once it has ended it can be forgotten."""
    job_id = engine.submit(JobRequest(entrypoint=SPIN))
    with pytest.raises(JobApiError, match="stop it first") as refused:
        engine.delete(job_id)
    assert refused.value.status == 409

    engine.stop(job_id)
    end_of(engine, job_id)
    engine.delete(job_id)

    assert engine.list() == ()


def test_the_oldest_ended_jobs_are_forgotten() -> None:
    """Of more ended jobs than the bound, the newest stay; a job that still waits is never forgotten."""
    with engine_of(most_ended_jobs=3) as engine:
        waiting = engine.submit(JobRequest(entrypoint="true", replicas=9, coscheduled=True))
        ids = [run(engine, "true")[0].job_id for _ in range(5)]

        assert [info.job_id for info in engine.list()] == [waiting, *ids[2:]]


def test_close_ends_everything_and_leaves_nothing() -> None:
    """After close no process, thread or descriptor is left, running and waiting jobs are STOPPED, and nothing is taken on."""
    threads, descriptors = set(threading.enumerate()), set(Path("/proc/self/fd").iterdir())
    with engine_of() as engine:
        job_id = engine.submit(JobRequest(entrypoint=f"echo $$; {SPIN}", replicas=4))
        waiting = engine.submit(JobRequest(entrypoint="true", replicas=4, coscheduled=True))
        until(lambda: engine.logs(job_id).count("\n") == 4, "all four print")
        pids = [int(line.split()[2]) for line in engine.logs(job_id).splitlines()]

        engine.close()

        assert [pid for pid in pids if is_running(pid)] == []
        assert {engine.get(job_id).status, engine.get(waiting).status} == {JobStatus.STOPPED}
        with pytest.raises(JobApiError, match="shutting down") as refused:
            engine.submit(JobRequest(entrypoint="true"))
        assert refused.value.status == 503
    assert set(threading.enumerate()) == threads
    assert set(Path("/proc/self/fd").iterdir()) == descriptors


def test_a_script_that_forgets_to_close_leaves_no_job_running(tmp_path: Path) -> None:
    """When the interpreter ends, so do the jobs of an engine that nobody closed."""
    script = tmp_path / "forgetful.py"
    script.write_text(
        "import threading\n"
        "from iris_adapters.controller.local_engine import LocalEngine\n"
        "from iris_adapters.controller.wire import JobRequest\n"
        "from iris_adapters.system_clock import SystemClock\n"
        "engine = LocalEngine(workers=1, cpus_per_worker=1, clock=SystemClock())\n"
        "job_id = engine.submit(JobRequest(entrypoint='echo $$; exec sleep 1000'))\n"
        "while not engine.logs(job_id): threading.Event().wait(0.01)\n"
        "print(engine.logs(job_id))\n"
    )

    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=LONG_SECONDS, check=True)

    assert not is_running(int(ended.stdout))


def test_many_threads_may_use_one_engine() -> None:
    """Threads that submit, stop, list and read at the same time see each of their jobs end, and leave the workers free."""
    with engine_of(workers=8) as engine:
        problems: list[str] = []

        def use(number: int) -> None:
            for turn in range(5):
                job_id = engine.submit(JobRequest(entrypoint=f"echo {number} {turn}; {SPIN if turn % 2 else ':'}"))
                engine.list()
                if turn % 2:
                    engine.stop(job_id)
                until(lambda job_id=job_id: engine.get(job_id).status.has_ended, job_id)  # type: ignore[misc]
                expected = JobStatus.STOPPED if turn % 2 else JobStatus.SUCCEEDED
                if engine.get(job_id).status is not expected:
                    problems.append(f"{job_id} is {engine.get(job_id)}")
                engine.logs(job_id)

        threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert problems == []
        assert len(engine.list()) == 40
        gang = engine.submit(JobRequest(entrypoint="true", replicas=8, coscheduled=True))
        assert end_of(engine, gang).status is JobStatus.SUCCEEDED


def test_a_failure_of_the_engine_itself_leaves_no_process_and_no_job_hanging(caplog: pytest.LogCaptureFixture) -> None:
    """If the engine's own thread fails, its processes are killed, its jobs end, and it takes nothing on."""

    class Breaking(FakeClock):
        broken = False

        def monotonic(self) -> float:
            """Fail when told."""
            if self.broken:
                raise RuntimeError("the clock has stopped")
            return super().monotonic()

        def now(self) -> datetime:
            """Stay as it was."""
            return DEFAULT_START

    clock = Breaking()
    with engine_of(clock=clock) as engine:
        job_id = engine.submit(JobRequest(entrypoint=f"echo $$; {SPIN}"))
        waiting = engine.submit(JobRequest(entrypoint="true", replicas=9, coscheduled=True))
        until(lambda: engine.logs(job_id) != "", "it prints")

        clock.broken = True
        engine.stop(job_id)

        end_of(engine, job_id)
        assert end_of(engine, waiting).message == "The local engine failed: the clock has stopped"
        assert not is_running(int(engine.logs(job_id)))
        with pytest.raises(JobApiError, match="shutting down"):
            engine.submit(JobRequest(entrypoint="true"))
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        "the local engine failed; its jobs are ended"
    ]
