"""The TPU calls about what a zone offers: accelerator types and runtime versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab.http_shapes import ApiError
from tests.lab.machines import host_count

if TYPE_CHECKING:
    from tests.lab.http_shapes import Json, Request, Router

_PARENT = "projects/{project}/locations/{zone}"


class TpuCatalog:
    """Answers from a zone that has every runtime version but `absent`, and every accelerator type that the lab can make."""

    def __init__(self, router: Router) -> None:
        for version in ("v1", "v2"):  # gcloud asks the older API for accelerator types
            router.add("GET", f"/{version}/{_PARENT}/acceleratorTypes/{{name}}", self.accelerator_type)
        router.add("GET", f"/v2/{_PARENT}/runtimeVersions/{{name}}", self.runtime_version)

    def accelerator_type(self, _request: Request, project: str, zone: str, name: str) -> Json:
        """One accelerator type."""
        full_name = f"{_PARENT.format(project=project, zone=zone)}/acceleratorTypes/{name}"
        try:
            host_count(name)
        except ValueError:
            raise ApiError(404, f"Resource '{full_name}' was not found") from None
        return {"name": full_name, "type": name}

    def runtime_version(self, _request: Request, project: str, zone: str, name: str) -> Json:
        """One runtime version."""
        full_name = f"{_PARENT.format(project=project, zone=zone)}/runtimeVersions/{name}"
        if name == "absent":
            raise ApiError(404, f"Resource '{full_name}' was not found")
        return {"name": full_name, "version": name}
