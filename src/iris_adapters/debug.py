"""Low-level functions for scripts and for looking around by hand: one thing each, for one zone and project.

Each makes what it needs, and closes it again. Whoever does more than one thing is better served by `iris_adapters.container` and
`iris_core.cluster_manager`, which share connections.
"""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from iris_adapters.container import open_container
from iris_adapters.gcloud.hosts import find_host
from iris_core.cleanup import Selection, carry_out_cleanup, plan_cleanup
from iris_core.config import ClusterConfig, GcpConfig, Mode, SshConfig
from iris_core.controller_wait import wait_until_ready
from iris_core.errors import ControllerNotFoundError, ResourceNotFoundError
from iris_core.log_collection import collect_log, stream_log
from iris_core.log_paths import container_path
from iris_core.tunnel import open_tunnel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from iris_adapters.container import IrisContainer
    from iris_core.model import Host

_logger = logging.getLogger("iris.debug")

_COLLECT_SECONDS: Final = 300.0  # for one log: a gigabyte takes a minute or two
_LOOK_AGAIN_SECONDS: Final = 0.2


def collect_docker_logs(  # noqa: PLR0917 - the specification's signature
    vm_name: str,
    container_name: str,
    zone: str,
    project: str,
    output_dir: Path,
    is_tpu: bool = False,  # noqa: FBT001, FBT002 - the specification's signature
) -> Path | None:
    """Land what a container's log holds at this moment.

    Args:
        vm_name: of a VM; of a host of a TPU slice (`{slice}-w{index}`), or of the slice, which means its first host.
        container_name: of the container on it.
        zone: where the VM is.
        project: its project.
        output_dir: made if missing. What was landed there before is continued: each line lands once.
        is_tpu: whether it is a TPU VM.

    Returns:
        `output_dir/containers/{host}/{container_name}.txt`, or None if there is no such VM (any more).

    Raises:
        IrisError: the VM is there, or may be, and the log was not landed whole: an `InventoryError`, a `HostUnreachableError`,
            an `EngineError` (no such container, for one), a `LogFileError`.
    """
    with _opened(zone, project) as container:
        host = _find(container, vm_name, zone, is_tpu=is_tpu)
        if host is None:
            _logger.warning("There is no VM %s in %s of %s: no log to collect", vm_name, zone, project)
            return None
        path = container_path(output_dir, host, container_name)
        lines = collect_log(
            shell=container.shell(),
            clock=container.clock(),
            host=host,
            container=container_name,
            path=path,
            use_sudo=container.config().logs.use_sudo,
            timeout_seconds=_COLLECT_SECONDS,
        )
        _logger.info("Landed %d lines of %s on %s in %s", lines, container_name, host.name, path)
        return path


def stream_docker_logs(  # noqa: PLR0917 - the specification's signature
    vm_name: str,
    container_name: str,
    zone: str,
    project: str,
    output_file: Path,
    is_tpu: bool = False,  # noqa: FBT001, FBT002 - the specification's signature
    stop_event: threading.Event | None = None,
) -> None:
    """Land a container's log as it comes until `stop_event` is set; without one, until the container has ended. Blocks.

    A host that does not answer yet, and a container that does not exist yet, are waited for; one that is removed has ended. After the
    stop, what the engine still holds is landed.

    Args:
        vm_name: of a VM; of a host of a TPU slice (`{slice}-w{index}`), or of the slice, which means its first host.
        container_name: of the container on it.
        zone: where the VM is.
        project: its project.
        output_file: continued if it is there: each line lands once.
        is_tpu: whether it is a TPU VM.
        stop_event: ends it.

    Raises:
        ResourceNotFoundError: there is no such VM.
        InventoryError: it is not known whether there is.
        LogFileError: the file cannot be written.
    """
    with _opened(zone, project) as container:
        host = _find(container, vm_name, zone, is_tpu=is_tpu)
        if host is None:
            raise ResourceNotFoundError(
                f"There is no VM {vm_name} in {zone} of {project}.", advice="Check the name, the zone and is_tpu."
            )
        logs = container.config().logs
        stream_log(
            shell=container.shell(),
            clock=container.clock(),
            host=host,
            container=container_name,
            path=output_file,
            use_sudo=logs.use_sudo,
            drain_seconds=logs.drain_seconds,
            stop=stop_event,
        )


def discover_controller_vm(zone: str, project: str, label_prefix: str = "iris") -> str | None:
    """The name of the cluster's controller VM, or None if there is none.

    Raises:
        InventoryError: it is not known whether there is one.
    """
    with _opened(zone, project, label_prefix) as container:
        controller = container.inventory().find_controller()
        return None if controller is None else controller.name


def list_iris_tpus(zone: str, project: str, label_prefix: str = "iris") -> list[str]:
    """The names of the cluster's TPU slices, in whatever state.

    Raises:
        InventoryError: it is not known which there are.
    """
    with _opened(zone, project, label_prefix) as container:
        return [slice_.name for slice_ in container.inventory().list_slices()]


def cleanup_iris_resources(
    zone: str,
    project: str,
    label_prefix: str = "iris",
    dry_run: bool = True,  # noqa: FBT001, FBT002 - the specification's signature
) -> list[str]:
    """Delete the cluster's controller, slices and requests for slices, as far as they are yours, and nothing else.

    Args:
        zone: where they are.
        project: their project.
        label_prefix: of the cluster.
        dry_run: delete nothing.

    Returns:
        the names of what was deleted, and is gone; with `dry_run`, of what would be.

    Raises:
        CleanupIncompleteError: something is left; `left` and `deleted` name what.
        InventoryError: it is not known what there is, or what is left.
    """
    with _opened(zone, project, label_prefix) as container:
        inventory = container.inventory()
        mine = Selection(owner=inventory.owner())
        plan = plan_cleanup(inventory, mine, prices={}, now=container.clock().now())
        for kept in plan.kept:
            _logger.warning("%s is left alone: %s.", kept.resource.name, kept.why)
        if dry_run:
            return [resource.name for resource in plan.resources]
        return carry_out_cleanup(inventory, plan)


def wait_for_port(port: int, host: str = "localhost", timeout: float = 30.0) -> bool:
    """Wait until something accepts TCP connections on the port.

    Args:
        port: where.
        host: where.
        timeout: seconds; the first try is made in any case.

    Returns:
        whether something does.
    """
    with open_container(ClusterConfig()) as container:
        clock = container.clock()
        never = threading.Event()
        deadline = clock.monotonic() + timeout
        while True:
            try:
                with socket.create_connection((host, port), timeout=max(deadline - clock.monotonic(), 0.1)):
                    return True
            except OSError:
                left = deadline - clock.monotonic()
                if left <= 0:
                    return False
                clock.wait(never, min(left, _LOOK_AGAIN_SECONDS))


@contextmanager
def controller_tunnel(  # noqa: PLR0917 - the specification's signature
    zone: str,
    project: str,
    local_port: int = 0,
    tunnel_logger: logging.Logger | None = None,
    timeout: float = 60.0,
    label_prefix: str = "iris",
) -> Iterator[str]:
    """Forward a port of 127.0.0.1 to the cluster's controller while the context is open.

    Args:
        zone: where the controller is.
        project: its project.
        local_port: on this machine; 0: a free one.
        tunnel_logger: hears what happens; None: `iris.debug`.
        timeout: seconds until the controller must have answered through the tunnel.
        label_prefix: of the cluster.

    Yields:
        `http://127.0.0.1:PORT`, at which the controller has answered.

    Raises:
        ControllerNotFoundError: there is none.
        ControllerNotReadyError: it did not answer in time.
        LocalPortInUseError: `local_port` is taken.
        IrisError: what `iris_core.tunnel.open_tunnel` raises besides.
    """
    logger = tunnel_logger or _logger
    with _opened(zone, project, label_prefix) as container:
        inventory, clock = container.inventory(), container.clock()
        deadline = clock.monotonic() + timeout
        controller = inventory.find_controller()
        if controller is None:
            raise ControllerNotFoundError(
                f"There is no controller of the cluster {label_prefix!r} in {zone} of {project}: start the cluster, or check "
                "zone, project and label prefix."
            )
        logger.info("Opening a tunnel to %s", controller.name)
        give_up = threading.Event()
        ready = wait_until_ready(inventory.find_controller, clock, controller, timeout_seconds=timeout, give_up=give_up)
        left = max(deadline - clock.monotonic(), 0.0)
        with open_tunnel(
            container.shell(),
            clock,
            ready,
            timeout_seconds=left,
            local_port=local_port,
            find_controller=inventory.find_controller,
        ) as url:
            logger.info("%s answers at %s", controller.name, url)
            yield url
        logger.info("Closed the tunnel to %s", controller.name)


@contextmanager
def _opened(zone: str, project: str, label_prefix: str = "iris") -> Iterator[IrisContainer]:
    config = ClusterConfig(mode=Mode.GCP, label_prefix=label_prefix, gcp=GcpConfig(project_id=project, zone=zone))
    with open_container(config) as container:
        yield container


def _find(container: IrisContainer, vm_name: str, zone: str, *, is_tpu: bool) -> Host | None:
    return find_host(container.gcloud(), vm_name, zone=zone, is_tpu=is_tpu, route=SshConfig().route)
