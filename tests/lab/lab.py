"""The whole: a pretended Google Cloud whose instances and nodes are hosts that one can log in to."""

from __future__ import annotations

import itertools
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.gcloud_api import GcloudApi
from tests.lab.host_machines import HostMachines
from tests.lab.iap import IapRefusalError
from tests.lab.machines import Kind
from tests.lab.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.lab.host import Host
    from tests.lab.iap import IapTarget
    from tests.lab.network import Network

_LABS = itertools.count()


class Lab(GcloudApi):
    """A `GcloudApi` with hosts; a context manager.

    What it has started ends with it or with this process, and its files are removed, however this process ends.

    Args:
        ssh_port: of the hosts' sshd; `gcloud compute ssh` knows only 22.
        network: gives every host a network of its own. None: they share this process's, each with a loopback address.

    Attributes:
        directory: all files of the lab are below it.
        cgroup: the cgroups of all its containers are below it.
    """

    def __init__(self, *, ssh_port: int = 22, network: Network | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="iris-lab-"))
        self.cgroup = f"/iris-lab-{os.getpid()}-{next(_LABS)}"
        self._watchdog = Watchdog(self.directory, self.cgroup)
        self._machines = HostMachines(self.directory / "hosts", self.cgroup, ssh_port=ssh_port, network=network)
        self._machines.project_metadata = lambda: self.cloud.project_metadata
        self._machines.os_login_keys = lambda: self.cloud.os_login.ssh_keys
        super().__init__(self.directory, self._machines)

    def hosts(self, name: str) -> Sequence[Host]:
        """The hosts of an instance or a node, by worker index; none while it is being created.

        Raises:
            KeyError: there is no such resource.
        """
        return self._machines.hosts(self.cloud.get(name))

    def host(self, name: str) -> Host:
        """The first, or only, host of an instance or a node.

        Raises:
            KeyError: there is no such resource.
        """
        return self.hosts(name)[0]

    def iap_address(self, target: IapTarget) -> tuple[str, int]:
        """Where a tunnel through IAP leads: to the host that has the name, in the project and zone that it is in.

        Raises:
            IapRefusalError: there is none.
        """
        for kind in (Kind.INSTANCE, Kind.NODE):
            for record in self.cloud.list(kind, target.zone, target.project):
                for host in self._machines.hosts(record):
                    if host.name == target.instance:
                        return host.address, target.port
        raise IapRefusalError(4047, "Failed to lookup instance")

    def ssh_key(self) -> Path:
        """A private key that every host lets `root` in with: gcloud's own, put into the project's metadata."""
        key_file = Path(self.environment["HOME"]) / ".ssh" / "google_compute_engine"
        if not key_file.exists():
            key_file.parent.mkdir(mode=0o700, exist_ok=True)
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key_file], check=True)
        public = key_file.with_suffix(".pub").read_text(encoding="utf-8").strip()
        self.cloud.project_metadata = {**self.cloud.project_metadata, "ssh-keys": f"root:{public}"}
        self._machines.metadata_changed(None)
        return key_file

    def close(self) -> None:
        """End every host, stop the server, remove the files."""
        super().close()
        self._machines.close()
        self._watchdog.close()
