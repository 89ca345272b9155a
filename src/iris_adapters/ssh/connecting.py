"""How one connection is made: Fabric reads the configuration and logs in; iris dials, checks the host key, and can stop it."""

from __future__ import annotations

import math
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fabric import Connection
from paramiko.client import MissingHostKeyPolicy
from paramiko.ssh_exception import (
    AuthenticationException,
    BadHostKeyException,
    PartialAuthentication,
    SSHException,
)

from iris_adapters.ssh.dial import dial
from iris_adapters.ssh.errors import (
    Stage,
    described,
    gateway_changed,
    hung_up,
    login_failed,
    no_address,
    ours,
    proxy_failed,
    refused,
)
from iris_adapters.ssh.host_connection import HostConnection, KnownKeys, fabric_config
from iris_adapters.ssh.proxy import Proxy, shell_argv
from iris_adapters.ssh.transport import IrisTransport, LoginEndedError
from iris_core.errors import (
    AuthenticationFailedError,
    ConfigError,
    HostKeyError,
    HostUnreachableError,
    InventoryError,
    RemoteShellError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fabric import Config
    from paramiko.pkey import PKey

    from iris_adapters.ssh.attempt import Attempt
    from iris_adapters.ssh.host_keys import HostKeys
    from iris_adapters.ssh.keys import KeyPair
    from iris_adapters.ssh.proxy import ProxyRoute
    from iris_adapters.ssh.reactor import Reactor
    from iris_core.config import SshConfig
    from iris_core.model import Host

_SSH_PORT: Final = 22
_JOIN_SECONDS: Final = 1.0


class Connector:
    """Makes connections. Any number of threads may use it.

    Args:
        config: how hosts are reached.
        key_pair: what to log in with, before ssh-agent's keys.
        host_keys: whom to believe.
        reactor: reads the connections once they are logged in.
        login: sees to it that hosts will let us in, and says as whom. None: the config's user.
        proxy_route: the program that leads to hosts, whatever `~/.ssh/config` says. None: there is none.
        ssh_config_file: read instead of `~/.ssh/config` and `/etc/ssh/ssh_config`.
    """

    def __init__(
        self,
        config: SshConfig,
        key_pair: KeyPair,
        host_keys: HostKeys,
        reactor: Reactor,
        *,
        login: Callable[[], str] | None = None,
        proxy_route: ProxyRoute | None = None,
        ssh_config_file: Path | None = None,
    ) -> None:
        self._config = config
        self._key_pair = key_pair
        self._host_keys = host_keys
        self._reactor = reactor
        self._login = login
        self._proxy_route = proxy_route
        self._proxies_left = threading.BoundedSemaphore(config.most_iap_tunnels)
        self._ssh_config_file = ssh_config_file
        self._fabric: Config | None = None
        self._fabric_lock = threading.Lock()

    def connect(self, host: Host, attempt: Attempt, ended: Callable[[], None]) -> IrisTransport:
        """Connect and log in.

        Args:
            host: the far end.
            attempt: lets other threads end it; afterwards its `end` closes the connection and what belongs to it.
            ended: called on the thread that reads the connection when that is over.

        Raises:
            HostUnreachableError, AuthenticationFailedError, HostKeyError: see `RemoteShell.run`.
        """
        made = _Made()
        try:
            transport = self._connect(host, attempt, ended, made)
        except Exception as error:
            ended_early, expired = attempt.ended, attempt.expired
            attempt.end()
            for transport in made.transports:  # their threads are to be over when the failure is told
                transport.give_up(_JOIN_SECONDS)
            if ended_early and not expired:
                raise HostUnreachableError(f"{described(host)}: connecting was given up", host=host.name) from error
            if isinstance(error, BadHostKeyException):
                if gateway := made.gateways.get(error.hostname):
                    raise gateway_changed(host, gateway, error) from error
                raise self._host_keys.changed(host, error.key) from error
            if made.proxies and not isinstance(error, AuthenticationException | RemoteShellError):
                raise self._explained(host, made.proxies[0], attempt if expired else None) from error
            if expired:
                raise HostUnreachableError(
                    f"{described(host)} did not let us in within {attempt.seconds:g} s: is it booting, or overloaded?",
                    host=host.name,
                ) from error
            if isinstance(error, RemoteShellError):
                raise
            raise ours(error, host, Stage.CONNECTING) from error
        attempt.succeed()
        return transport

    def _connect(self, host: Host, attempt: Attempt, ended: Callable[[], None], made: _Made) -> IrisTransport:
        config = self._config
        if not host.address:
            raise no_address(host, config.route)
        connection = HostConnection(
            host.address,
            user=config.user if self._login is None else self._logged_in(host, attempt, self._login),
            port=config.port if config.port != _SSH_PORT else None,  # None: what ~/.ssh/config says
            config=self._fabric_config(),
            forward_agent=False,
            connect_timeout=math.ceil(attempt.seconds) + 1,  # the attempt's own end comes first
        )
        attempt.guard(connection.client.close)  # ssh-agent's socket
        self._route(connection, host, attempt, made)
        with attempt.paused():
            known = self._host_keys.of(host)
        client: Any = connection.client
        client._system_host_keys = KnownKeys()  # noqa: SLF001 - docs/decisions/0005
        client._host_keys = KnownKeys()  # noqa: SLF001 - as above
        for key in known:
            connection.client.get_host_keys().add(_known_as(connection), key.get_name(), key)
        connection.client.set_missing_host_key_policy(_FirstUse(host, self._host_keys))
        try:
            private_key = self._key_pair.private_key()
        except ConfigError as error:
            raise AuthenticationFailedError(f"{described(host)}: {error}", host=host.name) from error
        connection.connect_kwargs = self._connect_kwargs(
            connection,
            partial(IrisTransport, ended=ended, reactor=self._reactor),
            attempt,
            made,
            name=f"iris-ssh-{host.name}",
            pkey=private_key,
            look_for_keys=False,
        )
        self._log_in(connection, host, made, has_key=private_key is not None)
        transport = connection.transport
        if not isinstance(transport, IrisTransport):
            raise TypeError(f"Fabric made a {type(transport).__name__}")
        _log_in_no_more(connection, attempt)
        transport.hand_over()
        return transport

    def _log_in(self, connection: Connection, host: Host, made: _Made, *, has_key: bool) -> None:
        try:
            connection.open()
        except PartialAuthentication as error:
            raise ours(error, host, Stage.CONNECTING) from error
        except AuthenticationException as error:
            raise refused(error, host, connection.user, self._key_pair.path, oslogin=self._config.oslogin) from error
        except LoginEndedError as error:
            words = "" if error.args or not made.proxies else made.proxies[0].last_words()
            explained = self._proxy_route.explain(host, words) if words and self._proxy_route is not None else None
            raise explained or hung_up(error, host, connection.user, words) from error
        except SSHException as error:
            if not has_key and type(error) is SSHException and "No authentication methods" in str(error):
                raise AuthenticationFailedError(
                    f"{described(host)}: {self._key_pair.path} is protected by a passphrase and ssh-agent has no key that fits: "
                    "run ssh-add, or set gcp.ssh.key_file to another one",
                    host=host.name,
                ) from error
            raise
        if not connection.transport.auth_handler.is_authenticated():  # Paramiko takes half a login for a whole one
            raise ours(PartialAuthentication(["publickey"]), host, Stage.CONNECTING)

    def _route(self, connection: Connection, host: Host, attempt: Attempt, made: _Made) -> None:
        """Dial the connection's first hop; the hops after it go through the one before."""
        gateway = None if self._proxy_route is not None else connection.gateway
        if isinstance(gateway, Connection):
            gateway.client.load_system_host_keys()
            gateway.client.set_missing_host_key_policy(_Refuse(host))
            gateway.connect_timeout = connection.connect_timeout
            made.gateways[gateway.host] = _known_as(gateway)
            attempt.guard(gateway.client.close)
            self._route(gateway, host, attempt, made)
            gateway.connect_kwargs = self._connect_kwargs(
                gateway, partial(IrisTransport, is_gateway=True), attempt, made, name=f"iris-ssh-gateway-{host.name}"
            )
            return
        if self._proxy_route is not None:
            made.proxies.append(self._through(self._proxy_route, host, connection.port, attempt))
        elif isinstance(gateway, str):
            made.proxies.append(Proxy(shell_argv(gateway), attempt))
        sock = (
            made.proxies[-1].sock
            if made.proxies
            else dial(connection.host, connection.port, attempt, self._config.dead_peer_seconds)
        )
        connection.gateway = False  # there is a socket already
        connection.connect_kwargs = {**connection.connect_kwargs, "sock": sock}

    def _through(self, route: ProxyRoute, host: Host, port: int, attempt: Attempt) -> Proxy:
        with attempt.paused():
            argv = route.argv(host, port)
        if not self._proxies_left.acquire(blocking=False):
            raise HostUnreachableError(
                f"{described(host)}: {self._config.most_iap_tunnels} tunnels are open already, and each is a gcloud of about 70 MB. "
                "Raise gcp.ssh.most_iap_tunnels if there is the memory for more, or reach the hosts by their internal addresses "
                "(gcp.ssh.route: internal) from a VM in the same network or through a ProxyJump in ~/.ssh/config",
                host=host.name,
            )
        attempt.guard(self._proxies_left.release)
        try:
            return Proxy(argv, attempt, route.environment)
        except FileNotFoundError as error:
            raise HostUnreachableError(
                f"{described(host)}: {argv[0]}, which leads to it, is not installed here: install it, so that it is on PATH",
                host=host.name,
            ) from error

    def _explained(self, host: Host, proxy: Proxy, expired: Attempt | None) -> RemoteShellError:
        said = proxy.last_words()
        explained = None if self._proxy_route is None else self._proxy_route.explain(host, said)
        return explained or proxy_failed(host, said, None if expired is None else expired.seconds)

    def _logged_in(self, host: Host, attempt: Attempt, login: Callable[[], str]) -> str:
        try:
            with attempt.paused():
                return login()
        except InventoryError as error:
            raise login_failed(error, host) from error

    def _connect_kwargs(
        self,
        connection: Connection,
        make: Callable[..., IrisTransport],
        attempt: Attempt,
        made: _Made,
        *,
        name: str,
        **more: object,
    ) -> dict[str, object]:
        def make_transport(sock: Any, disabled_algorithms: Any = None) -> IrisTransport:
            transport = make(sock, disabled_algorithms=disabled_algorithms)
            transport.name = name
            made.transports.append(transport)
            attempt.guard(transport.close)
            return transport

        return {
            **connection.connect_kwargs,
            "transport_factory": make_transport,
            # Each is one phase; the attempt bounds all of them together.
            "banner_timeout": attempt.seconds,
            "auth_timeout": attempt.seconds,
            "channel_timeout": attempt.seconds,
            **more,
        }

    def _fabric_config(self) -> Config:
        with self._fabric_lock:
            if self._fabric is None:
                self._fabric = fabric_config(self._ssh_config_file)
            return self._fabric


class _Made:
    """What an attempt has started."""

    def __init__(self) -> None:
        self.proxies: list[Proxy] = []
        self.transports: list[IrisTransport] = []
        self.gateways: dict[str, str] = {}  # the names under which known_hosts has them


class _Refuse(MissingHostKeyPolicy):
    """For gateways, which are no hosts of the cluster: only what the user's own known_hosts has is believed."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def missing_host_key(self, _client: object, hostname: str, _key: PKey) -> None:
        raise HostKeyError(
            f"{described(self._host)}: the host key of its gateway {hostname} is not in ~/.ssh/known_hosts: connect to the "
            "gateway with ssh once and check its key",
            host=self._host.name,
        )


class _FirstUse(MissingHostKeyPolicy):
    """For a host of which no key is known; `HostKeys.of` has refused it already unless the policy is to believe the first."""

    def __init__(self, host: Host, host_keys: HostKeys) -> None:
        self._host = host
        self._host_keys = host_keys

    def missing_host_key(self, _client: object, _hostname: str, key: PKey) -> None:
        self._host_keys.believe_first(self._host, key)


def _log_in_no_more(connection: Connection, attempt: Attempt) -> None:
    """Let go of what only the login wanted: ssh-agent's socket, and the client with its host keys. The transport has a guard of its own."""
    client: Any = connection.client
    if client._agent is not None:  # noqa: SLF001 - docs/decisions/0005
        client._agent.close()  # noqa: SLF001 - as above
    attempt.forget(client.close)
    connection.transport.auth_handler = None


def _known_as(connection: Connection) -> str:
    """The name under which Paramiko's client looks the key up."""
    host: str = connection.host
    return host if connection.port == _SSH_PORT else f"[{host}]:{connection.port}"
