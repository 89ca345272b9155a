from __future__ import annotations

import ast
import json
import sys
from importlib import resources

from iris_adapters.gcloud.ray_containers import RAY_IMAGE, controller_container, worker_container
from iris_adapters.gcloud.startup_script import startup_script
from iris_core.config import ContainerConfig

_MOST_METADATA_BYTES = 256 * 1024  # of one value: https://cloud.google.com/compute/docs/metadata/overview


def test_an_empty_configuration_runs_ray() -> None:
    """Ray's public image, as root, with the host's directory in which token and join file are."""
    head = controller_container(ContainerConfig(), name="iris-controller-x", port=10000)
    assert head.image == RAY_IMAGE
    assert head.command is not None
    assert json.loads(head.command[-1]) == {"role": "controller", "name": "iris-controller-x", "dashboard_port": 10000}
    assert "--volume=/var/lib/iris:/var/lib/iris" in head.docker_args
    worker = worker_container(ContainerConfig())
    assert {"--privileged", "--volume=/var/lib/iris:/var/lib/iris:ro", "--user=root"} <= set(worker.docker_args)


def test_an_image_of_ones_own_runs_ray_too() -> None:
    """With the environment and the arguments that are configured beside iris's own."""
    configured = ContainerConfig(image="mine:1", env={"A": "b"}, docker_args=("--volume=/data:/data",))
    worker = worker_container(configured)
    assert worker.image == "mine:1"
    assert worker.env == {"A": "b"}
    assert worker.docker_args[-1] == "--volume=/data:/data"
    assert worker.command is not None


def test_a_command_of_ones_own_is_left_alone() -> None:
    """Also the empty one, which means what the image runs by itself."""
    for command in ((), ("httpd", "-f")):
        configured = ContainerConfig(image="mine:1", command=command, docker_args=("--init",))
        assert worker_container(configured) == configured
        assert controller_container(configured, name="c", port=1) == configured


def test_the_script_fits_into_the_metadata_and_holds_no_secret() -> None:
    """It is the same for every cluster: what is secret comes to the host by SSH."""
    script = startup_script("iris-worker", worker_container(ContainerConfig()))
    assert len(script.encode()) < _MOST_METADATA_BYTES / 4
    assert script == startup_script("iris-worker", worker_container(ContainerConfig()))


def test_the_program_needs_nothing_that_the_image_may_lack() -> None:
    """It travels as text, so that it may import the standard library only."""
    text = resources.files("iris_adapters.gcloud").joinpath("ray_node.py").read_text(encoding="utf-8")
    imported = set()
    for node in ast.walk(ast.parse(text, feature_version=(3, 10))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert imported <= sys.stdlib_module_names
