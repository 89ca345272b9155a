"""The one table that turns what Fabric, Paramiko and sockets raise into iris's own errors.

What an exception means depends on when it comes up: while a connection is made, nothing is lost yet; in use, it ends what
was running. So each row has two columns. The most derived class in the table decides.
"""

from __future__ import annotations

import socket
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from paramiko import ssh_exception
from paramiko.pkey import UnknownKeyType

from iris_core.errors import (
    AuthenticationFailedError,
    ConnectionLostError,
    HostKeyError,
    HostUnreachableError,
    RemoteShellError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iris_core.model import Host

_Ours: TypeAlias = type[
    HostUnreachableError | AuthenticationFailedError | HostKeyError | ConnectionLostError
]  # those that need nothing but a message and a host


class Stage(Enum):
    """When an exception came up."""

    CONNECTING = auto()
    IN_USE = auto()


class Row(NamedTuple):
    """What one exception class becomes.

    Attributes:
        connecting: our class while the connection is made.
        in_use: our class when it had been made.
        what: what happened, said of the host.
        advice: what to do next, empty where waiting and trying again is all there is.
    """

    connecting: _Ours
    in_use: _Ours
    what: str
    advice: str = ""


_NETWORK = "check that the VM runs and that the firewall lets SSH through"
_SSH_CONFIG = "check the SSH configuration (~/.ssh/config)"
_REFUSED = "check gcp.ssh.user and gcp.ssh.key_file, and that the public key is in the project's or the VM's metadata (or OS Login)"


def _transport(what: str, advice: str = "") -> Row:
    return Row(HostUnreachableError, ConnectionLostError, what, advice)


def _always(ours: _Ours, what: str, advice: str) -> Row:
    return Row(ours, ours, what, advice)


TABLE: Final[Mapping[type[BaseException], Row]] = {
    ssh_exception.SSHException: _transport("SSH failed"),
    ssh_exception.AuthenticationException: _always(AuthenticationFailedError, "refused our keys", _REFUSED),
    ssh_exception.BadAuthenticationType: _always(AuthenticationFailedError, "takes no public keys", _REFUSED),
    ssh_exception.PartialAuthentication: _always(AuthenticationFailedError, "wants more than a public key", _REFUSED),
    ssh_exception.UnableToAuthenticate: _always(AuthenticationFailedError, "refused our keys", _REFUSED),
    ssh_exception.PasswordRequiredException: _always(
        AuthenticationFailedError,
        "cannot be logged in to, because the private key is protected by a passphrase",
        "add it to ssh-agent (ssh-add), or use another one (gcp.ssh.key_file)",
    ),
    ssh_exception.BadHostKeyException: _always(
        HostKeyError,
        "has another host key than the one known for it",
        "if the VM was not re-created by somebody you trust, someone may be between you and it",
    ),
    ssh_exception.ChannelException: _transport("opened no channel", "it may have too many sessions already"),
    ssh_exception.IncompatiblePeer: _transport("shares no algorithm with us", "update its OpenSSH"),
    ssh_exception.MessageOrderError: _transport("broke the order of SSH messages"),
    ssh_exception.ProxyCommandFailure: _transport("cannot be reached: its ProxyCommand failed", _SSH_CONFIG),
    ssh_exception.NoValidConnectionsError: _transport("refuses connections", _NETWORK),
    ssh_exception.CouldNotCanonicalize: _transport("has a name that cannot be canonicalized", _SSH_CONFIG),
    ssh_exception.ConfigParseError: _transport("cannot be looked up in the SSH configuration", _SSH_CONFIG),
    UnknownKeyType: _always(
        AuthenticationFailedError,
        "cannot be logged in to: the private key is of an unknown type",
        "use an Ed25519, ECDSA or RSA key (gcp.ssh.key_file)",
    ),
    EOFError: _transport("closed the connection"),
    socket.gaierror: _transport("has an address that cannot be resolved", "check the address and the network"),
    TimeoutError: _transport("did not answer in time", _NETWORK),
    ConnectionRefusedError: _transport("refuses connections", _NETWORK),
    ConnectionError: _transport("broke the connection"),
    OSError: _transport("cannot be reached", _NETWORK),
    Exception: _transport("failed in a way iris does not know"),
}


def row_of(error: BaseException) -> Row:
    """The row of the most derived class of `error` that has one."""
    for kind in type(error).__mro__:
        if kind in TABLE:
            return TABLE[kind]
    return TABLE[Exception]


def ours(error: BaseException, host: Host, stage: Stage) -> RemoteShellError:
    """The error of iris's own that says what `error` means for `host`; raise it `from error`."""
    if isinstance(error, RemoteShellError):
        return error
    row = row_of(error)
    kind = row.connecting if stage is Stage.CONNECTING else row.in_use
    detail = str(error).strip()
    said = f" ({detail})" if detail else ""
    advice = f": {row.advice}" if row.advice else ""
    return kind(f"{described(host)} {row.what}{said}{advice}", host=host.name)


def described(host: Host) -> str:
    """The host as a message names it: its name, and its address where it has one."""
    return f"{host.name} ({host.address})" if host.address and host.address != host.name else host.name
