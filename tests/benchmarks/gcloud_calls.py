"""How many calls of Google's API a connected iris makes in a minute, by how many hosts there are.

    uv run python -m tests.benchmarks.gcloud_calls [SECONDS]

The real gcloud, a real connection to a controller, log streaming and healing. The worker hosts are listed, and hang up on whoever connects,
so that each is tried again and again: the case that would cost most.
"""

from __future__ import annotations

import itertools
import os
import selectors
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from iris_adapters.container import open_container
from iris_core.config import (
    ClusterConfig,
    ContainerConfig,
    ControllerConfig,
    GcpConfig,
    LogConfig,
    Mode,
    SshConfig,
    WorkerGroupConfig,
)
from iris_core.labels import new_labels
from tests.lab.cloud import PROJECT, ZONE
from tests.lab.images import IMAGE
from tests.lab.lab import Lab
from tests.lab.machines import Address, Kind, NoMachines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.lab.http_shapes import Request
    from tests.lab.machines import Machines, Record

HOSTS_PER_SLICE = 8
SSH_PORT = 22
SECONDS = 60.0


class _HangingUp:
    """Accepts connections to any number of addresses, and closes them at once."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="hanging-up", daemon=True)
        self._thread.start()

    def listen(self, address: str) -> None:
        listener = socket.create_server((address, SSH_PORT))
        listener.settimeout(0)
        self._selector.register(listener, selectors.EVENT_READ)

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            cast("socket.socket", key.fileobj).close()
        self._selector.close()

    def _serve(self) -> None:
        while not self._closed.is_set():
            for key, _ in self._selector.select(0.1):
                with suppress(OSError):
                    cast("socket.socket", key.fileobj).accept()[0].close()


class _ListedOnly(NoMachines):
    """Nodes whose hosts hang up; instances are real."""

    def __init__(self, instances: Machines, hosts: _HangingUp) -> None:
        super().__init__()
        self._instances = instances
        self._hosts = hosts
        self._next = itertools.count()

    def allocate(self, record: Record, count: int) -> Sequence[Address]:
        if record.kind == Kind.INSTANCE:
            return self._instances.allocate(record, count)
        numbers = itertools.islice(self._next, count)
        texts = [f"127.77.{number // 250}.{number % 250 + 1}" for number in numbers]
        for text in texts:
            self._hosts.listen(text)
        return [Address(internal=text, external=text) for text in texts]

    def boot(self, record: Record) -> None:
        (self._instances.boot if record.kind == Kind.INSTANCE else super().boot)(record)

    def destroy(self, record: Record) -> None:
        if record.kind == Kind.INSTANCE:
            self._instances.destroy(record)


def measure(hosts: int, *, seconds: float, every_seconds: float = 10.0) -> Counter[str]:
    """The calls that are made in so many seconds, once every slice has been asked for its host keys.

    Args:
        hosts: how many worker hosts are listed; in slices of 8, or one smaller one.
        seconds: how long to count.
        every_seconds: the interval of discovery.
    """
    per_slice = min(hosts, HOSTS_PER_SLICE)
    accelerator_type = f"v5litepod-{4 * per_slice}"
    config = ClusterConfig(
        mode=Mode.GCP,
        owner="me",
        gcp=GcpConfig(project_id=PROJECT, zone=ZONE, ssh=SshConfig(user="root")),
        controller=ControllerConfig(
            container=ContainerConfig(image=IMAGE, command=("httpd", "-f", "-p", "127.0.0.1:10000", "-h", "/www"))
        ),
        workers=(
            WorkerGroupConfig(
                name="tpu",
                accelerator_type=accelerator_type,
                runtime_version="v2-alpha-tpuv5-lite",
                count=0,
                recreate=True,
            ),
        ),
        logs=LogConfig(discovery_seconds=every_seconds, drain_seconds=0, black_box_seconds=0),
    )
    with (
        _environment_given_back(),
        closing(_HangingUp()) as listed_hosts,
        Lab() as lab,
        tempfile.TemporaryDirectory() as directory,
    ):
        lab.cloud.machines = _ListedOnly(lab.cloud.machines, listed_hosts)
        os.environ.update(lab.environment)
        labels = new_labels("iris", owner="me", expires_at=None, group="tpu")
        for number in range(hosts // per_slice):
            lab.add_node(f"iris-tpu-{number}", accelerator_type=accelerator_type, labels=labels)
        with open_container(config) as container, ExitStack() as connection:
            manager = container.cluster_manager()
            manager.start()  # so that `connect` finds it, and leaves it running: the lab ends it faster
            connection.enter_context(manager.connect(log_dir=Path(directory) / "logs"))
            _wait_for_keys(lab, hosts // per_slice)
            time.sleep(every_seconds)
            before = len(lab.cloud.requests)
            time.sleep(seconds)
            return Counter(filter(None, map(_kind, lab.cloud.requests[before:])))


@contextmanager
def _environment_given_back() -> Iterator[None]:
    saved = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


def _wait_for_keys(lab: Lab, slices: int) -> None:
    deadline = time.monotonic() + 300
    while len({request.path for request in list(lab.cloud.requests) if _kind(request) == "keys of a slice"}) < slices:
        assert time.monotonic() < deadline, "not every slice was asked for its host keys"
        time.sleep(0.5)


def _kind(request: Request) -> str:
    """What a call is for; empty for those that are made by the way of another (operations, the project …)."""
    if request.path.endswith(":getGuestAttributes"):
        return "keys of a slice"
    if request.path.endswith("/nodes"):
        return "list of slices"
    if "/instances/" in request.path:
        return "controller"
    return "" if "/operations/" in request.path else request.path


if __name__ == "__main__":
    counted_seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    for listed in (2, 200):
        calls = measure(listed, seconds=counted_seconds)
        per_minute = {kind: round(count * 60 / counted_seconds, 1) for kind, count in sorted(calls.items())}
        sys.stdout.write(f"{listed} hosts: calls per minute: {per_minute}, {sum(per_minute.values()):g} in all\n")
