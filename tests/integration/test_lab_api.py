"""The real gcloud believes the pretended API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.cloud import ZONE
from tests.lab.compute_filter import matches
from tests.lab.http_shapes import ApiError

if TYPE_CHECKING:
    from tests.lab.gcloud_api import GcloudApi

pytestmark = pytest.mark.lab

_INSTANCES = ("compute", "instances")
_NODES = ("compute", "tpus", "tpu-vm")
_ZONE = f"--zone={ZONE}"
_TPU_TYPE = ("--version=v2-alpha-tpuv5-lite", "--accelerator-type=v5litepod-16")
_JSON = "--format=json"


def _json(api: GcloudApi, *arguments: str) -> Any:
    return json.loads(api.gcloud(*arguments, _JSON).stdout)


def test_an_instance_lives_and_dies(gcloud_api: GcloudApi) -> None:
    """An instance that gcloud creates is listed with what was asked for, publishes host keys, and is gone when deleted."""
    image = ("--image-family=cos-stable", "--image-project=cos-cloud", "--boot-disk-size=50GB")
    meta = ("--labels=a=b", "--metadata=enable-guest-attributes=TRUE")
    [created] = _json(gcloud_api, *_INSTANCES, "create", "vm", _ZONE, "--machine-type=e2-standard-4", *image, *meta)
    [listed] = _json(gcloud_api, *_INSTANCES, "list")
    keys = _json(gcloud_api, *_INSTANCES, "get-guest-attributes", "vm", _ZONE, "--query-path=hostkeys/")
    gcloud_api.gcloud(*_INSTANCES, "delete", "vm", _ZONE, "--quiet")
    again = _json(gcloud_api, *_INSTANCES, "list", f"--zones={ZONE}")

    assert created == listed
    assert (listed["name"], listed["status"], listed["labels"]) == ("vm", "RUNNING", {"a": "b"})
    assert listed["zone"].endswith(f"/zones/{ZONE}")
    assert listed["machineType"].endswith("/e2-standard-4")
    [interface] = listed["networkInterfaces"]
    assert interface["networkIP"].startswith("10.128.")
    assert interface["accessConfigs"][0]["natIP"].startswith("34.16.")
    assert {key["key"] for key in keys} >= {"ssh-ed25519"}
    assert again == []


def test_each_creation_has_a_number_of_its_own(gcloud_api: GcloudApi) -> None:
    """A node that is created again under the same name has another numeric id."""
    numbers = set()
    for _ in range(2):
        gcloud_api.gcloud(*_NODES, "create", "n", _ZONE, *_TPU_TYPE)
        numbers.add(gcloud_api.cloud.get("n").number)
        gcloud_api.gcloud(*_NODES, "delete", "n", _ZONE, "--quiet")

    assert len(numbers) == 2


def test_a_node_has_as_many_endpoints_as_hosts(gcloud_api: GcloudApi) -> None:
    """A v5litepod-16 shows four endpoints, and host keys of each host, in one list call for all zones."""
    gcloud_api.gcloud(*_NODES, "create", "n", _ZONE, *_TPU_TYPE, "--labels=iris-managed=true", "--spot")
    [node] = _json(gcloud_api, *_NODES, "list", "--zone=-")
    keys = _json(gcloud_api, *_NODES, "get-guest-attributes", "n", _ZONE, "--query-path=hostkeys/")

    assert node["name"] == f"projects/lab-project/locations/{ZONE}/nodes/n"
    assert (node["state"], node["labels"]) == ("READY", {"iris-managed": "true"})
    assert len({endpoint["ipAddress"] for endpoint in node["networkEndpoints"]}) == 4
    assert {key["worker_id"] for key in keys} == {0, 1, 2, 3}


def test_a_creation_takes_its_time(gcloud_api: GcloudApi) -> None:
    """With a creation time, a node is CREATING without endpoints, and its deletion does not wait for it."""
    gcloud_api.cloud.creation_seconds = 60
    gcloud_api.gcloud(*_NODES, "create", "n", _ZONE, *_TPU_TYPE, "--async")
    [node] = _json(gcloud_api, *_NODES, "list", _ZONE)
    gcloud_api.gcloud(*_NODES, "delete", "n", _ZONE, "--quiet")

    assert node["state"] == "CREATING"
    assert "networkEndpoints" not in node
    assert gcloud_api.cloud.list("nodes") == []


def test_a_preemption_is_shown(gcloud_api: GcloudApi) -> None:
    """A preempted node shows PREEMPTED, a preempted instance TERMINATED; the latter can be started again."""
    gcloud_api.gcloud(*_NODES, "create", "n", _ZONE, *_TPU_TYPE)
    gcloud_api.gcloud(*_INSTANCES, "create", "vm", _ZONE)
    gcloud_api.cloud.preempt("n")
    gcloud_api.cloud.preempt("vm")

    assert _json(gcloud_api, *_NODES, "describe", "n", _ZONE)["state"] == "PREEMPTED"
    assert _json(gcloud_api, *_INSTANCES, "describe", "vm", _ZONE)["status"] == "TERMINATED"
    gcloud_api.gcloud(*_INSTANCES, "start", "vm", _ZONE)
    assert _json(gcloud_api, *_INSTANCES, "describe", "vm", _ZONE)["status"] == "RUNNING"


def test_metadata_can_be_added(gcloud_api: GcloudApi) -> None:
    """Metadata that gcloud adds to an instance stand beside those it had."""
    gcloud_api.gcloud(*_INSTANCES, "create", "vm", _ZONE, "--metadata=a=1")
    gcloud_api.gcloud(*_INSTANCES, "add-metadata", "vm", _ZONE, "--metadata=b=2")

    assert gcloud_api.cloud.get("vm").metadata == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            (*_NODES, "describe", "n"),
            f"NOT_FOUND: Resource 'projects/lab-project/locations/{ZONE}/nodes/n' was not found",
        ),
        (
            (*_INSTANCES, "describe", "vm"),
            f"Could not fetch resource:\n - The resource 'projects/lab-project/zones/{ZONE}/instances/vm' was not found",
        ),
    ],
)
def test_what_is_not_there_is_not_found(gcloud_api: GcloudApi, arguments: tuple[str, ...], text: str) -> None:
    """Each service says "not found" in its own words."""
    failed = gcloud_api.gcloud(*arguments, _ZONE, check=False)

    assert failed.returncode == 1
    assert text in failed.stderr


@pytest.mark.parametrize(
    ("create", "text"),
    [
        (
            (*_NODES, "create", "x", *_TPU_TYPE),
            f"ALREADY_EXISTS: Resource 'projects/lab-project/locations/{ZONE}/nodes/x' already exists",
        ),
        (
            (*_INSTANCES, "create", "x"),
            f"The resource 'projects/lab-project/zones/{ZONE}/instances/x' already exists",
        ),
    ],
)
def test_what_is_there_cannot_be_created(gcloud_api: GcloudApi, create: tuple[str, ...], text: str) -> None:
    """Each service says "already exists" in its own words."""
    gcloud_api.gcloud(*create, _ZONE)
    failed = gcloud_api.gcloud(*create, _ZONE, check=False)

    assert failed.returncode == 1
    assert text in failed.stderr


@pytest.mark.parametrize(
    ("create", "text"),
    [
        ((*_NODES, "create", "x", *_TPU_TYPE), '"code": 8,\n  "message": "There is no more capacity in the zone'),
        ((*_INSTANCES, "create", "x"), "ZONE_RESOURCE_POOL_EXHAUSTED"),
    ],
)
def test_a_stockout_ends_the_creation(gcloud_api: GcloudApi, create: tuple[str, ...], text: str) -> None:
    """A stockout fails the creation's operation, leaves nothing, and the next creation succeeds."""
    gcloud_api.cloud.faults.stockout()
    failed = gcloud_api.gcloud(*create, _ZONE, check=False)

    assert failed.returncode == 1
    assert text in failed.stderr
    with pytest.raises(KeyError):
        gcloud_api.cloud.get("x")
    gcloud_api.gcloud(*create, _ZONE)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ApiError(403, "Required 'tpu.nodes.list' permission for 'x'"), "PERMISSION_DENIED: Required 'tpu.nodes.list'"),
        (ApiError(429, "Quota 'TPUS' exhausted. Limit 8 in region R"), "RESOURCE_EXHAUSTED: Quota 'TPUS' exhausted"),
    ],
)
def test_an_ordered_error_reaches_gcloud(gcloud_api: GcloudApi, error: ApiError, text: str) -> None:
    """An ordered error comes through with its text, and nothing on standard output."""
    gcloud_api.cloud.faults.fail("GET", "/nodes$", error, times=None)
    failed = gcloud_api.gcloud(*_NODES, "list", _ZONE, _JSON, check=False)

    assert failed.returncode == 1
    assert text in failed.stderr
    assert failed.stdout == ""


@pytest.mark.parametrize("scope", [(), (f"--zones={ZONE}",)])
def test_a_failed_list_of_instances_only_warns(gcloud_api: GcloudApi, scope: tuple[str, ...]) -> None:
    """Where the API refuses to list instances, gcloud prints an empty list and exits 0; only a warning tells."""
    refusal = ApiError(403, "Required 'compute.instances.list' permission for 'x'")
    gcloud_api.cloud.faults.fail("GET", "/instances$", refusal, times=None)
    listed = gcloud_api.gcloud(*_INSTANCES, "list", *scope, _JSON)

    assert json.loads(listed.stdout) == []
    assert "WARNING: Some requests did not succeed.\n - Required 'compute.instances.list'" in listed.stderr


def test_gcloud_gets_over_a_server_error(gcloud_api: GcloudApi) -> None:
    """An ordered 503 is used up by one call, which gcloud makes again by itself."""
    gcloud_api.cloud.faults.fail("GET", "/nodes$", ApiError(503, "try again"))

    assert _json(gcloud_api, *_NODES, "list", _ZONE) == []
    assert [request.method for request in gcloud_api.cloud.requests] == ["GET", "GET"]


@pytest.mark.parametrize(
    ("expression", "passes"),
    [
        ("", True),
        ("name eq iris-.*", True),
        ("name eq iris", False),
        ('(name eq ".*-x") (status eq RUNNING)', True),
        ("name ne iris-x", False),
        ("labels.team = a AND status = STOPPED", False),
    ],
)
def test_the_servers_list_filter(expression: str, passes: bool) -> None:  # noqa: FBT001 - a parameter of the table
    """The server compares whole values with regular expressions, and all clauses must hold."""
    body = {"name": "iris-x", "status": "RUNNING", "labels": {"team": "a"}}

    assert matches(expression, body) is passes


def test_an_unknown_filter_is_refused() -> None:
    """A filter that the server cannot read is an error, never ignored."""
    with pytest.raises(ApiError, match="Invalid value"):
        matches("name:*", {"name": "x"})
