"""Queued resources with the real gcloud, in front of the lab's API: asked for, fulfilled, given up, and never leaked."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from iris_adapters.container import open_container
from iris_core.config import (
    ClusterConfig,
    ContainerConfig,
    ControllerConfig,
    GcpConfig,
    Mode,
    QueuedConfig,
    SshConfig,
    WorkerGroupConfig,
)
from iris_core.errors import OutOfCapacityError, ResourceExistsError
from tests.lab.cloud import PROJECT, ZONE
from tests.lab.machines import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from iris_adapters.container import IrisContainer
    from tests.lab.gcloud_api import GcloudApi

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

CONTAINER = ContainerConfig(image="example/image", command=("run",))
GROUP = WorkerGroupConfig(
    name="tpu",
    type="v4",
    topology="2x2x2",
    runtime_version="v2",
    spot=True,
    queued=QueuedConfig(wait_minutes=0.05),
    container=CONTAINER,
)


@contextmanager
def opened(api: GcloudApi, monkeypatch: pytest.MonkeyPatch, *groups: WorkerGroupConfig) -> Iterator[IrisContainer]:
    for name, value in api.environment.items():
        monkeypatch.setenv(name, value)
    config = ClusterConfig(
        mode=Mode.GCP,
        owner="me",
        time_to_live_hours=8,
        gcp=GcpConfig(project_id=PROJECT, zone=ZONE, ssh=SshConfig(user="root")),
        controller=ControllerConfig(container=CONTAINER),
        workers=groups,
    )
    with open_container(config) as container:
        yield container


def names(api: GcloudApi) -> Sequence[str]:
    records = [*api.cloud.list(Kind.INSTANCE), *api.cloud.list(Kind.NODE)]
    return [record.name for record in records] + list(api.queue.names())


def test_a_request_that_is_fulfilled_is_a_slice_like_any_other(
    gcloud_api: GcloudApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By type and topology, spot, labelled; a second start adopts it, one that wants something else is refused."""
    with opened(gcloud_api, monkeypatch, GROUP) as container:
        container.cluster_manager().start()
        [slice_] = container.inventory().list_slices()
        container.cluster_manager().start()
    node = gcloud_api.cloud.get(slice_.name).body
    assert (node["acceleratorConfig"], node["schedulingConfig"]) == (
        {"type": "V4", "topology": "2x2x2"},
        {"spot": True},
    )
    assert node["labels"]["iris-owner"] == "me"
    assert slice_.expires_at is not None
    assert slice_.queued_as == slice_.name
    scheduling = gcloud_api.cloud.get("iris-controller-iris").body["scheduling"]
    assert scheduling["maxRunDuration"] == {"seconds": "28800"}
    assert scheduling["instanceTerminationAction"] == "DELETE"
    before = names(gcloud_api)
    other = WorkerGroupConfig(name="tpu", accelerator_type="v4-8", runtime_version="v2", container=CONTAINER)
    with (
        opened(gcloud_api, monkeypatch, other) as container,
        pytest.raises(ResourceExistsError, match=r"accelerator type is v4-16, the configuration says v4-8"),
    ):
        container.cluster_manager().start()
    assert names(gcloud_api) == before


def test_a_request_that_is_too_late_is_withdrawn_and_what_comes_of_it_deleted(
    gcloud_api: GcloudApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the slice that Google makes some seconds after the request is gone."""
    gcloud_api.queue.has_capacity = False
    gcloud_api.queue.late_seconds = 3
    with (
        opened(gcloud_api, monkeypatch, GROUP) as container,
        pytest.raises(OutOfCapacityError, match="was not fulfilled in time"),
    ):
        container.cluster_manager().start()
    created = [request for request in gcloud_api.cloud.requests if request.path.endswith("/queuedResources")]
    [asked] = [request for request in created if request.method == "POST"]
    assert asked.body["queueingPolicy"]["validUntilDuration"] == "303s"
    deleted = [request.path.rsplit("/", 2)[-2] for request in gcloud_api.cloud.requests if request.method == "DELETE"]
    assert deleted == ["queuedResources", "nodes"]
    assert names(gcloud_api) == ["iris-controller-iris"]
