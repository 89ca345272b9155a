"""JSON as gcloud prints it, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ZONE = "us-central1-a"


def node(name: str, *, hosts: int = 1, labels: Mapping[str, str] | None = None, **changes: object) -> dict[str, object]:
    """A TPU node, READY, with external addresses, of the cluster `iris` unless `labels` says otherwise."""
    return {
        "name": f"projects/p/locations/{ZONE}/nodes/{name}",
        "id": "7001",
        "state": "READY",
        "createTime": "2026-01-02T03:04:05.123456789Z",
        "labels": dict(labels) if labels is not None else {"iris-managed": "true", "iris-group": "tpu"},
        "networkEndpoints": [
            {"ipAddress": f"10.0.0.{i}", "port": 8470, "accessConfig": {"externalIp": f"34.0.0.{i}"}}
            for i in range(hosts)
        ],
        **changes,
    }


def instance(
    name: str = "iris-controller-iris", *, labels: Mapping[str, str] | None = None, **changes: object
) -> dict[str, object]:
    """A Compute instance, RUNNING, with an external address, of the cluster `iris` unless `labels` says otherwise."""
    return {
        "name": name,
        "id": "9001",
        "status": "RUNNING",
        "zone": f"https://www.googleapis.com/compute/v1/projects/p/zones/{ZONE}",
        "creationTimestamp": "2026-01-02T03:04:05.678-08:00",
        "labels": dict(labels) if labels is not None else {"iris-managed": "true"},
        "networkInterfaces": [{"networkIP": "10.0.0.9", "accessConfigs": [{"natIP": "34.0.0.9"}]}],
        **changes,
    }


def queued_resource(
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    state: str = "WAITING_FOR_RESOURCES",
    zone: str = ZONE,
    **changes: object,
) -> dict[str, object]:
    """A queued resource that waits for one node, of the cluster `iris` unless `labels` says otherwise."""
    wanted = {
        "acceleratorType": "v5litepod-16",
        "runtimeVersion": "v2-alpha",
        "labels": dict(labels) if labels is not None else {"iris-managed": "true", "iris-group": "tpu"},
    }
    return {
        "name": f"projects/p/locations/{zone}/queuedResources/{name}",
        "createTime": "2026-01-02T03:04:05.123456Z",
        "state": {"state": state},
        "tpu": {"nodeSpec": [{"parent": f"projects/p/locations/{zone}", "nodeId": name, "node": wanted}]},
        **changes,
    }
