"""The Compute v1 calls about a project rather than its instances: metadata, zones, machine types, images, operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab.compute_shapes import (
    ROOT,
    ZONES,
    answer,
    check_fingerprint,
    check_zone,
    metadata_items,
    metadata_shape,
)

if TYPE_CHECKING:
    from tests.lab.cloud import Cloud
    from tests.lab.http_shapes import Json, Request, Router


class ComputeCatalog:
    """Answers from a project in which there is every machine type and every image."""

    def __init__(self, cloud: Cloud, router: Router) -> None:
        self._cloud = cloud
        for method, path, handler in (
            ("GET", "", self.project),
            ("POST", "/setCommonInstanceMetadata", self.set_metadata),
            ("GET", "/zones", self.zones),
            ("GET", "/zones/{zone}", self.zone),
            ("GET", "/regions/{region}", self.region),
            ("GET", "/zones/{zone}/machineTypes/{name}", self.machine_type),
            ("GET", "/global/images/family/{family}", self.image_of_family),
            ("GET", "/global/images/{image}", self.image),
            ("GET", "/zones/{zone}/operations/{name}", self.zone_operation),
            ("POST", "/zones/{zone}/operations/{name}/wait", self.wait_in_zone),
            ("GET", "/global/operations/{name}", self.global_operation),
            ("POST", "/global/operations/{name}/wait", self.wait_globally),
        ):
            router.add(method, ROOT + path, handler)

    def project(self, _request: Request, project: str) -> Json:
        """The project, with its metadata."""
        return {
            "kind": "compute#project",
            "id": "1234567890123456789",
            "name": project,
            "creationTimestamp": "2024-01-01T00:00:00.000-08:00",
            "commonInstanceMetadata": metadata_shape(self._cloud.project_metadata),
            "defaultServiceAccount": "1234567890-compute@developer.gserviceaccount.com",
            "selfLink": self._base(project),
        }

    def set_metadata(self, request: Request, project: str) -> Json:
        """Replace the project's metadata, unless somebody else did since they were read."""
        cloud = self._cloud
        check_fingerprint(request.body, metadata_shape(cloud.project_metadata))
        cloud.project_metadata = metadata_items(request.body)
        cloud.machines.metadata_changed(None)
        base = self._base(project)
        operation = cloud.operations.begin("setMetadata", base, lambda _operation: None, in_background=False)
        return answer(operation, base, "global")

    def zones(self, request: Request, project: str) -> Json:
        """All zones."""
        return {"kind": "compute#zoneList", "items": [self.zone(request, project, name) for name in ZONES]}

    def zone(self, _request: Request, project: str, zone: str) -> Json:
        """One zone."""
        check_zone(project, zone)
        base = self._base(project)
        return {
            "kind": "compute#zone",
            "id": "2000",
            "name": zone,
            "description": zone,
            "status": "UP",
            "region": f"{base}/regions/{zone.rpartition('-')[0]}",
            "selfLink": f"{base}/zones/{zone}",
        }

    def region(self, _request: Request, project: str, region: str) -> Json:
        """One region."""
        link = f"{self._base(project)}/regions/{region}"
        return {"kind": "compute#region", "name": region, "status": "UP", "selfLink": link}

    def machine_type(self, _request: Request, project: str, zone: str, name: str) -> Json:
        """One machine type."""
        check_zone(project, zone)
        link = f"{self._base(project)}/zones/{zone}/machineTypes/{name}"
        return {
            "kind": "compute#machineType",
            "name": name,
            "guestCpus": 4,
            "memoryMb": 16384,
            "zone": zone,
            "selfLink": link,
        }

    def image_of_family(self, request: Request, project: str, family: str) -> Json:
        """The newest image of a family."""
        return {**self.image(request, project, f"{family}-121"), "family": family}

    def image(self, _request: Request, project: str, image: str) -> Json:
        """One image."""
        return {
            "kind": "compute#image",
            "id": "3000",
            "name": image,
            "status": "READY",
            "diskSizeGb": "10",
            "archiveSizeBytes": "1000000",
            "sourceType": "RAW",
            "selfLink": f"{self._base(project)}/global/images/{image}",
        }

    def zone_operation(self, _request: Request, project: str, zone: str, name: str) -> Json:
        """An operation on an instance, as it stands."""
        return answer(self._cloud.operations.find(name), self._base(project), f"zones/{zone}")

    def wait_in_zone(self, _request: Request, project: str, zone: str, name: str) -> Json:
        """An operation on an instance, when it is done."""
        return answer(self._cloud.operations.find(name), self._base(project), f"zones/{zone}", wait=True)

    def global_operation(self, _request: Request, project: str, name: str) -> Json:
        """An operation on the project, as it stands."""
        return answer(self._cloud.operations.find(name), self._base(project), "global")

    def wait_globally(self, _request: Request, project: str, name: str) -> Json:
        """An operation on the project, when it is done."""
        return answer(self._cloud.operations.find(name), self._base(project), "global", wait=True)

    def _base(self, project: str) -> str:
        return f"{self._cloud.base_url}{ROOT.format(project=project)}"
