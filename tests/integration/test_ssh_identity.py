"""Who is who between iris and its hosts: strict host keys by instance, and the ways to be let in. Real gcloud and sshd."""

from __future__ import annotations

import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iris_adapters.container import open_container
from iris_adapters.gcloud.hosts import find_host
from iris_core.config import ClusterConfig, ControllerConfig, GcpConfig, Mode, SshConfig
from iris_core.errors import AuthenticationFailedError, HostKeyError
from tests.lab.cloud import PROJECT, ZONE
from tests.lab.http_shapes import ApiError
from tests.support.sshd import Sshd, make_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iris_adapters.container import IrisContainer
    from iris_core.model import Host
    from tests.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


@pytest.fixture
def cloud(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The lab, as the one that this process's gcloud and SSH see."""
    for name, value in lab.environment.items():
        monkeypatch.setenv(name, value)
    return lab


@contextmanager
def opened(ssh: SshConfig | None = None) -> Iterator[IrisContainer]:
    gcp = GcpConfig(project_id=PROJECT, zone=ZONE, ssh=ssh or SshConfig(user="root"))
    with open_container(ClusterConfig(mode=Mode.GCP, gcp=gcp, controller=ControllerConfig())) as made:
        yield made


def found(container: IrisContainer, name: str, *, is_tpu: bool = False) -> Host:
    host = find_host(container.gcloud(), name, zone=ZONE, is_tpu=is_tpu, route=SshConfig().route)
    assert host is not None
    return host


def said_by(container: IrisContainer, host: Host, *argv: str) -> str:
    return container.shell().run(host, argv, timeout_seconds=60).stdout.decode().strip()


def known_hosts(lab: Lab) -> Path:
    return Path(lab.environment["HOME"], ".config", "iris", "known_hosts")


def man_in_the_middle(lab: Lab, address: str, directory: Path) -> Sshd:
    """Another sshd on the address, with a host key of its own, that lets our key in."""
    directory.mkdir()
    impostor = Sshd(directory, address=address, port=22)
    (directory / "authorized_keys").write_bytes(lab.ssh_key().with_suffix(".pub").read_bytes())
    return impostor


class TestHostKeys:
    @pytest.mark.parametrize("met_before", [True, False])
    def test_a_man_in_the_middle_is_refused(self, cloud: Lab, tmp_path: Path, *, met_before: bool) -> None:
        """Also at the first contact; the error says in which line the true key stands, and nothing is sent."""
        cloud.ssh_key()
        cloud.add_instance("vm")
        with opened() as container:
            host = found(container, "vm")
            if met_before:
                assert said_by(container, host, "hostname") == "vm"
            cloud.host("vm").kill()
            with man_in_the_middle(cloud, host.address, tmp_path / "impostor"), pytest.raises(HostKeyError) as caught:
                said_by(container, host, "touch", str(tmp_path / "was-here"))
        assert f"({known_hosts(cloud)}:1)" in str(caught.value)
        assert f"ssh-keygen -R compute.{host.instance_id} -f {known_hosts(cloud)}" in str(caught.value)
        assert not (tmp_path / "was-here").exists()
        assert len(known_hosts(cloud).read_text().splitlines()) == 1

    def test_a_vm_made_anew_under_its_name_and_address_is_no_problem(self, cloud: Lab) -> None:
        """It has another id, so another line: nothing needs to be removed, and nobody is asked."""
        cloud.ssh_key()
        with opened() as container:
            hosts, keys = [], []
            for _ in range(2):
                cloud.add_instance("vm")
                hosts.append(found(container, "vm"))
                assert said_by(container, hosts[-1], "hostname") == "vm"
                keys.append(cloud.host("vm").host_key)
                cloud.cloud.remove("vm")
        first, second = hosts
        assert (first.name, first.address) == (second.name, second.address)
        assert first.instance_id != second.instance_id
        lines = known_hosts(cloud).read_text().splitlines()
        assert [line.split()[0] for line in lines] == [f"compute.{host.instance_id}" for host in hosts]
        assert [line.split()[2] for line in lines] == keys


class TestOsLogin:
    CONFIG = SshConfig(oslogin=True)

    def test_hosts_let_in_whom_os_login_says(self, cloud: Lab) -> None:
        """Under the profile's primary name; the key is put there once, for all of them, and expires after a day."""
        metadata = {"enable-oslogin": "TRUE"}
        cloud.add_instance("vm", metadata=metadata)
        cloud.add_node("s", accelerator_type="v5litepod-8", metadata=metadata)
        with opened(self.CONFIG) as container:
            hosts = [
                found(container, "vm"),
                found(container, "s-w0", is_tpu=True),
                found(container, "s-w1", is_tpu=True),
            ]
            container.shell()  # one for all, as it is for whoever uses a cluster; the container makes it on one thread
            with ThreadPoolExecutor(len(hosts)) as pool:
                users = list(pool.map(lambda host: said_by(container, host, "printenv", "USER"), hosts))

        calls = [request for request in cloud.cloud.requests if request.path.startswith("/v1/users/")]
        assert users == ["lab_example_com"] * 3
        assert [(call.method, call.path.rpartition("com")[2]) for call in calls] == [
            ("POST", ":importSshPublicKey"),
            ("GET", "/loginProfile"),
        ]
        [key] = cloud.cloud.os_login.keys.values()
        assert key["expirationTimeUsec"]

    def test_a_vm_that_iris_makes_uses_os_login(self, cloud: Lab) -> None:
        """Its metadata hold no keys, and it lets us in."""
        with opened(self.CONFIG) as container:
            made = container.inventory().ensure_controller()
            assert said_by(container, found(container, made.name), "hostname") == made.name
        metadata = cloud.cloud.get(made.name).metadata
        assert metadata["enable-oslogin"] == "TRUE"
        assert "ssh-keys" not in metadata

    def test_a_profile_that_may_not_be_changed_is_told(self, cloud: Lab) -> None:
        """Once, in Google's words."""
        cloud.add_instance("vm", metadata={"enable-oslogin": "TRUE"})
        cloud.cloud.faults.fail("POST", ":importSshPublicKey", ApiError(403, "Required permission"), times=None)
        with opened(self.CONFIG) as container:
            host = found(container, "vm")
            with pytest.raises(AuthenticationFailedError, match="OS Login could not be told of our key"):
                said_by(container, host, "true")


def test_a_vm_that_takes_another_key_says_how_to_add_ours(cloud: Lab, tmp_path: Path) -> None:
    """The error's command is run, and then the VM lets us in."""
    other = make_key(tmp_path / "other")
    cloud.add_instance("vm", metadata={"ssh-keys": f"root:{other}"})
    with opened() as container:
        host = found(container, "vm")
        with pytest.raises(AuthenticationFailedError, match=r"'root'.*google_compute_engine among them") as caught:
            said_by(container, host, "true")
        advised = re.search(r"run once: gcloud (.*) \. If", str(caught.value))
        assert advised is not None
        subprocess.run(["gcloud", *shlex.split(advised[1])], check=True, capture_output=True, stdin=subprocess.DEVNULL)

        assert said_by(container, host, "hostname") == "vm"
