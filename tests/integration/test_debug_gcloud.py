"""The low-level functions with the real gcloud, in front of the lab's API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from iris_adapters.debug import cleanup_iris_resources, discover_controller_vm, list_iris_tpus
from iris_core.errors import CleanupIncompleteError, PermissionDeniedError
from tests.lab.cloud import PROJECT, ZONE
from tests.lab.http_shapes import ApiError

if TYPE_CHECKING:
    from tests.lab.gcloud_api import GcloudApi

pytestmark = pytest.mark.lab


@pytest.fixture
def api(gcloud_api: GcloudApi, monkeypatch: pytest.MonkeyPatch) -> GcloudApi:
    """The cloud, with what gcloud needs to find it in this process's environment."""
    for name, value in gcloud_api.environment.items():
        monkeypatch.setenv(name, value)
    return gcloud_api


def add_vm(api: GcloudApi, name: str, *labels: str) -> None:
    api.gcloud("compute", "instances", "create", name, f"--zone={ZONE}", *(f"--labels={label}" for label in labels))


def add_tpu(api: GcloudApi, name: str, *labels: str) -> None:
    api.gcloud(
        *("compute", "tpus", "tpu-vm", "create", name, f"--zone={ZONE}"),
        *("--accelerator-type=v5litepod-4", "--version=v2", f"--labels={','.join(labels)}"),
    )


def is_there(api: GcloudApi, name: str) -> bool:
    try:
        api.cloud.get(name)
    except KeyError:
        return False
    return True


def test_cleaning_up_deletes_the_cluster_and_nothing_else(api: GcloudApi) -> None:
    """A foreign VM, a foreign node, and a cluster `iris2` beside `iris` survive; the dry run names what the real run deletes."""
    add_vm(api, "iris-controller-iris", "iris-managed=true")
    add_vm(api, "iris-controller-iris2", "iris2-managed=true")
    add_vm(api, "iris-foreign")
    add_tpu(api, "iris-tpu-20260101000000", "iris-managed=true", "iris-group=tpu")
    add_tpu(api, "iris2-tpu-20260101000000", "iris2-managed=true", "iris2-group=tpu")
    add_tpu(api, "iris-foreign-tpu", "owner=somebody")

    assert discover_controller_vm(ZONE, PROJECT) == "iris-controller-iris"
    assert list_iris_tpus(ZONE, PROJECT) == ["iris-tpu-20260101000000"]
    assert list_iris_tpus(ZONE, PROJECT, "iris2") == ["iris2-tpu-20260101000000"]

    expected = ["iris-tpu-20260101000000", "iris-controller-iris"]
    assert cleanup_iris_resources(ZONE, PROJECT) == expected
    assert all(is_there(api, name) for name in expected)

    assert cleanup_iris_resources(ZONE, PROJECT, dry_run=False) == expected
    assert not any(is_there(api, name) for name in expected)
    survivors = ["iris-controller-iris2", "iris-foreign", "iris2-tpu-20260101000000", "iris-foreign-tpu"]
    assert all(is_there(api, name) for name in survivors)


def test_a_refused_deletion_is_told(api: GcloudApi) -> None:
    """By the name of what is left."""
    add_tpu(api, "iris-tpu-20260101000000", "iris-managed=true")
    denied = ApiError(403, "Permission 'tpu.nodes.delete' denied on 'projects/p/locations/z/nodes/n'.")
    api.cloud.faults.fail("DELETE", r"/nodes/", denied, times=None)
    with pytest.raises(CleanupIncompleteError) as caught:
        cleanup_iris_resources(ZONE, PROJECT, dry_run=False)
    assert (caught.value.left, caught.value.deleted) == (("iris-tpu-20260101000000",), ())


def test_a_refused_question_is_an_error(api: GcloudApi) -> None:
    """Neither None nor an empty list."""
    denied = ApiError(403, "Required 'compute.instances.get' permission for 'projects/p'")
    api.cloud.faults.fail("GET", r"/instances", denied, times=None)
    api.cloud.faults.fail("GET", r"/nodes", denied, times=None)
    with pytest.raises(PermissionDeniedError):
        discover_controller_vm(ZONE, PROJECT)
    with pytest.raises(PermissionDeniedError):
        list_iris_tpus(ZONE, PROJECT)
