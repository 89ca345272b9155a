"""iris: its public core over its SSH shell, as `iris logs stream` wires them, with hosts that are given instead of looked up."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from iris_adapters.fakes import FakeInventory, make_slice
from iris_adapters.ssh import FabricShell
from iris_adapters.system_clock import SystemClock
from iris_core.config import ClusterConfig, LogConfig, SshConfig
from iris_core.log_streaming import open_log_streaming
from iris_core.model import Host, HostRole
from tests.benchmarks.clients import Task, host_name, say_stopped, slice_name, wait_for_start, wait_for_stop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iris_core.model import Slice

_LABEL = "iris.managed=true"  # iris's default


def slices_of(addresses: Sequence[str]) -> list[Slice]:
    """Slices of eight hosts each, with these addresses."""
    hosts: dict[str, list[Host]] = {}
    for number, address in enumerate(addresses):
        name = slice_name(number)
        hosts.setdefault(name, []).append(
            Host(
                name=host_name(number),
                role=HostRole.WORKER,
                address=address,
                instance_id=name,
                slice_name=name,
                worker_index=number % 8,
            )
        )
    return [replace(make_slice(name), hosts=tuple(some)) for name, some in hosts.items()]


def open_shell(task: Task, clock: SystemClock) -> FabricShell:
    """Iris's SSH shell, for the hosts of a task."""
    config = SshConfig(
        user=task.user,
        key_file=task.key_file,
        port=task.port,
        known_hosts_file=str(Path(task.directory, "known_hosts")),
    )
    return FabricShell(config, clock, lambda _host: [task.host_key])


def main() -> None:
    """Capture until SIGTERM."""
    logging.basicConfig(level=logging.WARNING)
    task = wait_for_start()
    clock = SystemClock()
    shell = open_shell(task, clock)
    handle = open_log_streaming(
        config=ClusterConfig(logs=LogConfig(use_sudo=False, container_label=_LABEL if task.watches_labels else None)),
        shell=shell,
        inventory=FakeInventory(slices=slices_of(task.addresses)),
        clock=clock,
        output_dir=Path(task.directory),
        controller_container="none",
        worker_container=task.container,
    )
    wait_for_stop()
    handle.stop()
    shell.close()
    say_stopped()


if __name__ == "__main__":
    main()
