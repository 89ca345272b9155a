"""The inventory and the host keys with the real gcloud, in front of the lab's API."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from unittest.mock import ANY

import pytest

from iris_adapters.gcloud.command import GcloudCommand
from iris_adapters.gcloud.host_keys import ReportedHostKeys
from iris_adapters.gcloud.inventory import GcloudInventory
from iris_adapters.system_clock import SystemClock
from iris_core.config import (
    ClusterConfig,
    ContainerConfig,
    ControllerConfig,
    GcpConfig,
    Mode,
    QueuedConfig,
    Route,
    SshConfig,
    WorkerGroupConfig,
)
from iris_core.errors import (
    ApiDisabledError,
    InvalidRequestError,
    InventoryError,
    OutOfCapacityError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitedError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from iris_core.labels import creation_in
from iris_core.model import VmPhase
from tests.lab.cloud import PROJECT, ZONE
from tests.lab.http_shapes import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.lab.gcloud_api import GcloudApi

pytestmark = pytest.mark.lab

GROUP = WorkerGroupConfig(
    name="tpu",
    accelerator_type="v5litepod-16",
    runtime_version="v2-alpha-tpuv5-lite",
    spot=True,
    labels={"team": "red"},
    container=ContainerConfig(image="example/worker", command=("--greeting", "a, b=c\nd")),
)


@contextmanager
def opened(api: GcloudApi, prefix: str = "iris", route: Route = Route.EXTERNAL) -> Iterator[GcloudInventory]:
    config = ClusterConfig(
        mode=Mode.GCP,
        label_prefix=prefix,
        gcp=GcpConfig(project_id=PROJECT, zone=ZONE, ssh=SshConfig(route=route)),
        controller=ControllerConfig(container=ContainerConfig(image="example/controller")),
    )
    clock = SystemClock()
    inventory = GcloudInventory(
        config,
        GcloudCommand(PROJECT, clock, environment=api.environment),
        clock,
        owner=lambda: "joe",
        ssh_public_key=lambda: "ssh-ed25519 AAAA joe@home, sweet=home",
        ssh_user="joe",
    )
    try:
        yield inventory
    finally:
        inventory.close()


@pytest.fixture
def inventory(gcloud_api: GcloudApi) -> Iterator[GcloudInventory]:
    with opened(gcloud_api) as made:
        yield made


def test_the_cloud_gets_what_was_configured(gcloud_api: GcloudApi, inventory: GcloudInventory) -> None:
    """Labels, metadata and scheduling arrive at the API as they were meant, commas and newlines included."""
    controller = inventory.ensure_controller()
    slice_ = inventory.create_slice(GROUP)

    instance = gcloud_api.cloud.get(controller.name).body
    metadata = {item["key"]: item["value"] for item in instance["metadata"]["items"]}
    labels = {"iris-managed": "true", "iris-cluster": "iris", "iris-owner": "joe"}
    assert instance["labels"] == {**labels, "iris-creation": ANY}
    assert metadata["enable-guest-attributes"] == "TRUE"
    assert metadata["ssh-keys"].strip() == "joe:ssh-ed25519 AAAA joe@home, sweet=home"
    assert "example/controller" in metadata["startup-script"]

    node = gcloud_api.cloud.get(slice_.name).body
    own = {"team": "red", "iris-group": "tpu", "iris-creation": creation_in(slice_.labels)}
    assert node["labels"] == {**labels, **own}
    assert instance["labels"]["iris-creation"] != creation_in(slice_.labels)
    assert node["schedulingConfig"]["spot"] is True
    assert "'a, b=c\nd'" in node["metadata"]["startup-script"]
    assert (slice_.phase, len(slice_.hosts)) == (VmPhase.READY, 4)
    assert slice_.created_at is not None


def test_the_internal_route_gets_internal_addresses(gcloud_api: GcloudApi) -> None:
    """Controller and workers are reached by the addresses of the VPC."""
    with opened(gcloud_api, route=Route.INTERNAL) as inventory:
        addresses = [inventory.ensure_controller().host.address]
        addresses += [host.address for host in inventory.create_slice(GROUP).hosts]
    assert all(address.startswith("10.") for address in addresses)


def test_a_stopped_controller_is_started_again(gcloud_api: GcloudApi, inventory: GcloudInventory) -> None:
    """It is the same VM that runs afterwards."""
    created = inventory.ensure_controller()
    gcloud_api.gcloud("compute", "instances", "stop", created.name, f"--zone={ZONE}")
    stopped = inventory.find_controller()
    assert stopped is not None
    assert (stopped.phase, stopped.state) == (VmPhase.STOPPED, "TERMINATED")

    started = inventory.ensure_controller()
    assert started.phase is VmPhase.READY
    assert started.host.instance_id == created.host.instance_id


def test_a_foreign_vm_of_the_controllers_name_survives(gcloud_api: GcloudApi, inventory: GcloudInventory) -> None:
    """It is not found, not adopted and not deleted."""
    gcloud_api.gcloud("compute", "instances", "create", "iris-controller-iris", f"--zone={ZONE}")
    assert inventory.find_controller() is None
    with pytest.raises(ResourceExistsError, match="iris-controller-iris"):
        inventory.ensure_controller()
    assert gcloud_api.cloud.get("iris-controller-iris").body["status"] == "RUNNING"


def test_clusters_with_prefixes_that_begin_alike_do_not_see_each_other(gcloud_api: GcloudApi) -> None:
    """`a` and `a-b` in one project and zone."""
    group = WorkerGroupConfig(name="b", accelerator_type="v5litepod-4", runtime_version="v2")
    created = {}
    with opened(gcloud_api, "a") as a, opened(gcloud_api, "a-b") as ab:
        clusters = (a, ab)
        for cluster in clusters:
            created[cluster] = (cluster.ensure_controller().name, cluster.create_slice(group).name)
        for cluster in clusters:
            controller = cluster.find_controller()
            assert controller is not None
            assert (controller.name, *(s.name for s in cluster.list_slices())) == created[cluster]


def test_a_list_is_one_call_however_many_slices_there_are(gcloud_api: GcloudApi, inventory: GcloudInventory) -> None:
    """The cost of looking does not depend on the number of workers."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(inventory.create_slice, [GROUP] * 4))
    before = len(gcloud_api.cloud.requests)
    assert sum(len(slice_.hosts) for slice_ in inventory.list_slices()) == 16
    assert len(gcloud_api.cloud.requests) == before + 1


def test_host_keys_are_those_that_the_hosts_reported(gcloud_api: GcloudApi, inventory: GcloudInventory) -> None:
    """Each worker has its own, and the controller too."""
    hosts = [inventory.ensure_controller().host, *inventory.create_slice(GROUP).hosts]
    clock = SystemClock()
    keys = ReportedHostKeys(GcloudCommand(PROJECT, clock, environment=gcloud_api.environment), clock)
    before = len(gcloud_api.cloud.requests)
    reported = [tuple(keys(host)) for host in hosts]
    assert all(key.startswith("ssh-") for (key,) in reported)
    assert len(set(reported)) == 5
    assert len(gcloud_api.cloud.requests) == before + 2


def test_a_vm_that_reports_no_host_keys_has_none(gcloud_api: GcloudApi, inventory: GcloudInventory) -> None:
    """Google's answer is then "not found", or that guest attributes are off."""
    controller = inventory.ensure_controller()
    clock = SystemClock()
    for error in (
        ApiError(404, "The resource 'hostkeys/' of type 'Guest Attribute' was not found."),
        ApiError(412, "Guest attributes endpoint access is disabled.", reason="conditionNotMet"),
    ):
        gcloud_api.cloud.faults.fail("GET", "getGuestAttributes", error)
        keys = ReportedHostKeys(GcloudCommand(PROJECT, clock, environment=gcloud_api.environment), clock)
        assert list(keys(controller.host)) == []


@dataclass(frozen=True)
class Fault:
    """What the API answers to a call, and what is to become of it."""

    id: str
    method: str
    path: str
    error: ApiError
    expected: type[InventoryError]
    act: Callable[[GcloudInventory], object]


def find(inventory: GcloudInventory) -> object:
    return inventory.find_controller()


def ensure(inventory: GcloudInventory) -> object:
    return inventory.ensure_controller()


def list_slices(inventory: GcloudInventory) -> object:
    return inventory.list_slices()


def create(inventory: GcloudInventory) -> object:
    return inventory.create_slice(GROUP)


FAULTS = [
    Fault(
        "tpu permission",
        "GET",
        r"/nodes$",
        ApiError(403, "Permission 'tpu.nodes.list' denied on 'projects/p/locations/z' (or it may not exist)."),
        PermissionDeniedError,
        list_slices,
    ),
    Fault(
        "gce permission",
        "GET",
        r"/instances/",
        ApiError(403, "Required 'compute.instances.list' permission for 'projects/p'", reason="forbidden"),
        PermissionDeniedError,
        find,
    ),
    Fault(
        "tpu api off",
        "GET",
        r"/nodes$",
        ApiError(403, "Cloud TPU API has not been used in project 12 before or it is disabled. Enable it and retry."),
        ApiDisabledError,
        list_slices,
    ),
    Fault(
        "gce api off",
        "GET",
        r"/instances/",
        ApiError(
            403,
            "Compute Engine API has not been used in project 12 before or it is disabled.",
            reason="accessNotConfigured",
        ),
        ApiDisabledError,
        find,
    ),
    Fault(
        "tpu zone",
        "GET",
        r"/nodes$",
        ApiError(403, "Permission denied on 'locations/mars-a' (or it may not exist)."),
        ResourceNotFoundError,
        list_slices,
    ),
    Fault(
        "gce zone",
        "GET",
        r"/instances/",
        ApiError(400, "Invalid value for field 'zone': 'mars-a'. Unknown zone.", reason="invalid"),
        ResourceNotFoundError,
        find,
    ),
    Fault(
        "project",
        "GET",
        r"/instances/",
        ApiError(404, "The resource 'projects/nowhere' was not found"),
        ResourceNotFoundError,
        find,
    ),
    Fault(
        "image",
        "POST",
        r"/instances$",
        ApiError(404, "The resource 'projects/cos-cloud/global/images/family/cos-stale' was not found"),
        ResourceNotFoundError,
        ensure,
    ),
    Fault(
        "gce quota",
        "POST",
        r"/instances$",
        ApiError(403, "Quota 'CPUS' exceeded.  Limit: 24.0 in region us-central1.", reason="quotaExceeded"),
        QuotaExceededError,
        ensure,
    ),
    Fault(
        "gce rate",
        "GET",
        r"/instances/",
        ApiError(
            403,
            "Quota exceeded for quota metric 'Read requests' and limit 'Read requests per minute' of service "
            "'compute.googleapis.com'",
            reason="rateLimitExceeded",
        ),
        RateLimitedError,
        find,
    ),
    Fault(
        "tpu quota",
        "POST",
        r"/nodes$",
        ApiError(429, "Quota 'TPUV5sPreemptiblePerProject' exhausted. Limit 32 in region us-central1"),
        QuotaExceededError,
        create,
    ),
    Fault(
        "tpu quota of nothing",
        "POST",
        r"/nodes$",
        ApiError(
            429, "Quota limit 'TPUV6EPreemptiblePerProjectPerRegionForTPUAPI' has been exceeded. Limit: 0 in region r."
        ),
        QuotaExceededError,
        create,
    ),
    Fault(
        "tpu rate",
        "POST",
        r"/nodes$",
        ApiError(429, "Maximum number of CreateNode requests per minute exceeded"),
        RateLimitedError,
        create,
    ),
    Fault(
        "tpu type",
        "POST",
        r"/nodes$",
        ApiError(400, "Accelerator type v9-1 is not available in zone"),
        InvalidRequestError,
        create,
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_each_refusal_of_the_api_becomes_its_error(
    gcloud_api: GcloudApi, inventory: GcloudInventory, fault: Fault
) -> None:
    """Through the real gcloud, whose wording is in between; none is taken for "nothing there"."""
    gcloud_api.cloud.faults.fail(fault.method, fault.path, fault.error, times=None)
    with pytest.raises(InventoryError) as caught:
        fault.act(inventory)
    assert type(caught.value) is fault.expected, str(caught.value)


@pytest.mark.parametrize("act", [ensure, create])
def test_a_stockout_is_told_as_one(
    gcloud_api: GcloudApi, inventory: GcloudInventory, act: Callable[[GcloudInventory], object]
) -> None:
    """It arrives as the error of an operation that began well, and nothing is left of it."""
    gcloud_api.cloud.faults.stockout()
    with pytest.raises(OutOfCapacityError) as caught:
        act(inventory)
    assert caught.value.retryable
    assert inventory.find_controller() is None
    assert not inventory.list_slices()


@pytest.mark.parametrize(
    ("kind", "look"), [("slice", r"/operations/"), ("request", r"/queuedResources/")], ids=["slice", "request"]
)
def test_a_creation_that_is_repeated_makes_one(
    gcloud_api: GcloudApi, inventory: GcloudInventory, kind: str, look: str
) -> None:
    """Google has accepted it, and refuses gcloud's first look at it: the repeated command finds what the first has made."""
    limited = "Quota exceeded for quota metric 'Read requests' and limit 'Read requests per minute'"
    gcloud_api.cloud.creation_seconds = 4
    gcloud_api.cloud.faults.fail("GET", look, ApiError(429, limited))
    if kind == "slice":
        created = inventory.create_slice(GROUP)
        assert created.phase is VmPhase.READY
        assert [one.name for one in inventory.list_slices()] == [created.name]
    else:
        asked = inventory.queue_slice(replace(GROUP, queued=QueuedConfig()))
        assert [one.name for one in inventory.list_queued()] == [asked.name]
    assert sum(request.method == "POST" for request in gcloud_api.cloud.requests) == 2


def test_a_slice_that_another_process_deletes_is_gone(gcloud_api: GcloudApi, inventory: GcloudInventory) -> None:
    """Losing the race to delete it is success."""
    slice_ = inventory.create_slice(GROUP)
    gcloud_api.gcloud("compute", "tpus", "tpu-vm", "delete", slice_.name, f"--zone={ZONE}", "--quiet")
    inventory.delete(slice_)


def test_a_deletion_that_the_api_refuses_is_an_error(gcloud_api: GcloudApi, inventory: GcloudInventory) -> None:
    """And what was to be deleted is still listed."""
    slice_ = inventory.create_slice(GROUP)
    denied = ApiError(403, "Permission 'tpu.nodes.delete' denied on 'projects/p/locations/z/nodes/n'.")
    gcloud_api.cloud.faults.fail("DELETE", r"/nodes/", denied, times=None)
    with pytest.raises(PermissionDeniedError):
        inventory.delete(slice_)
    gcloud_api.cloud.faults.clear()
    assert [listed.name for listed in inventory.list_slices()] == [slice_.name]
