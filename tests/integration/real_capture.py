"""A capture of a lab's host: over its real sshd, of its real engine."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from iris_adapters.ssh import FabricShell
from iris_adapters.system_clock import SystemClock
from iris_core.config import ClusterConfig, LogConfig, SshConfig
from iris_core.log_paths import host_path
from iris_core.log_streaming import open_log_streaming
from iris_core.model import Host, HostRole
from tests.integration.faults.capture_process import OneHost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from iris_core.log_streaming import LogStreamHandle
    from tests.lab.host import Host as LabHost
    from tests.lab.lab import Lab

MAIN_CONTAINER: Final = "main"


def landed_path(output_dir: Path, vm: LabHost) -> Path:
    """Where the log of the host's main container lands."""
    return host_path(output_dir, _host_of(vm))


@contextmanager
def capturing(lab: Lab, vm: LabHost, output_dir: Path) -> Iterator[LogStreamHandle]:
    """Land the host's logs until the end of the block, then what the engine holds at that moment."""
    clock = SystemClock()
    config = SshConfig(
        user="root",
        key_file=str(lab.ssh_key()),
        port=vm.port,
        known_hosts_file=str(output_dir.with_name("known_hosts")),
    )
    shell = FabricShell(config, clock, lambda _host: [f"ssh-ed25519 {vm.host_key}"])
    try:
        handle = open_log_streaming(
            config=ClusterConfig(logs=LogConfig(drain_seconds=60.0)),
            shell=shell,
            inventory=OneHost(_host_of(vm)),
            clock=clock,
            output_dir=output_dir,
            controller_container=MAIN_CONTAINER,
            worker_container="none",
        )
        try:
            yield handle
        finally:
            handle.stop()
    finally:
        shell.close()


def _host_of(vm: LabHost) -> Host:
    return Host(name=vm.name, role=HostRole.CONTROLLER, address=vm.address, instance_id="1")
