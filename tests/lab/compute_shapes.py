"""Pieces that the answers of the Compute API have in common."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

from tests.lab.http_shapes import ApiError, Json
from tests.lab.operations import compute_shape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.lab.operations import Operation

ROOT = "/compute/v1/projects/{project}"
ZONES = tuple(f"{region}-{letter}" for region in ("europe-west4", "us-central1", "us-east5") for letter in "abc")
_LONGEST_WAIT_SECONDS = 20.0


def fingerprint(value: Any) -> str:
    """A value's fingerprint; gcloud insists on base64, and writes it back in the URL alphabet."""
    return base64.urlsafe_b64encode(hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()[:8]).decode()


def metadata_shape(metadata: Mapping[str, str]) -> Json:
    """Metadata as Compute writes them."""
    items = [{"key": key, "value": value} for key, value in metadata.items()]
    return {"kind": "compute#metadata", "fingerprint": fingerprint(items), **({"items": items} if items else {})}


def metadata_items(body: Json) -> dict[str, str]:
    """The reverse of `metadata_shape`."""
    return {item["key"]: item.get("value", "") for item in body.get("items", [])}


def check_fingerprint(body: Json, shown: Json) -> None:
    """Refuse a change that was made of something read before another change.

    Raises:
        ApiError: 412.
    """
    if body.get("fingerprint") not in (None, shown["fingerprint"]):
        raise ApiError(412, "Supplied fingerprint does not match current metadata fingerprint.")


def check_zone(project: str, zone: str) -> None:
    """Refuse zones that the lab does not have.

    Raises:
        ApiError: 404.
    """
    if zone not in ZONES:
        raise ApiError(404, f"The resource 'projects/{project}/zones/{zone}' was not found")


def filled(name: str, items: Sequence[Json]) -> Json:
    """A list under its name, which Google leaves out where it is empty."""
    return {name: items} if items else {}


def answer(operation: Operation, base: str, scope: str, *, wait: bool = False) -> Json:
    """The operation in Compute's shape; with `wait`, once it is done or a while has passed."""
    if wait:
        operation.done.wait(_LONGEST_WAIT_SECONDS)
    return compute_shape(operation, base=base, scope=scope)
