"""The black box: what is captured of hosts before they are deleted, so that one can tell afterwards what happened to them.

Into one directory, private to the user (a container's environment may hold secrets):

    controller-logs.txt, workers/…, containers/…     what the engines still hold, landed as by a log streaming; what is there is continued
    hosts/{host}/inspect.json                        what the engine knows of each container: exit codes, OOM kills, restarts
    hosts/{host}/dmesg.txt                           the kernel's messages: the nearest thing to a console that a TPU host has
    hosts/{controller}/serial.txt                    the serial console, from Google

Everything has the same short time, and nothing that fails stands in the way of the deletion.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from iris_core import docker_logs
from iris_core.cluster_capture import ClusterCapture
from iris_core.config import DEFAULT_CONTROLLER_CONTAINER, DEFAULT_WORKER_CONTAINER
from iris_core.errors import LogFileError
from iris_core.log_paths import host_facts_dir, make_output_dir, make_private
from iris_core.model import ControllerVm, HostRole, Slice, VmPhase

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from iris_core.config import ClusterConfig
    from iris_core.errors import RemoteShellError
    from iris_core.model import Host, Resource
    from iris_core.ports.clock import Clock
    from iris_core.ports.remote_shell import RemoteProcess, RemoteShell
    from iris_core.ports.vm_inventory import VmInventory

_MAY_ANSWER: Final = frozenset({VmPhase.READY, VmPhase.FAILED})  # a preempted host may run on for some seconds
_MOST_BYTES: Final = 16 * 1024 * 1024  # of one answer: a host must not fill this process's memory
_TOLD_STDERR_BYTES: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BlackBox:
    """What a capture came to.

    Attributes:
        directory: where everything is.
        problems: what could not be had, for people, each beginning with the host's or resource's name.
    """

    directory: Path
    problems: tuple[str, ...]


class _Countdown:
    """Ends when so many things have ended. Any thread may count."""

    def __init__(self, count: int) -> None:
        self.over = threading.Event()
        self._left = count
        self._lock = threading.Lock()

    def one_ended(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left <= 0:
                self.over.set()


class _Question:
    """One command on one host; listens to its process. Its methods run on the shell's threads, `finish` on the caller's."""

    def __init__(self, host: Host, file_name: str, countdown: _Countdown) -> None:
        self.host = host
        self.file_name = file_name
        self.process: RemoteProcess | None = None
        self.output = bytearray()
        self.problem = "it did not answer in time"
        self._stderr = bytearray()
        self._countdown = countdown

    def on_stdout(self, data: bytes) -> None:
        """Kept, up to a limit."""
        self.output += data[: _MOST_BYTES - len(self.output)]

    def on_stderr(self, data: bytes) -> None:
        """The beginning is kept."""
        self._stderr += data[: _TOLD_STDERR_BYTES - len(self._stderr)]

    def on_exit(self, status: int) -> None:
        """The answer is complete."""
        said = self._stderr.decode(errors="replace").strip()
        self.problem = f"exit status {status}: {said}" if status else ""
        self._countdown.one_ended()

    def on_error(self, error: RemoteShellError) -> None:
        """There is none, or a part of one."""
        self.problem = str(error)
        self._countdown.one_ended()


class _SerialOutput:
    """Asks the cloud for consoles, on a thread of its own: such a question cannot be called off."""

    def __init__(self, inventory: VmInventory, resources: Sequence[Resource], countdown: _Countdown) -> None:
        self.outputs: dict[str, str] = {}
        self.problems = {resource.name: "its serial output did not come in time" for resource in resources}
        self._inventory = inventory
        self._resources = resources
        self._countdown = countdown
        threading.Thread(target=self._ask, name="iris-black-box-serial", daemon=True).start()

    def _ask(self) -> None:
        try:
            for resource in self._resources:
                try:
                    self.outputs[resource.name] = self._inventory.serial_output(resource)
                    del self.problems[resource.name]
                except Exception as error:  # noqa: BLE001 - whatever it is, it must not stand in the way of the deletion
                    self.problems[resource.name] = f"no serial output: {error}"
        finally:
            self._countdown.one_ended()


def is_worth_a_capture(resource: Resource) -> bool:
    """Whether there is anything to be asked of it: a controller has a console, a slice that runs or was just preempted has hosts."""
    return isinstance(resource, ControllerVm) or (
        isinstance(resource, Slice) and resource.phase in _MAY_ANSWER and any(host.address for host in resource.hosts)
    )


def capture_black_box(
    *,
    config: ClusterConfig,
    shell: RemoteShell,
    inventory: VmInventory,
    clock: Clock,
    resources: Sequence[Resource],
    directory: Path,
    with_logs: bool = True,
) -> BlackBox:
    """Capture what is to be known of resources before they are deleted, within the config's `logs.black_box_seconds`.

    Args:
        config: of the cluster.
        shell: reaches the hosts.
        inventory: knows their consoles.
        clock: tells the time.
        resources: what is going to be deleted.
        directory: made if missing; see this module for what comes into it.
        with_logs: False where a log streaming lands the same hosts' logs already.

    Raises:
        LogFileError: the directory cannot be made or written.
    """
    make_output_dir(directory)
    seconds = config.logs.black_box_seconds
    controllers = [one for one in resources if isinstance(one, ControllerVm)]
    slices = [one for one in resources if isinstance(one, Slice) and one.phase in _MAY_ANSWER]
    reachable = [one for one in controllers if one.phase in _MAY_ANSWER]
    hosts = [host for one in slices for host in one.hosts] + [one.host for one in reachable]
    if seconds <= 0 or not (hosts or controllers):
        return BlackBox(directory=directory, problems=())
    deadline = clock.monotonic() + seconds
    hosts = [host for host in hosts if host.address]
    countdown = _Countdown(1 + len(hosts) * len(_commands(use_sudo=True)))
    serial = _SerialOutput(inventory, controllers, countdown)
    questions = _ask_hosts(shell, hosts, countdown, use_sudo=config.logs.use_sudo)
    problems = _land_logs(config, shell, clock, slices, reachable, directory, deadline) if with_logs else []
    clock.wait(countdown.over, max(deadline - clock.monotonic(), 0.0))
    for question in questions:
        if question.process is not None:
            question.process.close()
        if question.problem:
            problems.append(f"{question.host.name}: {question.file_name}: {question.problem}")
        if question.output:
            problems += _write(directory, question.host.name, question.file_name, bytes(question.output))
    for name, output in dict(serial.outputs).items():
        if output:
            problems += _write(directory, name, "serial.txt", output.encode())
    problems += [f"{name}: {problem}" for name, problem in dict(serial.problems).items()]
    return BlackBox(directory=directory, problems=tuple(problems))


def _commands(*, use_sudo: bool) -> dict[str, list[str]]:
    """What is asked of each host, by the file that the answer comes into."""
    sudo = ["sudo", "-n"] if use_sudo else []
    return {"inspect.json": docker_logs.inspect_all_argv(use_sudo=use_sudo), "dmesg.txt": [*sudo, "dmesg"]}


def _ask_hosts(shell: RemoteShell, hosts: Sequence[Host], countdown: _Countdown, *, use_sudo: bool) -> list[_Question]:
    questions = []
    for host in hosts:
        for file_name, argv in _commands(use_sudo=use_sudo).items():
            question = _Question(host, file_name, countdown)
            questions.append(question)
            question.process = shell.start(host, argv, question)
    return questions


def _land_logs(  # noqa: PLR0917 - one caller, above
    config: ClusterConfig,
    shell: RemoteShell,
    clock: Clock,
    slices: Sequence[Slice],
    controllers: Sequence[ControllerVm],
    directory: Path,
    deadline: float,
) -> list[str]:
    """Land what the engines hold, and return what could not be. Groups whose containers have different names come one after another."""
    names = {group.name: group.container.name or DEFAULT_WORKER_CONTAINER for group in config.workers}
    by_container: dict[str, list[Slice]] = {DEFAULT_WORKER_CONTAINER: []} if not slices else {}
    for one in slices:
        by_container.setdefault(names.get(one.group, DEFAULT_WORKER_CONTAINER), []).append(
            replace(one, phase=VmPhase.READY)
        )  # preempted or not, it is worth a try
    problems: list[str] = []
    for number, (container, members) in enumerate(by_container.items()):
        capture = ClusterCapture(
            config=config.logs,
            shell=shell,
            clock=clock,
            output_dir=directory,
            containers={
                HostRole.CONTROLLER: config.controller.container.name or DEFAULT_CONTROLLER_CONTAINER,
                HostRole.WORKER: container,
            },
        )
        controller = next(iter(controllers), None) if number == 0 else None
        capture.adopt(members, controller)
        capture.pump.drain(capture.pump.slots, max(deadline - clock.monotonic(), 0.0))
        capture.pump.run_until_done()
        problems += capture.problems
    return problems


def _write(directory: Path, host: str, file_name: str, data: bytes) -> list[str]:
    """Write a file, and return what went wrong."""
    try:
        path = host_facts_dir(directory, host) / file_name
        make_private(path.parent)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
    except (OSError, LogFileError) as error:
        return [f"{host}: {file_name}: cannot be written: {error}"]
    return []
