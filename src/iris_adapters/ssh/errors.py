"""The one table that turns what Fabric, Paramiko and sockets raise into iris's own errors.

What an exception means depends on when it comes up: while a connection is made, nothing is lost yet; in use, it ends what
was running. So each row has two columns. The most derived class in the table decides.
"""

from __future__ import annotations

import socket
import traceback
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from paramiko import ssh_exception
from paramiko.pkey import UnknownKeyType

from iris_adapters.ssh.quoting import printable
from iris_core.config import Route
from iris_core.errors import (
    ApiDisabledError,
    AuthenticationFailedError,
    ConnectionLostError,
    HostKeyError,
    HostUnreachableError,
    NotAuthenticatedError,
    PermissionDeniedError,
    RemoteShellError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from iris_core.errors import InventoryError
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

# A service account is not asked for a second step: https://cloud.google.com/compute/docs/oslogin/set-up-oslogin (read 2026-12-01)
_NO_PROMPTS = (
    "iris answers no prompts: let its sshd ask for a public key alone (AuthenticationMethods), or with OS Login's 2-step verification "
    "(enable-oslogin-2fa) log in as a service account, which is not asked for the second step"
)


def _transport(what: str, advice: str = "") -> Row:
    return Row(HostUnreachableError, ConnectionLostError, what, advice)


def _always(ours: _Ours, what: str, advice: str) -> Row:
    return Row(ours, ours, what, advice)


TABLE: Final[Mapping[type[BaseException], Row]] = {
    ssh_exception.SSHException: _transport("SSH failed"),
    ssh_exception.AuthenticationException: _always(AuthenticationFailedError, "refused our keys", _REFUSED),
    ssh_exception.BadAuthenticationType: _always(AuthenticationFailedError, "takes no public keys", _REFUSED),
    ssh_exception.PartialAuthentication: _always(
        AuthenticationFailedError, "wants more than a public key", _NO_PROMPTS
    ),
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
    detail = printable(str(error))
    said = f" ({detail})" if detail else ""
    advice = f": {row.advice}" if row.advice else ""
    return kind(f"{described(host)} {row.what}{said}{advice}", host=host.name)


def let_go(error: BaseException) -> None:
    """Free what `error` and its causes happened to: whoever keeps it would keep that too. Where it was still can be read in them."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        traceback.clear_frames(cause.__traceback__)
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__


def described(host: Host) -> str:
    """The host as a message names it: its name, and its address where it has one."""
    return f"{host.name} ({host.address})" if host.address and host.address != host.name else host.name


def no_address(host: Host, route: Route) -> HostUnreachableError:
    """The error of a host that has nothing to connect to."""
    advice = "wait until it is ready"
    if route is Route.EXTERNAL:
        advice += "; if it was made without an external address, set gcp.ssh.route to iap or internal"
    kind = "external" if route is Route.EXTERNAL else "internal"
    return HostUnreachableError(f"{host.name} has no {kind} address yet: {advice}", host=host.name)


def refused(error: BaseException, host: Host, user: str, key_file: Path, *, oslogin: bool) -> AuthenticationFailedError:
    """The error of a host that takes none of our keys: what was offered, and how to make it take one.

    Args:
        error: Paramiko's.
        host: the host.
        user: as whom we tried.
        key_file: the private key, tried beside those of ssh-agent and of `~/.ssh/config`.
        oslogin: whether OS Login was told of the key before.
    """
    if oslogin:
        advice = (
            "the key is in your OS Login profile, so check that the VM uses OS Login (metadata enable-oslogin=TRUE on it or on the "
            "project) and that your account has the role roles/compute.osAdminLogin"
        )
    else:
        of_slice = host.slice_name is not None
        command = "compute tpus tpu-vm ssh" if of_slice else "compute ssh"
        which = f" --worker={host.worker_index}" if of_slice else ""
        advice = (
            "it may have been made with another key or for another user (gcp.ssh.key_file, gcp.ssh.user). To add this key to it, run "
            f"once: gcloud {command} {user}@{host.slice_name or host.name}{which} --zone={host.zone} --ssh-key-file={key_file} "
            "--command=true . If it uses OS Login, set gcp.ssh.oslogin to true"
        )
    return AuthenticationFailedError(
        f"{described(host)} refused our keys for the user {user!r} ({printable(str(error))}), {key_file} among them: {advice}",
        host=host.name,
    )


def gateway_changed(host: Host, gateway: str, error: ssh_exception.BadHostKeyException) -> HostKeyError:
    """The error of a gateway that shows another key than the user's own known_hosts has under this name."""
    key = error.key
    return HostKeyError(
        f"{described(host)}: its gateway {gateway} shows the host key {key.get_name()} {key.fingerprint}, which is not the one in "
        "~/.ssh/known_hosts: someone may be between you and it, or its system was installed anew. If you know that it is right, run: "
        f"ssh-keygen -R '{gateway}', and connect to it with ssh once",
        host=host.name,
    )


def hung_up(error: EOFError, host: Host, user: str, words: str = "") -> AuthenticationFailedError:
    """The error of a host that ended the connection while we logged in: what `error` says, or what it can mean if it says nothing.

    OpenSSH says nothing when the account is refused after the key was taken (PAM, which is how OS Login asks for a role).

    Args:
        error: its description is the host's own, or empty.
        host: the host.
        user: as whom we tried.
        words: what the program on the way to it wrote on standard error.
    """
    said = printable(str(error))
    if said:
        how, advice = (
            f"hung up ({said})",
            "if it is offered too many keys, take those out of ssh-agent that it does not know (ssh-add -l, ssh-add -d)",
        )
    else:
        how = "hung up without a word"
        advice = (
            "its sshd starts or stops, the network broke, or it refuses the account: with OS Login, check that you have the role "
            "roles/compute.osAdminLogin; sshd's log on the VM tells (journalctl -u ssh)"
        )
    if words:
        advice += f". The program on the way to it said: {printable(words.splitlines()[-1])}"
    return AuthenticationFailedError(
        f"{described(host)} {how} while the user {user!r} logged in: {advice}", host=host.name
    )


def login_failed(error: InventoryError, host: Host) -> RemoteShellError:
    """The error of a login that could not be prepared with Google."""
    final = isinstance(error, NotAuthenticatedError | PermissionDeniedError | ApiDisabledError)
    kind = AuthenticationFailedError if final else HostUnreachableError
    return kind(f"{described(host)}: OS Login could not be told of our key: {error}", host=host.name)


def proxy_failed(host: Host, said: str, seconds: float | None) -> HostUnreachableError:
    """The error of a program that did not lead to the host.

    Args:
        host: the host.
        said: what the program wrote on standard error.
        seconds: how long it had, where that was too short; None where it ended by itself.
    """
    how = "ended before the host answered" if seconds is None else f"did not lead to it within {seconds:g} s"
    last = printable(said.splitlines()[-1]) if said else ""
    words = f" It said: {last}." if last else ""
    return HostUnreachableError(
        f"{described(host)} cannot be reached: the program on the way to it (ProxyCommand) {how}.{words} "
        f"Run it by hand, and {_SSH_CONFIG}",
        host=host.name,
    )
