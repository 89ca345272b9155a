from __future__ import annotations

import pytest

from iris_adapters.fakes import FakeClock
from iris_adapters.gcloud.host_keys import ReportedHostKeys
from iris_adapters.gcloud.iap import IapRoute
from iris_core.errors import (
    AuthenticationFailedError,
    HostUnreachableError,
    PermissionDeniedError,
    RemoteShellError,
)
from iris_core.model import Host, HostRole
from tests.unit.gcloud.payload_builders import ZONE, node
from tests.unit.gcloud.scripted_gcloud import ScriptedGcloud

CONTROLLER = Host(name="iris-controller-iris", role=HostRole.CONTROLLER, address="10.0.0.1", zone=ZONE, instance_id="1")
WORKER = Host(
    name="s-w1", role=HostRole.WORKER, address="10.0.0.2", zone=ZONE, instance_id="2", slice_name="s", worker_index=1
)

# What gcloud (SDK 528) printed when the pretended proxy of tests/lab/iap.py refused.
NUMPY = """WARNING:

To increase the performance of the tunnel, consider installing NumPy. For instructions,
please see https://cloud.google.com/iap/docs/using-tcp-forwarding#increasing_the_tcp_upload_bandwidth

"""
REFUSAL = NUMPY + (
    "ERROR: [0] Error during local connection to [stdin]: Error while connecting [{words}].\n"
    "Traceback (most recent call last):\n"
    '  File "/usr/lib/google-cloud-sdk/lib/googlecloudsdk/command_lib/compute/iap_tunnel.py", line 775\n'
    "ConnectionCreationError: Error while connecting [{words}].\n"
)


def test_a_controller_is_reached_by_its_name() -> None:
    """One argument each, and nothing that would weaken a check."""
    assert list(IapRoute("p", lambda _host: None).argv(CONTROLLER, 22)) == [
        *("gcloud", "compute", "start-iap-tunnel", "iris-controller-iris", "22", "--listen-on-stdin"),
        *("--project=p", f"--zone={ZONE}", "--verbosity=warning"),
    ]


def test_a_worker_is_reached_by_the_name_that_its_vm_reports() -> None:
    """The TPU API has no name for a host of a slice; one call tells the names, and the keys, of all of them."""
    entries = [
        {"namespace": "hostkeys", "key": key, "value": f"{value}{index}", "worker_id": index}
        for index in (0, 1)
        for key, value in (("hostname", "t1v-n-abc-w-"), ("ssh-ed25519", "AAAA"))
    ]
    gcloud = ScriptedGcloud(nodes=[node("s", hosts=2)], attributes={"s": entries})
    reported = ReportedHostKeys(gcloud, FakeClock())

    assert IapRoute("p", reported.name_of_vm).argv(WORKER, 2222)[3:5] == ["t1v-n-abc-w-1", "2222"]
    assert list(reported(WORKER)) == ["ssh-ed25519 AAAA1"]
    assert len(gcloud.commands) == 1


def test_a_worker_that_has_not_reported_its_name_is_worth_trying_again() -> None:
    """It does so when it boots."""
    with pytest.raises(HostUnreachableError, match="enable-guest-attributes"):
        IapRoute("p", lambda _host: None).argv(WORKER, 22)


@pytest.mark.parametrize("name", ["--configuration=evil", "a b", "", "1.2.3.4", "a" * 300])
def test_a_name_that_is_none_is_not_given_to_gcloud(name: str) -> None:
    """A host says itself what it is called, and may say anything."""
    with pytest.raises(HostUnreachableError, match="no name of a VM"):
        IapRoute("p", lambda _host: name).argv(WORKER, 22)


def test_an_api_that_cannot_be_asked_for_the_name_is_told() -> None:
    """As an error of the host's."""

    def fail(_host: Host) -> str:
        raise PermissionDeniedError("may not look")

    with pytest.raises(HostUnreachableError, match="may not look"):
        IapRoute("p", fail).argv(WORKER, 22)


@pytest.mark.parametrize(
    ("words", "kind", "advice"),
    [
        ("4003: 'failed to connect to backend'", HostUnreachableError, "35.235.240.0/20"),
        ("4033: 'not authorized'", AuthenticationFailedError, "roles/iap.tunnelResourceAccessor"),
        ("4047: 'Failed to lookup instance'", HostUnreachableError, f"zone {ZONE} of p"),
        ("4010: 'destination read failed'", HostUnreachableError, "try again"),
        ("Handshake status 403 Forbidden", AuthenticationFailedError, "roles/iap.tunnelResourceAccessor"),
    ],
)
def test_every_refusal_says_what_to_do(words: str, kind: type[RemoteShellError], advice: str) -> None:
    """The host is named, and IAP's own words are kept."""
    error = IapRoute("p", lambda _host: None).explain(WORKER, REFUSAL.format(words=words))

    assert type(error) is kind
    assert error.host == "s-w1"
    assert advice in str(error)
    assert words.partition(": ")[2].strip("'") in str(error)


def test_a_gcloud_that_is_not_logged_in_says_so() -> None:
    """Other errors of gcloud's are told apart as everywhere else."""
    said = (
        "ERROR: (gcloud.compute.start-iap-tunnel) You do not currently have an active account selected.\n"
        "Please run:\n\n  $ gcloud auth login\n"
    )

    error = IapRoute("p", lambda _host: None).explain(WORKER, said)

    assert isinstance(error, AuthenticationFailedError)
    assert "gcloud auth login" in str(error)


def test_warnings_are_no_explanation() -> None:
    """Every tunnel prints some."""
    assert IapRoute("p", lambda _host: None).explain(WORKER, NUMPY) is None
