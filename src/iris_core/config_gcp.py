"""The part of the configuration that says which part of Google Cloud is used, and how its hosts are reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from iris_core.config_checks import FORBID_UNKNOWN_KEYS, check_port, check_positive
from iris_core.errors import ConfigError


class Route(StrEnum):
    """The way to a VM."""

    EXTERNAL = "external"
    INTERNAL = "internal"
    IAP = "iap"


class HostKeyPolicy(StrEnum):
    """Which SSH host keys are believed."""

    REPORTED = "reported"
    FIRST_USE = "first-use"


@dataclass(frozen=True, slots=True, kw_only=True)
class SshConfig:
    """How hosts are reached.

    Attributes:
        user: the login name. None: the local user's, as gcloud does it; with `oslogin`, the profile's own.
        key_file: the private key. None: `~/.ssh/google_compute_engine`, gcloud's own, made by ssh-keygen if it is missing.
        port: sshd's port on the hosts.
        route: `external` or `internal`: which address to connect to. `iap`: through Google's Identity-Aware Proxy, by one
            `gcloud compute start-iap-tunnel` for each connection; for VMs without external address, from outside their network.
        most_iap_tunnels: how many such gclouds there may be. Each takes about 70 MB, so the default is 3.5 GB.
        oslogin: whether the hosts let in whom OS Login says, not whom their metadata say. VMs that iris creates then use it.
        connect_timeout_seconds: for one connection, from TCP to authenticated. A VM that boots drops packets: do not wait long.
        most_connects: how many connections may be being made at the same time. 32 took 9 to 12 s for 1,000 hosts.
        dead_peer_seconds: how long a peer may owe an answer before the connection counts as lost.
        known_hosts_file: iris's own. None: `~/.config/iris/known_hosts`.
        host_keys: `reported`: only the keys that Google's API reports for the instance (guest attributes) are believed.
            `first-use`: where the API reports none, the first key seen for an instance id is believed and kept.
    """

    __pydantic_config__ = FORBID_UNKNOWN_KEYS

    user: str | None = None
    key_file: str | None = None
    port: int = 22
    route: Route = Route.EXTERNAL
    most_iap_tunnels: int = 50
    oslogin: bool = False
    connect_timeout_seconds: float = 15.0
    most_connects: int = 32
    dead_peer_seconds: float = 10.0
    known_hosts_file: str | None = None
    host_keys: HostKeyPolicy = HostKeyPolicy.REPORTED

    def __post_init__(self) -> None:
        """Refuse what cannot be right."""
        check_port(self.port, "gcp.ssh.port")
        check_positive(self.most_iap_tunnels, "gcp.ssh.most_iap_tunnels")
        check_positive(self.connect_timeout_seconds, "gcp.ssh.connect_timeout_seconds")
        check_positive(self.most_connects, "gcp.ssh.most_connects")
        check_positive(self.dead_peer_seconds, "gcp.ssh.dead_peer_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class GcpConfig:
    """The part of Google Cloud that the cluster uses.

    Attributes:
        project_id: the project.
        zone: the zone of controller and workers.
        network: VPC network. None: the project's default.
        subnetwork: None: the network's own in the region.
        service_account: e-mail of the VMs' service account. None: the project's default.
        external_ips: whether VMs and slices get external addresses. false: they are reached from inside the network only.
        gcloud_timeout_seconds: for one gcloud command that only reads. A read takes 2 s; gcloud itself retries server errors.
        gcloud_change_timeout_seconds: for one that creates or deletes; a TPU slice takes minutes.
        most_gcloud_commands: how many may run at the same time; each costs about 100 MB and a second of CPU, and more than
            a few get into each other's way ("database is locked").
        ssh: how hosts are reached.
    """

    __pydantic_config__ = FORBID_UNKNOWN_KEYS

    project_id: str
    zone: str
    network: str | None = None
    subnetwork: str | None = None
    service_account: str | None = None
    external_ips: bool = True
    gcloud_timeout_seconds: float = 120.0
    gcloud_change_timeout_seconds: float = 1200.0
    most_gcloud_commands: int = 4
    ssh: SshConfig = field(default_factory=SshConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be right."""
        for key in ("project_id", "zone"):
            if not getattr(self, key):
                raise ConfigError("must not be empty", key_path=f"gcp.{key}")
        check_positive(self.gcloud_timeout_seconds, "gcp.gcloud_timeout_seconds")
        check_positive(self.gcloud_change_timeout_seconds, "gcp.gcloud_change_timeout_seconds")
        check_positive(self.most_gcloud_commands, "gcp.most_gcloud_commands")
        if not self.external_ips and self.ssh.route is Route.EXTERNAL:
            raise ConfigError(
                "VMs without external addresses are not reached by them: choose another gcp.ssh.route",
                key_path="gcp.external_ips",
            )
