"""What a host runs where the configuration leaves it to iris: a Ray node."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

from iris_core.ray_join import HOST_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iris_core.config import ContainerConfig

RAY_VERSION: Final = "2.60.0"
"""The Ray that iris is tested with."""

RAY_IMAGE: Final = f"rayproject/ray:{RAY_VERSION}-py311"
"""Ray's public image. Its tags: https://docs.ray.io/en/latest/ray-overview/installation.html#docker-source-images"""

# Root, because the token's file is root's and TPU devices are; the host's shared memory, because Docker's 64 MB are no room for objects.
_DOCKER_ARGS: Final = ("--user=root", "--ipc=host")
_DEVICES: Final = ("--privileged",)  # https://cloud.google.com/tpu/docs/run-in-container


def controller_container(container: ContainerConfig, *, name: str, port: int) -> ContainerConfig:
    """What the controller's host runs.

    Args:
        container: as configured.
        name: of the node.
        port: where the dashboard, and with it the job API, is to listen on the host's 127.0.0.1.
    """
    options = {"role": "controller", "name": name, "dashboard_port": port}
    return _completed(container, options, (*_DOCKER_ARGS, f"--volume={HOST_DIRECTORY}:{HOST_DIRECTORY}"))


def worker_container(container: ContainerConfig) -> ContainerConfig:
    """What a worker's host runs: `container` as configured, completed."""
    arguments = (*_DOCKER_ARGS, *_DEVICES, f"--volume={HOST_DIRECTORY}:{HOST_DIRECTORY}:ro")
    return _completed(container, {"role": "worker"}, arguments)


def _completed(
    container: ContainerConfig, options: Mapping[str, object], docker_args: tuple[str, ...]
) -> ContainerConfig:
    image = container.image or RAY_IMAGE
    if not container.runs_ray:
        return replace(container, image=image)
    command = ("python3", "-u", "-c", _program(), json.dumps(options))
    return replace(container, image=image, command=command, docker_args=(*docker_args, *container.docker_args))


@cache
def _program() -> str:
    return resources.files(__package__ or "").joinpath("ray_node.py").read_text(encoding="utf-8")
