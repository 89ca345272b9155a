"""What a host's container runs by default: a Ray node that stays joined to its cluster, and whose tasks' output reaches Docker's log.

It travels as text, `python3 -u -c TEXT OPTIONS`, and runs as the container's first process; so it imports nothing of iris, needs
only Python 3.10, Ray and Linux, and starts Ray as a program.

    controller   makes the cluster's token if the host has none, and runs the head. When Ray ends, so does this: Docker starts it again.
    worker       waits for `DIRECTORY/join`, which iris writes over SSH (`iris_core.ray_join`), and joins the head that it names; again
                 when Ray has ended, and anew when the file has changed because the controller was re-created.

Ray's own tasks print into files on the worker (`worker-….out`); what comes there is written to standard output and standard error. A
replica of an `iris` job writes to `/proc/1/fd/1` by itself, see `IRIS_TASK_LOG` in `iris_core.ray_names`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shlex
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

DIRECTORY = Path("/var/lib/iris")  # the host's, seen in the container
RAY_DIRECTORY = Path("/tmp/ray")  # noqa: S108 - Ray's own default
RAY_TOKEN_FILE = Path("/tmp/iris-ray-token")  # noqa: S108 - in the container, whose only user is root
TOKEN_FILE = "token"  # noqa: S105 - a file's name
JOIN_FILE = "join"
HEAD_PORT = 6379

# Fixed, so that a firewall can know them: Ray 2.60 would take any free ones. docs/security.md lists them.
PORT_OPTIONS = (
    "--node-manager-port=10002",
    "--object-manager-port=10003",
    "--dashboard-agent-listen-port=10004",
    "--dashboard-agent-grpc-port=10005",
    "--runtime-env-agent-port=10006",
    "--min-worker-port=10100",
    "--max-worker-port=10999",
)

# What Ray would otherwise open for anyone, without a token: its metrics. It takes -1 for a port that cannot be had, and goes on without.
ENVIRONMENT = {
    "RAY_enable_metrics_collection": "0",
    "AUTOSCALER_METRIC_PORT": "-1",
    "DASHBOARD_METRIC_PORT": "-1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "IRIS_TASK_LOG": "/proc/1/fd/1",
}

TURN_SECONDS = 0.2
AGAIN_SECONDS = 3.0  # between a Ray that ended and the next
STOP_SECONDS = 8.0  # Docker gives a container 10 s from SIGTERM to SIGKILL
UNFINISHED_SECONDS = 5.0  # a line that has no end after this long is passed on as it is
MOST_READ_BYTES = 8 << 20  # of one file in one turn
RAY_MARKS = (b":job_id:", b":actor_name:", b":task_name:")  # lines that Ray writes into these files for its own readers


def say(text: str) -> None:
    """Tell whoever reads the container's log."""
    write_lines(2, f"iris: {text}\n".encode())


def write_lines(descriptor: int, data: bytes) -> None:
    """Write whole lines, in one piece among others who write to the same pipe and lock it too."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)


class TaskLog:
    """One file into which a Ray worker's tasks print, and how much of it has been passed on."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._descriptor = descriptor
        self._file = path.open("rb", buffering=0)
        self._pid = path.stem.rpartition("-")[2]
        self._rest = b""
        self._since = 0.0

    def copy(self, now: float) -> bool:
        """Pass on what is new; False once the process that wrote it has ended and all is passed on."""
        ended = not Path(f"/proc/{self._pid}").exists()  # asked first: what it wrote before that is read below
        data = self._read()
        if data:
            self._since = now
        elif self._rest and (ended or now - self._since >= UNFINISHED_SECONDS):
            self.flush()
        return bool(data) or not ended

    def flush(self) -> None:
        """Pass on the line that has no end, too."""
        if self._rest and not self._rest.startswith(RAY_MARKS):
            self._write([self._rest])
        self._rest = b""

    def close(self) -> None:
        """Pass on all that is left, and let go of the file."""
        while self._read():
            pass
        self.flush()
        self._file.close()

    def _read(self) -> bytes:
        data = self._file.read(MOST_READ_BYTES)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._write([line for line in lines if not line.startswith(RAY_MARKS)])
        return data

    def _write(self, lines: list[bytes]) -> None:
        if lines:
            write_lines(self._descriptor, b"".join(line + b"\n" for line in lines))


class TaskLogs:
    """All the files into which Ray's tasks on this node print."""

    def __init__(self, directory: Path, *, stdout: int = 1, stderr: int = 2) -> None:
        self._directory = directory
        self._descriptors = {".out": stdout, ".err": stderr}
        self._open: dict[Path, TaskLog] = {}
        self._done: set[Path] = set()

    def copy(self, now: float) -> None:
        """Pass on what is new in them."""
        for path in self._directory.glob("session_2*/logs/worker-*"):
            if path.suffix in self._descriptors and path not in self._open and path not in self._done:
                with contextlib.suppress(OSError):  # it has just been removed
                    self._open[path] = TaskLog(path, self._descriptors[path.suffix])
        for path, log in list(self._open.items()):
            if not log.copy(now):
                self._done.add(path)
                self._open.pop(path).close()

    def close(self) -> None:
        """Pass on all that is there now, and forget them."""
        self.copy(time.monotonic())
        for log in self._open.values():
            log.close()
        self._open.clear()
        self._done.clear()


class Node:
    """The Ray node of this container, and the program that keeps it.

    Args:
        options: `role`, and on a controller `name` and `dashboard_port`.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._is_controller = options["role"] == "controller"
        self._logs = TaskLogs(RAY_DIRECTORY)
        self._ray = 0  # its process id, while it runs
        self._joined: dict[str, Any] | None = None  # what it was started with
        self._stop = False
        self._start_at = 0.0
        self._said = ""

    def run(self) -> int:
        """Keep a Ray node until SIGTERM or, on a controller, until Ray ends; the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._heard)
        while not self._stop:
            status = self._reap()
            if status is not None:
                self._clean_up()
                say(f"Ray has ended, with exit code {status}")
                if self._is_controller:
                    return status or 1
                self._start_at = time.monotonic() + AGAIN_SECONDS
            wanted = self._wanted()
            if self._ray and wanted is not None and wanted != self._joined:
                say("the controller is another one now")
                self._end_ray()
            elif not self._ray and wanted is not None and time.monotonic() >= self._start_at:
                self._start_ray(wanted)
            if not self._is_controller:
                self._logs.copy(time.monotonic())
            time.sleep(TURN_SECONDS)
        self._end_ray()
        return 0

    def _heard(self, *_: object) -> None:
        self._stop = True

    def _wanted(self) -> dict[str, Any] | None:
        """What to start Ray with; None where that is not known yet."""
        if self._is_controller:
            return self._joined or {"token": make_token(DIRECTORY)}
        try:
            wanted: dict[str, Any] = json.loads((DIRECTORY / JOIN_FILE).read_bytes())
        except FileNotFoundError:
            self._say_once(f"waiting for iris to say which controller to join, in {DIRECTORY / JOIN_FILE}")
            return None
        except (OSError, ValueError) as error:
            self._say_once(
                f"{DIRECTORY / JOIN_FILE} cannot be read: {type(error).__name__}"
            )  # its text holds the token
            return None
        return wanted

    def _say_once(self, text: str) -> None:
        if text != self._said:
            self._said = text
            say(text)

    def _start_ray(self, wanted: dict[str, Any]) -> None:
        shutil.rmtree(RAY_DIRECTORY, ignore_errors=True)  # of a life before: it would grow for ever
        write_secret(RAY_TOKEN_FILE, wanted["token"])
        command = [
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            "--block",
            "--disable-usage-stats",
            *PORT_OPTIONS,
        ]
        if self._is_controller:
            command += head_options(self._options)
            say("starting the Ray head")
        else:
            command += worker_options(wanted)
            say(f"joining the Ray head at {wanted['head']} as {wanted['name']}")
        command += shlex.split(os.environ.get("IRIS_RAY_OPTIONS", ""))
        environment = {
            **ENVIRONMENT,
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(RAY_TOKEN_FILE),
        }
        self._joined = wanted
        self._ray = os.posix_spawnp(command[0], command, environment, setpgroup=0)

    def _reap(self) -> int | None:
        """Bury what has ended: a container's first process inherits every orphan. The exit code of Ray if it was among them."""
        code = None
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid == self._ray:
                    code, self._ray = os.waitstatus_to_exitcode(status), 0
        return code

    def _end_ray(self) -> None:
        if self._ray:
            deadline = time.monotonic() + STOP_SECONDS
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._ray, signal.SIGTERM)
            while self._reap() is None and time.monotonic() < deadline:
                self._logs.copy(time.monotonic())
                time.sleep(TURN_SECONDS)
        self._clean_up()

    def _clean_up(self) -> None:
        """End what is left of Ray, and pass on the last words of its tasks."""
        if os.getpid() == 1:  # in a container: everything else here is Ray's, or was started by it
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
        elif self._ray:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._ray, signal.SIGKILL)
        self._ray, self._joined = 0, None
        if not self._is_controller:
            self._logs.close()


def head_options(options: dict[str, Any]) -> list[str]:
    """What makes `ray start` a head. It runs no tasks, only the drivers of jobs."""
    return [
        *("--head", f"--port={HEAD_PORT}", f"--node-name={options['name']}", "--num-cpus=0"),
        *("--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={options['dashboard_port']}"),
    ]


def worker_options(join: dict[str, Any]) -> list[str]:
    """What makes `ray start` join, and offer what the host has."""
    labels = ",".join(f"{key}={value}" for key, value in join["labels"].items())
    return [
        *(f"--address={join['head']}:{HEAD_PORT}", f"--node-name={join['name']}"),
        *(f"--resources={json.dumps(join['resources'])}", f"--labels={labels}"),
    ]


def make_token(directory: Path) -> str:
    """The cluster's token: what the file says, or a new one, of 256 random bits. Whoever is first to make it wins."""
    path = directory / TOKEN_FILE
    if not path.exists():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        mine = directory / f"{TOKEN_FILE}.{secrets.token_hex(8)}"
        write_secret(mine, secrets.token_hex(32))
        with contextlib.suppress(FileExistsError):
            os.link(mine, path)
        mine.unlink()
    return path.read_text(encoding="ascii").strip()


def write_secret(path: Path, secret: str) -> None:
    """Write a file that only root may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret)


if __name__ == "__main__":
    sys.exit(Node(json.loads(sys.argv[1])).run())
