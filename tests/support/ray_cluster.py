"""A real Ray cluster of this test's own, without containers: a head, and workers that come and go.

Each node runs in a PID namespace of its own, as it would in a container: killing its first process ends all of it at once, and
what is written to its `/proc/1/fd/1` is in `Node.output`. The nodes share the machine's network, so each has ports of its own.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from iris_core.ray_names import TASK_LOG_VARIABLE, host_labels, host_resources

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

HEAD_NAME = "controller"
_START_SECONDS = 120.0
_POLL_SECONDS = 0.1
_FIRST_PORT = 21000
_PORTS_PER_NODE = 200
_OBJECT_STORE_BYTES = 80_000_000  # Ray takes no less than 75 MiB
_UNSHARE = ("unshare", "--pid", "--mount-proc", "--fork", "--kill-child")


@dataclass(slots=True)
class Node:
    """One node: the head, or a worker.

    Attributes:
        name: its Ray node name: for a worker, the host's name `{slice}-w{index}`.
        process: `unshare`, whose only child is the node's first process.
        log_file: what the node's first process, and whoever writes to its `/proc/1/fd/1`, has written.
        ports: of `ray start`, by the option's name.
    """

    name: str
    process: subprocess.Popen[bytes]
    log_file: Path
    ports: Mapping[str, int]

    @property
    def output(self) -> str:
        """All that a container's log would have of it."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """End it at once, and all it has started, as a VM that vanishes does. Ended already is fine."""
        # --kill-child: the namespace's first process gets SIGKILL when unshare ends, and with it the namespace.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass(slots=True)
class RayCluster:
    """A Ray head with token authentication on; a context manager. `add_worker` adds hosts.

    Attributes:
        token: what the dashboard's routes and Ray's own ports want.
        url: of the dashboard, where the Jobs and State APIs are; good once the context is entered.
        head: the head's node.
        workers: the workers by name, those that were killed included.
    """

    token: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    url: str = ""
    head: Node | None = None
    workers: dict[str, Node] = field(default_factory=dict)
    _directory: Path = field(
        default_factory=lambda: Path(tempfile.mkdtemp(prefix="iris-ray-"))
    )  # short: sockets are in it
    _started: int = 0
    _head_address: str = ""

    def __enter__(self) -> Self:
        try:
            token_file = self._directory / "token"
            token_file.touch(mode=0o600)
            token_file.write_text(self.token, encoding="ascii")
            ports = _ports(0)
            self._head_address = f"127.0.0.1:{ports['port']}"
            dashboard = ports["dashboard-port"]
            self.url = f"http://127.0.0.1:{dashboard}"
            arguments = ["--head", "--num-cpus=0", "--include-dashboard=true"]
            self.head = self._start(HEAD_NAME, ports, arguments)
            # The dashboard answers before the head's own node has joined, and workers that join before it can bring it down.
            self._wait(lambda: HEAD_NAME in self.alive_nodes(), self.head, "the head starts")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def add_worker(
        self, slice_name: str, index: int, accelerator_type: str, *, chips: int = 4, cpus: int = 2, wait: bool = True
    ) -> Node:
        """Start the host `{slice_name}-w{index}`, with what a host of a slice offers in production.

        Args:
            slice_name: of the slice that it is of.
            index: its place in it.
            accelerator_type: of the slice.
            chips: how many TPU chips it offers.
            cpus: how many CPUs it offers.
            wait: whether to return only once Ray counts it among its nodes.
        """
        name = f"{slice_name}-w{index}"
        labels = ",".join(f"{key}={value}" for key, value in host_labels(slice_name).items())
        resources = json.dumps(host_resources(slice_name, accelerator_type, chips))
        arguments = [
            f"--address={self._head_address}",
            f"--num-cpus={cpus}",
            f"--labels={labels}",
            f"--resources={resources}",
        ]
        self._started += 1
        node = self._start(name, _ports(self._started), arguments)
        self.workers[name] = node
        if wait:
            self._wait(lambda: name in self.alive_nodes(), node, f"{name} joins")
        return node

    def alive_nodes(self) -> set[str]:
        """The names of the nodes that Ray believes alive, the head (`controller`) among them."""
        answer = self._get("/api/v0/nodes?limit=10000") or {}
        rows = answer.get("data", {}).get("result", {}).get("result", [])
        return {row["node_name"] for row in rows if row["state"] == "ALIVE"}

    def close(self) -> None:
        """End every node and remove the files."""
        if self.head is not None and self.head.process.poll() is not None:
            print(f"the head has ended by itself:\n{self.head.output[-4000:]}")  # noqa: T201 - pytest shows it
        for node in [*self.workers.values(), *([self.head] if self.head else [])]:
            node.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _start(self, name: str, ports: Mapping[str, int], arguments: list[str]) -> Node:
        options = {key: value for key, value in ports.items() if "--head" in arguments or key not in _HEAD_PORTS}
        command = [
            *(*_UNSHARE, sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--node-name={name}"),
            "--node-ip-address=127.0.0.1",
            f"--temp-dir={self._directory / name}",
            f"--object-store-memory={_OBJECT_STORE_BYTES}",
            "--include-log-monitor=false",  # iris takes what tasks print another way, and it is one process less
            *(f"--{key}={value}" for key, value in options.items() if key not in _PORTS_BY_VARIABLE),
            *arguments,
        ]
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # as in an image: python3 is the one that has Ray
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self._directory / "token"),
            "RAY_USAGE_STATS_ENABLED": "0",
            TASK_LOG_VARIABLE: "/proc/1/fd/1",
            **{variable: str(options[key]) for key, variable in _PORTS_BY_VARIABLE.items() if key in options},
        }
        log_file = self._directory / f"{name}-{self._started}.log"
        with log_file.open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        return Node(name, process, log_file, options)

    def _wait(self, condition: object, node: Node, what: str) -> None:
        assert callable(condition)
        deadline = time.monotonic() + _START_SECONDS
        while not condition():
            if node.process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not within {_START_SECONDS:g} s: {node.output[-4000:]}")
            time.sleep(_POLL_SECONDS)

    def _get(self, path: str) -> dict[str, dict[str, dict[str, list[dict[str, str]]]]] | None:
        request = urllib.request.Request(f"{self.url}{path}", headers={"Authorization": f"Bearer {self.token}"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310 - a URL of this module's own
                answer: dict[str, dict[str, dict[str, list[dict[str, str]]]]] = json.load(reply)
        except (OSError, urllib.error.URLError, ValueError):
            return None
        return answer


def ray_job_submit(url: str, token: str, home: Path, *arguments: str) -> str:
    """What Ray's own `ray job submit` prints, which must succeed; the token is in its environment."""
    done = subprocess.run(
        [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", url, *arguments],
        env={**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


_HEAD_PORTS = ("port", "dashboard-port", "ray-client-server-port", "autoscaler-metrics", "dashboard-metrics")
_PORTS_BY_VARIABLE = {"autoscaler-metrics": "AUTOSCALER_METRIC_PORT", "dashboard-metrics": "DASHBOARD_METRIC_PORT"}


def _ports(number: int) -> dict[str, int]:
    """Ports for the node of this number, by the option's name."""
    names = (
        *("port", "dashboard-port", "ray-client-server-port", "autoscaler-metrics", "dashboard-metrics"),
        *("node-manager-port", "object-manager-port"),
        *("dashboard-agent-listen-port", "dashboard-agent-grpc-port", "runtime-env-agent-port", "metrics-export-port"),
    )
    first = _FIRST_PORT + number * _PORTS_PER_NODE
    ports = {name: first + index for index, name in enumerate(names)}
    return {
        **ports,
        "min-worker-port": first + 20,
        "max-worker-port": first + _PORTS_PER_NODE - 1,
    }
