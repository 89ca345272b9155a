"""The container: which objects a configuration becomes, and how a test puts fakes in their place."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from dependency_injector import providers

from iris_adapters.container import build_container, open_container
from iris_adapters.controller.client import JobClient
from iris_adapters.fakes import FakeClock, FakeInventory, FakeShell, make_controller
from iris_adapters.gcloud.inventory import GcloudInventory
from iris_adapters.local.inventory import LocalInventory
from iris_adapters.local.shell import LocalShell
from iris_adapters.ssh import FabricShell
from iris_adapters.system_clock import SystemClock
from iris_core.cluster_manager import ClusterManager
from iris_core.config import ClusterConfig, GcpConfig, Mode, SshConfig
from iris_core.errors import ConfigError, RemoteShellError
from iris_core.model import ControllerVm, HostRole
from iris_core.ports.clock import Clock
from iris_core.ports.remote_shell import RemoteShell
from iris_core.ports.vm_inventory import VmInventory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GCP = ClusterConfig(mode=Mode.GCP, gcp=GcpConfig(project_id="p", zone="z", ssh=SshConfig(user="me")))


def test_local_mode_gets_the_local_adapters() -> None:
    """The mode of the configuration chooses, and every choice fits its port."""
    with open_container(ClusterConfig()) as container:
        manager = container.cluster_manager()
        assert isinstance(manager, ClusterManager)
        assert manager.is_local
        assert isinstance(container.inventory(), LocalInventory)
        assert isinstance(container.shell(), LocalShell)
        assert isinstance(container.clock(), SystemClock)
        assert isinstance(container.inventory(), VmInventory)
        assert isinstance(container.shell(), RemoteShell)
        assert isinstance(container.clock(), Clock)


def test_gcp_mode_gets_gcloud_and_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Making them runs no gcloud, makes no key and connects to nothing."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with open_container(GCP) as container:
        assert not container.cluster_manager().is_local
        assert isinstance(container.inventory(), GcloudInventory)
        assert isinstance(container.shell(), FabricShell)
        assert isinstance(container.inventory(), VmInventory)
        assert isinstance(container.shell(), RemoteShell)
    assert list(tmp_path.iterdir()) == []


def test_everything_is_made_once() -> None:
    """The manager and its user speak to the same inventory, shell and clock."""
    with open_container(GCP) as container:
        for provider in (container.inventory, container.shell, container.clock, container.cluster_manager):
            assert provider() is provider()


def test_threads_that_ask_at_the_same_time_get_the_same() -> None:
    """Whichever of the objects each thread asks for first: a second one that was made meanwhile would never be closed."""
    two_are_making = threading.Barrier(2)

    def clock() -> FakeClock:  # is asked for by whatever is being made
        with suppress(threading.BrokenBarrierError):
            two_are_making.wait(0.02)
        return FakeClock()

    with open_container(GCP) as container, ThreadPoolExecutor(4) as threads:
        container.clock.override(providers.Callable(clock))
        wanted: list[Callable[[], object]] = [
            container.shell,
            container.cluster_manager,
            container.inventory,
            container.gcloud,
        ]
        all_are_asking = threading.Barrier(len(wanted))

        def ask(first: int) -> dict[object, object]:
            all_are_asking.wait()
            return {provider: provider() for provider in wanted[first:] + wanted[:first]}

        one, *others = threads.map(ask, range(len(wanted)))
    assert all(other[provider] is one[provider] for other in others for provider in wanted)


def test_a_container_knows_nothing_of_another() -> None:
    """Two clusters in one process have two inventories."""
    with open_container(ClusterConfig()) as one, open_container(ClusterConfig()) as other:
        assert one.inventory() is not other.inventory()


def test_a_fake_can_stand_in_any_place() -> None:
    """A user's test overrides providers and gets a manager that speaks to its fakes."""
    inventory = FakeInventory(controller=make_controller())
    container = build_container(GCP)
    container.inventory.override(inventory)
    container.shell.override(FakeShell())
    container.clock.override(FakeClock(auto_advance=True))
    container.cluster_manager().stop()
    container.shutdown_resources()
    assert inventory.find_controller() is None
    assert not inventory.closed


def test_the_end_closes_what_was_made() -> None:
    """A local controller that still runs stops with its container, and no thread is left."""
    before = threading.active_count()
    with open_container(ClusterConfig()) as container:
        controller = container.inventory().ensure_controller()
        assert isinstance(controller, ControllerVm)
        assert controller.host.role is HostRole.CONTROLLER
        client = container.job_client(f"http://127.0.0.1:{controller.port}", controller.token)
        assert isinstance(client, JobClient)
        with client:
            assert client.version().controller == "iris"
    assert threading.active_count() == before


def test_the_end_closes_gcloud_and_the_connections() -> None:
    """Also where only one of them was made: the host keys are asked for without the inventory."""
    with open_container(GCP) as container:
        gcloud, shell = container.gcloud(), container.shell()
    assert gcloud._closed.is_set()
    with pytest.raises(RemoteShellError, match="closed"):
        shell.run(make_controller().host, ["true"], timeout_seconds=1)


def test_a_file_will_do_for_a_configuration(tmp_path: Path) -> None:
    """A path is read as YAML; a wrong file is a ConfigError."""
    path = tmp_path / "cluster.yaml"
    path.write_text("label_prefix: mine\n")
    assert build_container(path).config().label_prefix == "mine"
    path.write_text("label_prefix: 1\n")
    with pytest.raises(ConfigError, match="quote it"):
        build_container(path)


def test_local_mode_imports_no_ssh() -> None:
    """The adapters of the other mode are not even imported."""
    script = (
        "import sys\n"
        "from iris_adapters.container import open_container\n"
        "from iris_core.config import ClusterConfig\n"
        "with open_container(ClusterConfig()) as container:\n"
        "    container.cluster_manager()\n"
        "print({'fabric', 'paramiko', 'uvicorn'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
