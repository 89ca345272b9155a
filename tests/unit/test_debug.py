"""The low-level functions, with fakes in the places that the container would fill."""

from __future__ import annotations

import inspect
import logging
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from dependency_injector import providers

from iris_adapters import debug
from iris_adapters.container import open_container
from iris_adapters.fakes import (
    ExchangeScript,
    FakeClock,
    FakeDockerEngine,
    FakeInventory,
    FakeShell,
    make_controller,
    make_slice,
)
from iris_core.errors import (
    CleanupIncompleteError,
    ConfigError,
    ControllerNotFoundError,
    ControllerNotReadyError,
    EngineError,
    InventoryError,
    LogFileError,
    PermissionDeniedError,
    ResourceNotFoundError,
)
from iris_core.model import VmPhase
from tests.unit.core.jobs_api import controller_answers
from tests.unit.gcloud.payload_builders import ZONE, instance, node
from tests.unit.gcloud.scripted_gcloud import ScriptedGcloud

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from iris_adapters.container import IrisContainer
    from iris_core.config import ClusterConfig

TPU = "iris-tpu-20260101000000"


@dataclass
class World:
    """What the functions find in place of Google and the hosts."""

    inventory: FakeInventory = field(default_factory=FakeInventory)
    gcloud: ScriptedGcloud = field(default_factory=ScriptedGcloud)
    shell: FakeShell = field(default_factory=FakeShell)
    clock: FakeClock = field(default_factory=lambda: FakeClock(auto_advance=True))
    configs: list[ClusterConfig] = field(default_factory=list)

    @contextmanager
    def open(self, config: ClusterConfig) -> Iterator[IrisContainer]:
        """In place of `open_container`."""
        self.configs.append(config)
        with open_container(config) as container:
            container.inventory.override(providers.Object(self.inventory))
            container.gcloud.override(providers.Object(self.gcloud))
            container.shell.override(providers.Object(self.shell))
            container.clock.override(providers.Object(self.clock))
            yield container


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(debug, "open_container", made.open)
    return made


def test_the_signatures_are_those_of_the_specification() -> None:
    """Scripts call these functions by position and by name."""
    found = {
        function.__name__: list(inspect.signature(function).parameters)
        for function in (
            debug.collect_docker_logs,
            debug.stream_docker_logs,
            debug.discover_controller_vm,
            debug.list_iris_tpus,
            debug.cleanup_iris_resources,
            debug.wait_for_port,
            debug.controller_tunnel,
        )
    }
    assert found == {
        "collect_docker_logs": ["vm_name", "container_name", "zone", "project", "output_dir", "is_tpu"],
        "stream_docker_logs": ["vm_name", "container_name", "zone", "project", "output_file", "is_tpu", "stop_event"],
        "discover_controller_vm": ["zone", "project", "label_prefix"],
        "list_iris_tpus": ["zone", "project", "label_prefix"],
        "cleanup_iris_resources": ["zone", "project", "label_prefix", "dry_run"],
        "wait_for_port": ["port", "host", "timeout"],
        "controller_tunnel": ["zone", "project", "local_port", "tunnel_logger", "timeout", "label_prefix"],
    }


# discover_controller_vm, list_iris_tpus


def test_the_controller_is_discovered_by_its_prefix(world: World) -> None:
    """In the zone and project that were given, with the prefix that was given."""
    world.inventory.put_controller(make_controller("mine"))
    assert debug.discover_controller_vm("z", "p", "mine") == "iris-controller-mine"
    (config,) = world.configs
    assert (config.zone, config.project_id, config.label_prefix) == ("z", "p", "mine")


def test_no_controller_is_none(world: World) -> None:
    """None is an answer."""
    assert debug.discover_controller_vm(ZONE, "p") is None
    assert world.configs[0].label_prefix == "iris"


def test_slices_are_listed_by_name_in_whatever_state(world: World) -> None:
    """A preempted one is there too."""
    world.inventory.put_slice(make_slice("iris-b", phase=VmPhase.FAILED))
    world.inventory.put_slice(make_slice("iris-a", hosts=2))
    assert debug.list_iris_tpus(ZONE, "p") == ["iris-a", "iris-b"]


@pytest.mark.parametrize(
    ("method", "function"),
    [
        ("find_controller", debug.discover_controller_vm),
        ("list_slices", debug.list_iris_tpus),
        ("list_resources", debug.cleanup_iris_resources),
    ],
)
def test_a_failed_list_is_an_error(world: World, method: str, function: Callable[..., object]) -> None:
    """It is never "nothing there"."""
    world.inventory.fail_next(method, PermissionDeniedError("no"))  # type: ignore[arg-type]
    with pytest.raises(PermissionDeniedError):
        function(ZONE, "p")


@pytest.mark.parametrize("function", [debug.discover_controller_vm, debug.list_iris_tpus, debug.cleanup_iris_resources])
def test_a_prefix_that_cannot_be_one_is_an_error(function: Callable[..., object]) -> None:
    """Nothing is asked of Google then."""
    with pytest.raises(ConfigError, match="label_prefix"):
        function(ZONE, "p", label_prefix="Iris_")


# cleanup_iris_resources


@pytest.fixture
def populated(world: World) -> World:
    world.inventory.put_controller(make_controller())
    world.inventory.put_slice(make_slice("iris-a"))
    world.inventory.put_slice(make_slice("iris-b", phase=VmPhase.FAILED))
    return world


def test_a_dry_run_is_the_default_and_deletes_nothing(populated: World) -> None:
    """It names what the real run deletes."""
    planned = debug.cleanup_iris_resources(ZONE, "p")
    assert sorted(planned) == ["iris-a", "iris-b", "iris-controller-iris"] == populated.inventory.names()
    assert populated.inventory.count("delete") == 0


def test_a_cleanup_deletes_all_of_the_cluster(populated: World) -> None:
    """And says what it has deleted: what the dry run named."""
    planned = debug.cleanup_iris_resources(ZONE, "p")
    assert debug.cleanup_iris_resources(ZONE, "p", dry_run=False) == planned
    assert populated.inventory.names() == []


def test_a_deletion_that_failed_is_not_reported_as_done(populated: World) -> None:
    """The error names what is left and what is gone."""
    populated.inventory.fail_next("delete", PermissionDeniedError("no"), name="iris-a")
    with pytest.raises(CleanupIncompleteError) as caught:
        debug.cleanup_iris_resources(ZONE, "p", dry_run=False)
    assert caught.value.left == ("iris-a",)
    assert sorted(caught.value.deleted) == ["iris-b", "iris-controller-iris"]


# controller_tunnel


def test_a_tunnel_yields_a_url_at_which_the_controller_answers(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """On a free port of 127.0.0.1; the given logger hears of it, and the forward ends with the context."""
    world.inventory.put_controller(make_controller())
    world.shell.script(controller_answers())
    logger = logging.getLogger("my.tunnel")
    with caplog.at_level(logging.INFO, "my.tunnel"), debug.controller_tunnel(ZONE, "p", tunnel_logger=logger) as url:
        (forward,) = world.shell.forwards
        assert url == f"http://127.0.0.1:{forward.local_port}"
        assert [forward.is_open for forward in world.shell.forwards] == [True]
        assert forward.requests
    assert [forward.is_open for forward in world.shell.forwards] == [False]
    assert [record.message for record in caplog.records if record.name == "my.tunnel"] == [
        "Opening a tunnel to iris-controller-iris",
        f"iris-controller-iris answers at {url}",
        "Closed the tunnel to iris-controller-iris",
    ]


def test_a_tunnel_takes_the_port_it_is_told(world: World) -> None:
    """The user's own choice of a local port."""
    world.inventory.put_controller(make_controller())
    world.shell.script(controller_answers())
    with debug.controller_tunnel(ZONE, "p", local_port=23456) as url:
        assert url == "http://127.0.0.1:23456"


def test_a_tunnel_waits_for_a_controller_that_boots(world: World) -> None:
    """Its address is asked for again until it has one."""
    world.inventory.put_controller(make_controller(phase=VmPhase.PENDING, address=""))
    world.shell.script(controller_answers())
    world.clock.call_later(12, lambda: world.inventory.put_controller(make_controller(address="10.9.9.9")))
    with debug.controller_tunnel(ZONE, "p"):
        assert world.shell.forwards[0].host.address == "10.9.9.9"


def test_a_tunnel_to_what_is_no_controller_is_none(world: World) -> None:
    """That something listens proves nothing; the time given bounds the wait."""
    world.inventory.put_controller(make_controller())
    world.shell.script(ExchangeScript(port=10000, answers=[b"SSH-2.0-OpenSSH_9.2\r\n"]))
    with (
        pytest.raises(ControllerNotReadyError, match="is not HTTP"),
        debug.controller_tunnel(ZONE, "p", timeout=7.0),
    ):
        pass
    assert world.clock.monotonic() == pytest.approx(7.0)
    assert not any(forward.is_open for forward in world.shell.forwards)


def test_a_tunnel_without_a_controller_is_an_error(world: World) -> None:
    """Told at once, with where it was looked for."""
    with (
        pytest.raises(ControllerNotFoundError, match=f"'mine' in {ZONE} of p"),
        debug.controller_tunnel(ZONE, "p", label_prefix="mine"),
    ):
        pass
    assert world.clock.monotonic() == 0


# collect_docker_logs, stream_docker_logs


@dataclass
class Logs:
    """A host with a container that has written two lines."""

    engine: FakeDockerEngine
    landed: bytes


@pytest.fixture
def logs(world: World) -> Logs:
    engine = FakeDockerEngine()
    container = engine.create("iris-worker")
    container.write(b"one\n")
    container.write(b"two\n")
    world.shell.script(engine.script())
    world.gcloud.instances["vm"] = instance("vm", labels={})
    world.gcloud.nodes[TPU] = node(TPU, hosts=2)
    return Logs(engine, b"".join(entry.landed for entry in container.written))


@pytest.mark.parametrize(
    ("vm_name", "is_tpu", "host"),
    [("vm", False, "vm"), (f"{TPU}-w1", True, f"{TPU}-w1"), (TPU, True, f"{TPU}-w0")],
)
def test_a_log_is_collected(world: World, logs: Logs, tmp_path: Path, vm_name: str, is_tpu: bool, host: str) -> None:  # noqa: FBT001, PLR0917 - parametrized
    """Of any VM, of a host of a slice, and of a slice's first host; collecting again lands nothing twice."""
    path = debug.collect_docker_logs(vm_name, "iris-worker", ZONE, "p", tmp_path, is_tpu)
    assert path == tmp_path / "containers" / host / "iris-worker.txt"
    assert path.read_bytes() == logs.landed
    assert {process.host.name for process in world.shell.started} == {host}
    assert debug.collect_docker_logs(vm_name, "iris-worker", ZONE, "p", tmp_path, is_tpu) == path
    assert path.read_bytes() == logs.landed


@pytest.mark.parametrize(("vm_name", "is_tpu"), [("gone", False), ("gone", True), (f"{TPU}-w2", True)])
@pytest.mark.usefixtures("logs")
def test_a_vm_that_is_not_there_has_no_log(
    tmp_path: Path,
    vm_name: str,
    is_tpu: bool,  # noqa: FBT001 - parametrized
    caplog: pytest.LogCaptureFixture,
) -> None:
    """None, and a warning; no file is made."""
    assert debug.collect_docker_logs(vm_name, "iris-worker", ZONE, "p", tmp_path, is_tpu) is None
    assert vm_name in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_not_knowing_whether_the_vm_is_there_is_an_error(world: World, logs: Logs, tmp_path: Path) -> None:
    """Neither a refusal nor an unknown zone is "no such VM"."""
    assert logs.landed
    for error in (
        PermissionDeniedError("no"),
        ResourceNotFoundError("no", detail=f"The resource 'projects/p/zones/{ZONE}' was not found"),
    ):

        def refuse(_argv: Sequence[str], error: InventoryError = error) -> None:
            raise error

        world.gcloud.before = refuse
        for is_tpu in (False, True):
            with pytest.raises(type(error)):
                debug.collect_docker_logs("vm", "iris-worker", ZONE, "p", tmp_path, is_tpu)


def test_a_slice_without_hosts_is_an_error(world: World, tmp_path: Path) -> None:
    """It exists, so None would say too much."""
    world.gcloud.nodes[TPU] = node(TPU, hosts=0, state="CREATING")
    with pytest.raises(InventoryError, match="no hosts yet: it is CREATING"):
        debug.collect_docker_logs(TPU, "iris-worker", ZONE, "p", tmp_path, is_tpu=True)


@pytest.mark.usefixtures("logs")
def test_a_container_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Its absence is not an empty log."""
    with pytest.raises(EngineError, match="there is no container 'other'"):
        debug.collect_docker_logs("vm", "other", ZONE, "p", tmp_path)


@pytest.mark.parametrize("name", ["--project=other", "VM", "", "a/b"])
def test_a_name_that_no_vm_can_have_is_an_error(world: World, tmp_path: Path, name: str) -> None:
    """It never becomes part of a command line."""
    with pytest.raises(ConfigError, match="vm_name"):
        debug.collect_docker_logs(name, "iris-worker", ZONE, "p", tmp_path)
    assert world.gcloud.commands == []


@pytest.mark.usefixtures("logs")
def test_a_container_name_cannot_lead_out_of_the_directory(tmp_path: Path) -> None:
    """A log lands below the directory that was given, or nowhere."""
    with pytest.raises(LogFileError):
        debug.collect_docker_logs("vm", "../../etc/passwd", ZONE, "p", tmp_path)


def test_a_log_is_streamed_until_the_event_is_set(world: World, logs: Logs, tmp_path: Path) -> None:
    """What is written before the stop is landed when the function returns."""
    stop = threading.Event()
    world.clock.call_later(30, stop.set)
    file = tmp_path / "my" / "log.txt"
    debug.stream_docker_logs(TPU, "iris-worker", ZONE, "p", file, is_tpu=True, stop_event=stop)
    assert file.read_bytes() == logs.landed
    assert world.clock.monotonic() >= 30


def test_streaming_from_a_vm_that_is_not_there_is_an_error(world: World, tmp_path: Path) -> None:
    """There is nothing to wait for."""
    with pytest.raises(ResourceNotFoundError, match="no VM gone"):
        debug.stream_docker_logs("gone", "iris-worker", ZONE, "p", tmp_path / "log.txt")
    assert world.shell.started == []
