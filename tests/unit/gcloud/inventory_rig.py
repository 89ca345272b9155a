"""A `GcloudInventory` before a scripted gcloud, and what its tests share."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from iris_adapters.fakes import FakeClock
from iris_adapters.gcloud.inventory import GcloudInventory
from iris_core.config import ClusterConfig, ControllerConfig, GcpConfig, Mode, WorkerGroupConfig
from tests.unit.gcloud.payload_builders import ZONE, node

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.gcloud.scripted_gcloud import ScriptedGcloud

GCP = GcpConfig(project_id="p", zone=ZONE, gcloud_change_timeout_seconds=60)
GROUP = WorkerGroupConfig(
    name="tpu", accelerator_type="v5litepod-16", runtime_version="v2-alpha", spot=True, labels={"team": "red"}
)
REQUEST = "iris-tpu-20260102030405"


def make(
    gcloud: ScriptedGcloud,
    prefix: str = "iris",
    *,
    gcp: GcpConfig = GCP,
    controller: ControllerConfig | None = None,
    clock: FakeClock | None = None,
    owner: Callable[[], str] = lambda: "joe",
) -> GcloudInventory:
    config = ClusterConfig(
        mode=Mode.GCP, label_prefix=prefix, gcp=gcp, controller=controller or ControllerConfig(port=4711)
    )
    return GcloudInventory(
        config,
        gcloud,
        clock or FakeClock(auto_advance=True),
        owner=owner,
        ssh_public_key=lambda: "ssh-ed25519 AAAA joe@home, sweet home\n",
        ssh_user="joe",
        new_creation=map(str, count(1)).__next__,
    )


def managed(prefix: str) -> dict[str, str]:
    return {f"{prefix}-managed": "true"}


def fulfilled() -> dict[str, object]:
    return node(REQUEST, queuedResource=f"projects/p/locations/{ZONE}/queuedResources/{REQUEST}")
