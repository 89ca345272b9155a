"""All the wiring: which adapter goes where in which mode. Nothing is imported, started or connected before it is asked for.

    container = build_container(Path("cluster.yaml"))
    try:
        with container.cluster_manager().connect(log_dir=Path("logs")) as url:
            ...
    finally:
        container.shutdown_resources()

A test puts a fake in any place: `container.inventory.override(FakeInventory())`. What is overridden is not closed with the container.
"""

# ruff: noqa: PLC0415 - adapters are imported when they are made: local mode needs no Fabric, `iris --help` needs nothing at all

from __future__ import annotations

import getpass
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from dependency_injector import containers, providers

from iris_core.cluster_manager import ClusterManager
from iris_core.config import ClusterConfig, GcpConfig, Route
from iris_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from iris_adapters.controller.client import JobClient
    from iris_adapters.controller.local_controller import LocalController
    from iris_adapters.gcloud.command import GcloudCommand
    from iris_adapters.gcloud.host_keys import ReportedHostKeys
    from iris_adapters.gcloud.iap import IapRoute
    from iris_adapters.gcloud.inventory import GcloudInventory
    from iris_adapters.gcloud.os_login import OsLogin
    from iris_adapters.local.inventory import LocalInventory
    from iris_adapters.local.shell import LocalShell
    from iris_adapters.ssh import FabricShell, KeyPair
    from iris_adapters.system_clock import SystemClock
    from iris_core.config import LocalConfig
    from iris_core.model import Host
    from iris_core.ports.clock import Clock
    from iris_core.ports.remote_shell import RemoteShell
    from iris_core.ports.vm_inventory import VmInventory

_T = TypeVar("_T")


class _ThreadSafeResource(providers.Resource[_T]):
    """A resource that is made once, also for threads that ask at the same time: a second one would never be closed.

    The lock is the one that all `ThreadSafeSingleton`s share: resources and singletons need each other, so two locks could deadlock.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with providers.ThreadSafeSingleton.storage_lock:  # type: ignore[attr-defined]  # the stubs lack it
            return super().__call__(*args, **kwargs)


def _system_clock() -> SystemClock:
    from iris_adapters.system_clock import SystemClock

    return SystemClock()


def _gcp(config: ClusterConfig) -> GcpConfig:
    if config.gcp is None:
        raise ConfigError("is needed to use Google Cloud", key_path="gcp")
    return config.gcp


def _gcloud(config: ClusterConfig, clock: Clock) -> Iterator[GcloudCommand]:
    from iris_adapters.gcloud.command import GcloudCommand

    gcp = _gcp(config)
    gcloud = GcloudCommand(
        gcp.project_id,
        clock,
        read_timeout_seconds=gcp.gcloud_timeout_seconds,
        change_timeout_seconds=gcp.gcloud_change_timeout_seconds,
        most_commands=gcp.most_gcloud_commands,
    )
    yield gcloud
    gcloud.close()


def _reported_host_keys(gcloud: GcloudCommand, clock: Clock) -> ReportedHostKeys:
    from iris_adapters.gcloud.host_keys import ReportedHostKeys

    return ReportedHostKeys(gcloud, clock)


def _key_pair(config: ClusterConfig) -> KeyPair:
    from iris_adapters.ssh import KeyPair

    return KeyPair(_gcp(config).ssh.key_file)


def _os_login(config: ClusterConfig, gcloud: GcloudCommand, clock: Clock, key_pair: KeyPair) -> OsLogin | None:
    ssh = _gcp(config).ssh
    if not ssh.oslogin:
        return None
    from iris_adapters.gcloud.os_login import OsLogin

    return OsLogin(gcloud, clock, key_pair.public_key, ssh.user)


def _iap_route(config: ClusterConfig, reported_host_keys: ReportedHostKeys) -> IapRoute | None:
    gcp = _gcp(config)
    if gcp.ssh.route is not Route.IAP:
        return None
    from iris_adapters.gcloud.iap import IapRoute

    return IapRoute(gcp.project_id, reported_host_keys.name_of_vm)


def _gcloud_inventory(
    config: ClusterConfig, gcloud: GcloudCommand, clock: Clock, key_pair: KeyPair
) -> Iterator[GcloudInventory]:
    from iris_adapters.gcloud.inventory import GcloudInventory
    from iris_adapters.gcloud.owner import OwnerLookup

    ssh = _gcp(config).ssh
    inventory = GcloudInventory(
        config,
        gcloud,
        clock,
        owner=OwnerLookup(config.owner, gcloud, partial(_local_user, "owner")),
        ssh_public_key=key_pair.public_key,
        ssh_user=ssh.user or ("" if ssh.oslogin else _local_user("gcp.ssh.user")),
    )
    yield inventory
    inventory.close()


def _local_user(key_path: str) -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:  # a container whose user id has no name
        raise ConfigError("this system does not know your user name: name one", key_path=key_path) from error


def _fabric_shell(
    config: ClusterConfig,
    clock: Clock,
    reported_host_keys: Callable[[Host], Sequence[str]],
    os_login: OsLogin | None,
    iap_route: IapRoute | None,
) -> Iterator[FabricShell]:
    from iris_adapters.ssh import FabricShell

    shell = FabricShell(_gcp(config).ssh, clock, reported_host_keys, login=os_login, proxy_route=iap_route)
    yield shell
    shell.close()


def _local_controller(config: LocalConfig, clock: Clock) -> LocalController:
    from iris_adapters.controller.local_controller import LocalController

    return LocalController(config, clock)


def _local_inventory(config: ClusterConfig, clock: Clock) -> Iterator[LocalInventory]:
    from iris_adapters.local.inventory import LocalInventory

    inventory = LocalInventory(config.label_prefix, partial(_local_controller, config.local, clock))
    yield inventory
    inventory.close()


def _local_shell(clock: Clock) -> Iterator[LocalShell]:
    from iris_adapters.local.shell import LocalShell

    shell = LocalShell(clock)
    yield shell
    shell.close()


def _job_client(url: str, token: str | None = None) -> JobClient:
    from iris_adapters.controller.client import JobClient

    return JobClient(url, token)


class IrisContainer(containers.DeclarativeContainer):
    """The objects of one cluster. The annotations make mypy refuse an adapter that does not fit its port."""

    config: providers.Provider[ClusterConfig] = providers.Dependency(instance_of=ClusterConfig)
    clock: providers.Provider[Clock] = providers.ThreadSafeSingleton(_system_clock)

    gcloud = _ThreadSafeResource(_gcloud, config, clock)
    key_pair = providers.ThreadSafeSingleton(_key_pair, config)
    reported_host_keys = providers.ThreadSafeSingleton(_reported_host_keys, gcloud, clock)

    gcp_inventory: providers.Provider[VmInventory] = _ThreadSafeResource(
        _gcloud_inventory, config, gcloud, clock, key_pair
    )
    local_inventory: providers.Provider[VmInventory] = _ThreadSafeResource(_local_inventory, config, clock)
    inventory: providers.Provider[VmInventory] = providers.Selector(
        config.provided.mode, gcp=gcp_inventory, local=local_inventory
    )

    os_login = providers.ThreadSafeSingleton(_os_login, config, gcloud, clock, key_pair)
    iap_route = providers.ThreadSafeSingleton(_iap_route, config, reported_host_keys)
    gcp_shell: providers.Provider[RemoteShell] = _ThreadSafeResource(
        _fabric_shell, config, clock, reported_host_keys, os_login, iap_route
    )
    local_shell: providers.Provider[RemoteShell] = _ThreadSafeResource(_local_shell, clock)
    shell: providers.Provider[RemoteShell] = providers.Selector(config.provided.mode, gcp=gcp_shell, local=local_shell)

    cluster_manager: providers.Provider[ClusterManager] = providers.ThreadSafeSingleton(
        ClusterManager, config=config, shell=shell, inventory=inventory, clock=clock
    )
    job_client: providers.Provider[JobClient] = providers.Factory(_job_client)


def build_container(config: ClusterConfig | Path) -> IrisContainer:
    """The container of a cluster; `shutdown_resources()` closes what it has made.

    Raises:
        ConfigError: the file cannot be read or is wrong.
    """
    if not isinstance(config, ClusterConfig):
        from iris_adapters.config_file import load_config

        config = load_config(config)
    return IrisContainer(config=providers.Object(config))


@contextmanager
def open_container(config: ClusterConfig | Path) -> Iterator[IrisContainer]:
    """As `build_container`, with its resources shut down at the end.

    Raises:
        ConfigError: the file cannot be read or is wrong.
    """
    container = build_container(config)
    try:
        yield container
    finally:
        container.shutdown_resources()
