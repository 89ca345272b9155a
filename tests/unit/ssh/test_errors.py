from __future__ import annotations

import errno
import inspect
import re
import socket
from base64 import b64decode
from pathlib import Path

import pytest
from paramiko import ssh_exception
from paramiko.pkey import PKey, UnknownKeyType

from iris_adapters.ssh.errors import (
    TABLE,
    Stage,
    hung_up,
    login_failed,
    no_address,
    ours,
    proxy_failed,
    refused,
    row_of,
)
from iris_core.config import Route
from iris_core.errors import (
    AuthenticationFailedError,
    ConnectionLostError,
    HostKeyError,
    HostUnreachableError,
    InventoryError,
    PermissionDeniedError,
    RateLimitedError,
    RemoteShellError,
)
from iris_core.model import Host, HostRole

HOST = Host(name="slice-w0", role=HostRole.WORKER, address="10.0.0.7")

KEY = PKey.from_type_string(
    "ssh-ed25519", b64decode("AAAAC3NzaC1lZDI1NTE5AAAAIAtdrXUDQtOo4JAEhYzK3rWtEkRcZJtqsTSYaSQKZRc5")
)

# What those exceptions are made of that take more than a text.
ARGUMENTS: dict[type[BaseException], tuple[object, ...]] = {
    ssh_exception.BadAuthenticationType: ("detail", ["password"]),
    ssh_exception.BadHostKeyException: ("10.0.0.7", KEY, KEY),
    ssh_exception.ChannelException: (1, "detail"),
    ssh_exception.NoValidConnectionsError: ({("10.0.0.7", 22): ConnectionRefusedError()},),
    ssh_exception.ProxyCommandFailure: ("false", "detail"),
    UnknownKeyType: ("ssh-dss", b""),
}

PARAMIKOS = [
    kind
    for _, kind in inspect.getmembers(ssh_exception, inspect.isclass)
    if issubclass(kind, BaseException) and kind.__module__ == ssh_exception.__name__
]


@pytest.mark.parametrize("kind", PARAMIKOS, ids=lambda kind: kind.__name__)
def test_every_exception_of_paramiko_has_a_row_of_its_own(kind: type[BaseException]) -> None:
    """A class that a new version of Paramiko brings makes this fail until somebody decides what it means."""
    assert kind in TABLE


def test_paramiko_has_the_exceptions_that_this_test_looks_for() -> None:
    """So that the test above cannot pass by finding nothing."""
    assert {ssh_exception.SSHException, ssh_exception.NoValidConnectionsError} < set(PARAMIKOS)


@pytest.mark.parametrize("kind", TABLE, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("stage", Stage)
def test_every_row_makes_an_error_that_names_the_host(kind: type[BaseException], stage: Stage) -> None:
    """Message and attribute both."""
    error = kind(*ARGUMENTS.get(kind, ("detail",)))

    made = ours(error, HOST, stage)

    assert isinstance(made, RemoteShellError)
    assert made.host == "slice-w0"
    assert str(made).startswith("slice-w0 (10.0.0.7) ")


@pytest.mark.parametrize(
    ("error", "connecting", "in_use"),
    [
        (ssh_exception.SSHException("x"), HostUnreachableError, ConnectionLostError),
        (ssh_exception.AuthenticationException("x"), AuthenticationFailedError, AuthenticationFailedError),
        (socket.gaierror(-2, "unknown name"), HostUnreachableError, ConnectionLostError),
        (ConnectionResetError(errno.ECONNRESET, "reset"), HostUnreachableError, ConnectionLostError),
        (OSError(errno.ETIMEDOUT, "timed out"), HostUnreachableError, ConnectionLostError),
        (EOFError(), HostUnreachableError, ConnectionLostError),
        (KeyError("unheard of"), HostUnreachableError, ConnectionLostError),
    ],
    ids=repr,
)
def test_what_an_exception_means_depends_on_when_it_comes(
    error: BaseException, connecting: type[RemoteShellError], in_use: type[RemoteShellError]
) -> None:
    """While connecting nothing can be lost yet; a refusal is a refusal at any time."""
    assert type(ours(error, HOST, Stage.CONNECTING)) is connecting
    assert type(ours(error, HOST, Stage.IN_USE)) is in_use


def test_what_a_host_says_cannot_clear_the_terminal_nor_fill_it() -> None:
    """Before its key is known, that may be anybody."""
    said = str(ours(ssh_exception.SSHException("\x1b[2Jversion\r\n" + 1000 * "9"), HOST, Stage.CONNECTING))

    assert said.isprintable()
    assert "[2Jversion999" in said
    assert len(said) < 500


def test_the_most_derived_row_decides() -> None:
    """A refused connection is not just any error of the operating system."""
    assert row_of(ConnectionRefusedError()) is TABLE[ConnectionRefusedError]
    assert row_of(BrokenPipeError()) is TABLE[ConnectionError]


def test_our_own_errors_pass_through() -> None:
    """What is an error of iris's already is not wrapped again."""
    error = HostKeyError("known", host="other")

    assert ours(error, HOST, Stage.CONNECTING) is error


WORKER = Host(name="s-w1", role=HostRole.WORKER, address="10.0.0.8", zone="z", slice_name="s", worker_index=1)
CONTROLLER = Host(name="c", role=HostRole.CONTROLLER, address="10.0.0.9", zone="z")


@pytest.mark.parametrize(
    ("host", "command"),
    [
        (CONTROLLER, "gcloud compute ssh me@c --zone=z --ssh-key-file=/k --command=true "),
        (WORKER, "gcloud compute tpus tpu-vm ssh me@s --worker=1 --zone=z --ssh-key-file=/k --command=true "),
    ],
    ids=["instance", "slice"],
)
def test_a_refusal_says_what_was_offered_and_how_the_key_is_added(host: Host, command: str) -> None:
    """User, key file, and a command to run as it stands."""
    error = refused(ssh_exception.AuthenticationException("no"), host, "me", Path("/k"), oslogin=False)

    assert "for the user 'me'" in str(error)
    assert command in str(error)
    assert "gcp.ssh.oslogin" in str(error)


def test_a_refusal_under_os_login_names_the_role() -> None:
    """Metadata keys would not help there."""
    error = refused(ssh_exception.AuthenticationException("no"), WORKER, "me", Path("/k"), oslogin=True)

    assert "roles/compute.osAdminLogin" in str(error)
    assert "--ssh-key-file" not in str(error)


@pytest.mark.parametrize(
    ("said", "words", "told"),
    [
        (
            "Too many authentication failures",
            "",
            r"hung up \(Too many authentication failures\) while .*'me'.*ssh-agent",
        ),
        ("", "", r"hung up without a word while .*'me'.*roles/compute.osAdminLogin.*\)$"),
        (
            "",
            "a warning\ntunnel gone\n",
            r"hung up without a word while .*The program on the way to it said: tunnel gone$",
        ),
    ],
)
def test_a_host_that_hangs_up_is_quoted_or_its_silence_explained(said: str, words: str, told: str) -> None:
    """So is a program on the way to it, which may be what hung up."""
    assert re.search(told, str(hung_up(EOFError(said), WORKER, "me", words)))


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (PermissionDeniedError("no"), AuthenticationFailedError),
        (RateLimitedError("busy"), HostUnreachableError),
        (InventoryError("broken"), HostUnreachableError),
    ],
)
def test_a_login_that_cannot_be_prepared_is_final_or_worth_another_try(
    cause: InventoryError, kind: type[RemoteShellError]
) -> None:
    """A missing permission stays missing; a busy cloud does not stay busy."""
    error = login_failed(cause, WORKER)

    assert type(error) is kind
    assert error.host == "s-w1"


@pytest.mark.parametrize(
    ("route", "said"),
    [
        (Route.EXTERNAL, "no external address yet: wait until it is ready; if .* iap or internal"),
        (Route.IAP, "no internal address yet"),
    ],
)
def test_a_host_without_an_address_may_need_another_route(route: Route, said: str) -> None:
    """Only an external address may be missing for good."""
    assert re.search(said, str(no_address(WORKER, route)))


def test_a_program_that_fails_is_quoted() -> None:
    """Its last line, and whether its time was over."""
    assert "ended before the host answered. It said: bad." in str(proxy_failed(WORKER, "one\nbad\n", None))
    assert "within 15 s. Run it by hand" in str(proxy_failed(WORKER, "", 15.0))
