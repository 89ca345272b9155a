"""How gcloud is started. A tunnel through IAP is started by the SSH adapter instead, with what `iap.py` says."""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import subprocess
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Protocol

from iris_adapters.child_guard import release, start_guarded
from iris_adapters.gcloud.errors import INSTALL_ADVICE, gcloud_error, is_partial
from iris_adapters.gcloud.retries import pause_before_retry
from iris_core.errors import InventoryToolError, RateLimitedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from iris_core.ports.clock import Clock

_logger = logging.getLogger("iris.cluster")

# Nothing may wait for an answer, hide the output that is parsed, enable an API (and its bill) by itself, or leave a log file for
# each of the thousands of calls of a long run.
GCLOUD_ENVIRONMENT: Final = {
    "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
    "CLOUDSDK_CORE_SHOULD_PROMPT_TO_ENABLE_API": "false",
    "CLOUDSDK_CORE_USER_OUTPUT_ENABLED": "true",
    "CLOUDSDK_CORE_VERBOSITY": "warning",
    "CLOUDSDK_CORE_DISABLE_COLOR": "true",
    "CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "true",
    "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
}

_NOT_EXECUTED: Final = frozenset({126, 127})  # a shell's word for a program that it could not become
_END_SECONDS = 3.0  # gcloud's own handler of SIGTERM takes a fraction of a second


class GcloudRunner(Protocol):
    """What runs gcloud commands. Every method may be called from any thread."""

    def run(self, argv: Sequence[str], *, changes: bool = False, era: int | None = None) -> str:
        """Run `gcloud *argv` to its end and return what it printed on stdout: JSON.

        Args:
            argv: after `gcloud`, without project and format.
            changes: whether it creates, starts or deletes something, and so may take many minutes.
            era: when what it is part of began: what changes something is refused if it has been called off since. None: now.

        Raises:
            InventoryError: it failed; see `errors.gcloud_error`.
        """
        ...

    def era(self) -> int:
        """How often `call_off` was called. What takes several commands asks at its very beginning, and gives each the answer."""
        ...

    def call_off(self) -> None:
        """End the commands that change something and run, wait to, or come of an earlier era: they raise `InventoryToolError`.

        What is begun later is not affected.
        """
        ...

    def close(self) -> None:
        """End the commands that run, and refuse further ones. Idempotent."""
        ...


class GcloudCommand:
    """Implements `GcloudRunner` with the gcloud that is on PATH.

    Each gcloud runs in a session of its own: the terminal's Ctrl-C reaches iris alone, which then decides, and a command that is
    given up is ended with all its children. None outlives this process, even one that is killed. What a command has asked of the
    cloud goes on there all the same.

    Args:
        project_id: the project of every command.
        clock: for the waits between tries.
        read_timeout_seconds: for a command that only reads.
        change_timeout_seconds: for one that changes something.
        most_commands: how many may run at the same time. The ones that change something leave one place to those that read, so
            that looking goes on while slices are created for minutes (where there is more than one place).
        program: the name or path of gcloud.
        environment: the variables that gcloud gets before iris adds its own. None: this process's.
    """

    def __init__(
        self,
        project_id: str,
        clock: Clock,
        *,
        read_timeout_seconds: float = 120.0,
        change_timeout_seconds: float = 1200.0,
        most_commands: int = 4,
        program: str = "gcloud",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._project_id = project_id
        self._clock = clock
        self._read_timeout_seconds = read_timeout_seconds
        self._change_timeout_seconds = change_timeout_seconds
        self._most_commands = most_commands
        self._most_changes = max(1, most_commands - 1)
        self._program = program
        self._environment = environment
        self._places = threading.Condition()
        self._busy = 0
        self._busy_changes = 0
        self._running: dict[subprocess.Popen[bytes], bool] = {}  # whether each changes something
        self._times_called_off = 0
        self._closed = threading.Event()

    def run(self, argv: Sequence[str], *, changes: bool = False, era: int | None = None) -> str:
        """See `GcloudRunner`. What passes by itself is tried again for a while, see `retries`; nothing else is.

        Raises:
            InventoryToolError: gcloud is missing, did not end within its time, or this object was closed.
            InventoryError: the command failed, or says that part of it did.
        """
        command = [*self._find(), *argv, f"--project={self._project_id}", "--format=json", "--quiet"]
        tries = 0
        era = self.era() if era is None else era
        while True:
            with self._place(command, era, changes=changes):
                status, stdout, stderr = self._run_once(command, era, changes=changes)
            if status != 0 and self._is_called_off(era, changes=changes):
                raise _given_up_error(command)
            if status == 0 and not is_partial(stderr):
                return stdout
            if status in _NOT_EXECUTED:
                raise _not_started(command, stderr.strip())
            tries += 1
            error = gcloud_error(command, status, stderr)
            pause = pause_before_retry(error, tries, changes=changes, jitter=random.random)
            if pause is None:
                raise error
            _logger.log(
                logging.INFO if isinstance(error, RateLimitedError) else logging.DEBUG,
                "%s Trying again in %.0f s.",
                error.problem,
                pause,
            )
            if self._clock.wait(self._closed, pause):
                raise _closed_error(command)

    def era(self) -> int:
        """See `GcloudRunner`."""
        return self._times_called_off

    def call_off(self) -> None:
        """See `GcloudRunner`. Returns at once."""
        with self._places:
            self._times_called_off += 1
            running = [process for process, changes in self._running.items() if changes]
            self._places.notify_all()
        for process in running:
            _signal(process, signal.SIGTERM)

    def close(self) -> None:
        """See `GcloudRunner`. Returns when all have ended; each gets a few seconds before it is killed."""
        with self._places:
            self._closed.set()
            self._places.notify_all()
            running = list(self._running)
        for process in running:
            _signal(process, signal.SIGTERM)
        with self._places:
            ended = self._places.wait_for(lambda: not self._running, _END_SECONDS)
            left = [] if ended else list(self._running)
        for process in left:
            _signal(process, signal.SIGKILL)
        with self._places:
            self._places.wait_for(lambda: not self._running, _END_SECONDS)

    def _find(self) -> list[str]:
        path = os.environ.get("PATH") if self._environment is None else self._environment.get("PATH")
        if shutil.which(self._program, path=path) is None:
            raise InventoryToolError(f"{self._program} is not installed here.", advice=INSTALL_ADVICE)
        return [self._program]

    @contextmanager
    def _place(self, command: Sequence[str], era: int, *, changes: bool) -> Iterator[None]:
        def is_free() -> bool:
            if self._busy >= self._most_commands:
                return False
            return not changes or self._busy_changes < self._most_changes

        with self._places:
            self._places.wait_for(
                lambda: self._closed.is_set() or self._is_called_off(era, changes=changes) or is_free()
            )
            self._check_wanted(command, era, changes=changes)
            self._busy += 1
            self._busy_changes += changes
        try:
            yield
        finally:
            with self._places:
                self._busy -= 1
                self._busy_changes -= changes
                self._places.notify_all()

    def _check_wanted(self, command: Sequence[str], era: int, *, changes: bool) -> None:
        """Go on only if nobody has ended it; with the lock held."""
        if self._closed.is_set():
            raise _closed_error(command)
        if self._is_called_off(era, changes=changes):
            raise _given_up_error(command)

    def _is_called_off(self, era: int, *, changes: bool) -> bool:
        return changes and self._times_called_off != era

    def _run_once(self, command: Sequence[str], era: int, *, changes: bool) -> tuple[int, str, str]:
        timeout_seconds = self._change_timeout_seconds if changes else self._read_timeout_seconds
        process = self._start(command, era, changes=changes)
        try:
            stdout, stderr = process.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise InventoryToolError(
                f"gcloud did not end within {timeout_seconds:g} s and was ended; what it asked for may still happen.",
                argv=command,
                advice="Look at what is there before trying again; gcp.gcloud_timeout_seconds and "
                "gcp.gcloud_change_timeout_seconds say how long a command may take.",
            ) from error
        finally:
            _end(process)
            release(process)
            with self._places:
                del self._running[process]
                self._places.notify_all()
        if self._closed.is_set() and process.returncode != 0:
            raise _closed_error(command)
        return process.returncode, _text(stdout), _text(stderr)

    def _start(self, command: Sequence[str], era: int, *, changes: bool) -> subprocess.Popen[bytes]:
        environment = {**(os.environ if self._environment is None else self._environment), **GCLOUD_ENVIRONMENT}
        with self._places:  # so that `close` and `call_off` see every process
            self._check_wanted(command, era, changes=changes)
            try:
                process = start_guarded(command, environment)
            except OSError as error:
                raise _not_started(command, str(error)) from error
            self._running[process] = changes
            return process


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process with its children, if it still runs, and let go of its pipes."""
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
        with suppress(ProcessLookupError):  # what is left of its group, the process itself included
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def _not_started(command: Sequence[str], reason: str) -> InventoryToolError:
    return InventoryToolError(f"gcloud could not be started: {reason}.", argv=command, advice=INSTALL_ADVICE)


def _given_up_error(command: Sequence[str]) -> InventoryToolError:
    return InventoryToolError(
        "The gcloud command was given up; what it asked for may still happen.",
        argv=command,
        advice="See what there is: `iris status`.",
    )


def _closed_error(command: Sequence[str]) -> InventoryToolError:
    return InventoryToolError("The gcloud command was given up, because iris is closing its inventory.", argv=command)


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")
