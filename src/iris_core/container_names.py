"""Which containers' logs are landed: the names that a caller gives, or the configuration, or the specification."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iris_core.config import DEFAULT_CONTROLLER_CONTAINER, DEFAULT_WORKER_CONTAINER
from iris_core.errors import ConfigError

if TYPE_CHECKING:
    from iris_core.config import ClusterConfig


class _Default(str):
    """A default value of a string argument that can be told from the same string given by the caller."""

    __slots__ = ()


NO_CONTROLLER_NAME_GIVEN: Final[str] = _Default(DEFAULT_CONTROLLER_CONTAINER)
"""Default value of an argument: the controller's container is called as the configuration says, or else this."""

NO_WORKER_NAME_GIVEN: Final[str] = _Default(DEFAULT_WORKER_CONTAINER)
"""Default value of an argument: the workers' containers are called as the configuration says, or else this."""


def container_names(
    config: ClusterConfig, controller: str = NO_CONTROLLER_NAME_GIVEN, worker: str = NO_WORKER_NAME_GIVEN
) -> tuple[str, str]:
    """The names of the controller's container and of the workers'.

    Args:
        config: of the cluster.
        controller: what the caller calls the controller's container.
        worker: what the caller calls the workers'.

    Raises:
        ConfigError: the worker groups' containers have different names, and `worker` is not given.
    """
    if isinstance(controller, _Default):
        controller = config.controller.container.name or str(controller)
    if isinstance(worker, _Default):
        default = str(worker)
        names = sorted({group.container.name or default for group in config.workers}) or [default]
        if len(names) > 1:
            raise ConfigError(
                f"the worker groups' containers have different names ({', '.join(names)}), and logs are landed from one name: "
                "give them the same name, or name one when starting the log streaming",
                key_path="workers",
            )
        worker = names[0]
    return controller, worker
