"""`python -m tests.integration.faults.capture_process SETTINGS`: an iris of its own, to be killed at random.

It lands the logs of one host for as long as it lives, through iris's public core and the real SSH shell, and writes `ready` on standard
output once it has begun. SIGTERM: it drains, writes `drained`, and ends.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import logging
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iris_adapters.ssh import FabricShell
from iris_adapters.system_clock import SystemClock
from iris_core import json_file_reading
from iris_core.config import ClusterConfig, LogConfig, SshConfig
from iris_core.log_streaming import open_log_streaming
from iris_core.model import ControllerVm, Host, HostRole, VmPhase
from tests.support.log_files import make_plenty

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from iris_core.config import WorkerGroupConfig
    from iris_core.model import QueuedSlice, Resource, Slice

MAIN_CONTAINER = "main"
LABEL = "iris.managed=true"
HOST_NAME = "faulty"
FILE_READ = "landed of a log's own file"  # logged for each part of it
_PR_SET_PDEATHSIG = 1

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What it needs to know.

    Attributes:
        output_dir: where logs are landed.
        address, port: where sshd is reached.
        key_file: to log in with.
        known_hosts_file: where host keys are kept.
        host_key: that of the host, `TYPE BASE64`.
        dead_peer_seconds: how long the host may owe an answer.
        drain_seconds: how long draining may take.
        use_sudo: whether docker is run with sudo.
        plenty_bytes: how many bytes are so many that they are read of the log's own file; None: as many as ever.
    """

    output_dir: str
    address: str
    port: int
    key_file: str
    known_hosts_file: str
    host_key: str
    dead_peer_seconds: float
    drain_seconds: float
    use_sudo: bool
    plenty_bytes: int | None = None

    def as_argument(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))


class _TellingPart(json_file_reading._Part):
    """Tells of every part of a log's file of which something has landed."""

    def take(self, data: bytes) -> None:
        before = self.landed_bytes
        super().take(data)
        if self.landed_bytes and not before:
            _logger.info(FILE_READ)


class OneHost:
    """Implements `VmInventory`: a controller that is always there, and nothing else."""

    def __init__(self, host: Host) -> None:
        self._controller = ControllerVm(name=host.name, host=host, port=1, phase=VmPhase.READY)

    def find_controller(self) -> ControllerVm:
        return self._controller

    def ensure_controller(self, made: Callable[[], object] | None = None) -> ControllerVm:  # noqa: ARG002 - the port's signature
        return self._controller

    def owner(self) -> str:
        return ""

    def list_slices(self) -> Sequence[Slice]:
        return []

    def list_queued(self) -> Sequence[QueuedSlice]:
        return []

    def list_resources(self, *, all_zones: bool = False) -> Sequence[Resource]:  # noqa: ARG002 - the port's signature
        return [self._controller]

    def create_slice(self, group: WorkerGroupConfig) -> Slice:
        raise NotImplementedError(f"no slice of {group.name} can be created here")

    def queue_slice(self, group: WorkerGroupConfig) -> QueuedSlice:
        raise NotImplementedError(f"no slice of {group.name} can be asked for here")

    def delete(self, resource: Resource) -> None:
        raise NotImplementedError(f"{resource.name} cannot be deleted here")

    def serial_output(self, resource: Resource) -> str:  # noqa: ARG002 - the port's signature
        """None."""
        return ""

    def call_off(self) -> None:
        """Nothing is done here."""

    def close(self) -> None:
        """Nothing is held."""


def main() -> None:
    """Capture until SIGTERM."""
    settings = Settings(**json.loads(sys.argv[1]))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # what hangs, where a lane waits in vain
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # nothing outlives a lane that is killed
    # Taken by sigwait alone: a handler runs only once the main thread wakes, and a thread that is about to wait may miss it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    clock = SystemClock()
    if settings.plenty_bytes is not None:  # not for users to choose
        patch = pytest.MonkeyPatch()
        patch.setattr(json_file_reading, "_Part", _TellingPart)
        make_plenty(patch, settings.plenty_bytes)
    shell = FabricShell(
        SshConfig(
            user="root",
            key_file=settings.key_file,
            port=settings.port,
            known_hosts_file=settings.known_hosts_file,
            dead_peer_seconds=settings.dead_peer_seconds,
            connect_timeout_seconds=5.0,
        ),
        clock,
        lambda _host: [settings.host_key],
    )
    host = Host(name=HOST_NAME, role=HostRole.CONTROLLER, address=settings.address, instance_id="1")
    handle = open_log_streaming(
        config=ClusterConfig(
            logs=LogConfig(drain_seconds=settings.drain_seconds, use_sudo=settings.use_sudo, container_label=LABEL)
        ),
        shell=shell,
        inventory=OneHost(host),
        clock=clock,
        output_dir=Path(settings.output_dir),
        controller_container=MAIN_CONTAINER,
        worker_container="none",
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    signal.sigwait({signal.SIGTERM})
    handle.stop()
    shell.close()
    sys.stdout.write("drained\n")


if __name__ == "__main__":
    main()
