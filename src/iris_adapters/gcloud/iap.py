"""The way to hosts through Google's Identity-Aware Proxy: what to start, and what its errors mean. Pure but for the hosts' names.

https://cloud.google.com/iap/docs/using-tcp-forwarding; the command line is the one that `gcloud compute ssh --tunnel-through-iap`
itself starts (seen with SDK 528). gcloud exits with 0 also where it could not connect, so only its words tell.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from iris_adapters.gcloud.command import GCLOUD_ENVIRONMENT
from iris_adapters.gcloud.errors import gcloud_error
from iris_core.errors import (
    ApiDisabledError,
    AuthenticationFailedError,
    HostUnreachableError,
    InventoryError,
    NotAuthenticatedError,
    PermissionDeniedError,
    RemoteShellError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from iris_core.model import Host

_INSTANCE: Final = re.compile(r"[A-Za-z][-A-Za-z0-9.]{0,252}")
_CODE: Final = re.compile(r"Error while connecting \[(?P<code>\d{4}): '?(?P<reason>[^\]]*?)'?\]")
_HANDSHAKE: Final = re.compile(r"Error while connecting \[(?P<reason>Handshake status (?P<status>4\d\d)[^\]]*)\]")
_SOURCES: Final = "35.235.240.0/20"
_ROLE: Final = "roles/iap.tunnelResourceAccessor"
_FINAL: Final = (NotAuthenticatedError, PermissionDeniedError, ApiDisabledError)


class IapRoute:
    """One `gcloud compute start-iap-tunnel` for each connection. It is what the SSH adapter calls a `ProxyRoute`.

    Args:
        project_id: the hosts' project.
        host_name: the name of the VM that a host of a slice is, as the host reports it; None: it has not (yet).
        program: the name or path of gcloud.

    Attributes:
        environment: variables that gcloud gets beside this process's.
    """

    environment: Mapping[str, str] = GCLOUD_ENVIRONMENT

    def __init__(self, project_id: str, host_name: Callable[[Host], str | None], *, program: str = "gcloud") -> None:
        self._project_id = project_id
        self._host_name = host_name
        self._program = program

    def argv(self, host: Host, port: int) -> Sequence[str]:
        """The command that carries a connection to this port of the host on its standard input and output.

        Raises:
            HostUnreachableError: the host has not reported its VM's name, or that could not be asked for.
        """
        return [
            *(self._program, "compute", "start-iap-tunnel", self._instance(host), str(port), "--listen-on-stdin"),
            *(f"--project={self._project_id}", f"--zone={host.zone}", "--verbosity=warning"),
        ]

    def explain(self, host: Host, said: str) -> RemoteShellError | None:
        """The error that gcloud's words mean; None where it has said nothing of an error."""
        where = f"{host.name} cannot be reached through IAP"
        if found := _CODE.search(said):
            return self._of_code(host, where, found["code"], found["reason"])
        if found := _HANDSHAKE.search(said):
            return _refused(host, f"{where}: {found['reason']}")
        if "ERROR:" not in said:
            return None
        error = gcloud_error([], 1, said)
        kind = AuthenticationFailedError if isinstance(error, _FINAL) else HostUnreachableError
        return kind(f"{where}: {error}", host=host.name)

    def _of_code(self, host: Host, where: str, code: str, reason: str) -> RemoteShellError:
        """Close codes of IAP, as its users have met them: it documents 4033 alone."""
        said = f"{where} (error {code}: {reason})"
        if code == "4033":
            return _refused(host, said)
        if code == "4003":
            return HostUnreachableError(
                f"{said}: nothing takes the connection. If the VM has booted, a firewall rule must let {_SOURCES} through to tcp:22: "
                "gcloud compute firewall-rules create iris-iap --direction=INGRESS --allow=tcp:22 "
                f"--source-ranges={_SOURCES} --network=NETWORK --project={self._project_id}",
                host=host.name,
            )
        if code == "4047":
            return HostUnreachableError(
                f"{said}: IAP does not find the VM in zone {host.zone} of {self._project_id}. It may have been stopped or deleted, or not "
                "be running yet",
                host=host.name,
            )
        return HostUnreachableError(f"{said}: try again, and see https://cloud.google.com/iap/docs/faq", host=host.name)

    def _instance(self, host: Host) -> str:
        if host.slice_name is None:
            return host.name
        try:
            name = self._host_name(host)
        except InventoryError as error:
            raise HostUnreachableError(
                f"{host.name}: the name of its VM, which IAP wants, could not be asked for: {error}", host=host.name
            ) from error
        if name is None:
            raise HostUnreachableError(
                f"{host.name} has not reported the name of its VM, which IAP wants, in its guest attributes (hostkeys/hostname). It "
                "does so when it boots; guest attributes must be enabled (metadata enable-guest-attributes=TRUE)",
                host=host.name,
            )
        # The host itself says so. It could name another VM, whose key would not be the one that is known for this host; it must not
        # name one of gcloud's options.
        if not _INSTANCE.fullmatch(name):
            raise HostUnreachableError(f"{host.name} reports {name!r}, which is no name of a VM", host=host.name)
        return name


def _refused(host: Host, said: str) -> AuthenticationFailedError:
    return AuthenticationFailedError(
        f"{said}: the account may not use IAP. It needs the role {_ROLE} on the project or the VM, and the API must be enabled "
        "(gcloud services enable iap.googleapis.com); `gcloud auth list` shows which account is used",
        host=host.name,
    )
