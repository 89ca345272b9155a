"""`python -m tests.benchmarks.clients.bulk WAY TASK`: land one command's output at full speed in one of several ways; JSON of what it took.

`iris-land` and `iris-land-command` land a container's log; every other way has a command's output (`docker logs …`, `cat FILE`) written
to a file.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.clients import known_as
from tests.benchmarks.clients.ssh_client import ssh_argv
from tests.benchmarks.processes import cpu_seconds, peak_rss_mb

if TYPE_CHECKING:
    from iris_adapters.ssh import FabricShell
    from iris_core.errors import RemoteShellError
    from iris_core.model import Host

_GLANCE_SECONDS = 0.05
_GCM = "aes128-gcm@openssh.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkTask:
    """What is to be landed, and from where.

    Attributes:
        address, port, user, key_file, host_key: of the host.
        argv: the command whose output is landed, one of them for each stream.
        containers: for `iris-land`, whose logs are landed.
        lines: for `iris-land`, how many each has.
        directory: an empty one, for files `0`, `1` …
    """

    address: str
    port: int
    user: str
    key_file: str
    host_key: str
    argv: list[list[str]]
    containers: list[str]
    lines: int
    directory: str

    def as_argument(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))

    def path(self, number: int) -> Path:
        """Where a stream is landed."""
        return Path(self.directory, str(number))


@dataclass(frozen=True, slots=True)
class BulkFigures:
    """What it took.

    Attributes:
        seconds: from the start, connecting included, until all of it has landed.
        cpu_seconds: of this process and its children.
        peak_mb: the most memory it had, its children's not included unless it runs them instead of doing it itself.
        ends: when each stream had landed, in seconds from the start.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float
    ends: list[float]


def by_ssh(task: BulkTask, cipher: str = "") -> BulkFigures:
    """Processes `ssh HOST COMMAND > FILE`."""
    known_hosts = _known_hosts(task)
    options = (f"-oCiphers={cipher}",) if cipher else ()
    began, cpu, peak = time.monotonic(), cpu_seconds(os.getpid()), 0.0
    processes = []
    for number, argv in enumerate(task.argv):
        command = ssh_argv(
            port=task.port,
            user=task.user,
            key_file=task.key_file,
            known_hosts=known_hosts,
            address=task.address,
            options=options,
        )
        with task.path(number).open("wb") as file:
            processes.append(subprocess.Popen([*command, *argv], stdin=subprocess.DEVNULL, stdout=file))
    ends: dict[int, float] = {}
    while len(ends) < len(processes):
        peak = max(peak, sum(peak_rss_mb(process.pid) for process in processes))
        for number, process in enumerate(processes):
            if number not in ends and process.poll() is not None:
                ends[number] = time.monotonic() - began
                if process.returncode:
                    raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        time.sleep(_GLANCE_SECONDS)
    return BulkFigures(max(ends.values()), cpu_seconds(os.getpid()) - cpu, peak, sorted(ends.values()))


class _ToFile:
    """Implements `ProcessListener`: writes to a file what comes, as it comes."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        self.ended = threading.Event()
        self.ended_at = 0.0
        self.problem = ""

    def on_stdout(self, data: bytes) -> None:
        os.write(self._descriptor, data)

    def on_stderr(self, data: bytes) -> None:
        self.problem += data.decode(errors="replace")

    def on_exit(self, status: int) -> None:
        self._end(f"exit status {status}" if status else "")

    def on_error(self, error: RemoteShellError) -> None:
        self._end(str(error))

    def _end(self, problem: str) -> None:
        os.close(self._descriptor)
        self.problem += problem
        self.ended_at = time.monotonic()
        self.ended.set()


def by_iris_shell(task: BulkTask) -> BulkFigures:
    """Iris's SSH shell alone: what comes is written to the file where it arrives."""
    shell, host = _iris(task)
    began, cpu = time.monotonic(), cpu_seconds(os.getpid())
    listeners = [_ToFile(task.path(number)) for number in range(len(task.argv))]
    for argv, listener in zip(task.argv, listeners, strict=True):
        shell.start(host, argv, listener)
    for listener in listeners:
        listener.ended.wait()
        if listener.problem:
            raise RuntimeError(listener.problem)
    figures = _figures(began, cpu, [listener.ended_at for listener in listeners])
    shell.close()
    return figures


def by_iris_landing(task: BulkTask, *, by_command: bool = False) -> BulkFigures:
    """Iris as a whole: its log pump over its SSH shell; `by_command`: as where sshd forbids the engine's socket."""
    from iris_adapters.system_clock import SystemClock  # noqa: PLC0415 - only this way pays for it
    from iris_core.log_file import LandedFile  # noqa: PLC0415
    from iris_core.log_pump import LogPump  # noqa: PLC0415

    shell, host = _iris(task)
    clock = SystemClock()
    if by_command:
        start = shell.start
        setattr(shell, "start", lambda *args, socket_path: start(*args))  # noqa: ARG005, B010, PLW0108 - without the socket
    pump = LogPump(shell, clock, lambda _event: None)
    began, cpu = time.monotonic(), cpu_seconds(os.getpid())
    slots = [
        pump.add(container, host, container, LandedFile(task.path(number)), use_sudo=False)
        for number, container in enumerate(task.containers)
    ]
    ends: dict[int, float] = {}
    while len(ends) < len(slots):
        clock.wait(pump.wake, pump.step())
        for number, slot in enumerate(slots):
            if number not in ends and slot.lines_landed >= task.lines:
                ends[number] = time.monotonic()
    figures = _figures(began, cpu, list(ends.values()))
    pump.drain(slots, 10.0)
    pump.run_until_done()
    shell.close()
    return figures


def by_asyncssh(task: BulkTask) -> BulkFigures:
    """Asyncssh's connection, a session that writes what comes to the file."""
    import asyncssh  # noqa: PLC0415 - only this way pays for it

    from tests.benchmarks.clients.asyncssh_client import FileSession  # noqa: PLC0415

    known_hosts = _known_hosts(task)

    async def run() -> BulkFigures:
        began, cpu = time.monotonic(), cpu_seconds(os.getpid())
        ends: list[float] = []
        connection = await asyncssh.connect(
            task.address,
            task.port,
            username=task.user,
            client_keys=[task.key_file],
            known_hosts=known_hosts,
            config=None,
            agent_path=None,
            encryption_algs=[_GCM],
            compression_algs=["none"],
        )

        async def stream(number: int) -> None:
            descriptor = os.open(task.path(number), os.O_WRONLY | os.O_CREAT)
            channel, _ = await connection.create_session(
                lambda: FileSession(descriptor), " ".join(task.argv[number]), encoding=None
            )
            await channel.wait_closed()
            ends.append(time.monotonic())

        await asyncio.gather(*(stream(number) for number in range(len(task.argv))))
        figures = _figures(began, cpu, ends)
        connection.close()
        await connection.wait_closed()
        return figures

    return asyncio.run(run())


def by_fabric(task: BulkTask) -> BulkFigures:
    """Fabric's `run` with a file as its `out_stream`."""
    from fabric import Config, Connection  # noqa: PLC0415 - only this way pays for it

    from tests.benchmarks.clients.fabric_client import LandedText  # noqa: PLC0415

    known_hosts = _known_hosts(task)
    began, cpu = time.monotonic(), cpu_seconds(os.getpid())
    ends = []
    connection = Connection(
        task.address,
        user=task.user,
        port=task.port,
        config=Config(lazy=True),
        connect_kwargs={"key_filename": task.key_file, "allow_agent": False, "look_for_keys": False},
    )
    connection.client.load_host_keys(known_hosts)

    def stream(number: int) -> None:
        text = LandedText(os.open(task.path(number), os.O_WRONLY | os.O_CREAT))
        connection.run(" ".join(task.argv[number]), hide="err", in_stream=False, out_stream=text)
        ends.append(time.monotonic())

    connection.open()
    threads = [threading.Thread(target=stream, args=(number,)) for number in range(len(task.argv))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    figures = _figures(began, cpu, ends)
    connection.close()
    return figures


WAYS = {
    "ssh": by_ssh,
    "ssh-gcm": lambda task: by_ssh(task, _GCM),
    "iris": by_iris_shell,
    "iris-land": by_iris_landing,
    "iris-land-command": lambda task: by_iris_landing(task, by_command=True),
    "asyncssh": by_asyncssh,
    "fabric": by_fabric,
}


def _iris(task: BulkTask) -> tuple[FabricShell, Host]:
    from iris_adapters.ssh import FabricShell  # noqa: PLC0415 - only these ways pay for it
    from iris_adapters.system_clock import SystemClock  # noqa: PLC0415
    from iris_core.config import SshConfig  # noqa: PLC0415
    from iris_core.model import Host, HostRole  # noqa: PLC0415

    config = SshConfig(
        user=task.user,
        key_file=task.key_file,
        port=task.port,
        known_hosts_file=str(Path(task.directory, "known_hosts")),
    )
    shell = FabricShell(config, SystemClock(), lambda _host: [task.host_key])
    return shell, Host(name="bulk", role=HostRole.CONTROLLER, address=task.address, instance_id="1")


def _figures(began: float, cpu: float, ends: list[float]) -> BulkFigures:
    spent = cpu_seconds(os.getpid()) - cpu
    return BulkFigures(max(ends) - began, spent, peak_rss_mb(), sorted(end - began for end in ends))


def _known_hosts(task: BulkTask) -> str:
    path = Path(task.directory, "ssh_known_hosts")
    path.write_text(f"{known_as(task.address, task.port)} {task.host_key}\n", encoding="utf-8")
    return str(path)


def main() -> None:
    """Do it."""
    figures = WAYS[sys.argv[1]](BulkTask(**json.loads(sys.argv[2])))
    sys.stdout.write(json.dumps(asdict(figures)) + "\n")


if __name__ == "__main__":
    main()
