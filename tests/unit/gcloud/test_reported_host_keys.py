from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes import FakeClock
from iris_adapters.gcloud.host_keys import ReportedHostKeys
from iris_core.errors import InvalidRequestError, InventoryError, PermissionDeniedError, ResourceNotFoundError
from iris_core.model import Host, HostRole
from tests.unit.gcloud.payload_builders import ZONE, instance, node
from tests.unit.gcloud.scripted_gcloud import ScriptedGcloud

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONTROLLER = Host(name="c", role=HostRole.CONTROLLER, address="34.0.0.9", zone=ZONE, instance_id="9001")


def worker(index: int, instance_id: str = "7001") -> Host:
    return Host(
        name=f"s-w{index}",
        role=HostRole.WORKER,
        address="34.0.0.1",
        zone=ZONE,
        instance_id=instance_id,
        slice_name="s",
        worker_index=index,
    )


def entry(value: str, key: str = "ssh-ed25519", namespace: str = "hostkeys", **more: object) -> dict[str, object]:
    return {"namespace": namespace, "key": key, "value": value, **more}


def cloud(**attributes: Sequence[Mapping[str, object]]) -> ScriptedGcloud:
    return ScriptedGcloud(instances=[instance("c")], nodes=[node("s", hosts=2)], attributes=attributes)


def test_a_controllers_keys_are_read() -> None:
    """In the form in which OpenSSH writes them: type and base64."""
    gcloud = cloud(c=[entry("AAAAed"), entry("AAAArsa==", key="ssh-rsa")])
    assert list(ReportedHostKeys(gcloud, FakeClock())(CONTROLLER)) == ["ssh-ed25519 AAAAed", "ssh-rsa AAAArsa=="]
    assert gcloud.commands == [
        ["compute", "instances", "get-guest-attributes", "c", f"--zone={ZONE}", "--query-path=hostkeys/"]
    ]


def test_one_call_serves_every_worker_of_a_slice() -> None:
    """Each gets its own keys, whether gcloud writes the worker's id as a number or as text."""
    gcloud = cloud(s=[entry("AAAA0", worker_id=0), entry("AAAA1", worker_id="1")])
    keys = ReportedHostKeys(gcloud, FakeClock())
    assert list(keys(worker(0))) == ["ssh-ed25519 AAAA0"]
    assert list(keys(worker(1))) == ["ssh-ed25519 AAAA1"]
    assert gcloud.commands == [
        ["compute", "tpus", "tpu-vm", "get-guest-attributes", "s", f"--zone={ZONE}", "--query-path=hostkeys/"]
    ]


def test_many_threads_ask_once() -> None:
    """A cluster's hosts are connected to at the same time."""
    gcloud = cloud(s=[entry("AAAA0", worker_id=0), entry("AAAA1", worker_id=1)])
    keys = ReportedHostKeys(gcloud, FakeClock())
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(keys, [worker(index % 2) for index in range(32)]))
    assert len(gcloud.commands) == 1


def test_another_life_of_the_same_name_has_other_keys() -> None:
    """A re-created VM has another instance id, and is asked for again."""
    gcloud = cloud(s=[entry("AAAAold", worker_id=0)])
    keys = ReportedHostKeys(gcloud, FakeClock())
    keys(worker(0))
    gcloud.attributes["s"] = [entry("AAAAnew", worker_id=0)]
    assert list(keys(worker(0))) == ["ssh-ed25519 AAAAold"]
    assert list(keys(worker(0, "7002"))) == ["ssh-ed25519 AAAAnew"]


def test_a_worker_that_reports_later_is_asked_for_again_but_not_at_once() -> None:
    """Ten seconds lie between two questions; what was reported before stays."""
    gcloud = cloud(s=[entry("AAAA0", worker_id=0)])
    clock = FakeClock()
    keys = ReportedHostKeys(gcloud, clock)
    assert list(keys(worker(1))) == []
    gcloud.attributes["s"] = [entry("AAAA1", worker_id=1)]
    clock.advance(9)
    assert list(keys(worker(1))) == []
    assert len(gcloud.commands) == 1
    clock.advance(1)
    assert list(keys(worker(1))) == ["ssh-ed25519 AAAA1"]
    assert list(keys(worker(0))) == ["ssh-ed25519 AAAA0"]
    assert len(gcloud.commands) == 2


def questions(gcloud: ScriptedGcloud, hours: int) -> int:
    """How often Google is asked where a host tries to connect every two seconds for so long, in vain."""
    clock = FakeClock()
    keys = ReportedHostKeys(gcloud, clock)
    for _ in range(hours * 1800):
        with suppress(InventoryError):
            assert not keys(worker(0))
        clock.advance(2)
    return len(gcloud.commands)


def test_what_is_never_reported_is_asked_for_ever_more_rarely() -> None:
    """For a minute every ten seconds, for a host that boots, and in the end every five minutes, whatever the answer is."""
    assert questions(cloud(), hours=1) <= 24
    refused = cloud()

    def refuse(_argv: Sequence[str]) -> None:
        raise PermissionDeniedError("no")

    refused.before = refuse
    assert questions(refused, hours=1) <= 24


@pytest.mark.parametrize(
    "error",
    [
        ResourceNotFoundError("The resource 'hostkeys/' of type 'Guest Attribute' was not found."),
        InvalidRequestError("no", detail="Guest attributes endpoint access is disabled."),
    ],
)
def test_nothing_reported_is_an_answer(error: InventoryError) -> None:
    """A host that boots, and one whose guest attributes are off, have no keys that Google vouches for."""
    gcloud = cloud()

    def refuse(_argv: Sequence[str]) -> None:
        raise error

    gcloud.before = refuse
    assert list(ReportedHostKeys(gcloud, FakeClock())(CONTROLLER)) == []


@pytest.mark.parametrize("error", [PermissionDeniedError("no"), InvalidRequestError("no", detail="Bad zone")])
def test_not_being_allowed_to_ask_is_an_error(error: InventoryError) -> None:
    """It is not "nothing reported"; all who ask are told, and Google is asked again after ten seconds."""
    gcloud = cloud(c=[entry("AAAAed")])

    def refuse(_argv: Sequence[str]) -> None:
        raise error

    gcloud.before = refuse
    clock = FakeClock()
    keys = ReportedHostKeys(gcloud, clock)
    for _ in range(2):
        with pytest.raises(type(error)):
            keys(CONTROLLER)
    assert len(gcloud.commands) == 1
    gcloud.before = lambda _argv: None
    clock.advance(10)
    assert list(keys(CONTROLLER)) == ["ssh-ed25519 AAAAed"]


@pytest.mark.parametrize(
    "bad",
    [
        entry("t1v-n-1-w-0", key="hostname"),
        entry("AAAA", namespace="other"),
        entry("AAAA\n* ssh-rsa BBBB"),
        entry("AAAA BBBB"),
        entry(""),
        entry("AAAA", key="ssh-rsa x"),
        {"namespace": "hostkeys", "key": "ssh-rsa"},
        entry("AAAA", worker_id="-1"),
        entry("AAAA", worker_id="x"),
    ],
)
def test_what_is_no_key_is_left_out(bad: Mapping[str, object]) -> None:
    """Whatever a host writes there, only a key's type and base64 reach a known_hosts line."""
    assert list(ReportedHostKeys(cloud(c=[bad, entry("AAAAed")]), FakeClock())(CONTROLLER)) == ["ssh-ed25519 AAAAed"]
