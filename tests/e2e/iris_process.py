"""`iris` as a process of its own against the lab, and what it leaves running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.cloud import PROJECT, ZONE
from tests.lab.machines import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.gcloud_api import GcloudApi

IRIS = [sys.executable, "-c", "from iris_adapters.cli.main import main; main()"]


class Iris:
    """Runs iris commands on a lab.

    Args:
        api: the lab.
        directory: where iris runs, and configurations are written.
    """

    def __init__(self, api: GcloudApi, directory: Path) -> None:
        self.api = api
        self.directory = directory
        self.environment = {**api.environment, "PYTHONPATH": str(Path("src").resolve())}

    def config(self, prefix: str, owner: str, more: str = "") -> Path:
        """Write the configuration of a cluster with a controller and, unless `more` says otherwise, one slice."""
        workers = (
            ""
            if "workers:" in more
            else "workers: [{name: tpu, accelerator_type: v5litepod-4, runtime_version: v2-alpha-tpuv5-lite}]\n"
        )
        path = self.directory / f"{prefix}-{owner}.yaml"
        path.write_text(
            f"mode: gcp\nlabel_prefix: {prefix}\nowner: {owner}\n"
            f"gcp: {{project_id: {PROJECT}, zone: {ZONE}, ssh: {{user: root}}}}\n{workers}{more}",
            encoding="utf-8",
        )
        return path

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        command = [*IRIS, *map(str, arguments)]
        return subprocess.run(
            command, cwd=self.directory, env=self.environment, capture_output=True, text=True, check=False, timeout=150
        )

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start a command as a terminal would: in a process group of its own."""
        return subprocess.Popen(
            [*IRIS, *map(str, arguments)],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def names(self) -> list[str]:
        """Everything that the cloud has, sorted; with its zone where that is not the usual one."""
        cloud = self.api.cloud
        records = [*cloud.list(Kind.INSTANCE), *cloud.list(Kind.NODE)]
        places = [record.name if record.zone == ZONE else f"{record.name}@{record.zone}" for record in records]
        return sorted([*places, *(f"{name} (request)" for name in self.api.queue.names())])

    def processes(self) -> dict[int, str]:
        """Every process that was started for this lab (its environment says so), by pid, with its command line."""
        mark = f"CLOUDSDK_CONFIG={self.environment['CLOUDSDK_CONFIG']}".encode()
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (path / "environ").read_bytes().split(b"\0"):
                    found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return found


def interrupt(process: subprocess.Popen[str], *, group: bool) -> None:
    """What Ctrl-C in a terminal does (a signal for the foreground group), or `kill -INT` of the one process."""
    if group:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait in real time for what other processes do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.05)
