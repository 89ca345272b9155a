"""The part of the configuration that says what the hosts run, and which worker slices there should be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from iris_core.config_checks import (
    FORBID_UNKNOWN_KEYS,
    check_labels,
    check_metadata,
    check_name,
    check_positive,
    check_tags,
    nothing,
)
from iris_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_GROUP_CHARACTERS: Final = 15  # `{label_prefix}-{group}-{timestamp}` must fit into a name


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerConfig:
    """The container that a host runs.

    Attributes:
        name: its name; the log capture looks for it. None: `iris-controller` or `iris-worker`.
        image: the image to run. None: Ray's public one, of the version that iris is tested with.
        command: arguments after the image; empty: what the image runs by itself. None: a Ray node, the head on the controller's
            host, and workers that join it; the image must have Ray then.
        env: environment variables of the container.
        docker_args: further arguments of `docker run` before the image (`--device=/dev/accel0`, `--volume=…`).
    """

    __pydantic_config__ = FORBID_UNKNOWN_KEYS

    name: str | None = None
    image: str | None = None
    command: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=nothing, hash=False)
    docker_args: tuple[str, ...] = ()

    @property
    def runs_ray(self) -> bool:
        """Whether it is a Ray node."""
        return self.command is None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedConfig:
    """Slices that are asked for as queued resources: Google creates each when it has the capacity.

    Attributes:
        wait_minutes: how long a request may wait. After that it is withdrawn, by iris or, should iris be gone, by Google: capacity that
            comes when nobody waits for it any more would only cost money.
    """

    __pydantic_config__ = FORBID_UNKNOWN_KEYS

    wait_minutes: float = 60.0

    def __post_init__(self) -> None:
        """Refuse what cannot be right."""
        check_positive(self.wait_minutes, "workers.queued.wait_minutes")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerGroupConfig:
    """Slices of one kind.

    Attributes:
        name: of the group; part of the slices' names.
        runtime_version: the TPU VM's image, `v2-alpha-tpuv5-lite` and the like.
        accelerator_type: `v5litepod-16` and the like. None: `type` and `topology` say it.
        type: the TPU's generation, with `topology` in place of `accelerator_type`; gcloud takes `v2`, `v3` and `v4`.
        topology: how the chips are arranged, `2x2x2` and the like.
        count: how many slices `start` sees to. 0: the group exists, and something else creates its slices.
        spot: whether the slices may be preempted, at a lower price.
        reserved: whether they come out of the project's reservation.
        queued: to have them as queued resources. None: they are created at once, or not at all.
        recreate: whether a slice that was preempted or has failed is deleted and created again while logs are streamed.
        most_recreations_per_hour: of one group, so that a slice that never comes up is no endless loop.
        network: VPC network of the slices. None: that of the section `gcp`.
        subnetwork: None: that of the section `gcp`.
        service_account: None: that of the section `gcp`.
        labels: further labels of the slices.
        metadata: further metadata of their hosts.
        tags: their network tags, which firewall rules go by.
        container: what each of its hosts runs.
    """

    __pydantic_config__ = FORBID_UNKNOWN_KEYS

    name: str
    runtime_version: str
    accelerator_type: str | None = None
    type: str | None = None
    topology: str | None = None
    count: int = 1
    spot: bool = False
    reserved: bool = False
    queued: QueuedConfig | None = None
    recreate: bool = False
    most_recreations_per_hour: int = 3
    network: str | None = None
    subnetwork: str | None = None
    service_account: str | None = None
    labels: Mapping[str, str] = field(default_factory=nothing, hash=False)
    metadata: Mapping[str, str] = field(default_factory=nothing, hash=False)
    tags: tuple[str, ...] = ()
    container: ContainerConfig = field(default_factory=ContainerConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be right."""
        check_name(self.name, "workers.name", _MOST_GROUP_CHARACTERS)
        if self.accelerator_type and (self.type or self.topology):
            raise ConfigError(
                "says twice what the slices are: either accelerator_type, or type and topology",
                key_path="workers.accelerator_type",
            )
        if not self.accelerator_type and not (self.type and self.topology):
            raise ConfigError(
                "it is not said what the slices are: accelerator_type is needed, or type and topology",
                key_path="workers.accelerator_type",
            )
        if self.count < 0:
            raise ConfigError(f"must be 0 or more, is {self.count}", key_path="workers.count")
        if self.spot and self.reserved:
            raise ConfigError("a reservation has no spot slices: choose one of the two", key_path="workers.reserved")
        check_positive(self.most_recreations_per_hour, "workers.most_recreations_per_hour")
        check_labels(self.labels, "workers.labels")
        check_metadata(self.metadata, "workers.metadata")
        check_tags(self.tags, "workers.tags")
