"""Hosts behind the Identity-Aware Proxy: the real gcloud's tunnels, real SSH through them, and a pretended proxy."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iris_adapters.container import open_container
from iris_adapters.gcloud.hosts import find_host
from iris_core.config import ClusterConfig, GcpConfig, Mode, Route, SshConfig
from iris_core.errors import AuthenticationFailedError, HostUnreachableError
from tests.contracts.remote_shell_cases import CAT, Recorder
from tests.lab.cloud import PROJECT, ZONE
from tests.lab.iap import IapRefusalError, IapRelay, IapTarget, gcloud_with_iap
from tests.lab.processes import all_processes, command_line, wait_until
from tests.unit.test_host_key_checking import OFF

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iris_adapters.container import IrisContainer
    from iris_core.model import Host
    from tests.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

MEGABYTES = 20


class Cloud:
    """The lab, behind its proxy.

    Attributes:
        refusal: what the proxy says to every tunnel; None: it leads where the lab says.
        relay: the proxy.
    """

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.refusal: IapRefusalError | None = None
        self.relay = IapRelay(directory, self._resolve)

    def _resolve(self, target: IapTarget) -> tuple[str, int]:
        if self.refusal is not None:
            raise self.refusal
        return self.lab.iap_address(target)


@pytest.fixture
def cloud(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    made = Cloud(lab, tmp_path)
    with made.relay:
        for name, value in gcloud_with_iap(tmp_path, made.relay, lab.environment).items():
            monkeypatch.setenv(name, value)
        lab.ssh_key()
        yield made


@contextmanager
def opened(most_iap_tunnels: int = 50) -> Iterator[IrisContainer]:
    ssh = SshConfig(user="root", route=Route.IAP, most_iap_tunnels=most_iap_tunnels)
    with open_container(ClusterConfig(mode=Mode.GCP, gcp=GcpConfig(project_id=PROJECT, zone=ZONE, ssh=ssh))) as made:
        yield made


def found(container: IrisContainer, name: str, *, is_tpu: bool = False) -> Host:
    host = find_host(container.gcloud(), name, zone=ZONE, is_tpu=is_tpu, route=Route.IAP)
    assert host is not None
    return host


def command_lines(word: str) -> list[str]:
    """Of all processes that have this word among their arguments."""
    lines = (command_line(process.pid) for process in all_processes())
    return [" ".join(line) for line in lines if word in line]


def test_a_controller_and_every_host_of_a_slice_are_reached(cloud: Cloud) -> None:
    """By names, with strict host keys; a command's 20 MB of output arrive whole; and afterwards no gcloud is left."""
    cloud.lab.add_instance("vm")
    cloud.lab.add_node("s", accelerator_type="v5litepod-8")
    with opened() as container:
        shell = container.shell()
        hosts = [found(container, "vm"), found(container, "s-w0", is_tpu=True), found(container, "s-w1", is_tpu=True)]
        said = [shell.run(host, ["hostname"], timeout_seconds=60).stdout.decode().strip() for host in hosts]
        much = shell.run(hosts[0], ["head", "-c", str(MEGABYTES << 20), "/dev/zero"], timeout_seconds=60)
        tunnels = command_lines("start-iap-tunnel")

    assert said == ["vm", *(host.name for host in cloud.lab.hosts("s"))]
    assert len(much.stdout) == MEGABYTES << 20
    assert [target.instance for target in cloud.relay.targets] == said
    assert len(tunnels) == 3
    assert not [line for line in tunnels if re.search(OFF, line, re.IGNORECASE)]
    known = (Path(os.environ["HOME"]) / ".config" / "iris" / "known_hosts").read_text(encoding="utf-8")
    assert known.count("tpu.") == 2
    wait_until(lambda: not command_lines("start-iap-tunnel"), 10, "the end of every gcloud")


@pytest.mark.parametrize(
    ("code", "reason", "kind", "advice"),
    [
        (4033, "not authorized", AuthenticationFailedError, "roles/iap.tunnelResourceAccessor"),
        (4047, "Failed to lookup instance", HostUnreachableError, "stopped or deleted"),
    ],
)
def test_a_refusal_of_iap_says_what_to_do(
    cloud: Cloud, code: int, reason: str, kind: type[Exception], advice: str
) -> None:
    """As the real gcloud tells it."""
    cloud.lab.add_instance("vm")
    cloud.refusal = IapRefusalError(code, reason)
    with opened() as container:
        host = found(container, "vm")
        with pytest.raises(kind, match=f"error {code}: {reason}.*{advice}"):
            container.shell().run(host, ["true"], timeout_seconds=60)


def test_a_vm_that_takes_no_connections_says_which_firewall_rule_is_needed(cloud: Cloud) -> None:
    """It may be booting, or the rule may be missing: IAP cannot tell (4003)."""
    cloud.lab.add_instance("vm")
    with opened() as container:
        host = found(container, "vm")
        cloud.lab.host("vm").kill()
        with pytest.raises(HostUnreachableError, match=r"error 4003.*35\.235\.240\.0/20"):
            container.shell().run(host, ["true"], timeout_seconds=60)


def test_there_are_no_more_tunnels_than_allowed(cloud: Cloud) -> None:
    """The next one is an error that names the setting; a tunnel that has ended makes room."""
    cloud.lab.add_node("s", accelerator_type="v5litepod-8")
    with opened(most_iap_tunnels=1) as container:
        shell = container.shell()
        first, second = (found(container, name, is_tpu=True) for name in ("s-w0", "s-w1"))
        recorder = Recorder()
        shell.start(first, CAT, recorder).write(b"x")
        assert recorder.wait_until(lambda: recorder.stdout == b"x", 60)
        with pytest.raises(HostUnreachableError, match=r"gcp\.ssh\.most_iap_tunnels"):
            shell.run(second, ["true"], timeout_seconds=60)

        cloud.lab.hosts("s")[0].drop_sessions()
        recorder.end(60)

        wait_until(lambda: not command_lines("start-iap-tunnel"), 30, "the end of the first gcloud")
        assert shell.run(second, ["echo", "in"], timeout_seconds=60).stdout == b"in\n"
