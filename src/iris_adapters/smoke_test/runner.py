"""The smoke test itself: its phases, their one deadline, and what it leaves."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from iris_adapters.smoke_test.checks import MOST_REPLICAS, cluster_checks, local_checks
from iris_adapters.smoke_test.interruption import Interrupted, Interruption, still_runs
from iris_adapters.smoke_test.jobs import CheckFailedError, JobRunner
from iris_adapters.smoke_test.log_tree import LogTree
from iris_adapters.smoke_test.logger import SmokeTestLogger
from iris_adapters.smoke_test.monitor import TaskSchedulingMonitor
from iris_adapters.smoke_test.python_logs import landed_python_logs
from iris_core.cleanup import Selection, carry_out_cleanup, plan_cleanup
from iris_core.errors import IrisError, LogFileError
from iris_core.log_paths import WORKER_LOGS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TextIO

    from iris_adapters.container import IrisContainer
    from iris_adapters.smoke_test.checks import Check

_FAILED: Final = 1
_LOCAL_CLEANUP_SECONDS: Final = 30.0
_GCP_CLEANUP_SECONDS: Final = 900.0  # a TPU slice takes minutes to go


@dataclass(frozen=True, slots=True, kw_only=True)
class SmokeTestOptions:
    """How to run it.

    Attributes:
        log_dir: a new or empty directory for all artifacts.
        timeout_seconds: for all phases but the clean-up together.
        job_timeout_seconds: for the jobs of one check.
        keep_on_failure: whether the cluster stays as it is when something failed, to be looked at.
        down: the command line that deletes the cluster, for who is told what is left; of no use for a local one.
    """

    log_dir: Path
    down: str
    timeout_seconds: float = 1800.0
    job_timeout_seconds: float = 300.0
    keep_on_failure: bool = False


@dataclass(frozen=True, slots=True)
class _Result:
    name: str
    passed: bool
    seconds: float
    detail: str


def run_smoke_test(
    container: IrisContainer,
    options: SmokeTestOptions,
    terminal: TextIO,
    *,
    errors: TextIO | None = None,
    leave: Callable[[int, str], None] | None = None,
) -> int:
    """Run the smoke test on the container's cluster. Call it on the main thread: it handles signals.

    Args:
        container: of a cluster that may be deleted: whatever bears its label prefix is, before and after.
        options: how.
        terminal: for the lines to the user.
        errors: for the verdict and its reasons, where it fails: whoever sends the lines elsewhere is to see these. None: nowhere.
        leave: ends the process at once; for tests.

    Returns:
        the exit code: 0; 1: a check failed or the time was up; 130, 143, 129: SIGINT, SIGTERM, SIGHUP; else that of the IrisError.

    Raises:
        LogFileError: the log directory cannot be used. Nothing has been touched.
    """
    tree = LogTree(options.log_dir)
    clock = container.clock()
    summary = tree.file("summary.md", "this page")
    workers = ", and every line that the in-process workers' jobs print" if container.config().is_local else ""
    python_logs = tree.file("iris-logs.txt", f"what iris itself logged{workers}")
    interruption = Interruption(
        clock,
        timeout_seconds=options.timeout_seconds,
        cleanup_seconds=_LOCAL_CLEANUP_SECONDS if container.config().is_local else _GCP_CLEANUP_SECONDS,
        at_stake="" if container.config().is_local else still_runs(container.config().label_prefix, options.down),
        leave=leave,
    )
    with SmokeTestLogger(summary, clock, terminal, errors) as logger, landed_python_logs(python_logs), interruption:
        try:
            return _SmokeTest(container, options, tree, logger, interruption).run()
        except Interrupted as interrupted:  # it came while another ending was being handled
            return interrupted.exit_code


class _SmokeTest:
    def __init__(
        self,
        container: IrisContainer,
        options: SmokeTestOptions,
        tree: LogTree,
        logger: SmokeTestLogger,
        interruption: Interruption,
    ) -> None:
        self._container = container
        self._config = container.config()
        self._options = options
        self._tree = tree
        self._logger = logger
        self._interruption = interruption
        self._phase = ""
        self._is_touched = False  # whether there may be something to clean up
        self._checks = (
            local_checks(tree.root.resolve() / "meeting-place")
            if self._config.is_local
            else cluster_checks(self._gang_size)
        )
        self._results: list[_Result] = []

    def run(self) -> int:
        place = "in this process" if self._config.is_local else f"in {self._config.project_id}, {self._config.zone}"
        self._logger.title(f"Smoke test of the cluster {self._config.label_prefix} {place}")
        exit_code = 0
        try:
            try:
                self._run_phases()
            except Interrupted as interrupted:
                exit_code = interrupted.exit_code
                self._logger.failure(f"Interrupted while: {self._phase}: {interrupted.reason}")
            except IrisError as error:
                exit_code = error.exit_code
                self._logger.failure(f"Failed while: {self._phase}: {_told(error)}")
            exit_code = exit_code or (0 if self._passed == len(self._checks) else _FAILED)
        finally:  # also after an error of our own making
            self._interruption.begin_cleanup()
            cleanup_code = self._clean_up(failed=exit_code != 0)
        exit_code = exit_code or cleanup_code or (LogFileError.exit_code if self._logger.problem else 0)
        exit_code = exit_code or self._interruption.exit_code or 0
        self._tell_result(exit_code)
        return exit_code

    @property
    def _passed(self) -> int:
        return sum(result.passed for result in self._results)

    def _run_phases(self) -> None:
        manager = self._container.cluster_manager()
        self._begin("clean start")
        self._delete_leftovers()
        self._begin("start")
        self._is_touched = True
        self._logger.log(f"The controller is at {manager.start()}")
        self._begin("connect")
        self._announce_logs()
        with manager.connect(log_dir=self._tree.root) as url:
            self._logger.log(f"It answers at {url}")
            token = manager.controller.token if manager.controller else None
            self._run_checks(url, token)
            self._begin("results")
            self._tell_results()

    def _run_checks(self, url: str, token: str | None) -> None:
        clock = self._container.clock()
        scheduling = self._tree.directory("scheduling", "what the controller said about the jobs' tasks, as it changed")
        with ExitStack() as stack:
            api = stack.enter_context(self._container.job_client(url, token))
            monitor = stack.enter_context(TaskSchedulingMonitor(api, scheduling, self._logger, clock))
            runner = JobRunner(
                api,
                monitor,
                self._tree,
                self._logger,
                clock,
                timeout_seconds=self._options.job_timeout_seconds,
                landed=None if self._config.is_local else self._worker_log,
                workers_may_join=not self._config.is_local,
                check=self._interruption.check,
            )
            for number, check in enumerate(self._checks, 1):
                self._begin(f"check {number}: {check.name}")
                self._results.append(self._run_check(check, runner))

    def _gang_size(self) -> int:
        """How many replicas of a gang the largest slice has hosts for, at most what is enough to prove it."""
        hosts = max((len(each.hosts) for each in self._container.inventory().list_slices()), default=0)
        return min(hosts, MOST_REPLICAS) or MOST_REPLICAS

    def _worker_log(self, worker: str) -> Path:
        return self._tree.root / WORKER_LOGS / f"{worker}.txt"

    def _run_check(self, check: Check, runner: JobRunner) -> _Result:
        began = self._logger.elapsed_seconds
        try:
            detail, passed = check.run(runner), True
        except (CheckFailedError, IrisError) as error:
            detail, passed = _told(error), False
        if passed:
            self._logger.log(f"Passed: {detail}")
        else:
            self._logger.failure(f"FAILED: {detail}")
        return _Result(check.name, passed, self._logger.elapsed_seconds - began, detail)

    def _delete_leftovers(self) -> None:
        inventory = self._container.inventory()
        mine = Selection(owner=inventory.owner())
        leftovers = plan_cleanup(inventory, mine, prices={}, now=self._container.clock().now())
        for kept in leftovers.kept:
            self._logger.log(f"{kept.resource.name} is left alone: {kept.why}")
        if not leftovers.deletions:
            self._logger.log(f"Nothing is left of an earlier {self._config.label_prefix}")
            return
        self._logger.log(
            f"Deleting what is left of an earlier run: {', '.join(each.name for each in leftovers.resources)}"
        )
        carry_out_cleanup(inventory, leftovers)

    def _clean_up(self, *, failed: bool) -> int:
        """Delete the cluster; the exit code of what went wrong with that, else 0."""
        self._logger.section("clean up")
        if not self._is_touched:
            self._logger.log("Nothing was started")
            return 0
        keep = failed and self._options.keep_on_failure
        if keep and self._config.is_local:
            self._logger.log("The cluster is in this process: it cannot be kept (--no-cleanup-on-failure)")
        elif keep:
            self._logger.log(
                f"Something failed, so the cluster {self._config.label_prefix} is left as it is (--no-cleanup-on-failure). It costs "
                f"money until `{self._options.down}` deletes it"
            )
            return 0
        try:
            self._container.cluster_manager().stop()
        except IrisError as error:
            self._logger.failure(f"The clean-up failed: {_told(error)}")
            if not self._config.is_local:
                self._logger.log(f"`{self._options.down}` deletes what is left")
            return error.exit_code
        self._logger.log("Everything is deleted")
        return 0

    def _begin(self, phase: str) -> None:
        self._interruption.check()
        self._phase = phase
        self._logger.section(phase)

    def _announce_logs(self) -> None:
        if not self._config.is_local:
            self._tree.file("controller-logs.txt", "the controller's Docker log")
            self._tree.directory("workers", "the Docker log of each worker host")

    def _tell_results(self) -> None:
        for result in self._results:
            self._logger.log(f"{'passed' if result.passed else 'FAILED'} in {result.seconds:.1f} s: {result.name}")
        rows = [
            f"| {result.name} | {'passed' if result.passed else '**failed**'} | {result.seconds:.1f} | "
            f"{result.detail.splitlines()[0].replace('|', '/')} |"
            for result in self._results
        ]
        self._logger.markdown("\n".join(["| check | result | seconds | |", "|---|---|---|---|", *rows]))

    def _tell_result(self, exit_code: int) -> None:
        self._logger.section("artifacts")
        self._logger.log(f"The artifacts are in {self._tree.root}")
        self._logger.markdown(self._tree.index())
        verdict = "passed" if exit_code == 0 else f"failed (exit code {exit_code})"
        text = f"{self._passed}/{len(self._checks)} checks passed; the smoke test {verdict}"
        self._logger.verdict(text, failed=exit_code != 0)


def _told(error: Exception) -> str:
    """An error with its notes (what else went wrong on the way out)."""
    return "\n".join([str(error), *getattr(error, "__notes__", ())])
