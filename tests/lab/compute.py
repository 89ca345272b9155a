"""The Compute v1 calls that gcloud makes for instances."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.lab.cloud import Plan
from tests.lab.compute_filter import matches
from tests.lab.compute_shapes import (
    ROOT,
    ZONES,
    answer,
    check_fingerprint,
    check_zone,
    filled,
    fingerprint,
    metadata_items,
    metadata_shape,
)
from tests.lab.http_shapes import ApiError
from tests.lab.machines import Kind, Record

if TYPE_CHECKING:
    from tests.lab.cloud import Cloud
    from tests.lab.http_shapes import Json, Request, Router
    from tests.lab.operations import Operation


class ComputeInstances:
    """Answers for `/compute/v1/projects/P/zones/Z/instances/…` from the cloud's state."""

    def __init__(self, cloud: Cloud, router: Router) -> None:
        self._cloud = cloud
        router.add("GET", ROOT + "/aggregated/instances", self.list_everywhere)
        for method, path, handler in (
            ("GET", "", self.list_zone),
            ("POST", "", self.insert),
            ("GET", "/{name}", self.describe),
            ("DELETE", "/{name}", self.delete),
            ("POST", "/{name}/setMetadata", self.set_metadata),
            ("POST", "/{name}/setLabels", self.set_labels),
            ("POST", "/{name}/start", self.start),
            ("POST", "/{name}/stop", self.stop),
            ("GET", "/{name}/getGuestAttributes", self.guest_attributes),
            ("GET", "/{name}/serialPort", self.serial_port),
        ):
            router.add(method, f"{ROOT}/zones/{{zone}}/instances{path}", handler)

    def list_zone(self, request: Request, project: str, zone: str) -> Json:
        """The instances of a zone."""
        check_zone(project, zone)
        link = f"{self._base(project)}/zones/{zone}/instances"
        return {
            "kind": "compute#instanceList",
            "selfLink": link,
            **filled("items", self._found(request, project, zone)),
        }

    def list_everywhere(self, request: Request, project: str) -> Json:
        """The instances of all zones."""
        scopes: Json = {}
        for zone in ZONES:
            items = self._found(request, project, zone)
            text = f"There are no results for scope 'zones/{zone}' on this page."
            nothing = {"warning": {"code": "NO_RESULTS_ON_PAGE", "message": text}}
            scopes[f"zones/{zone}"] = {"instances": items} if items else nothing
        return {"kind": "compute#instanceAggregatedList", "items": scopes}

    def describe(self, _request: Request, project: str, zone: str, name: str) -> Json:
        """One instance."""
        return self._cloud.find(Kind.INSTANCE, name, zone, project).body

    def insert(self, request: Request, project: str, zone: str) -> Json:
        """Create an instance."""
        check_zone(project, zone)
        sent = request.body
        name = sent["name"]
        number = self._cloud.new_number()
        link = f"{self._base(project)}/zones/{zone}/instances/{name}"
        default_network = f"{self._base(project)}/global/networks/default"
        nic = {"kind": "compute#networkInterface", "name": "nic0", "network": default_network}
        body: Json = {
            "kind": "compute#instance",
            "id": number,
            "name": name,
            "creationTimestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "status": "PROVISIONING",
            "zone": f"{self._base(project)}/zones/{zone}",
            "selfLink": link,
            "machineType": sent.get("machineType", ""),
            "metadata": metadata_shape(metadata_items(sent.get("metadata", {}))),
            "labelFingerprint": fingerprint(sent.get("labels", {})),
            "networkInterfaces": [{**nic, **given} for given in sent.get("networkInterfaces", [{}])],
            "scheduling": sent.get("scheduling", {}),
            "serviceAccounts": sent.get("serviceAccounts", []),
            "tags": {"fingerprint": fingerprint([]), **sent.get("tags", {})},
        }
        if sent.get("labels"):
            body["labels"] = sent["labels"]
        record = Record(kind=Kind.INSTANCE, project=project, zone=zone, name=name, number=number, body=body)
        plan = Plan(verb="insert", target=link, error=request.operation_error)
        return self._answer(self._cloud.create(record, plan, _show_running), record)

    def delete(self, request: Request, project: str, zone: str, name: str) -> Json:
        """Delete an instance."""
        record = self._cloud.find(Kind.INSTANCE, name, zone, project)
        return self._answer(self._cloud.delete(record, _plan("delete", record, request)), record)

    def start(self, request: Request, project: str, zone: str, name: str) -> Json:
        """Start a stopped instance."""
        record = self._cloud.find(Kind.INSTANCE, name, zone, project)
        return self._answer(self._cloud.power(record, _plan("start", record, request), on=True), record)

    def stop(self, request: Request, project: str, zone: str, name: str) -> Json:
        """Stop an instance; its disk stays."""
        record = self._cloud.find(Kind.INSTANCE, name, zone, project)
        return self._answer(self._cloud.power(record, _plan("stop", record, request), on=False), record)

    def set_metadata(self, request: Request, project: str, zone: str, name: str) -> Json:
        """Replace an instance's metadata, unless somebody else did since they were read."""
        record = self._cloud.find(Kind.INSTANCE, name, zone, project)
        check_fingerprint(request.body, record.body["metadata"])
        record.show(metadata=metadata_shape(metadata_items(request.body)))
        self._cloud.machines.metadata_changed(record)
        return self._at_once("setMetadata", record)

    def set_labels(self, request: Request, project: str, zone: str, name: str) -> Json:
        """Replace an instance's labels."""
        record = self._cloud.find(Kind.INSTANCE, name, zone, project)
        labels = request.body.get("labels", {})
        record.show(labels=labels, labelFingerprint=fingerprint(labels))
        return self._at_once("setLabels", record)

    def guest_attributes(self, request: Request, project: str, zone: str, name: str) -> Json:
        """What the guest has published, of one namespace (`hostkeys/`) or of all; 404 where that is nothing, as in reality."""
        record = self._cloud.find(Kind.INSTANCE, name, zone, project)
        query = request.query.get("queryPath", "")
        published = record.guest_attributes[0] if record.guest_attributes else {}
        items = [
            {"namespace": namespace, "key": key, "value": value}
            for (namespace, key), value in published.items()
            if f"{namespace}/{key}".startswith(query)
        ]
        if record.metadata.get("enable-guest-attributes", "").upper() != "TRUE" or not items:
            raise ApiError(404, f"The resource '{query}' of type 'Guest Attribute' was not found.")
        return {
            "kind": "compute#guestAttributes",
            "queryPath": query,
            "queryValue": {"items": items},
            "selfLink": f"{record.body['selfLink']}/getGuestAttributes?queryPath={query}",
        }

    def serial_port(self, request: Request, project: str, zone: str, name: str) -> Json:
        """The console's output from byte `start` on."""
        record = self._cloud.find(Kind.INSTANCE, name, zone, project)
        output = self._cloud.machines.serial_output(record)
        start = min(int(request.query.get("start", "0")), len(output))
        return {
            "kind": "compute#serialPortOutput",
            "contents": output[start:],
            "start": str(start),
            "next": str(len(output)),
            "selfLink": f"{record.body['selfLink']}/serialPort?port=1",
        }

    def _found(self, request: Request, project: str, zone: str) -> list[Json]:
        records = self._cloud.list(Kind.INSTANCE, zone, project)
        return [record.body for record in records if matches(request.query.get("filter", ""), record.body)]

    def _at_once(self, verb: str, record: Record) -> Json:
        begin = self._cloud.operations.begin
        target = record.body["selfLink"]
        return self._answer(
            begin(verb, target, lambda _operation: None, target_id=record.number, in_background=False), record
        )

    def _answer(self, operation: Operation, record: Record) -> Json:
        return answer(operation, self._base(record.project), f"zones/{record.zone}")

    def _base(self, project: str) -> str:
        return f"{self._cloud.base_url}{ROOT.format(project=project)}"


def _plan(verb: str, record: Record, request: Request) -> Plan:
    return Plan(verb=verb, target=record.body["selfLink"], error=request.operation_error)


def _show_running(record: Record) -> None:
    address = record.addresses[0]
    first, *others = record.body["networkInterfaces"]
    first = {**first, "networkIP": address.internal}
    if "accessConfigs" in first:
        first["accessConfigs"] = [{**access, "natIP": address.external} for access in first["accessConfigs"]]
    record.show(
        networkInterfaces=[first, *others],
        lastStartTimestamp=datetime.now(UTC).isoformat(timespec="milliseconds"),
        status="RUNNING",
    )
