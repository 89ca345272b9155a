"""The low-level functions against a controller and a slice of the lab: the real gcloud, real SSH, real Docker engines."""

from __future__ import annotations

import json
import socket
import threading
import urllib.request
from typing import TYPE_CHECKING

import pytest

from iris_adapters.container import open_container
from iris_adapters.debug import (
    cleanup_iris_resources,
    collect_docker_logs,
    controller_tunnel,
    discover_controller_vm,
    list_iris_tpus,
    stream_docker_logs,
    wait_for_port,
)
from iris_core.config import ClusterConfig, ContainerConfig, ControllerConfig, GcpConfig, Mode, WorkerGroupConfig
from iris_core.errors import LocalPortInUseError
from tests.lab.cloud import PROJECT, ZONE
from tests.lab.images import IMAGE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

GROUP = WorkerGroupConfig(
    name="tpu",
    accelerator_type="v5litepod-8",
    runtime_version="v2-alpha-tpuv5-lite",
    container=ContainerConfig(image=IMAGE, command=("chatter", "100", "20")),
)
CONFIG = ClusterConfig(
    mode=Mode.GCP,
    gcp=GcpConfig(project_id=PROJECT, zone=ZONE),
    controller=ControllerConfig(
        container=ContainerConfig(image=IMAGE, command=("sh", "-c", "exec httpd -f -p 127.0.0.1:10000 -h /www"))
    ),
    workers=(GROUP,),
)


@pytest.fixture
def cloud(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The lab, as the one that this process's gcloud and SSH see."""
    for name, value in lab.environment.items():
        monkeypatch.setenv(name, value)
    return lab


@pytest.mark.usefixtures("cloud")
def test_each_function_does_its_one_thing(tmp_path: Path) -> None:
    """Found, tunnelled to, collected from, streamed from, and deleted, by name alone."""
    with open_container(CONFIG) as container:
        inventory = container.inventory()
        controller, slice_ = inventory.ensure_controller(), inventory.create_slice(GROUP)

    assert discover_controller_vm(ZONE, PROJECT) == controller.name
    assert list_iris_tpus(ZONE, PROJECT) == [slice_.name]

    with controller_tunnel(ZONE, PROJECT, timeout=120.0) as url:
        port = int(url.rsplit(":", 1)[1])
        assert wait_for_port(port, host="127.0.0.1", timeout=5.0)
        with urllib.request.urlopen(f"{url}/api/version", timeout=10) as reply:  # noqa: S310 - the tunnel's own URL
            assert "ray_version" in json.load(reply)
        with (
            pytest.raises(LocalPortInUseError),
            controller_tunnel(ZONE, PROJECT, local_port=port),
        ):
            pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)

    worker = f"{slice_.name}-w1"
    streamed, stop = tmp_path / "streamed.txt", threading.Event()
    timer = threading.Timer(8, stop.set)
    timer.start()
    stream_docker_logs(worker, "iris-worker", ZONE, PROJECT, streamed, is_tpu=True, stop_event=stop)
    timer.join()
    collected = collect_docker_logs(worker, "iris-worker", ZONE, PROJECT, tmp_path, is_tpu=True)
    assert collected is not None
    assert len(streamed.read_bytes().splitlines()) >= 50
    assert collected.read_bytes().startswith(streamed.read_bytes())  # the container goes on writing meanwhile
    assert collect_docker_logs("iris-nobody", "iris-worker", ZONE, PROJECT, tmp_path) is None

    planned = cleanup_iris_resources(ZONE, PROJECT)
    assert sorted(planned) == sorted([controller.name, slice_.name])
    assert cleanup_iris_resources(ZONE, PROJECT, dry_run=False) == planned
    assert discover_controller_vm(ZONE, PROJECT) is None
