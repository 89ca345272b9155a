"""The docker commands that put a container on a host. Argument lists only: whoever runs them quotes them.

Reference: https://docs.docker.com/reference/cli/docker/container/run/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iris_core.config import ContainerConfig

MANAGED_LABEL: Final = "iris.managed"
"""The docker label that every container of iris bears with the value `true`."""

_NO_LABELS: Final[Mapping[str, str]] = {}


def run_container_argv(name: str, container: ContainerConfig, *, labels: Mapping[str, str] = _NO_LABELS) -> list[str]:
    """The command that starts the container and lets the engine start it again after every exit and reboot.

    Args:
        name: of the container.
        container: what to run; its `name` is not looked at.
        labels: further docker labels, beside `iris.managed=true`.

    Raises:
        ValueError: `container` has no image.
    """
    if container.image is None:
        raise ValueError(f"the container {name} has no image to run")
    return [
        *("docker", "run", "--detach", "--restart=unless-stopped", "--network=host", f"--name={name}"),
        *(f"--label={key}={value}" for key, value in {**labels, MANAGED_LABEL: "true"}.items()),
        *(f"--env={key}={value}" for key, value in container.env.items()),
        *container.docker_args,
        container.image,
        *(container.command or ()),
    ]


def start_container_argv(name: str) -> list[str]:
    """The command that starts the container if it is stopped, and does nothing if it runs."""
    return ["docker", "start", name]


def remove_container_argv(name: str) -> list[str]:
    """The command that removes the container, running or not."""
    return ["docker", "rm", "--force", name]


def read_label_argv(name: str, label: str) -> list[str]:
    """The command that prints the value of a container's label (empty: it has none); fails if there is no such container."""
    return ["docker", "container", "inspect", f'--format={{{{index .Config.Labels "{label}"}}}}', name]


def engine_answers_argv() -> list[str]:
    """The command that succeeds once the engine answers."""
    return ["docker", "version"]
