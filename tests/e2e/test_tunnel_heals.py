"""The controller's URL stays, whatever happens to the way to it or to its VM: real gcloud, SSH, Docker."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest

from iris_adapters.container import open_container
from iris_core.config import ClusterConfig, ContainerConfig, ControllerConfig, GcpConfig, Mode, SshConfig
from tests.lab.cloud import PROJECT, ZONE
from tests.lab.images import IMAGE
from tests.lab.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

NAME = "iris-controller-iris"
HEALED_SECONDS = 90.0
CONFIG = ClusterConfig(
    mode=Mode.GCP,
    gcp=GcpConfig(
        project_id=PROJECT, zone=ZONE, ssh=SshConfig(user="root", dead_peer_seconds=3, connect_timeout_seconds=10)
    ),
    controller=ControllerConfig(
        container=ContainerConfig(image=IMAGE, command=("httpd", "-f", "-p", "127.0.0.1:10000", "-h", "/www")),
        ready_timeout_seconds=120,
    ),
)


def answers(url: str) -> bool:
    """Whether the controller does, now."""
    try:
        with urllib.request.urlopen(f"{url}/api/version", timeout=5) as reply:  # noqa: S310 - the tunnel's own URL
            return bool(json.load(reply)["ray_version"] == "lab")
    except OSError:
        return False


def kill_the_session(lab: Lab) -> None:
    """The SSH connection breaks off."""
    lab.host(NAME).drop_sessions()


def freeze(lab: Lab) -> None:
    """The SSH connection stays, and nothing answers on it any more."""
    lab.host(NAME).freeze()


def reboot(lab: Lab) -> None:
    """Everything on the VM ends; its container comes back by itself."""
    lab.host(NAME).reboot(lab.cloud.get(NAME).metadata["startup-script"])


def re_create(lab: Lab) -> None:
    """Somebody deletes the VM, another one gets its address, and the VM is made anew elsewhere."""
    old = lab.cloud.get(NAME)
    lab.cloud.remove(NAME)
    lab.add_instance("squatter")
    new = lab.add_instance(NAME, labels=old.body["labels"], metadata=old.metadata)
    assert lab.host("squatter").address == old.addresses[0].external
    assert new.addresses[0].external != old.addresses[0].external
    assert new.number != old.number


@pytest.mark.parametrize("trouble", [kill_the_session, freeze, reboot, re_create])
def test_the_same_url_answers_again(lab: Lab, monkeypatch: pytest.MonkeyPatch, trouble: Callable[[Lab], None]) -> None:
    """While `connect` is open; and the cloud is asked a few times at most."""
    for name, value in lab.environment.items():
        monkeypatch.setenv(name, value)
    with open_container(CONFIG) as container, container.cluster_manager().connect() as url:
        assert answers(url)
        began, asked_before = time.monotonic(), len(lab.cloud.requests)

        trouble(lab)

        if trouble is freeze:
            assert not answers(url)
        wait_until(lambda: answers(url), HEALED_SECONDS, f"an answer after: {trouble.__doc__}")
        looks = len(lab.cloud.requests) - asked_before
        assert looks <= 2 + (time.monotonic() - began) / 10  # a look is a describe; a new VM's host key is one more
        if trouble in {kill_the_session, freeze}:
            assert looks == 0
