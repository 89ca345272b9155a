from __future__ import annotations

import pytest

from iris_core.config import ContainerConfig
from iris_core.docker_run import read_label_argv, run_container_argv


def test_a_container_is_restarted_labelled_and_on_the_hosts_network() -> None:
    """Options come before the image and the command after it, each value as it is in the configuration."""
    container = ContainerConfig(
        image="example/worker:1",
        command=("serve", "a b"),
        env={"GREETING": "hello $USER"},
        docker_args=("--privileged",),
    )
    assert run_container_argv("iris-worker", container, labels={"iris.spec": "abc"}) == [
        "docker",
        "run",
        "--detach",
        "--restart=unless-stopped",
        "--network=host",
        "--name=iris-worker",
        "--label=iris.spec=abc",
        "--label=iris.managed=true",
        "--env=GREETING=hello $USER",
        "--privileged",
        "example/worker:1",
        "serve",
        "a b",
    ]


def test_a_container_without_an_image_cannot_be_run() -> None:
    """A caller that forgets to look for the image is told so."""
    with pytest.raises(ValueError, match="iris-worker has no image"):
        run_container_argv("iris-worker", ContainerConfig())


def test_the_label_is_read_by_a_template() -> None:
    """The label's name is quoted for Go's template, whose dots would otherwise be a path."""
    assert read_label_argv("c", "iris.spec")[-2:] == ['--format={{index .Config.Labels "iris.spec"}}', "c"]
