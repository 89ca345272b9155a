"""A whole cluster on the pretended Google Cloud: the real gcloud, real SSH, real Docker engines."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iris_adapters.container import open_container
from iris_adapters.debug import cleanup_iris_resources
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
from iris_core.errors import CleanupIncompleteError
from iris_core.log_reader import read_payloads
from tests.lab.cloud import PROJECT, ZONE
from tests.lab.http_shapes import ApiError
from tests.lab.images import IMAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.host import Host
    from tests.lab.lab import Lab

CONTROLLER_COMMAND = ("sh", "-c", "chatter 300 20 & exec httpd -f -p 127.0.0.1:10000 -h /www")
WORKER_COMMAND = ("chatter", "2000", "20")
LATE_SECONDS = 20.0

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


def cluster_config(label_prefix: str = "iris") -> ClusterConfig:
    return ClusterConfig(
        mode=Mode.GCP,
        label_prefix=label_prefix,
        gcp=GcpConfig(project_id=PROJECT, zone=ZONE, ssh=SshConfig(user="root")),
        controller=ControllerConfig(
            container=ContainerConfig(image=IMAGE, command=CONTROLLER_COMMAND), ready_timeout_seconds=120
        ),
        workers=(
            WorkerGroupConfig(
                name="tpu",
                accelerator_type="v5litepod-8",
                runtime_version="v2-alpha-tpuv5-lite",
                container=ContainerConfig(image=IMAGE, command=WORKER_COMMAND),
            ),
        ),
        logs=LogConfig(discovery_seconds=3),
    )


@pytest.fixture
def cloud(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The lab, as the one that this process's gcloud and SSH see."""
    for name, value in lab.environment.items():
        monkeypatch.setenv(name, value)
    return lab


def children() -> set[int]:
    """Pids of the direct children of this process."""
    tasks = Path(f"/proc/{os.getpid()}/task")
    return {int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()}


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.2)


def numbers(path: Path, *, stderr: bool) -> list[int]:
    """The numbers that `chatter` wrote on one of its streams, in the order in which they landed."""
    return [int(payload.split()[1]) for is_stderr, payload in read_payloads(path) if is_stderr == stderr]


def resource_names(lab: Lab) -> set[str]:
    names = set()
    for command in (("instances", "list"), ("tpus", "tpu-vm", "list", f"--zone={ZONE}")):
        listed = lab.gcloud("compute", *command, f"--project={PROJECT}", "--format=json").stdout
        names |= {entry["name"].rsplit("/", 1)[-1] for entry in json.loads(listed)}
    return names


def test_a_whole_cluster_from_nothing_to_nothing(cloud: Lab, tmp_path: Path) -> None:
    """It is created, answers through the tunnel, lands every line of three hosts and of a late slice, and leaves nothing."""
    threads, processes = set(threading.enumerate()), children()
    log_dir = tmp_path / "logs"
    config = cluster_config()
    [group] = config.workers
    with open_container(config) as container:
        manager = container.cluster_manager()
        with manager.connect(log_dir=log_dir) as url:
            late = threading.Timer(LATE_SECONDS, lambda: container.inventory().create_slice(group))
            late.start()
            with urllib.request.urlopen(f"{url}/api/version", timeout=10) as reply:  # noqa: S310 - the tunnel's own URL
                assert json.load(reply)["ray_version"] == "lab"
            assert url.startswith("http://127.0.0.1:")
            assert "iris-controller-iris" in resource_names(cloud)
            wait_for(lambda: len(list((log_dir / "workers").glob("*.txt"))) == 4, 60, "four worker hosts are streamed")
            late.join()
            landed = [log_dir / "controller-logs.txt", *(log_dir / "workers").glob("*.txt")]
            wait_for(lambda: all(path.stat().st_size > 4000 for path in landed), 30, "every log grows")
        assert sorted(path.name for path in log_dir.iterdir()) == [
            "controller-logs.events.jsonl",
            "controller-logs.txt",
            "workers",
        ]
        for path in landed:
            for stderr in (False, True):
                seen = numbers(path, stderr=stderr)
                assert seen == list(range(1, len(seen) + 1))
        assert resource_names(cloud) == set()
    wait_for(lambda: set(threading.enumerate()) <= threads, 5, "every thread has ended")
    wait_for(lambda: children() <= processes, 5, "every child process has ended")


def test_clean_up_deletes_this_cluster_and_nothing_else(cloud: Lab) -> None:
    """A foreign VM, and a cluster whose prefix begins with this one's, survive; a dry run deletes nothing."""
    mine, other = cluster_config("iris"), cluster_config("iris2")
    cloud.add_instance("somebodys-vm", zone=ZONE)
    for config in (mine, other):
        with open_container(config) as container:
            container.inventory().ensure_controller()
            container.inventory().create_slice(config.workers[0])
    before = resource_names(cloud)
    planned = cleanup_iris_resources(ZONE, PROJECT, "iris")
    assert resource_names(cloud) == before
    deleted = cleanup_iris_resources(ZONE, PROJECT, "iris", dry_run=False)
    assert sorted(deleted) == sorted(planned)
    assert len(deleted) == 2
    assert resource_names(cloud) == before - set(deleted)
    assert {"somebodys-vm", "iris-controller-iris2"} < resource_names(cloud)


def test_a_deletion_that_failed_is_not_reported_as_done(cloud: Lab) -> None:
    """What the cloud refuses to delete is named, and the exit is an error."""
    with open_container(cluster_config()) as container:
        container.inventory().ensure_controller()
    cloud.cloud.faults.fail(
        "DELETE", "instances/iris-controller-iris", ApiError(403, "Required 'delete' permission"), times=None
    )
    with pytest.raises(CleanupIncompleteError, match="iris-controller-iris"):
        cleanup_iris_resources(ZONE, PROJECT, "iris", dry_run=False)


def test_every_process_of_the_lab_is_gone(cloud: Lab) -> None:
    """The lab's own hosts do not outlive a cluster that was deleted."""
    with open_container(cluster_config()) as container:
        container.inventory().ensure_controller()
        host = cloud.host("iris-controller-iris")
        container.cluster_manager().stop()
    assert not subprocess.run(["pgrep", "-f", str(host.engine_socket)], capture_output=True, check=False).stdout


def test_a_rebooted_host_comes_back_without_iris(cloud: Lab) -> None:
    """Its start-up script runs its container again, and nobody has to be connected for that."""
    with open_container(cluster_config()) as container:
        container.inventory().ensure_controller()
        slice_ = container.inventory().create_slice(cluster_config().workers[0])
    machines = [
        (cloud.cloud.get("iris-controller-iris"), "iris-controller"),
        (cloud.cloud.get(slice_.name), "iris-worker"),
    ]
    for record, name in machines:
        for host in cloud.hosts(record.name):

            def runs(host: Host = host, name: str = name) -> bool:
                shown = host.docker("container", "inspect", "--format={{.State.Running}}", name, check=False)
                return shown.stdout.strip() == b"true"

            wait_for(runs, 60, f"{name} runs on {host.name}")
            host.docker("stop", "--time=1", name)  # as an engine that was told to: it does not start it by itself
            assert not runs()
            host.reboot(record.metadata["startup-script"])
            wait_for(runs, 60, f"{name} runs on {host.name} after its reboot")
