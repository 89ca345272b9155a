"""The API alone: a cloud (by default without machines), its server, and the environment for gcloud."""

from __future__ import annotations

import subprocess
import threading
from typing import TYPE_CHECKING

from tests.lab.api_server import ApiServer
from tests.lab.cloud import PROJECT, ZONE, Cloud
from tests.lab.gcloud_environment import gcloud_environment
from tests.lab.http_shapes import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from tests.lab.http_shapes import Json
    from tests.lab.machines import Machines, Record

_GUEST_ATTRIBUTES = {"enable-guest-attributes": "TRUE"}


class GcloudApi:
    """A pretended Google Cloud for the real gcloud; a context manager.

    Args:
        directory: gcloud's HOME and configuration go below it.
        machines: what stands behind instances and nodes. None: nothing; they are ready at once, and their addresses lead nowhere.

    Attributes:
        cloud: its state: look at it, change it, order faults, read the requests.
        server: what serves it.
        queue: its queued resources: let them wait, be fulfilled, fail, or come too late.
        environment: the whole environment for a gcloud process.
    """

    def __init__(self, directory: Path, machines: Machines | None = None) -> None:
        self.cloud = Cloud(machines)
        self.server = ApiServer(self.cloud)
        self.queue = self.server.queue
        self.environment = gcloud_environment(self.server.url, directory / "home")
        self._timers: list[threading.Timer] = []

    def gcloud(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the real gcloud, and by default insist that it succeeds.

        Raises:
            AssertionError: it failed; with its errors.
        """
        done = subprocess.run(
            ["gcloud", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"gcloud {' '.join(arguments)} exited {done.returncode}: {done.stderr}")
        return done

    def add_instance(
        self,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        zone: str = ZONE,
    ) -> Record:
        """Create an instance without gcloud, guest attributes enabled; return when it has booted.

        Raises:
            ApiError: it cannot be created.
        """
        items = [{"key": key, "value": value} for key, value in (_GUEST_ATTRIBUTES | dict(metadata or {})).items()]
        body = {
            "name": name,
            "labels": dict(labels or {}),
            "metadata": {"items": items},
            "networkInterfaces": [{"accessConfigs": [{"name": "external-nat", "type": "ONE_TO_ONE_NAT"}]}],
        }
        return self._create(f"/compute/v1/projects/{PROJECT}/zones/{zone}/instances", name, {}, body)

    def add_node(
        self,
        name: str,
        *,
        accelerator_type: str = "v5litepod-4",
        labels: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        zone: str = ZONE,
    ) -> Record:
        """Create a TPU node without gcloud; return when it has booted.

        Raises:
            ApiError: it cannot be created.
        """
        body = {
            "acceleratorType": accelerator_type,
            "runtimeVersion": "v2-alpha-tpuv5-lite",
            "labels": dict(labels or {}),
            "metadata": dict(metadata or {}),
            "networkConfig": {"network": "default", "enableExternalIps": True},
        }
        return self._create(f"/v2/projects/{PROJECT}/locations/{zone}/nodes", name, {"nodeId": name}, body)

    def add_queued(
        self,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        accelerator_type: str = "v5litepod-4",
        zone: str = ZONE,
    ) -> None:
        """Ask for a node by a queued resource without gcloud; see `queue` for what becomes of it.

        Raises:
            ApiError: it cannot be.
        """
        node = {
            "acceleratorType": accelerator_type,
            "runtimeVersion": "v2-alpha-tpuv5-lite",
            "labels": dict(labels or {}),
        }
        parent = f"projects/{PROJECT}/locations/{zone}"
        body = {"tpu": {"nodeSpec": [{"parent": parent, "nodeId": name, "node": node}]}}
        path = f"/v2/{parent}/queuedResources"
        self.server.dispatch(Request(method="POST", path=path, query={"queuedResourceId": name}, body=body))

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something after so many seconds, in a thread, unless this is closed before."""
        timer = threading.Timer(seconds, action)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def close(self) -> None:
        """Remove every resource, then stop the server. Idempotent."""
        for timer in self._timers:
            timer.cancel()
            timer.join()
        self.cloud.close()
        self.server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _create(self, path: str, name: str, query: Mapping[str, str], body: Json) -> Record:
        begun = self.server.dispatch(Request(method="POST", path=path, query=query, body=body))
        self.cloud.operations.find(begun["name"].rpartition("/")[2]).done.wait()
        record = self.cloud.get(name)
        with record.lock:  # held until an instance has booted, which is after its operation is done
            return record
