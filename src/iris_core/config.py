"""What a cluster should be. Values only; `iris_adapters.config_file` reads them from YAML.

Every setting says what it means, its unit, what None means, and why its default is what it is. A value that cannot be right is
a `ConfigError` that names its key path.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from iris_core.config_checks import (
    FORBID_UNKNOWN_KEYS,
    check_label_value,
    check_labels,
    check_metadata,
    check_name,
    check_port,
    check_positive,
    check_tags,
    nothing,
)
from iris_core.config_gcp import GcpConfig, HostKeyPolicy, Route, SshConfig
from iris_core.config_workers import ContainerConfig, QueuedConfig, WorkerGroupConfig
from iris_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DEFAULT_CONTROLLER_CONTAINER",
    "DEFAULT_WORKER_CONTAINER",
    "ClusterConfig",
    "ContainerConfig",
    "ControllerConfig",
    "GcpConfig",
    "HostKeyPolicy",
    "LocalConfig",
    "LogConfig",
    "Mode",
    "QueuedConfig",
    "Route",
    "SshConfig",
    "WorkerGroupConfig",
]

DEFAULT_CONTROLLER_CONTAINER: Final = "iris-controller"
"""The name of the controller's container where the configuration gives none."""

DEFAULT_WORKER_CONTAINER: Final = "iris-worker"
"""The name of a worker's container where the configuration gives none."""

# `iris-controller-` and `-{group}-{timestamp}` must fit beside the prefix.
_MOST_PREFIX_CHARACTERS: Final = 30
_MOST_LIFE_HOURS: Final = 120 * 24.0  # the most that Compute takes for max-run-duration


class Mode(StrEnum):
    """Where the cluster runs."""

    LOCAL = "local"
    GCP = "gcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerConfig:
    """The controller and the VM it runs on.

    Attributes:
        port: where it listens on its host's 127.0.0.1. 10000 by the specification.
        machine_type: of its VM. The default is a small one: it schedules, it does not compute.
        image_family: VM image family; the default is Container-Optimized OS, which has Docker and nothing else.
        image_project: the project of that family.
        boot_disk_gb: size of its disk in GB; room for the image and its logs.
        ready_timeout_seconds: how long `start` and `connect` wait for VM and controller together. A VM takes about a minute,
            pulling a large image several.
        network: VPC network of its VM. None: that of the section `gcp`.
        subnetwork: None: that of the section `gcp`.
        service_account: None: that of the section `gcp`.
        labels: further labels of its VM.
        metadata: further metadata of its VM.
        tags: its VM's network tags, which firewall rules go by.
        container: what it runs.
    """

    __pydantic_config__ = FORBID_UNKNOWN_KEYS

    port: int = 10000
    machine_type: str = "e2-standard-4"
    image_family: str = "cos-stable"
    image_project: str = "cos-cloud"
    boot_disk_gb: int = 50
    ready_timeout_seconds: float = 600.0
    network: str | None = None
    subnetwork: str | None = None
    service_account: str | None = None
    labels: Mapping[str, str] = field(default_factory=nothing, hash=False)
    metadata: Mapping[str, str] = field(default_factory=nothing, hash=False)
    tags: tuple[str, ...] = ()
    container: ContainerConfig = field(default_factory=ContainerConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be right."""
        check_port(self.port, "controller.port")
        check_positive(self.boot_disk_gb, "controller.boot_disk_gb")
        check_positive(self.ready_timeout_seconds, "controller.ready_timeout_seconds")
        check_labels(self.labels, "controller.labels")
        check_metadata(self.metadata, "controller.metadata")
        check_tags(self.tags, "controller.tags")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """How logs are landed.

    Attributes:
        discovery_seconds: how often the cloud is asked which slices there are; one gcloud call each time.
        drain_seconds: how long `stop` may take to land what the engines still hold.
        use_sudo: whether docker needs `sudo -n` on the hosts, where the login user may not reach the engine's socket.
        container_label: containers with this docker label (`key` or `key=value`) are captured too, beside the controller's
            and the workers' own. None: no others.
        black_box_seconds: how long, before something is deleted, its logs, `docker inspect`, kernel messages and serial output
            may take to be captured. 0: nothing is.
        shard_index: where several iris processes share the landing of one cluster's logs: which of them this one is, from 0 on. The
            first lands the controller's log, too.
        shard_count: how many they are. Which one lands a slice is decided by a hash of the slice's name.
    """

    __pydantic_config__ = FORBID_UNKNOWN_KEYS

    discovery_seconds: float = 10.0
    drain_seconds: float = 10.0
    use_sudo: bool = True
    container_label: str | None = "iris.managed=true"
    black_box_seconds: float = 20.0
    shard_index: int = 0
    shard_count: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be right."""
        check_positive(self.discovery_seconds, "logs.discovery_seconds")
        check_positive(self.shard_count, "logs.shard_count")
        if not 0 <= self.shard_index < self.shard_count:
            raise ConfigError(
                f"{self.shard_index} is none of {self.shard_count} shards: they are numbered from 0 on",
                key_path="logs.shard_index",
            )
        for key in ("drain_seconds", "black_box_seconds"):
            if getattr(self, key) < 0:
                raise ConfigError(f"must be 0 or more, is {getattr(self, key)}", key_path=f"logs.{key}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalConfig:
    """The in-process cluster.

    Attributes:
        port: where its controller listens on 127.0.0.1. 0: a free port.
        workers: how many workers it has; each runs one replica of a job at a time per CPU that it offers.
        cpus_per_worker: what one worker offers. Nothing is enforced: it bounds how many replicas run at the same time.
    """

    __pydantic_config__ = FORBID_UNKNOWN_KEYS

    port: int = 0
    workers: int = 4
    cpus_per_worker: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be right."""
        check_port(self.port, "local.port", zero_allowed=True)
        check_positive(self.workers, "local.workers")
        check_positive(self.cpus_per_worker, "local.cpus_per_worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """A whole cluster.

    Attributes:
        mode: where it runs.
        label_prefix: what sets this cluster apart from others in the project: part of every name and label.
        owner: who all that iris creates belongs to, as the label `iris-owner`; what belongs to somebody else is left alone. None:
            gcloud's account, or else the local user, with every character that a label cannot have replaced by `-`.
        time_to_live_hours: how long it may exist. Google deletes the controller's VM when it has run for so long; slices, which Google
            does not end by itself, bear the time in the label `iris-expires`. None: until it is deleted.
        prices: what things cost per hour, in your currency: one VM by its machine type (`e2-standard-4`), one slice by its accelerator
            type (`v5litepod-16`), one spot slice by that and `/spot` (`v5litepod-16/spot`). Costs are estimated of what is priced
            here, and of nothing else.
        gcp: needed in GCP mode, ignored in local mode.
        controller: the controller and its VM.
        workers: the groups of worker slices.
        logs: how logs are landed.
        local: the in-process cluster.
    """

    __pydantic_config__ = FORBID_UNKNOWN_KEYS

    mode: Mode = Mode.LOCAL
    label_prefix: str = "iris"
    owner: str | None = None
    time_to_live_hours: float | None = None
    prices: Mapping[str, float] = field(default_factory=nothing, hash=False)
    gcp: GcpConfig | None = None
    controller: ControllerConfig = field(default_factory=ControllerConfig)
    workers: tuple[WorkerGroupConfig, ...] = ()
    logs: LogConfig = field(default_factory=LogConfig)
    local: LocalConfig = field(default_factory=LocalConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be right."""
        check_name(self.label_prefix, "label_prefix", _MOST_PREFIX_CHARACTERS)
        if self.owner is not None:
            check_label_value(self.owner, "owner")
        if self.time_to_live_hours is not None and not 0 < self.time_to_live_hours <= _MOST_LIFE_HOURS:
            raise ConfigError(
                f"must be more than 0 and at most {_MOST_LIFE_HOURS:g}, is {self.time_to_live_hours}",
                key_path="time_to_live_hours",
            )
        for key, price in self.prices.items():
            if not 0 <= price < math.inf:
                raise ConfigError(f"must be 0 or more, is {price}", key_path=f"prices.{key}")
        if self.mode is Mode.GCP and self.gcp is None:
            raise ConfigError("mode is gcp, so the section gcp with project_id and zone is needed", key_path="gcp")
        names = [group.name for group in self.workers]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise ConfigError(f"two groups are called {name!r}", key_path=f"workers.{index}.name")

    @property
    def is_local(self) -> bool:
        """Whether the cluster runs in this process."""
        return self.mode is Mode.LOCAL

    @property
    def zone(self) -> str:
        """The Google Cloud zone, empty in local mode."""
        return self.gcp.zone if self.gcp else ""

    @property
    def project_id(self) -> str:
        """The Google Cloud project, empty in local mode."""
        return self.gcp.project_id if self.gcp else ""
