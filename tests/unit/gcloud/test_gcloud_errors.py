from __future__ import annotations

from dataclasses import dataclass

import pytest

from iris_adapters.gcloud.errors import gcloud_error, is_contention
from iris_core.errors import (
    ApiDisabledError,
    CloudUnavailableError,
    InvalidRequestError,
    InventoryError,
    InventoryToolError,
    NotAuthenticatedError,
    OutOfCapacityError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitedError,
    ResourceExistsError,
    ResourceNotFoundError,
)

TPU = "ERROR: (gcloud.compute.tpus.tpu-vm.create) "
GCE = "ERROR: (gcloud.compute.instances.create) Could not fetch resource:\n"


@dataclass(frozen=True)
class Case:
    id: str
    stderr: str
    error: type[InventoryError]
    advice: str
    exit_status: int = 1


CASES = [
    Case(
        "tpu not found",
        "ERROR: (gcloud.compute.tpus.tpu-vm.describe) NOT_FOUND: Resource 'projects/p/locations/z/nodes/n' was not found. "
        "This command is unauthenticated because the [auth/disable_credentials] property is True",
        ResourceNotFoundError,
        "name",
    ),
    Case(
        "gce not found",
        f"{GCE} - The resource 'projects/p/zones/z/instances/n' was not found\n",
        ResourceNotFoundError,
        "name",
    ),
    Case(
        "tpu exists",
        f"{TPU}ALREADY_EXISTS: Resource 'projects/p/locations/z/nodes/n' already exists",
        ResourceExistsError,
        "label_prefix",
    ),
    Case(
        "gce exists",
        f"{GCE} - The resource 'projects/p/zones/z/instances/n' already exists\n",
        ResourceExistsError,
        "label_prefix",
    ),
    Case(
        "tpu stockout",
        TPU
        + '{\n  "code": 8,\n  "message": "There is no more capacity in the zone \\"z\\"; you can try in another zone"\n}',
        OutOfCapacityError,
        "another zone",
    ),
    Case(
        "tpu reserved stockout",
        TPU
        + '{"code": 8, "message": "Insufficient reserved capacity. Contact customer support to increase your reservation."}',
        OutOfCapacityError,
        "later",
    ),
    Case("tpu code 8 without a known text", TPU + '{"code": 8, "message": "?"}', OutOfCapacityError, "later"),
    Case(
        "gce stockout, wrapped as gcloud prints it",
        f"{GCE}---\ncode: ZONE_RESOURCE_POOL_EXHAUSTED\nmessage: The zone does not have enough\n  resources available",
        OutOfCapacityError,
        "later",
    ),
    Case(
        "gce stockout by its text alone",
        f"{GCE} - The zone 'projects/p/zones/z' does not have enough\n   resources available to fulfill the request.",
        OutOfCapacityError,
        "later",
    ),
    Case(
        "tpu quota",
        f"{TPU}RESOURCE_EXHAUSTED: Quota 'TPUV5sPerProjectPerRegion' exhausted. Limit 32 in region europe-west4",
        QuotaExceededError,
        "quotas",
    ),
    Case("gce quota", f"{GCE} - Quota 'CPUS' exceeded.  Limit: 24.0 in region r.\n", QuotaExceededError, "quotas"),
    Case(
        "tpu quota by its limit, with code 8",
        TPU
        + '{"code": 8, "message": "Quota limit \'TPUV6EPreemptiblePerProjectPerRegionForTPUAPI\' has been exceeded. '
        'Limit: 0 in region us-east5."}',
        QuotaExceededError,
        "quotas",
    ),
    Case(
        "tpu quota by its limit, with HTTP's word for too many requests",
        f"{TPU}HTTPError 429: Too Many Requests: Quota limit 'TPUV5sPreemptibleLitepodPerProjectPerZoneForTPUAPI' has been "
        "exceeded. Limit: 0 in zone us-central1-a.",
        QuotaExceededError,
        "quotas",
    ),
    Case(
        "tpu stockout, with HTTP's word for too many requests",
        f'{TPU}HTTPError 429: There is no more capacity in the zone "z"',
        OutOfCapacityError,
        "another zone",
    ),
    Case(
        "tpu rate by its limit alone",
        f"{TPU}RESOURCE_EXHAUSTED: Quota limit 'CreateNodeRequestsPerMinutePerProject' has been exceeded.",
        RateLimitedError,
        "minute",
    ),
    Case("429 without a word of what", f"{TPU}HTTPError 429: Too Many Requests", RateLimitedError, "minute"),
    Case(
        "tpu rate",
        f"{TPU}RESOURCE_EXHAUSTED: Quota limit 'CreateNodePerMinute' has been exceeded: "
        "Maximum number of CreateNode requests per minute per project",
        RateLimitedError,
        "minute",
    ),
    Case(
        "gce rate",
        "ERROR: (gcloud.compute.instances.list) Some requests did not succeed:\n - Quota exceeded for quota metric "
        "'Read requests' and limit 'Read requests per minute' of service 'compute.googleapis.com'",
        RateLimitedError,
        "minute",
    ),
    Case(
        "gce permission",
        f"{GCE} - Required 'compute.instances.create' permission for 'projects/p/zones/z/instances/n'\n",
        PermissionDeniedError,
        "role",
    ),
    Case(
        "tpu permission",
        f"{TPU}PERMISSION_DENIED: Permission 'tpu.nodes.create' denied on 'projects/p/locations/z/nodes/n'",
        PermissionDeniedError,
        "role",
    ),
    Case(
        "api off by reason",
        f"{TPU}PERMISSION_DENIED: Cloud TPU API is off.\nreason: SERVICE_DISABLED",
        ApiDisabledError,
        "gcloud services enable",
    ),
    Case(
        "api off by text",
        f"{GCE} - Compute Engine API has not been used in project 12 before or it is disabled. Enable it by visiting …",
        ApiDisabledError,
        "gcloud services enable",
    ),
    Case(
        "no account",
        "ERROR: (gcloud.compute.instances.list) You do not currently have an active account selected.\nPlease run:\n\n"
        "  $ gcloud auth login\n\nto obtain new credentials.",
        NotAuthenticatedError,
        "gcloud auth login",
    ),
    Case(
        "expired account",
        "ERROR: (gcloud.compute.tpus.tpu-vm.list) There was a problem refreshing your current auth tokens: invalid_grant",
        NotAuthenticatedError,
        "gcloud auth login",
    ),
    Case(
        "unknown zone, compute",
        "ERROR: (gcloud.compute.instances.list) Some requests did not succeed:\n"
        " - Invalid value for field 'zone': 'mars-a'. Unknown zone.\n",
        ResourceNotFoundError,
        "gcp.zone",
    ),
    Case(
        "unknown zone, compute, by its resource",
        f"{GCE} - The resource 'projects/p/zones/mars-a' was not found\n",
        ResourceNotFoundError,
        "gcp.zone",
    ),
    Case(
        "unknown zone, tpu",
        f"{TPU}PERMISSION_DENIED: Permission denied on 'locations/mars-a' (or it may not exist).",
        ResourceNotFoundError,
        "gcp.zone",
    ),
    Case(
        "image",
        f"{GCE} - The resource 'projects/cos-cloud/global/images/family/cos-stale' was not found\n",
        ResourceNotFoundError,
        "image_family",
    ),
    Case("invalid", f"{TPU}INVALID_ARGUMENT: Invalid accelerator type: v9-1", InvalidRequestError, "accelerator-types"),
    Case(
        "precondition",
        "ERROR: (gcloud.compute.instances.get-guest-attributes) HTTPError 412: Precondition check failed.",
        InvalidRequestError,
        "zone",
    ),
    Case(
        "locked",
        "ERROR: gcloud crashed (OperationalError): database is locked\n\nIf you would like to report this issue …",
        InventoryToolError,
        "most_gcloud_commands",
    ),
    Case(
        "crash",
        "ERROR: gcloud crashed (AttributeError): 'NoneType' object has no attribute 'x'",
        InventoryToolError,
        "diagnostics",
    ),
    Case(
        "too old",
        "ERROR: (gcloud.compute.instances.create) unrecognized arguments: --max-run-duration=8h",
        InventoryToolError,
        "gcloud components update",
        exit_status=2,
    ),
    Case("usage", "nonsense", InventoryToolError, "gcloud components update", exit_status=2),
    Case(
        "network",
        "ERROR: (gcloud.compute.tpus.tpu-vm.list) There was a problem: Unable to find the server at tpu.googleapis.com",
        CloudUnavailableError,
        "network",
    ),
    Case(
        "server",
        "ERROR: (gcloud.compute.tpus.tpu-vm.list) UNAVAILABLE: The service is …",
        CloudUnavailableError,
        "status",
    ),
    Case("server, compute", f"{GCE} - Backend Error", CloudUnavailableError, "status"),
    Case("unknown", "ERROR: (gcloud.x) Nobody knows.", InventoryError, "--verbosity=debug"),
    Case("silent", "", InventoryError, "--verbosity=debug"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_each_text_becomes_its_error_with_what_to_do_next(case: Case) -> None:
    """The class of the error is told by gcloud's text, and the advice fits it."""
    argv = ["gcloud", "compute", "instances", "list"]

    error = gcloud_error(argv, case.exit_status, case.stderr)

    assert type(error) is case.error
    assert case.advice in error.advice
    assert (error.argv, error.exit_status) == (tuple(argv), case.exit_status)
    assert error.advice in str(error)


def test_only_what_passes_by_itself_may_be_tried_again() -> None:
    """No other class of error is worth the same request again."""
    passing = (OutOfCapacityError, RateLimitedError, CloudUnavailableError)
    retryable = {case.id for case in CASES if gcloud_error(["gcloud"], 1, case.stderr).retryable}
    assert retryable == {case.id for case in CASES if case.error in passing}


def test_warnings_before_the_error_are_left_out() -> None:
    """What is shown begins with the ERROR, so that no warning is taken for the cause."""
    error = gcloud_error(["gcloud"], 1, "WARNING: see `gcloud auth login`\nERROR: (gcloud.x) NOT_FOUND: it\n")
    assert type(error) is ResourceNotFoundError
    assert error.detail == "ERROR: (gcloud.x) NOT_FOUND: it"


def test_a_flood_of_text_is_cut() -> None:
    """An error message stays readable, however much gcloud printed."""
    assert len(gcloud_error(["gcloud"], 1, "x" * 100_000).detail) < 2100


def test_contention_is_told_apart() -> None:
    """Only the lock of gcloud's own database makes the same command worth running again at once."""
    assert is_contention("ERROR: gcloud crashed (OperationalError): database is locked")
    assert not is_contention("ERROR: gcloud crashed (KeyError): 'x'")
