"""One lane of the fault suite: a host with its own sshd and Docker engine, a proxy before it, an iris, and what goes wrong with them."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.integration.faults.capture_process import FILE_READ, HOST_NAME, LABEL, MAIN_CONTAINER, Settings
from tests.integration.faults.checker import Verdict, check
from tests.integration.faults.schedule import Fault, FaultKind, make_schedule
from tests.integration.faults.truth import read_true_log
from tests.integration.faults.writers import WRITERS
from tests.lab.addresses import AddressPool
from tests.lab.host import Host
from tests.lab.images import IMAGE
from tests.lab.processes import wait_until
from tests.lab.watchdog import Watchdog
from tests.support.proxy import Direction, FaultyProxy, Mode
from tests.support.sshd import make_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.integration.faults.checker import Record

_REPOSITORY: Final = Path(__file__).parents[3]
_LANES = itertools.count()
_DISK_BYTES: Final = 3 << 30  # of the file system that logs are landed in; memory that is used as it fills
_PAGE_BYTES: Final = 4096
_DEAD_PEER_SECONDS: Final = 3.0
_DRAIN_SECONDS: Final = 5.0  # of an iris that is stopped in the middle of it all
_LAST_DRAIN_SECONDS: Final = 60.0
_OPERATION_SECONDS: Final = 30.0
_START_SECONDS: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What happens in a lane.

    Attributes:
        name: of the lane.
        seed: of its schedule.
        faults: how many.
        writers: names of `WRITERS`; the first is the host's main container, found by its name, the others by their label.
        weights: how likely each kind of fault is.
        live_restore: whether containers survive the engine.
        use_sudo: whether iris reaches the engine through docker with sudo; sshd forbids the engine's socket then.
        longest_wait: between two faults, in seconds.
        plenty_bytes: see `Settings`; where given, something must land of logs' own files.
        engine: a directory with another engine's programs; empty: the machine's own.
    """

    name: str
    seed: int
    faults: int
    writers: Sequence[str]
    weights: Mapping[FaultKind, int]
    live_restore: bool = False
    use_sudo: bool = False
    longest_wait: float = 1.0
    plenty_bytes: int | None = None
    engine: str = ""


@dataclass(kw_only=True)
class LaneResult:
    """What came of it.

    Attributes:
        plan: of the lane.
        faults: injected, by kind.
        after_progress: how many faults met a capture that had landed something since the one before.
        verdicts: by writer.
        events: told, by kind.
        file_reads: how many parts of logs' own files have something landed of them; counted only where the plan has `plenty_bytes`.
        seconds: it took.
        problems: why the lane failed; empty: it did not.
        engine_version: Docker's.
        kept: the directory of a lane that failed.
    """

    plan: Plan
    faults: Counter[str] = field(default_factory=Counter)
    after_progress: int = 0
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    file_reads: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    engine_version: str = ""
    kept: str = ""


def run_lane(plan: Plan) -> LaneResult:
    """Run it from boot to verdict. Everything that it starts has ended when it returns, or when this process ends."""
    result = LaneResult(plan=plan)
    began = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix=f"iris-faults-{plan.name}-"))
    cgroup = f"/iris-faults-{os.getpid()}-{next(_LANES)}"
    watchdog = Watchdog(directory, cgroup)
    with ExitStack() as stack:
        stack.callback(watchdog.close)
        lane = _Lane(plan, directory, cgroup, stack, result)
        try:
            lane.run()
        except Exception as error:  # noqa: BLE001 - a lane that could not be run to its end is a failure, with all it knows
            result.problems.append(f"{type(error).__name__}: {error}")
        if result.problems:
            result.kept = lane.keep()
    result.seconds = time.monotonic() - began
    return result


class _Lane:
    def __init__(self, plan: Plan, directory: Path, cgroup: str, stack: ExitStack, result: LaneResult) -> None:
        self._plan = plan
        self._directory = directory
        self._cgroup = cgroup
        self._stack = stack
        self._result = result
        self._ids: dict[str, list[str]] = {name: [] for name in self._containers()}
        self._capture: subprocess.Popen[bytes] | None = None
        self._log = directory / "capture.log"
        self._history: list[str] = []
        self._began = time.monotonic()
        self._landed_before = 0

    def _containers(self) -> dict[str, str]:
        """The writer of each container, by its name."""
        first, *others = self._plan.writers
        return {MAIN_CONTAINER: first, **{name: name for name in others}}

    def run(self) -> None:
        self._set_up()
        schedule = make_schedule(
            self._plan.seed, self._plan.faults, self._plan.weights, list(self._ids), self._plan.longest_wait
        )
        time.sleep(2.0)
        for fault in schedule:
            time.sleep(fault.wait)
            self._inject(fault)
        self._finish()
        self._judge()

    # Setting up.

    def _set_up(self) -> None:
        plan, stack = self._plan, self._stack
        addresses = AddressPool(22)
        stack.callback(addresses.close)
        self._host = Host(
            self._directory / "host",
            "faulty",
            addresses.take(),
            port=22,
            cgroup=self._cgroup,
            engine_path=plan.engine,
            forwards_sockets=not plan.use_sudo,
        )
        stack.callback(self._host.kill)
        self._host.configure_engine({"live-restore": plan.live_restore, "userland-proxy": False})
        self._key = self._directory / "key"
        self._host.authorize([f"root:{make_key(self._key)}"])
        self._host.boot()
        self._result.engine_version = (
            self._host.docker("version", "--format={{.Server.Version}}").stdout.decode().strip()
        )
        kept = self._directory / "kept"
        kept.mkdir()
        self._watch = self._start_watch(kept)
        self._proxy = stack.enter_context(FaultyProxy((self._host.address, 22), seed=plan.seed))
        self._make_disk()
        for name in self._ids:
            self._run_container(name)
        self._start_capture()

    def _start_watch(self, kept: Path) -> subprocess.Popen[bytes]:
        containers = self._directory / "host" / "docker" / "containers"
        watch = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.faults.watch_logs", str(containers), str(kept)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_REPOSITORY,
        )
        self._stack.callback(_end, watch)
        return watch

    def _make_disk(self) -> None:
        """A file system in memory, in a mount namespace of its own, which vanishes with this process."""
        self._output = self._directory / "output"
        self._output.mkdir()
        script = f'mount -t tmpfs -o size={_DISK_BYTES} landed "$1" && echo ready && read -r _'
        self._disk = subprocess.Popen(
            ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "disk", str(self._output)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._stack.callback(_end, self._disk)
        assert self._disk.stdout is not None
        assert self._disk.stdout.readline() == b"ready\n"
        self._landed = Path(f"/proc/{self._disk.pid}/root{self._output}")

    def _start_capture(self, drain_seconds: float = _DRAIN_SECONDS) -> subprocess.Popen[bytes]:
        settings = Settings(
            output_dir=str(self._output),
            address=self._proxy.address,
            port=self._proxy.port,
            key_file=str(self._key),
            known_hosts_file=str(self._directory / "known_hosts"),
            host_key=f"ssh-ed25519 {self._host.host_key}",
            dead_peer_seconds=_DEAD_PEER_SECONDS,
            drain_seconds=drain_seconds,
            use_sudo=self._plan.use_sudo,
            plenty_bytes=self._plan.plenty_bytes,
        )
        command = [sys.executable, "-m", "tests.integration.faults.capture_process", settings.as_argument()]
        with self._log.open("ab") as log:
            self._capture = subprocess.Popen(
                ["nsenter", f"--target={self._disk.pid}", "--mount", f"--wd={_REPOSITORY}", "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": f"{_REPOSITORY / 'src'}:{_REPOSITORY}"},
            )
        self._stack.callback(_end, self._capture)
        return self._capture

    # Containers.

    def _run_container(self, name: str) -> None:
        writer = WRITERS[self._containers()[name]]

        def begun() -> bool:
            self._host.docker("rm", "--force", name, check=False)  # of an attempt that failed halfway
            create = ("create", "--network=none", f"--name={name}", f"--label={LABEL}", *writer.options)
            done = self._host.docker(*create, IMAGE, "sh", "-c", writer.script, check=False)
            if done.returncode:
                return False
            self._ids[name].append(done.stdout.decode().strip())
            return self._host.docker("start", name, check=False).returncode == 0

        wait_until(begun, _OPERATION_SECONDS, f"docker run {name}")

    def _start(self, name: str) -> None:
        """Start it, or replace it, as an operator has to when the engine has lost its way with it ("task already exists")."""
        try:
            self._docker("start", name, seconds=_START_SECONDS)
        except TimeoutError:
            self._run_container(name)

    def _start_stopped(self) -> None:
        for name in self._ids:
            self._start(name)

    def _docker(self, *arguments: str, seconds: float = _OPERATION_SECONDS) -> None:
        """Until it works: an engine that has just started refuses some things for a while."""
        said = b""

        def done() -> bool:
            nonlocal said
            answer = self._host.docker(*arguments, check=False)
            said = answer.stderr
            return answer.returncode == 0

        try:
            wait_until(done, seconds, f"docker {arguments}")
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {said.decode(errors='replace').strip()}") from None

    # Faults.

    def _inject(self, fault: Fault) -> None:
        landed = self._landed_bytes()
        self._result.after_progress += landed > self._landed_before
        self._landed_before = landed
        self._history.append(
            f"{time.strftime('%H:%M:%S')} {time.monotonic() - self._began:.3f} {fault} landed={landed}"
        )
        inject: dict[FaultKind, Callable[[Fault], None]] = {
            FaultKind.NET_DROP: self._net_mode(Mode.DROP),
            FaultKind.NET_STALL: self._net_mode(Mode.STALL),
            FaultKind.NET_RESET: self._net_mode(Mode.RESET),
            FaultKind.NET_RESET_MID_FRAME: self._net_reset_mid_frame,
            FaultKind.NET_REFUSE: self._net_mode(Mode.RESET),
            FaultKind.NET_SLOW: self._net_slow,
            FaultKind.NET_HALF_OPEN: lambda _fault: self._proxy.half_open(),
            FaultKind.SSHD_FREEZE: self._sshd_freeze,
            FaultKind.SSHD_KILL: lambda _fault: self._host.drop_sessions(),
            FaultKind.IRIS_KILL: self._iris_kill,
            FaultKind.IRIS_STOP: self._iris_stop,
            FaultKind.IRIS_SUSPEND: self._iris_suspend,
            FaultKind.CONTAINER_RESTART: lambda one: self._docker("restart", "--time=0", one.container),
            FaultKind.CONTAINER_STOP_START: lambda one: self._container_ends("stop", one),
            FaultKind.CONTAINER_KILL: lambda one: self._container_ends("kill", one),
            FaultKind.CONTAINER_RECREATE: self._container_recreate,
            FaultKind.CONTAINER_PAUSE: self._container_pause,
            FaultKind.ENGINE_TERM: lambda one: self._engine(one, signal.SIGTERM),
            FaultKind.ENGINE_KILL: lambda one: self._engine(one, signal.SIGKILL),
            FaultKind.DISK_FULL: self._disk_full,
        }
        inject[fault.kind](fault)
        self._result.faults[fault.kind] += 1
        assert self._capture is not None
        if self._capture.poll() is not None:
            raise AssertionError(f"iris ended by itself with status {self._capture.returncode} after {fault}")

    def _net_mode(self, mode: Mode) -> Callable[[Fault], None]:
        def inject(fault: Fault) -> None:
            self._proxy.set(mode, pass_after_seconds=fault.seconds)
            time.sleep(fault.seconds)

        return inject

    def _net_reset_mid_frame(self, fault: Fault) -> None:
        at = self._proxy.set_after(fault.amount, Mode.RESET, pass_after_seconds=fault.seconds)
        deadline = time.monotonic() + 3.0  # with little traffic it comes later, on top of another fault
        while self._proxy.passed[Direction.DOWN] < at and time.monotonic() < deadline:
            time.sleep(0.01)

    def _net_slow(self, fault: Fault) -> None:
        self._proxy.bytes_per_second = fault.amount
        self._proxy.set(Mode.SLOW, pass_after_seconds=fault.seconds)  # and the next fault comes on top

    def _sshd_freeze(self, fault: Fault) -> None:
        self._host.freeze()
        time.sleep(fault.seconds)
        self._host.thaw()

    def _iris_kill(self, fault: Fault) -> None:
        assert self._capture is not None
        self._capture.kill()
        self._capture.wait()
        time.sleep(fault.seconds)
        self._start_capture()

    def _iris_stop(self, fault: Fault) -> None:
        self._stop_capture(_DRAIN_SECONDS + 10)
        time.sleep(fault.seconds)
        self._start_capture()

    def _stop_capture(self, seconds: float) -> None:
        assert self._capture is not None
        self._capture.terminate()
        try:
            status = self._capture.wait(seconds)
        except subprocess.TimeoutExpired:
            self._capture.send_signal(signal.SIGUSR1)
            time.sleep(0.5)
            raise AssertionError(f"iris did not end within {seconds:g} s of SIGTERM") from None
        if status not in (0, -signal.SIGTERM):  # the latter where it came before there was a handler
            raise AssertionError(f"iris ended with status {status} after SIGTERM")

    def _iris_suspend(self, fault: Fault) -> None:
        assert self._capture is not None
        self._capture.send_signal(signal.SIGSTOP)
        time.sleep(fault.seconds)
        self._capture.send_signal(signal.SIGCONT)

    def _container_ends(self, command: str, fault: Fault) -> None:
        self._host.docker(command, fault.container, check=False)  # one that crashes may not be running just now
        time.sleep(fault.seconds)
        self._start(fault.container)

    def _container_recreate(self, fault: Fault) -> None:
        self._docker("rm", "--force", fault.container)
        time.sleep(fault.seconds)
        self._run_container(fault.container)

    def _container_pause(self, fault: Fault) -> None:
        self._host.docker("pause", fault.container, check=False)
        time.sleep(fault.seconds)
        self._host.docker("unpause", fault.container, check=False)

    def _engine(self, fault: Fault, how: signal.Signals) -> None:
        self._host.stop_engine(how)
        time.sleep(fault.seconds)
        self._host.start_engine()
        self._start_stopped()

    def _disk_full(self, fault: Fault) -> None:
        def shrunk() -> bool:  # unless more has been landed meanwhile
            disk = os.statvfs(self._landed)
            used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
            return self._resize_disk(used + _PAGE_BYTES + fault.amount)

        wait_until(shrunk, _OPERATION_SECONDS, "the shrinking of the disk")
        time.sleep(fault.seconds)
        assert self._resize_disk(_DISK_BYTES)

    def _resize_disk(self, size: int) -> bool:
        where = ["nsenter", f"--target={self._disk.pid}", "--mount", "--"]
        remount = ["mount", "-o", f"remount,size={size}", str(self._output)]
        return subprocess.run([*where, *remount], check=False, capture_output=True).returncode == 0

    def _landed_bytes(self) -> int:
        return sum(path.stat().st_size for path in self._landed.rglob("*.txt"))

    # The end.

    def _finish(self) -> None:
        self._proxy.set(Mode.PASS)
        self._start_stopped()
        assert self._capture is not None
        self._stop_capture(_DRAIN_SECONDS + 10)
        capture = self._start_capture(_LAST_DRAIN_SECONDS)
        assert capture.stdout is not None
        if capture.stdout.readline() != b"ready\n":
            raise AssertionError("the last iris did not start")
        for name in self._ids:  # the last iris may not have heard of some of them yet
            self._docker("update", "--restart=no", name)
            self._stop_container(name)
        self._history.append(f"{time.strftime('%H:%M:%S')} {time.monotonic() - self._began:.3f} containers stopped")
        self._stop_capture(_LAST_DRAIN_SECONDS + 10)
        if capture.stdout.readline() != b"drained\n":
            raise AssertionError("the last iris did not drain")
        self._watch.communicate(timeout=10)
        if self._watch.returncode:
            self._result.problems.append("the watch of the engine's log files missed one: the truth is not known")

    def _stop_container(self, name: str) -> None:
        """Stop it for good.

        20.10 never stops a container of which it missed something while it was started or stopped itself. One whose end it missed is put
        right by a new start of the engine; one that it was about to start, by the end of the container's shim.
        """
        try:
            self._docker("stop", "--time=0", name)
        except TimeoutError:
            self._host.signal_shim(self._ids[name][-1], signal.SIGKILL)
            self._host.restart_engine(signal.SIGKILL)
            self._docker("stop", "--time=0", name)

    def _path(self, name: str) -> Path:
        if name == MAIN_CONTAINER:
            return self._landed / "controller-logs.txt"
        return self._landed / "containers" / HOST_NAME / f"{name}.txt"

    def _records(self, name: str) -> list[Record]:
        path = self._path(name).with_suffix(".events.jsonl")
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    def _judge(self) -> None:
        self._result.file_reads = self._log.read_bytes().count(FILE_READ.encode())
        if self._plan.plenty_bytes is not None and not self._result.file_reads:
            self._result.problems.append("nothing has landed of a log's own file")
        for name, writer in self._containers().items():
            records = self._records(name)
            self._result.events.update(record["event"] for record in records)
            truths = [
                read_true_log(one, self._directory / "kept" / one, removed=one != self._ids[name][-1])
                for one in self._ids[name]
            ]
            path = self._path(name)
            verdict = check(path.read_bytes() if path.exists() else b"", records, truths)
            self._result.verdicts[writer] = verdict
            self._result.problems += [f"{name}: {problem}" for problem in verdict.problems]

    def keep(self) -> str:
        """Copy what explains a failure, and say where it is."""
        kept = Path(tempfile.mkdtemp(prefix=f"iris-faults-failed-{self._plan.name}-"))
        (kept / "history").write_text("\n".join([*self._history, *self._result.problems, repr(self._ids)]) + "\n")
        (kept / "plan").write_text(repr(dataclasses.asdict(self._plan)) + "\n")
        for source in (self._log, self._directory / "host" / "engine.log"):
            if source.exists():
                shutil.copy(source, kept)
        if hasattr(self, "_landed") and self._landed.exists():
            shutil.copytree(self._landed, kept / "landed")
        if (self._directory / "kept").exists():
            shutil.copytree(self._directory / "kept", kept / "kept")
        return str(kept)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that may have ended already."""
    if process.stdin is not None:
        process.stdin.close()
    if process.poll() is None:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
