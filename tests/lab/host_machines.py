"""Pretended hosts as the machines behind a `Cloud`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.lab.addresses import AddressPool
from tests.lab.host import Host
from tests.lab.machines import Address, Kind, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.lab.network import Network

_MOST_BOOTS = 4  # at the same time; an engine's start is mostly work


class HostMachines:
    """Boots one host per instance and one per endpoint of a node.

    Args:
        directory: for the hosts' disks.
        cgroup: above those of all containers, beginning with `/`.
        ssh_port: the port of every host's sshd.
        network: gives every host a network of its own. None: they share this process's, each with a loopback address.

    Attributes:
        project_metadata: reads the project's metadata, whose ssh-keys log in to every host; the cloud's, given later.
        os_login_keys: reads the keys of the account's OS Login profile, which log in to hosts that use it; likewise.
    """

    def __init__(self, directory: Path, cgroup: str, *, ssh_port: int = 22, network: Network | None = None) -> None:
        self.project_metadata: Callable[[], Mapping[str, str]] = dict
        self.os_login_keys: Callable[[], list[str]] = list
        self._directory = directory
        self._cgroup = cgroup
        self._ssh_port = ssh_port
        self._network = network
        self._addresses = network or AddressPool(ssh_port)
        self._hosts: dict[str, tuple[Record, list[Host]]] = {}

    def hosts(self, record: Record) -> Sequence[Host]:
        """The hosts of a resource, by worker index; none where it has none yet."""
        return self._hosts.get(record.number, (record, []))[1]

    def allocate(self, record: Record, count: int) -> Sequence[Address]:
        """Loopback addresses, and disks for hosts with them."""
        hosts = []
        for index in range(count):
            name = record.name if record.kind == Kind.INSTANCE else f"t1v-n-{record.number[-8:]}-w-{index}"
            address = self._addresses.take()
            disk = self._directory / f"{record.number}-{index}"
            hosts.append(Host(disk, name, address, port=self._ssh_port, cgroup=self._cgroup, network=self._network))
        self._hosts[record.number] = (record, hosts)
        return [Address(internal=host.address, external=host.address) for host in hosts]

    def boot(self, record: Record) -> None:
        """Boot the hosts, let the metadata's keys in, publish the host keys, start the start-up script."""
        hosts = self.hosts(record)
        self._authorize(record, hosts)
        script = record.metadata.get("startup-script", "")
        with ThreadPoolExecutor(_MOST_BOOTS) as boots:
            list(boots.map(lambda host: host.boot(script), hosts))
        record.guest_attributes[:] = [
            {("hostkeys", "ssh-ed25519"): host.host_key, ("hostkeys", "hostname"): host.name} for host in hosts
        ]

    def power_off(self, record: Record) -> None:
        """Kill the hosts."""
        for host in self.hosts(record):
            host.kill()

    def destroy(self, record: Record) -> None:
        """Kill the hosts, remove their disks, give their addresses back."""
        for host in self._hosts.pop(record.number, (record, []))[1]:
            host.wipe()
            self._addresses.give_back(host.address)

    def metadata_changed(self, record: Record | None) -> None:
        """Let the keys in that the metadata now have."""
        for owner, hosts in list(self._hosts.values()):
            if record is None or owner is record:
                self._authorize(owner, hosts)

    def serial_output(self, record: Record) -> str:
        """What the first host's start-up scripts have written."""
        hosts = self.hosts(record)
        return hosts[0].serial_output() if hosts else ""

    def close(self) -> None:
        """Give the addresses back."""
        self._addresses.close()

    def _authorize(self, record: Record, hosts: Sequence[Host]) -> None:
        keys = record.metadata.get("ssh-keys", "").splitlines()
        own, projects = record.metadata.get("enable-oslogin"), self.project_metadata().get("enable-oslogin", "")
        if (projects if own is None else own).upper() == "TRUE":  # then nobody looks at the metadata's keys
            keys = self.os_login_keys()
        elif record.metadata.get("block-project-ssh-keys", "").upper() != "TRUE":
            keys += self.project_metadata().get("ssh-keys", "").splitlines()
        for host in hosts:
            host.authorize(keys)
